"""A base is trained further in a job, and refused by name where it may not be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from imece.errors import JobError, RejectedError
from imece.events import Document, EvaluationCase, PretrainingRecipe, TrainingRequested
from imece.runtime.artifacts import Artifacts
from services.trainer import job
from tests.training import child_job, documents, publish

RECIPE = PretrainingRecipe(
    vocabulary=320, layers=1, hidden=16, heads=2, context=16, steps=5, batch_size=2
)


def test_a_base_is_trained_further_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMECE_HOME", str(tmp_path))
    monkeypatch.setenv("IMECE_CACHE", str(tmp_path / "cache"))
    artifacts = Artifacts(str(tmp_path / "artifacts"))
    ref = publish(artifacts, documents(20))

    def run(name: str, base: str | None = None) -> dict[str, Any]:
        asked = TrainingRequested(model="m", datasets=(ref,), recipe=RECIPE, base=base)
        body = asked.model_dump(mode="json", exclude_none=True)
        return job.work(child_job(tmp_path / name, body))

    first = run("first")
    assert first["base_digest"] is None
    further = run("further", first["uri"])
    folder = artifacts.fetch_folder(further["uri"], further["digest"], tmp_path / "copies")
    about = json.loads((folder / "imece.json").read_text("utf-8"))
    assert about["base"] == {"uri": first["uri"], "digest": further["base_digest"]}
    assert about["license"] == "unknown"
    monkeypatch.setenv("IMECE_FORBIDDEN_LICENSES", "unknown")
    with pytest.raises(RejectedError) as raised:
        run("forbidden", first["uri"])
    assert raised.value.reason == "license_forbidden"


def test_documents_that_hold_cases_of_a_suite_are_counted_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMECE_HOME", str(tmp_path))
    artifacts = Artifacts(str(tmp_path / "artifacts"))
    texts = [*documents(20), Document(text="Dediler ki: Türkiye'nin başkenti neresidir acaba?")]
    ref = publish(artifacts, texts)
    case = EvaluationCase(prompt="TÜRKİYE'NİN başkenti neresidir, acaba?", expected=("Ankara",))
    suite = publish(artifacts, [case], dataset="suite", split="test")
    asked = TrainingRequested(model="m", datasets=(ref,), recipe=RECIPE, suites=(suite,))
    body = asked.model_dump(mode="json", exclude_none=True)
    told = job.work(child_job(tmp_path / "warned", body))
    assert told["metrics"]["contaminated_cases"] == 1
    monkeypatch.setenv("IMECE_TRAINER_CONTAMINATION", "refuse")
    with pytest.raises(JobError) as raised:
        job.work(child_job(tmp_path / "refused", body))
    assert raised.value.reason == "contaminated"
