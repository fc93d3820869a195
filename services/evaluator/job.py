"""The child process of an evaluation: answer all suites, grade, measure, store the items."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from imece.errors import JobError, RejectedError
from imece.events import DatasetRef, EvaluationPlan, ModelRef
from imece.runtime import datasets
from imece.runtime.artifacts import Artifacts
from imece.runtime.jobs.child import ChildJob, run
from imece.runtime.settings import Settings
from services.evaluator import core, metrics, probes, probing, suspects
from services.evaluator.asking import Run
from services.evaluator.core import Question
from services.evaluator.policy import read_policy
from services.evaluator.probes import Probe
from services.evaluator.settings import EvaluatorSettings

KINDS = {"evaluation-case", "labelled"}
THREADS = 2


def work(job: ChildJob) -> dict[str, Any]:
    """Evaluate the candidate, and the baseline where one is named."""
    torch.set_num_threads(min(THREADS, torch.get_num_threads()))
    settings = Settings()
    artifacts = Artifacts(settings.artifacts_url())
    if again := job.request.get("probes"):
        return _again(job, artifacts, settings, again)
    plan = EvaluationPlan.model_validate(job.request["plan"])
    models = {"items": ModelRef.model_validate(job.request["ref"])}
    if job.request["baseline"] is not None:
        models["baseline"] = ModelRef.model_validate(job.request["baseline"])
    suites = _suites(artifacts, plan)
    own = EvaluatorSettings()
    questions = [each for _, some in suites for each in some]
    asked, unprobed = _probes(job, artifacts, own, questions)
    steps = len(models) * (len(asked) + len(questions))
    run = Run(job, artifacts, settings.cache, own, suites, steps, time.monotonic())
    result: dict[str, Any] = {}
    for part, ref in models.items():
        told = run.answers(ref)
        stored = artifacts.put(f"evaluations/{job.id}/{part}.jsonl", core.dump(told.items))
        result |= {
            part: stored.uri,
            f"{part}_digest": stored.digest,
            f"{part}_base": told.digest,
            f"{part}_family": told.family,
            f"{part}_unread": told.unread,
        }
        if part == "items":
            figures = [*metrics.measure(told.items), *run.under_load(ref)]
            result["metrics"] = [m.model_dump(mode="json") for m in figures]
    return result | _probed(run, models, asked, unprobed)


def _probes(
    job: ChildJob, artifacts: Artifacts, own: EvaluatorSettings, suites: list[Question]
) -> tuple[list[Probe], str]:
    """Return what the second gate asks, and why it cannot be told where the rows are gone.

    Nothing is asked where it is not known what was learned.
    """
    learned, policy = job.request.get("learned"), read_policy(own.policy).second
    if not learned or job.request["baseline"] is None or policy is None:
        return [], ""
    try:
        lessons = probing.lessons(artifacts, learned["datasets"])
    except RejectedError as error:
        return [], str(error)
    return probing.wanted(lessons, suites, policy), ""


def _probed(
    run: Run, models: Mapping[str, ModelRef], asked: list[Probe], why: str
) -> dict[str, str]:
    """Ask both models the probes and store them; or say why there are none."""
    if not asked:
        return {"unprobed": why}
    try:
        said = probing.answered(asked, lambda part, prompts: run.say(models[part], prompts))
    except RejectedError as error:
        return {"unprobed": str(error)}
    stored = run.artifacts.put(f"evaluations/{run.job.id}/probes.jsonl", probes.dump(said))
    return {"probes": stored.uri, "probes_digest": stored.digest}


def _again(
    job: ChildJob, artifacts: Artifacts, settings: Settings, stored: Mapping[str, str]
) -> dict[str, str]:
    """Ask a model what broke in another evaluation, and store the probes with its answers."""
    own = EvaluatorSettings()
    policy = read_policy(own.policy).second
    known = probes.load(artifacts.get(stored["uri"], stored["digest"]))
    asked = suspects.broken(known, policy) if policy else []
    if not asked:
        raise JobError("nothing_broke", "no probe of that evaluation fails under this policy")
    run = Run(job, artifacts, settings.cache, own, [], len(asked), time.monotonic())
    ref = ModelRef.model_validate(job.request["ref"])
    said = run.say(ref, [probe.prompt for probe in asked])
    told = [replace(p, candidate=answer) for p, answer in zip(asked, said, strict=True)]
    kept = artifacts.put(f"evaluations/{job.id}/probes.jsonl", probes.dump(told))
    return {"probes": kept.uri, "probes_digest": kept.digest}


def _suites(artifacts: Artifacts, plan: EvaluationPlan) -> list[tuple[DatasetRef, list[Question]]]:
    """Read all suites; JobError where there is nothing to ask."""
    suites = []
    for ref in {ref.digest: ref for ref in plan.suites}.values():
        rows = datasets.read(artifacts, ref, KINDS)
        asked = core.questions(ref.dataset, [(row.row_id, row.record) for row in rows])
        if not asked:
            raise JobError(
                "empty_suite",
                f"data set {ref.dataset} version {ref.version} holds no evaluation case and no"
                " labelled example",
            )
        suites.append((ref, asked))
    return suites


if __name__ == "__main__":
    run(work)
