"""The child process of an evaluation: answer all suites, grade, measure, store the items."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from imece.errors import JobError
from imece.events import DatasetRef, EvaluationPlan, Metric, ModelRef, Progress
from imece.local.models import folder_digest, resolve
from imece.runtime import datasets
from imece.runtime.artifacts import Artifacts
from imece.runtime.jobs.child import ChildJob, Stopped, main
from imece.runtime.settings import Settings
from services.evaluator import answers, core, metrics, openloop, probes, probing, recipe
from services.evaluator.core import Item, Question
from services.evaluator.encoder import Encoder
from services.evaluator.encoder import load as load_encoder
from services.evaluator.policy import read_policy
from services.evaluator.probes import Probe
from services.evaluator.scores.items import scored
from services.evaluator.settings import EvaluatorSettings

KINDS = {"evaluation-case", "labelled"}
THREADS = 2


@dataclass
class Run:
    """What the parts of one job share; models are loaded when they are needed, each base once."""

    job: ChildJob
    artifacts: Artifacts
    cache: Path
    own: EvaluatorSettings
    suites: list[tuple[DatasetRef, list[Question]]]
    steps: int
    began: float
    done: int = 0
    loaded: tuple[tuple[Path, bool], recipe.Answerer] | None = None
    encoder: Encoder | None = None

    def items(self, ref: ModelRef) -> tuple[list[Item], str]:
        """Return the graded answers of a model to all suites, and the digest of its base."""
        base, adapter, digest = self._model(ref)
        found: list[Item] = []
        for suite, asked in self.suites:
            decoding = f"greedy/{self.own.max_new_tokens}"
            if self.own.encoder:
                decoding += f"|cosine:{self.own.encoder}"
            name = answers.key(digest, ref.adapter_digest, suite.digest, decoding)
            items = answers.find(self.artifacts, name)
            if items is None:
                items = self._answer(base, adapter, asked)
                answers.keep(self.artifacts, name, items)
            self.done += len(asked)
            self._report(0)
            found += items
        return found, digest

    def say(self, ref: ModelRef, prompts: Sequence[str]) -> list[str]:
        """Return a model's answers to plain prompts; they are graded by whoever asks."""
        base, adapter, _ = self._model(ref)
        said = self._loaded(base, exact=False).answer(
            adapter,
            prompts,
            max_new_tokens=self.own.max_new_tokens,
            batch_size=self.own.batch_size,
            on_progress=lambda done, _all: self._report(done),
        )
        self.done += len(prompts)
        return said

    def under_load(self, ref: ModelRef) -> list[Metric]:
        """Return how fast a model answers while requests keep coming; nothing unless asked for."""
        if not self.own.load_rate:
            return []
        prompts = [q.asked for _, asked in self.suites for q in asked if q.scoring == "generation"]
        base, adapter, _ = self._model(ref)
        model, most = self._loaded(base, exact=False), self.own.max_new_tokens

        def ask(prompt: str) -> object:
            return model.answer(adapter, [prompt], max_new_tokens=most)

        return openloop.measure(ask, prompts, self.own.load_rate, self.own.load_requests)

    def _model(self, ref: ModelRef) -> tuple[Path, Path | None, str]:
        base, digest = self._base(ref)
        if ref.adapter is None or ref.adapter_digest is None:
            return base, None, digest
        into = self.cache / "artifacts"
        adapter = self.artifacts.fetch_folder(ref.adapter, ref.adapter_digest, into)
        _check_adapter(adapter, ref, digest)
        return base, adapter, digest

    def _answer(self, base: Path, adapter: Path | None, asked: list[Question]) -> list[Item]:
        """Let the model write or weigh, as each question wants; the order is kept."""
        written = [question for question in asked if question.scoring == "generation"]
        weighed = [question for question in asked if question.scoring != "generation"]
        found = {item.id: item for item in self._write(base, adapter, written)}
        found |= {item.id: item for item in self._weigh(base, adapter, weighed, len(written))}
        wanted = any("cosine" in question.metrics for question in asked)
        return scored([found[q.id] for q in asked], self._encoder() if wanted else None)

    def _encoder(self) -> Encoder | None:
        if self.own.encoder and self.encoder is None:
            self.encoder = load_encoder(resolve(self.own.encoder, self.cache))
        return self.encoder

    def _write(self, base: Path, adapter: Path | None, asked: list[Question]) -> list[Item]:
        if not asked:
            return []
        said = self._loaded(base, exact=False).answer(
            adapter,
            [question.asked for question in asked],
            max_new_tokens=self.own.max_new_tokens,
            batch_size=self.own.batch_size,
            on_progress=lambda done, _all: self._report(done),
        )
        return [core.grade(*each) for each in zip(asked, said, strict=True)]

    def _weigh(
        self, base: Path, adapter: Path | None, asked: list[Question], before: int
    ) -> list[Item]:
        if not asked:
            return []
        answerer = self._loaded(base, exact=True)
        logps = answerer.logps(
            adapter,
            [answerer.request(q.asked, q.choices or q.expected) for q in asked],
            batch_tokens=self.own.batch_tokens,
            on_progress=lambda done, _all: self._report(before + done),
        )
        return [core.grade_likelihood(*each) for each in zip(asked, logps, strict=True)]

    def _loaded(self, base: Path, *, exact: bool) -> recipe.Answerer:
        if self.loaded is None or self.loaded[0] != (base, exact):
            self.loaded = None  # the memory of one is free before the next is read
            self.loaded = ((base, exact), recipe.load(base, exact=exact))
        return self.loaded[1]

    def _base(self, ref: ModelRef) -> tuple[Path, str]:
        """Return the base's folder and digest; a given digest is checked, whichever kind it is."""
        ours = ref.base.startswith(self.artifacts.root + "/")
        if ours and ref.base_digest is not None and not ref.base.startswith("file:"):
            into = self.cache / "artifacts"
            path = self.artifacts.fetch_folder(ref.base, ref.base_digest, into)
            return path, f"sha256:{folder_digest(path)}"
        model = resolve(ref.base, self.cache)
        digest = f"sha256:{model.digest.removeprefix('sha256:')}"
        if ref.base_digest in (None, digest):
            return model.path, digest
        if ours:
            # A model of ours may be named by the digest of its manifest, as model.trained does.
            self.artifacts.fetch_folder(ref.base, str(ref.base_digest), self.cache / "artifacts")
            return model.path, digest
        raise JobError("base_changed", f"{ref.base} has the digest {digest}, not {ref.base_digest}")

    def _report(self, more: int) -> None:
        if self.job.should_stop():
            raise Stopped  # finished suites are kept, so the next attempt goes on from them
        seconds = time.monotonic() - self.began
        step = self.done + more
        self.job.progress(
            Progress(
                step=step,
                steps=self.steps,
                rate=step / seconds if seconds > 0 else None,
                unit="answers",
                seconds=seconds,
            )
        )


def _check_adapter(adapter: Path, ref: ModelRef, base_digest: str) -> None:
    """Refuse an adapter that says it was made for other weights than it is put on."""
    about = adapter / "imece.json"
    if not about.is_file():
        return  # made elsewhere; its shapes are checked when it is loaded
    made_for = json.loads(about.read_text(encoding="utf-8"))["base"]
    if made_for["digest"] != base_digest:
        raise JobError(
            "adapter_for_another_base",
            f"adapter {ref.adapter} was made for {made_for['uri']} with the digest"
            f" {made_for['digest']}, not for {ref.base} with {base_digest}",
        )


def work(job: ChildJob) -> dict[str, Any]:
    """Evaluate the candidate, and the baseline where one is named."""
    torch.set_num_threads(min(THREADS, torch.get_num_threads()))
    settings = Settings()
    artifacts = Artifacts(settings.artifacts_url())
    plan = EvaluationPlan.model_validate(job.request["plan"])
    models = {"items": ModelRef.model_validate(job.request["ref"])}
    if job.request["baseline"] is not None:
        models["baseline"] = ModelRef.model_validate(job.request["baseline"])
    suites = _suites(artifacts, plan)
    own = EvaluatorSettings()
    asked = _probes(job, artifacts, own, [each for _, questions in suites for each in questions])
    steps = len(models) * (len(asked) + sum(len(questions) for _, questions in suites))
    run = Run(job, artifacts, settings.cache, own, suites, steps, time.monotonic())
    result: dict[str, Any] = {}
    for part, ref in models.items():
        items, digest = run.items(ref)
        stored = artifacts.put(f"evaluations/{job.id}/{part}.jsonl", core.dump(items))
        result |= {part: stored.uri, f"{part}_digest": stored.digest, f"{part}_base": digest}
        if part == "items":
            figures = [*metrics.measure(items), *run.under_load(ref)]
            result["metrics"] = [m.model_dump(mode="json") for m in figures]
    if asked:
        said = probing.answered(asked, lambda part, prompts: run.say(models[part], prompts))
        stored = artifacts.put(f"evaluations/{job.id}/probes.jsonl", probes.dump(said))
        result |= {"probes": stored.uri, "probes_digest": stored.digest}
    return result


def _probes(
    job: ChildJob, artifacts: Artifacts, own: EvaluatorSettings, suites: list[Question]
) -> list[Probe]:
    """Return what the second gate asks; nothing where it is not known what was learned."""
    learned, policy = job.request.get("learned"), read_policy(own.policy).second
    if not learned or job.request["baseline"] is None or policy is None:
        return []
    return probing.wanted(probing.lessons(artifacts, learned["datasets"]), suites, policy)


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
    raise SystemExit(main(work))
