"""The decisions of the review queue, all pure: what is asked, when it is settled, who to trust."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import Literal

from imece.events import ReviewRequested
from services.review.policy import Checks, Sampling

State = Literal["unsampled", "open", "agreed", "conflict", "adjudicated"]
Turn = Literal["ask", "gold", "repeat"]
TIE = "tie"
REASONS = ("unclear", "offensive", "expertise", "broken")
PRIORITY = {"safety": 3, "high": 2, "medium": 1, "low": 0}
MOST_COMPARED_WORDS = 400


@dataclass(frozen=True, slots=True)
class Drawn:
    """Whether an item is asked, and how probable that was."""

    inclusion: float
    picked: bool
    audit: bool
    """Picked by the floor, that is by chance alone, whatever else there is to say about it."""


def draw(request: ReviewRequested, rules: Sampling, chance: float) -> Drawn:
    """Decide by one draw whether to ask; `chance` is uniform on [0, 1).

    Since all rules share the draw, the highest probability is the one of being picked by any rule.
    """
    probabilities = [getattr(rules, request.criticality), rules.floor]
    if request.uncertain:
        probabilities.append(rules.uncertain)
    if request.origin == "feedback":
        probabilities.append(rules.quarantined)
    inclusion = float(max(probabilities))
    return Drawn(inclusion, chance < inclusion, chance < rules.floor)


def settle(
    choices: Sequence[int],
    answers: int,
    skips: int,
    most_skips: int,
    final: int | None,
    *,
    rated: bool = False,
) -> tuple[State, int | None]:
    """Return the state of an asked item and its outcome; `final` is the adjudicator's choice.

    Levels that are at most one apart agree, on the lower one of the middle.
    """
    if final is not None:
        return "adjudicated", final
    if len(choices) >= answers:
        agreed = same(min(choices), max(choices), rated=rated)
        return ("agreed", median_low(choices)) if agreed else ("conflict", None)
    return ("conflict", None) if skips >= most_skips else ("open", None)


def same(one: int, other: int, *, rated: bool) -> bool:
    """Tell whether two answers say the same; neighbouring levels of a rating do."""
    return abs(one - other) <= rated


def turn(chance: float, checks: Checks) -> Turn:
    """Say what kind of question comes next; `chance` is uniform on [0, 1)."""
    if chance < checks.gold:
        return "gold"
    return "repeat" if chance < checks.gold + checks.repeat else "ask"


def shown_order(
    origin: str, options: Sequence[str], shuffled: Sequence[int], *, rated: bool = False
) -> tuple[int, ...]:
    """Return the order in which options are shown; answers to compare take turns at the left.

    "right" and "wrong" and levels stay where the fingers expect them, and a tie is always last.
    """
    order = [each for each in shuffled if options[each] != TIE]
    if origin != "judgement" or rated:
        order = sorted(order)
    return (*order, *(each for each, text in enumerate(options) if text == TIE))


@dataclass(frozen=True, slots=True)
class Piece:
    """Some words of an option; `differs` where the other one has something else."""

    text: str
    differs: bool


def differences(left: str, right: str) -> tuple[list[Piece], list[Piece]]:
    """Mark the words that two texts do not share; long texts are left unmarked."""
    words = tuple(re.findall(r"\s+|\w+|[^\w\s]", text) for text in (left, right))
    if max(map(len, words)) > 2 * MOST_COMPARED_WORDS:
        return [Piece(left, False)], [Piece(right, False)]
    parts: tuple[list[Piece], list[Piece]] = ([], [])
    matcher = difflib.SequenceMatcher(None, words[0], words[1], autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        for side, span in enumerate((words[0][a:b], words[1][c:d])):
            if span:
                parts[side].append(Piece("".join(span), kind != "equal"))
    return parts


@dataclass(frozen=True, slots=True)
class Given:
    """One answer of a reviewer, beside what is known of the item."""

    choice: int
    gold: int | None = None
    first: int | None = None
    """The same person's first answer, when this one repeats it."""
    outcome: int | None = None
    rated: bool = False

    def as_in(self, other: int) -> bool:
        """Tell whether this answer says the same as `other`."""
        return same(self.choice, other, rated=self.rated)


@dataclass(frozen=True, slots=True)
class Reliability:
    """How far a reviewer can be relied on; None where nothing is known yet."""

    answers: int
    gold: float | None
    consistency: float | None
    agreement: float | None
    score: float
    """Probability of a right answer on gold, with one right and one wrong added (Laplace)."""


def reliability(given: Sequence[Given]) -> Reliability:
    """Weigh one reviewer's answers."""
    gold = [each.as_in(each.gold) for each in given if each.gold is not None]
    repeats = [each.as_in(each.first) for each in given if each.first is not None]
    settled = [each.as_in(each.outcome) for each in given if each.outcome is not None]
    score = (sum(gold) + 1) / (len(gold) + 2)
    return Reliability(len(given), _share(gold), _share(repeats), _share(settled), score)


def _share(hits: Sequence[bool]) -> float | None:
    return sum(hits) / len(hits) if hits else None
