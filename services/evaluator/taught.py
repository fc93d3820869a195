"""What a candidate's training rows teach, and which of it others contradict: all pure."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from imece.events import Instruction, LabelledExample, PreferencePair, Rated, Record
from imece.runtime.text import contains_answer, fold

Why = Literal["trusted", "refused", "revoked"]


@dataclass(frozen=True, slots=True)
class Lesson:
    """One row: the answer that it teaches, or the one that it says is wrong.

    `author` is None for a record of upstream's own, which is trusted.
    """

    row: str
    author: str | None
    prompt: str
    answer: str | None
    wrong: str | None = None
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """A question with answers that a model must not give; `rows` are those that teach one."""

    prompt: str
    expected: tuple[str, ...]
    bad: tuple[str, ...]
    why: Why
    rows: tuple[str, ...] = ()


def lesson(
    row: str, origin: dict[str, Any], record: Record, *, revoked: bool = False
) -> Lesson | None:
    """Return what a row teaches; None for text and conversations, of which nothing is asked."""
    author = origin.get("user")
    if getattr(record, "history", ()):
        return None
    if isinstance(record, PreferencePair):
        return Lesson(row, author, record.prompt, record.chosen, record.rejected, revoked)
    if isinstance(record, Rated):
        good = record.response if record.desirable else None
        wrong = None if record.desirable else record.response
        return Lesson(row, author, record.prompt, good, wrong, revoked)
    if isinstance(record, Instruction):
        return Lesson(row, author, record.prompt, record.response, None, revoked)
    if isinstance(record, LabelledExample) and record.label:
        return Lesson(row, author, record.text, record.label, None, revoked)
    return None


def claims(lessons: Iterable[Lesson], most: int) -> list[Claim]:
    """Return at most `most` claims to ask about, those that trusted records contradict first."""
    by_question: dict[str, list[Lesson]] = defaultdict(list)
    for each in lessons:
        by_question[question_key(each.prompt)].append(each)
    found = [c for own in by_question.values() if (c := _claim(own)) is not None]
    rank = {"trusted": 0, "revoked": 1, "refused": 2}
    return sorted(found, key=lambda c: (rank[c.why], _mixed(c.prompt)))[:most]


def question_key(prompt: str) -> str:
    """Return what wordings of one question share: folded words without marks."""
    return " ".join("".join(c if c.isalnum() else " " for c in fold(prompt)).split())


def _claim(own: Sequence[Lesson]) -> Claim | None:
    standing = [each for each in own if not each.revoked and each.answer]
    trusted = [each.answer for each in standing if each.author is None and each.answer]
    told = [each for each in standing if each.author is not None]
    prompt = min(each.prompt for each in own)
    if trusted:
        against = [e for e in told if not _agree(e.answer, trusted, prompt)]
        bad = _distinct(e.answer for e in against)
        if bad:
            rows = tuple(sorted(e.row for e in against))
            return Claim(prompt, _distinct(trusted), bad, "trusted", rows)
    right = _distinct([*trusted, *(e.answer for e in told)])
    back = [e for e in own if e.revoked and e.answer and e.author is not None]
    wrong = [e.wrong for e in own if not e.revoked and e.wrong]
    for why, answers, rows in (
        ("revoked", [e.answer for e in back], tuple(sorted(e.row for e in back))),
        ("refused", wrong, ()),
    ):
        bad = _distinct(a for a in answers if not _agree(a, right, prompt))
        if bad:
            return Claim(prompt, right, bad, why, rows)  # type: ignore[arg-type]
    return None


def _agree(answer: str | None, others: Sequence[str], prompt: str) -> bool:
    """Tell whether an answer is, says, or is said by, one of the others."""
    return any(
        answer == other  # such as "?", in which nothing can be found
        or contains_answer(answer or "", (other,), prompt)
        or contains_answer(other, (answer or "",), prompt)
        for other in others
    )


def _distinct(answers: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(sorted({answer for answer in answers if answer}))


def _mixed(prompt: str) -> str:
    """Return a sort key that no author of a prompt can aim at cheaply."""
    return hashlib.sha256(f"claim {prompt}".encode()).hexdigest()
