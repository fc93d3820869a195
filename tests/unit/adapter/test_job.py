"""Bad inputs of an adaptation fail with a name. The base is tiny and made here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from imece.errors import JobError, RejectedError
from imece.events import AdaptationRequested, DatasetRef, Document, Instruction, LoraRecipe
from imece.events.recipes import PretrainingRecipe
from imece.runtime.artifacts import Artifacts
from services.adapter import job
from services.trainer import recipe as pretraining
from tests.training import WORDS, child_job, documents, publish

ROWS = [Instruction(prompt=f"{a} {b}?", response=b) for a in WORDS for b in WORDS]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    recipe = PretrainingRecipe(
        vocabulary=320, layers=1, hidden=16, heads=2, context=16, steps=1, batch_size=1
    )
    around = pretraining.Around(folder / "work", folder / "checkpoints")
    texts = [document.text for document in documents(20)]
    pretraining.train(texts, [], recipe, folder / "model", around)
    return folder / "model"


@pytest.fixture
def artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Artifacts:
    monkeypatch.setenv("IMECE_HOME", str(tmp_path))
    monkeypatch.setenv("IMECE_CACHE", str(tmp_path / "cache"))
    return Artifacts(str(tmp_path / "artifacts"))


def run(folder: Path, base: object, ref: DatasetRef, **recipe: Any) -> dict[str, Any]:
    request = AdaptationRequested(
        model="m", base=str(base), datasets=(ref,), recipe=LoraRecipe(**recipe)
    )
    return job.work(child_job(folder / "jobs" / "1", request.model_dump(mode="json")))


def test_the_adapter_says_what_it_was_made_of_and_no_path_of_this_machine(
    tmp_path: Path, base: Path, artifacts: Artifacts
) -> None:
    ref = publish(artifacts, ROWS)
    source = f"file://{base}"
    result = run(tmp_path, source, ref, rank=2, epochs=4)
    json.dumps(result, allow_nan=False)
    assert result["metrics"]["final_loss"] < result["metrics"]["first_loss"]
    assert result["metrics"]["rows"] == len(ROWS)
    folder = artifacts.fetch_folder(result["uri"], result["digest"], tmp_path / "copies")
    about = json.loads((folder / "imece.json").read_text("utf-8"))
    assert about["base"] == {"uri": source, "digest": result["base_digest"]}
    assert about["datasets"] == [ref.model_dump()]
    assert about["recipe"]["rank"] == 2
    assert set(about["libraries"]) >= {"torch", "peft"}
    config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    assert config["base_model_name_or_path"] == source
    names = {path.name for path in folder.iterdir()}
    known = {"adapter_config.json", "adapter_model.safetensors", "imece.json", "manifest.json"}
    assert names == known


@pytest.mark.parametrize("gone", ["/nowhere/model", "file:///nowhere/model"])
def test_an_unknown_base_fails_by_name(tmp_path: Path, artifacts: Artifacts, gone: str) -> None:
    with pytest.raises(RejectedError) as raised:
        run(tmp_path, gone, publish(artifacts, ROWS))
    assert raised.value.reason == "unknown_base"


def test_a_base_that_is_not_the_pinned_one_fails_by_name(
    tmp_path: Path, base: Path, artifacts: Artifacts
) -> None:
    with pytest.raises(RejectedError) as raised:
        run(tmp_path, f"{base}#sha256={0:064x}", publish(artifacts, ROWS))
    assert raised.value.reason == "unknown_base"


def test_a_vanished_data_set_fails_by_name(
    tmp_path: Path, base: Path, artifacts: Artifacts
) -> None:
    ref = publish(artifacts, ROWS)
    Path(ref.uri.removeprefix("file://")).unlink()
    with pytest.raises(RejectedError) as raised:
        run(tmp_path, base, ref)
    assert raised.value.reason == "dataset_missing"


def test_a_changed_data_set_fails_by_name(tmp_path: Path, base: Path, artifacts: Artifacts) -> None:
    ref = publish(artifacts, ROWS)
    part = Path(ref.uri.removeprefix("file://")).with_name("part.parquet")
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    with pytest.raises(RejectedError) as raised:
        run(tmp_path, base, ref)
    assert raised.value.reason == "dataset_corrupt"


@pytest.mark.parametrize(
    ("records", "split"), [([], "train"), ([Document(text="x")], "train"), (ROWS[:3], "test")]
)
def test_a_data_set_without_rows_to_learn_from_fails_by_name(
    tmp_path: Path, base: Path, artifacts: Artifacts, records: list[Any], split: str
) -> None:
    with pytest.raises(JobError) as raised:
        run(tmp_path, base, publish(artifacts, records, split=split))
    assert (raised.value.reason, raised.value.retry) == ("empty_dataset", False)


def test_a_rank_larger_than_a_matrix_fails_by_name(
    tmp_path: Path, base: Path, artifacts: Artifacts
) -> None:
    with pytest.raises(JobError) as raised:
        run(tmp_path, base, publish(artifacts, ROWS), rank=17)
    assert (raised.value.reason, raised.value.retry) == ("rank_too_large", False)
