"""All SQL of the guard: accounts, votes, claims, decisions, references and reviews."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Column, Connection, Float, Integer, MetaData, String, Table, Text, select

from imece.events import Envelope, FeedbackDecided, FeedbackScored, FeedbackSubmitted, derived_id
from imece.runtime.database import insert_new, upsert
from services.feedback_guard import core, minhash
from services.feedback_guard.core import Account
from services.feedback_guard.evidence import Claim, Support
from services.feedback_guard.policy import Policy

METADATA = MetaData()
ACCOUNT = Table(
    "account",
    METADATA,
    Column("user", String(220), primary_key=True),
    Column("right", Float, nullable=False),
    Column("wrong", Float, nullable=False),
    Column("accepted", Integer, nullable=False),
)
VOTE = Table(
    "vote",
    METADATA,
    Column("key", Text, primary_key=True),
    Column("feedback", Text, nullable=False),
)
CLAIM = Table(
    "claim",
    METADATA,
    Column("id", String(24), primary_key=True),
    Column("answers", Text, nullable=False),
)
REFERENCE = Table(
    "reference",
    METADATA,
    Column("claim", String(24), primary_key=True),
    Column("answer", Text, nullable=False),
)
NEAR = Table(
    "near",
    METADATA,
    Column("band", String(400), primary_key=True),
    Column("accounts", Text, nullable=False),
)
DECISION = Table(
    "decision",
    METADATA,
    Column("feedback", Text, primary_key=True),
    Column("claim", String(24), nullable=False, index=True),
    Column("answer", Text, nullable=False),
    Column("verdict", String(12), nullable=False, index=True),
    Column("version", Integer, nullable=False),
    Column("scored", Text, nullable=False),
    Column("decided", Text, nullable=False),
)


@dataclass(frozen=True)
class Decision:
    """A stored decision: what was scored and what was decided about it."""

    scored: FeedbackScored
    decided: FeedbackDecided


def feedback_key(source: str, id: str) -> str:
    """Return what identifies a feedback event in the tables."""
    return derived_id(source, id)


def score_all(
    connection: Connection, events: Sequence[Envelope[FeedbackSubmitted]], policy: Policy
) -> list[FeedbackScored]:
    """Stage one for a batch: the first vote of a (user, response) stands, later ones are marked."""
    keys = {_vote_key(e): feedback_key(e.source, e.id) for e in reversed(events)}
    insert_new(connection, VOTE, [{"key": k, "feedback": f} for k, f in keys.items()])
    holders = {row.key: row.feedback for row in _in(connection, VOTE, VOTE.c.key, keys)}
    accounts = _accounts(connection, {_user(e.data) for e in events})
    return [
        core.score(
            event,
            accounts.get(_user(event.data), Account()),
            holders[_vote_key(event)] != feedback_key(event.source, event.id),
            policy,
        )
        for event in events
    ]


def decide_all(
    connection: Connection, scored: Sequence[FeedbackScored], policy: Policy
) -> list[FeedbackDecided]:
    """Stage two for a batch; feedback that was decided before keeps its decision."""
    ids = {feedback_key(s.feedback_source, s.feedback_id) for s in scored}
    stored = {d: v.decided for d, v in _decisions(connection, ids).items()}
    claims = _claims(connection, {s.claim for s in scored})
    accounts = _accounts(connection, {_user(s.feedback) for s in scored})
    near = _near(connection, scored)
    fresh: dict[str, Decision] = {}
    for item in scored:
        key = feedback_key(item.feedback_source, item.feedback_id)
        if key in stored:
            continue
        user = _user(item.feedback)
        claim = core.record(item, claims.get(item.claim, Claim()))
        alike = _meet(item, near)
        decided = core.decide(item, claim, accounts.get(user, Account()), policy, near=alike)
        claims[item.claim], accounts[user] = _book(item, decided, claim, accounts.get(user))
        stored[key] = decided
        fresh[key] = Decision(item, decided)
    _save(connection, fresh, claims, accounts)
    rows = [{"band": band, "accounts": json.dumps(users)} for band, users in near.items()]
    upsert(connection, NEAR, rows, ["band"])
    return [stored[feedback_key(s.feedback_source, s.feedback_id)] for s in scored]


def add_references(
    connection: Connection, references: Mapping[str, str], policy: Policy
) -> list[FeedbackDecided]:
    """Learn upstream's answers (the first stands), then decide what waited for them."""
    rows = [{"claim": claim, "answer": answer} for claim, answer in references.items()]
    new = insert_new(connection, REFERENCE, rows, returning="claim")
    return _resolve(connection, new, policy)


def add_review(
    connection: Connection, feedback: str, reviewer: str, right: bool, policy: Policy
) -> list[FeedbackDecided]:
    """Book one reviewer's word on the answer that `feedback` gave, then decide what waited."""
    found = _decisions(connection, [feedback]).get(feedback)
    if found is None:
        return []
    claim = _claims(connection, [found.scored.claim])[found.scored.claim]
    support = claim.answers.get(found.scored.answer, Support())
    names = support.reviews_for if right else support.reviews_against
    if reviewer not in names:
        side = "reviews_for" if right else "reviews_against"
        changed = Support(**{**asdict(support), side: (*names, reviewer)})
        answers = {**claim.answers, found.scored.answer: changed}
        _save(connection, {}, {found.scored.claim: Claim(answers, claim.reference)}, {})
    return _resolve(connection, [found.scored.claim], policy)


def _resolve(
    connection: Connection, claim_ids: Iterable[str], policy: Policy
) -> list[FeedbackDecided]:
    """Decide quarantined feedback of these claims again; returns what changed."""
    claims = _claims(connection, claim_ids)
    waiting = [
        _decision(row)
        for row in _in(connection, DECISION, DECISION.c.claim, claims)
        if row.verdict == "quarantine"
    ]
    accounts = _accounts(connection, {_user(d.scored.feedback) for d in waiting})
    near = _near(connection, [d.scored for d in waiting])
    changed: dict[str, Decision] = {}
    for found in waiting:
        item, user = found.scored, _user(found.scored.feedback)
        account, version = accounts.get(user, Account()), found.decided.version + 1
        alike, claim = _meet(item, near), claims[item.claim]
        decided = core.decide(item, claim, account, policy, version=version, near=alike)
        if decided.verdict != "quarantine":
            claims[item.claim], accounts[user] = _book(item, decided, claim, account)
            changed[feedback_key(item.feedback_source, item.feedback_id)] = Decision(item, decided)
    _save(connection, changed, claims, accounts)
    return [decision.decided for decision in changed.values()]


def _near(connection: Connection, scored: Sequence[FeedbackScored]) -> dict[str, list[str]]:
    """Load who sent texts like these before."""
    wanted = [b for s in scored for b in minhash.bands(s.feedback.tenant, s.signature)]
    found = {row.band: row.accounts for row in _in(connection, NEAR, NEAR.c.band, wanted)}
    return {band: json.loads(found.get(band, "[]")) for band in wanted}


def _meet(item: FeedbackScored, near: dict[str, list[str]]) -> int:
    """Add the author to all who sent nearly this text (at most 16 are kept); return how many."""
    most = 0
    for band in minhash.bands(item.feedback.tenant, item.signature):
        users = near[band]
        if item.feedback.user not in users and len(users) < 16:
            users.append(item.feedback.user)
        most = max(most, len(users))
    return most


def _book(
    item: FeedbackScored, decided: FeedbackDecided, claim: Claim, account: Account | None
) -> tuple[Claim, Account]:
    if decided.row is not None:
        claim = core.count_accepted(claim, item.answer)
    return claim, core.settle(account or Account(), decided)


def _save(
    connection: Connection,
    decisions: Mapping[str, Decision],
    claims: Mapping[str, Claim],
    accounts: Mapping[str, Account],
) -> None:
    upsert(
        connection,
        DECISION,
        [
            {
                "feedback": key,
                "claim": found.scored.claim,
                "answer": found.scored.answer,
                "verdict": found.decided.verdict,
                "version": found.decided.version,
                "scored": found.scored.model_dump_json(exclude_none=True),
                "decided": found.decided.model_dump_json(exclude_none=True),
            }
            for key, found in decisions.items()
        ],
        ["feedback"],
    )
    upsert(
        connection,
        CLAIM,
        [{"id": id, "answers": _pack(claim)} for id, claim in claims.items()],
        ["id"],
    )
    upsert(
        connection,
        ACCOUNT,
        [{"user": user, **asdict(account)} for user, account in accounts.items()],
        ["user"],
    )


def _claims(connection: Connection, ids: Iterable[str]) -> dict[str, Claim]:
    wanted = set(ids)
    references = {
        row.claim: row.answer for row in _in(connection, REFERENCE, REFERENCE.c.claim, wanted)
    }
    answers = {row.id: _unpack(row.answers) for row in _in(connection, CLAIM, CLAIM.c.id, wanted)}
    return {id: Claim(answers.get(id, {}), references.get(id)) for id in wanted}


def _accounts(connection: Connection, users: Iterable[str]) -> dict[str, Account]:
    rows = _in(connection, ACCOUNT, ACCOUNT.c.user, users)
    return {row.user: Account(row.right, row.wrong, row.accepted) for row in rows}


def _decisions(connection: Connection, keys: Iterable[str]) -> dict[str, Decision]:
    rows = _in(connection, DECISION, DECISION.c.feedback, keys)
    return {row.feedback: _decision(row) for row in rows}


def _decision(row: Any) -> Decision:
    return Decision(
        FeedbackScored.model_validate_json(row.scored),
        FeedbackDecided.model_validate_json(row.decided),
    )


def _in(connection: Connection, table: Table, column: Any, values: Iterable[str]) -> list[Any]:
    wanted = sorted(set(values))
    found: list[Any] = []
    for at in range(0, len(wanted), 500):
        found += connection.execute(select(table).where(column.in_(wanted[at : at + 500]))).all()
    return found


def _pack(claim: Claim) -> str:
    return json.dumps({answer: asdict(s) for answer, s in claim.answers.items()})


def _unpack(text: str) -> dict[str, Support]:
    return {
        answer: Support(
            tuple(s["accounts"]),
            s["young"],
            s["accepted"],
            tuple(s["reviews_for"]),
            tuple(s["reviews_against"]),
        )
        for answer, s in json.loads(text).items()
    }


def _user(feedback: FeedbackSubmitted) -> str:
    return f"{feedback.tenant}|{feedback.user}"


def _vote_key(event: Envelope[FeedbackSubmitted]) -> str:
    return f"{_user(event.data)}|{event.data.response}"
