"""The guard on a stream: both stages in this process, second opinions answered as they fall due."""

from __future__ import annotations

import heapq
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from imece.events import FeedbackDecided, ReviewAnswered
from services.feedback_guard import claims
from services.feedback_guard.policy import Policy
from services.feedback_guard.replay import Guard, item_of
from tests.bench.guarding.people import Opinion, Pool
from tests.bench.guarding.stream import Sent

BATCH = 200
AFTER = timedelta(hours=36)
"""How long opinions are still answered when the stream is over."""


@dataclass
class Course:
    """What became of one event."""

    sent: Sent
    decisions: list[tuple[datetime, FeedbackDecided]]
    staff: bool = False
    """A person of the operator's spoke before the last decision."""

    @property
    def first(self) -> FeedbackDecided:
        return self.decisions[0][1]

    @property
    def last(self) -> FeedbackDecided:
        return self.decisions[-1][1]

    @property
    def accepted(self) -> bool:
        """A training row was let in at some time and not taken back."""
        return self.last.row is not None

    @property
    def ever(self) -> bool:
        return any(d.row is not None for _, d in self.decisions)

    def within(self, span: timedelta) -> bool:
        """Tell whether it stands accepted so long after it was sent."""
        known = [d for when, d in self.decisions if when <= self.sent.event.time + span]
        return known[-1].row is not None


@dataclass
class Drive:
    """A finished run."""

    courses: list[Course]
    cpu_seconds: float
    asked: int
    rows_over_time: list[tuple[datetime, int, int]] = field(default_factory=list)
    """Time, honest rows and poison rows accepted so far."""


@dataclass
class _Run:
    guard: Guard
    pool: Pool | None
    dice: random.Random
    by_id: dict[str, Course] = field(default_factory=dict)
    due: list[tuple[datetime, int, str, Opinion]] = field(default_factory=list)
    asked: dict[str, str] = field(default_factory=dict)
    staffed: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    cpu: float = 0.0

    def submit(self, part: Sequence[Sent]) -> None:
        began = time.process_time()
        decided = self.guard.submit([s.event for s in part])
        self.cpu += time.process_time() - began
        now = part[-1].event.time
        for sent, decision in zip(part, decided, strict=True):
            self.by_id[decision.feedback] = Course(sent, [(sent.event.time, decision)])
            if self.pool and decision.verdict == "quarantine" and sent.correction:
                self.ask(sent, decision, now)

    def ask(self, sent: Sent, decision: FeedbackDecided, now: datetime) -> None:
        """Ask once about each answer to each question."""
        data = sent.event.data
        text = data.signal.text if data.signal.kind == "correction" else data.answer
        key = f"{decision.claim} {claims.answer_key(text, data.prompt)}"
        if key in self.asked or self.pool is None:
            return
        self.asked[key] = item = item_of(sent.event)
        opinions = self.pool.asked(sent, now, self.dice)
        day = now.timetuple().tm_yday
        if self.staffed[day] < self.pool.staff_a_day:
            self.staffed[day] += 1
            opinions += self.pool.staffed(sent, now, self.dice)
        for opinion in opinions:
            heapq.heappush(self.due, (opinion.when, len(self.due), item, opinion))

    def answer_until(self, now: datetime) -> None:
        while self.due and self.due[0][0] <= now:
            when, _, item, opinion = heapq.heappop(self.due)
            answer = ReviewAnswered(
                item=item, reviewer=opinion.person, choice=0 if opinion.right else 1
            )
            began = time.process_time()
            changed = self.guard.answer(answer)
            self.cpu += time.process_time() - began
            for decision in changed:
                course = self.by_id[decision.feedback]
                course.decisions.append((when, decision))
                course.staff = course.staff or not opinion.sampled


def drive(
    stream: Sequence[Sent],
    policy: Policy,
    pool: Pool | None,
    references: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Drive:
    """Send a stream through the guard in order of time and return what became of every event."""
    guard = Guard(policy)
    guard.learn(references or {})
    run = _Run(guard, pool, random.Random(seed))
    for part in _parts(stream):
        run.answer_until(part[0].event.time)
        run.submit(part)
    run.answer_until(stream[-1].event.time + AFTER)
    courses = list(run.by_id.values())
    return Drive(courses, run.cpu, len(run.asked))


def _parts(stream: Sequence[Sent]) -> Iterator[Sequence[Sent]]:
    for at in range(0, len(stream), BATCH):
        yield stream[at : at + BATCH]
