"""What is remembered of a user and of a claim, and its packed form: bounded whatever happens."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from pydantic_core import from_json, to_json

from imece.runtime.memory import remembered

VOTERS = 12
"""Voters kept for one answer; enough to count clusters."""
OPINIONS = 5
"""People kept on each side of one answer."""
SAMPLED = 25
"""Randomly chosen users whose second opinion on one answer is heard at most."""
SHORT = 5
"""Characters of an id that are kept of each: 30 bits, enough to hear nobody twice."""
ANSWERS = 4
"""Answers kept for one claim."""
_SLOT = 24  # bytes


@lru_cache(maxsize=65_536)
def account_id(tenant: str, user: str) -> str:
    """Return 64 bits that stand for a user in all tables; names are kept nowhere."""
    digest = hashlib.blake2b(f"{tenant}\x1f{user}".encode(), digest_size=8).digest()
    return base64.urlsafe_b64encode(digest)[:11].decode()


def slot(answer: str) -> str:
    """Return the key of a canonical answer inside its claim: itself, or its start and a hash."""
    raw = answer.encode()
    if len(raw) <= _SLOT:
        return answer
    digest = hashlib.blake2b(raw, digest_size=6).hexdigest()
    return f"{raw[: _SLOT - 13].decode(errors='ignore')}~{digest}"


@remembered
def mark(answer: str) -> str:
    """Return 32 bits that stand for an answer beside others of its claim."""
    return hashlib.blake2b(slot(answer).encode(), digest_size=4).hexdigest()


class Habit(NamedTuple):
    """Slow means and variances of six features, and the fast mean of how odd recent votes are."""

    votes: int = 0
    means: tuple[float, ...] = (0.0,) * 6
    variances: tuple[float, ...] = (0.0,) * 6
    odd: float = 0.8
    since: float = 0.0
    """When the votes began to be odd (seconds since 1970); 0 while they are not."""


class Account(NamedTuple):
    """What is remembered of a user (or of a model): what was proven right and wrong."""

    right: float = 1.0
    wrong: float = 1.0
    subjects: Mapping[str, tuple[float, float]] = MappingProxyType({})
    """The same for each subject on its own."""
    habit: Habit = Habit()

    def trust(self, subject: str) -> float:
        """Return the log-odds of being right about a subject; elsewhere earned counts half."""
        right, wrong = self.subjects.get(subject, (0.0, 0.0))
        return 0.15 * (self.right - self.wrong) + 0.15 * (right - wrong)

    def behaving(self, habit: Habit) -> Account:
        """Return the account with another habit."""
        return Account(self.right, self.wrong, self.subjects, habit)

    def proven(self, subject: str, right: float, wrong: float) -> Account:
        """Return the account after a vote about a subject was proven; at most 20 is remembered."""
        before = self.subjects.get(subject, (0.0, 0.0))
        there = (min(20.0, before[0] + right), min(20.0, before[1] + wrong))
        return self._replace(
            right=min(20.0, self.right + right),
            wrong=min(20.0, self.wrong + wrong),
            subjects={**self.subjects, subject: there},
        )


NEW = Account()
"""Of whom nothing is remembered."""


class Support(NamedTuple):
    """Who speaks for one answer to one question."""

    accounts: tuple[str, ...] = ()
    """Ids of the first voters, at most `VOTERS`."""
    votes: int = 0
    reviews_for: tuple[str, ...] = ()
    reviews_against: tuple[str, ...] = ()
    sampled_for: tuple[str, ...] = ()
    """Randomly chosen users who were asked, at most `SAMPLED` in all."""
    sampled_against: tuple[str, ...] = ()
    older: tuple[str, ...] = ()
    """Voters whose accounts are not young; two are enough to know that one is not alone."""
    compared: tuple[str, ...] = ()
    """What the reference model said: "+" or "-" and the `mark` of one other answer."""
    tested: tuple[str, ...] = ()
    """What the operator's tests say of the code: "+" or "-"; nothing before they ran."""

    @property
    def asked(self) -> bool:
        """Some person has said something about the answer."""
        sampled = self.sampled_for or self.sampled_against
        return bool(self.reviews_for or self.reviews_against or sampled)

    def voted(self, by: str) -> Support:
        """Add one account's vote; of many accounts only the first `VOTERS` are remembered."""
        if by in self.accounts:
            return self
        return self._replace(accounts=(*self.accounts, by)[:VOTERS], votes=self.votes + 1)

    def backed(self, by: str) -> Support:
        """Remember one account that is not young; the first two are kept."""
        if by in self.older or len(self.older) >= 2:
            return self
        return self._replace(older=(*self.older, by))

    def preferred(self, other: str, better: bool) -> Support:
        """Keep a comparison with the answer of this `mark`; the first one stands."""
        said = f"{'+' if better else '-'}{other}"
        return self if self.compared else self._replace(compared=(said,))

    def reviewed(self, by: str, right: bool) -> Support:
        """Add one person's word; everybody is heard once for each side, at most `OPINIONS`."""
        names = self.reviews_for if right else self.reviews_against
        if by in names or len(names) >= OPINIONS:
            return self
        if right:
            return self._replace(reviews_for=(*names, by))
        return self._replace(reviews_against=(*names, by))

    def sampled(self, by: str, right: bool) -> Support:
        """Add one randomly chosen user's word; everybody is heard once, at most `SAMPLED`."""
        heard, by = self.sampled_for + self.sampled_against, by[:SHORT]
        if by in heard or len(heard) >= SAMPLED:
            return self
        if right:
            return self._replace(sampled_for=(*self.sampled_for, by))
        return self._replace(sampled_against=(*self.sampled_against, by))


NOBODY = Support()
"""Made once: most answers that are looked up have no support yet."""


class Claim(NamedTuple):
    """One question and the answers that feedback gave to it, by `slot`."""

    answers: Mapping[str, Support] = MappingProxyType({})
    reference: str | None = None
    """Upstream's own answer, when a trusted record has one."""

    def support(self, answer: str) -> Support:
        """Return who speaks for a canonical answer."""
        return self.answers.get(slot(answer), NOBODY)

    def with_support(self, answer: str, support: Support) -> Claim:
        """Replace what is known of an answer; of too many the least supported is forgotten.

        Answers that people were asked about stay as long as there is another to forget.
        """
        answers = {**self.answers, slot(answer): support}
        if len(answers) > ANSWERS:
            others = [a for a in answers if a != slot(answer)]
            answers.pop(min(others, key=lambda a: (answers[a].asked, answers[a].votes)))
        return self._replace(answers=answers)


def pack_account(account: Account) -> str:
    """Return the stored form of an account."""
    subjects = {name: [round(n, 2) for n in both] for name, both in account.subjects.items()}
    habit = account.habit
    means = [round(x, 2) for x in (*habit.means, *habit.variances)]
    ways = [habit.votes, round(habit.odd, 2), round(habit.since), *means] if habit.votes else []
    kept = [round(account.right, 2), round(account.wrong, 2), subjects, ways]
    return to_json(kept).decode()


def unpack_account(text: str) -> Account:
    """Return the account of a stored form."""
    right, wrong, subjects, ways = from_json(text)
    habit = Habit()
    if ways:
        votes, odd, since, *means = ways
        habit = Habit(votes, tuple(means[:6]), tuple(means[6:]), odd, since)
    return Account(right, wrong, {name: (r, w) for name, (r, w) in subjects.items()}, habit)


def pack_claim(claim: Claim) -> str:
    """Return the stored form of a claim; its reference is stored elsewhere."""
    packed = {answer: [s.votes, *map(" ".join, _people(s))] for answer, s in claim.answers.items()}
    return to_json(packed).decode()


def unpack_claim(text: str, reference: str | None) -> Claim:
    """Return the claim of a stored form."""
    answers = {
        answer: Support(first, votes, *others)
        for answer, (votes, *people) in from_json(text).items()
        for first, *others in [[tuple(names.split()) for names in people]]
    }
    return Claim(answers, reference)


def _people(support: Support) -> tuple[tuple[str, ...], ...]:
    return (
        support.accounts,
        support.reviews_for,
        support.reviews_against,
        support.sampled_for,
        support.sampled_against,
        support.older,
        support.compared,
        support.tested,
    )
