"""Ask one model after another what an evaluation wants to know; each base is loaded once."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imece.errors import JobError, RejectedError
from imece.events import DatasetRef, Metric, ModelRef, Progress
from imece.local.models import folder_digest, resolve
from imece.runtime.artifacts import Artifacts, canonical_json
from imece.runtime.artifacts import digest as artifact_digest
from imece.runtime.families import family_of
from imece.runtime.jobs.child import ChildJob, Stopped
from services.evaluator import answers, core, leaks, openloop, recipe
from services.evaluator.core import Item, Question
from services.evaluator.encoder import Encoder
from services.evaluator.encoder import load as load_encoder
from services.evaluator.scores.items import scored
from services.evaluator.settings import ENDPOINT, EvaluatorSettings, ModelEndpoint

if TYPE_CHECKING:
    from services.evaluator.remote import Remote


@dataclass(frozen=True)
class Answered:
    """A model's items, the digest of its base, who made it, and training rows nobody could read."""

    items: list[Item]
    digest: str
    family: str
    unread: str


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

    def answers(self, ref: ModelRef) -> Answered:
        """Return the graded answers of a model to all suites, and where it comes from."""
        if ref.base.startswith(ENDPOINT):
            return self._remote(ref)
        base, adapter, digest = self._model(ref)
        items = self._kept(
            digest, ref.adapter_digest, "greedy", lambda asked: self._answer(base, adapter, asked)
        )
        folders = [folder for folder in (base, adapter) if folder is not None]
        refs = {each.digest: each for folder in folders for each in leaks.trained_on(folder)}
        items, unread = leaks.marked(self.artifacts, items, tuple(refs.values()))
        return Answered(items, digest, family_of(leaks.origin(base) or ref.base), unread)

    def _remote(self, ref: ModelRef) -> Answered:
        """Ask an endpoint; it may be another model tomorrow, so only this job keeps its answers."""
        caller, about, digest = self._endpoint(ref)
        mode = f"endpoint:{self.job.id}"
        items = self._kept(digest, None, mode, lambda asked: self._scored(caller.items(asked)))
        return Answered(items, digest, about.family or family_of(about.model), "")

    def _endpoint(self, ref: ModelRef) -> tuple[Remote, ModelEndpoint, str]:
        from services.evaluator.remote import Remote  # OpenAI's SDK takes seconds to import

        name = ref.base.removeprefix(ENDPOINT)
        about = self.own.endpoints.get(name)
        if about is None:
            raise JobError(
                "unknown_endpoint",
                f"{ref.base} is not among IMECE_EVALUATOR_ENDPOINTS"
                f" ({', '.join(sorted(self.own.endpoints)) or 'none is set'})",
            )
        digest = artifact_digest(canonical_json([name, about.base_url, about.model]))
        most = self.own.max_new_tokens
        caller = Remote(about, about.key(), max_tokens=most, on_progress=self._report)
        return caller, about, digest

    def _kept(
        self,
        digest: str,
        adapter_digest: str | None,
        mode: str,
        ask: Callable[[list[Question]], list[Item]],
    ) -> list[Item]:
        """Ask each suite, unless its answers are kept from before."""
        mode = f"{mode}/{self.own.max_new_tokens}"
        if self.own.encoder:
            mode += f"|cosine:{self.own.encoder}"
        found: list[Item] = []
        for suite, asked in self.suites:
            name = answers.key(digest, adapter_digest, suite.digest, mode)
            items = answers.find(self.artifacts, name)
            if items is None:
                items = ask(asked)
                answers.keep(self.artifacts, name, items)
            self.done += len(asked)
            self._report(0)
            found += items
        return found

    def say(self, ref: ModelRef, prompts: Sequence[str]) -> list[str]:
        """Return a model's answers to plain prompts; they are graded by whoever asks.

        `RejectedError` where an endpoint leaves some unanswered: half of them would prove nothing.
        """
        said = self._said_by_endpoint if ref.base.startswith(ENDPOINT) else self._said
        found = said(ref, prompts)
        self.done += len(prompts)
        return found

    def _said_by_endpoint(self, ref: ModelRef, prompts: Sequence[str]) -> list[str]:
        asked = [Question(str(n), "probes", each, (), "probes") for n, each in enumerate(prompts)]
        items = self._endpoint(ref)[0].items(asked)
        if lost := Counter(item.unscored for item in items if item.unscored):
            told = ", ".join(f"{reason} {count}" for reason, count in sorted(lost.items()))
            raise RejectedError(
                "probes_unanswered",
                f"{ref.base} left {lost.total()} of {len(items)} probes unanswered ({told})",
            )
        return [item.answer for item in items]

    def _said(self, ref: ModelRef, prompts: Sequence[str]) -> list[str]:
        base, adapter, _ = self._model(ref)
        return self._loaded(base, exact=False).answer(
            adapter,
            prompts,
            max_new_tokens=self.own.max_new_tokens,
            batch_size=self.own.batch_size,
            on_progress=lambda done, _all: self._report(done),
        )

    def under_load(self, ref: ModelRef) -> list[Metric]:
        """Return how fast a model answers while requests keep coming; nothing unless asked for."""
        if not self.own.load_rate:
            return []
        prompts = [q.asked for _, asked in self.suites for q in asked if q.scoring == "generation"]
        if ref.base.startswith(ENDPOINT):
            caller, _, _ = self._endpoint(ref)
            return caller.under_load(prompts, self.own.load_rate, self.own.load_requests)
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
        return self._scored([found[q.id] for q in asked])

    def _scored(self, items: list[Item]) -> list[Item]:
        wanted = any("cosine" in item.metrics for item in items)
        return scored(items, self._encoder() if wanted else None)

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
