"""What is remembered of a user and of a claim, and its packed form: bounded whatever happens."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

VOTERS = 12
"""Voters kept for one answer; enough to count clusters."""
OPINIONS = 8
"""People kept on each side of one answer."""
ANSWERS = 4
"""Answers kept for one claim."""
_SLOT = 24  # bytes


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


@dataclass(frozen=True)
class Account:
    """What is remembered of a user: votes that were proven right and wrong."""

    right: float = 1.0
    wrong: float = 1.0


@dataclass(frozen=True)
class Support:
    """Who speaks for one answer to one question."""

    accounts: tuple[str, ...] = ()
    """Ids of the first voters, at most `VOTERS`."""
    votes: int = 0
    reviews_for: tuple[str, ...] = ()
    reviews_against: tuple[str, ...] = ()

    @property
    def asked(self) -> bool:
        """Some person has said something about the answer."""
        return bool(self.reviews_for or self.reviews_against)

    def voted(self, by: str) -> Support:
        """Add one account's vote; of many accounts only the first `VOTERS` are remembered."""
        if by in self.accounts:
            return self
        return replace(self, accounts=(*self.accounts, by)[:VOTERS], votes=self.votes + 1)

    def reviewed(self, by: str, right: bool) -> Support:
        """Add one person's word; everybody is heard once for each side, at most `OPINIONS`."""
        names = self.reviews_for if right else self.reviews_against
        if by in names or len(names) >= OPINIONS:
            return self
        if right:
            return replace(self, reviews_for=(*names, by))
        return replace(self, reviews_against=(*names, by))


@dataclass(frozen=True)
class Claim:
    """One question and the answers that feedback gave to it, by `slot`."""

    answers: Mapping[str, Support] = field(default_factory=dict)
    reference: str | None = None
    """Upstream's own answer, when a trusted record has one."""

    def support(self, answer: str) -> Support:
        """Return who speaks for a canonical answer."""
        return self.answers.get(slot(answer), Support())

    def with_support(self, answer: str, support: Support) -> Claim:
        """Replace what is known of an answer; of too many the least supported is forgotten.

        Answers that people were asked about stay as long as there is another to forget.
        """
        answers = {**self.answers, slot(answer): support}
        if len(answers) > ANSWERS:
            others = [a for a in answers if a != slot(answer)]
            answers.pop(min(others, key=lambda a: (answers[a].asked, answers[a].votes)))
        return replace(self, answers=answers)


def pack_account(account: Account) -> str:
    """Return the stored form of an account."""
    return json.dumps([round(account.right, 2), round(account.wrong, 2)])


def unpack_account(text: str) -> Account:
    """Return the account of a stored form."""
    right, wrong = json.loads(text)
    return Account(right, wrong)


def pack_claim(claim: Claim) -> str:
    """Return the stored form of a claim; its reference is stored elsewhere."""
    packed = {
        answer: [
            " ".join(s.accounts),
            s.votes,
            " ".join(s.reviews_for),
            " ".join(s.reviews_against),
        ]
        for answer, s in claim.answers.items()
    }
    return json.dumps(packed, ensure_ascii=False, separators=(",", ":"))


def unpack_claim(text: str, reference: str | None) -> Claim:
    """Return the claim of a stored form."""
    answers = {
        answer: Support(tuple(a.split()), votes, tuple(f.split()), tuple(against.split()))
        for answer, (a, votes, f, against) in json.loads(text).items()
    }
    return Claim(answers, reference)
