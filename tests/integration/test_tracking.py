"""MLflow on SQLite shows runs, versions and aliases, however often an event comes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from mlflow import MlflowClient

from imece.events import (
    AdapterTrained,
    EvaluationCompleted,
    Metric,
    PromotionDecided,
    PromotionProposed,
    new,
)
from imece.runtime.tracking import Tracker, described
from tests.unit.imece.test_lineage import digest, ref, trained


def decided(version: int, verdict: str, model: str = "m") -> PromotionDecided:
    candidate = trained(model, version).data.ref
    return PromotionDecided(
        model=model,
        evaluation=f"e{version}",
        verdict=verdict,  # type: ignore[arg-type]
        checks=(),
        candidate=candidate,
        champion=candidate,
        policy="p",
    )


def aliases(client: MlflowClient, model: str) -> dict[str, str]:
    return {name: str(at) for name, at in client.get_registered_model(model).aliases.items()}


def test_a_card_says_what_a_model_is_made_of() -> None:
    text = described(trained("m", 1).data)
    for words in ("# m\n", "method: lora", "| facts | 1 |", "| rank | 2 |", "| final_loss | 0.5 |"):
        assert words in text


def test_runs_versions_and_aliases_follow_the_events(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/mlflow.db"
    metric = Metric(slice="all", name="exact", value=0.75, n=8, low=0.5, high=0.9)
    first = trained("m", 1).data
    assert isinstance(first, AdapterTrained)
    measured = EvaluationCompleted(
        model="m", evaluation="e1", ref=first.ref, suites=(ref(1),), metrics=(metric,)
    )
    events = [
        trained("m", 1),
        new(measured, "imece/evaluator"),
        new(decided(1, "promote"), "imece/evaluator"),
        trained("m", 2),
        new(decided(2, "reject"), "imece/evaluator"),
        trained("other", 3),
    ]
    for _ in range(2):
        tracker = Tracker(url)
        for event in events:
            tracker.take(event)
    client = MlflowClient(tracking_uri=url, registry_uri=url)
    assert aliases(client, "m") == {"champion": "1"}
    assert aliases(client, "other") == {"challenger": "1"}
    (experiment,) = [e for e in client.search_experiments() if e.name == "imece"]
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 3
    (run,) = [run for run in runs if run.data.tags["imece.artifact"] == digest(1)]
    assert run.data.params["rank"] == "2"
    assert run.data.metrics["final_loss"] == 0.5
    assert run.data.metrics["eval/all/exact"] == 0.75
    assert run.data.tags["imece.datasets"] == ref(1).digest
    waiting = decided(2, "promote").model_dump(include={"model", "evaluation", "checks", "policy"})
    canary = PromotionProposed(
        **waiting,
        candidate=trained("m", 2).data.ref,
        champion=first.ref,
        people=0,
        canary="gateway",
        expires_at=datetime(2026, 5, 4, tzinfo=UTC),
    )
    tracker.take(new(canary, "imece/evaluator"))
    assert aliases(client, "m") == {"champion": "1", "challenger": "2"}
    tracker.take(new(decided(2, "reject"), "imece/evaluator"))
    assert aliases(client, "m") == {"champion": "1"}
    tracker.take(new(decided(3, "promote", "other"), "imece/evaluator"))
    assert aliases(client, "m") == {}
    assert aliases(client, "other") == {"champion": "1"}


def test_a_run_that_was_shown_in_part_is_completed_when_its_event_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/mlflow.db"

    def gone(*_: object, **__: object) -> None:
        raise ConnectionError("the server went away")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "create_model_version", gone)
        with pytest.raises(ConnectionError):
            Tracker(url).take(trained("m", 1))
    Tracker(url).take(trained("m", 1))
    client = MlflowClient(tracking_uri=url, registry_uri=url)
    assert aliases(client, "m") == {"challenger": "1"}
    (experiment,) = [e for e in client.search_experiments() if e.name == "imece"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    losses = client.get_metric_history(run.info.run_id, "loss")
    assert len(losses) == len(trained("m", 1).data.losses)
