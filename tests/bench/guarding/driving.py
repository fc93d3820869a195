"""The guard on a stream: both stages in this process, second opinions answered as they fall due."""

from __future__ import annotations

import heapq
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from imece import tokens
from imece.events import Correction, Envelope, FeedbackDecided, FeedbackSubmitted, ReviewAnswered
from services.feedback_guard import claims
from services.feedback_guard.policy import Policy
from services.feedback_guard.replay import Guard, item_of
from tests.bench.guarding.people import Opinion, Pool
from tests.bench.guarding.stream import Sent

BATCH = 200
TOGETHER = timedelta(minutes=10)
"""Stream time that one batch spans at most: the guard decides and asks as events come."""
KEYS = {"bench": b"a key that no attacker has"}
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
        """It was believed in the end, whether or not a budget had room for its row."""
        return self.last.verdict == "accept"

    @property
    def row(self) -> bool:
        """Its row trains models."""
        return self.last.row is not None

    def within(self, span: timedelta) -> bool:
        """Tell whether it was believed so long after it was sent."""
        known = [d for when, d in self.decisions if when <= self.sent.event.time + span]
        return known[-1].verdict == "accept"


@dataclass
class Drive:
    """A finished run."""

    courses: list[Course]
    cpu_seconds: float
    asked: int
    """Answers that users were asked about."""
    cards: int = 0
    """Users invited to say whether an answer is right."""


@dataclass
class _Run:
    guard: Guard
    pool: Pool | None
    dice: random.Random
    by_id: dict[str, Course] = field(default_factory=dict)
    due: list[tuple[datetime, int, Sent, Opinion]] = field(default_factory=list)
    by_item: dict[str, Course] = field(default_factory=dict)
    panels: set[str] = field(default_factory=set)
    """Answers that users were asked about."""
    cards: int = 0
    """Invitations."""
    seen: set[str] = field(default_factory=set)
    staffed: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    number: int = 0
    cpu: float = 0.0

    def submit(self, part: Sequence[Sent]) -> None:
        events = [proven(s.event) for s in part]
        began = time.process_time()
        decided = self.guard.submit(events)
        self.cpu += time.process_time() - began
        now = part[-1].event.time
        for sent, decision in zip(part, decided, strict=True):
            course = Course(sent, [(sent.event.time, decision)])
            self.by_id[decision.feedback] = self.by_item[item_of(sent.event)] = course
            if self.pool and decision.verdict == "quarantine" and sent.correction:
                self.review(sent, decision, now)
        self.take([], now, sampled=True)
        self.ask(now)

    def ask(self, now: datetime) -> None:
        """Let the users answer whom the guard invited."""
        for request in self.guard.asked if self.pool is not None else ():
            sent = self.by_item[request.item].sent
            self.panels.add(request.item)
            self.cards += len(request.invited)
            names = [invitation.user for invitation in request.invited]
            self.await_(sent, self.pool.asked(sent, names, now, self.dice) if self.pool else [])
        self.guard.asked.clear()

    def review(self, sent: Sent, decision: FeedbackDecided, now: datetime) -> None:
        """Let the operator's own people see each correction once, as many a day as they can."""
        data = sent.event.data
        text = data.signal.text if isinstance(data.signal, Correction) else data.answer
        key = f"{decision.claim} {claims.answer_key(text, data.prompt)}"
        day = now.timetuple().tm_yday
        if self.pool is None or key in self.seen or self.staffed[day] >= self.pool.staff_a_day:
            return
        self.seen.add(key)
        self.staffed[day] += 1
        self.await_(sent, self.pool.staffed(sent, now, self.dice))

    def await_(self, sent: Sent, opinions: Sequence[Opinion]) -> None:
        for opinion in opinions:
            self.number += 1
            heapq.heappush(self.due, (opinion.when, self.number, sent, opinion))

    def answer_until(self, now: datetime) -> None:
        while self.due and self.due[0][0] <= now:
            when, _, sent, opinion = heapq.heappop(self.due)
            began = time.process_time()
            if opinion.sampled:
                changed = self.guard.opinion(sent.event, opinion.person, opinion.right, when)
            else:
                changed = self.guard.answer(_review(sent, opinion))
            self.cpu += time.process_time() - began
            self.take(changed, when, sampled=opinion.sampled)
            self.ask(when)

    def take(self, changed: Sequence[FeedbackDecided], when: datetime, *, sampled: bool) -> None:
        """Book later versions, those that no call returned too."""
        for decision in [*changed, *self.guard.changed]:
            course = self.by_id[decision.feedback]
            course.decisions.append((when, decision))
            course.staff = course.staff or not sampled
        self.guard.changed.clear()


def _review(sent: Sent, opinion: Opinion) -> ReviewAnswered:
    choice = 0 if opinion.right else 1
    return ReviewAnswered(item=item_of(sent.event), reviewer=opinion.person, choice=choice)


def proven(event: Envelope[FeedbackSubmitted]) -> Envelope[FeedbackSubmitted]:
    """Give an event the token that its answer came with; attackers were shown answers too."""
    data, expires = event.data, event.time + timedelta(days=30)
    token = tokens.mint(KEYS, data.response, data.user, expires)
    return replace(event, data=data.model_copy(update={"token": token}))


def drive(
    stream: Sequence[Sent],
    policy: Policy,
    pool: Pool | None,
    references: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Drive:
    """Send a stream through the guard in order of time and return what became of every event."""
    guard = Guard(policy, keys=KEYS, asks=pool is not None)
    guard.learn(references or {})
    run = _Run(guard, pool, random.Random(seed))
    for part in _parts(stream):
        run.answer_until(part[0].event.time)
        run.submit(part)
    run.answer_until(stream[-1].event.time + AFTER)
    courses = list(run.by_id.values())
    return Drive(courses, run.cpu, len(run.panels), run.cards)


def _parts(stream: Sequence[Sent]) -> Iterator[Sequence[Sent]]:
    """Cut the stream as a consumer would: what came together, never a day's events at once."""
    begin = 0
    for at, sent in enumerate(stream):
        late = sent.event.time - stream[begin].event.time > TOGETHER
        if at - begin == BATCH or (late and at > begin):
            yield stream[begin:at]
            begin = at
    if begin < len(stream):
        yield stream[begin:]
