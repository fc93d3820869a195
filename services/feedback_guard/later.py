"""What changes decisions later: references, people, the end of quarantine, revocations.

Every change is a new version of a decision; old versions are kept. A change remembers the event
that caused it, so that handling that event twice announces the same versions again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, func, select

from imece.events import (
    AnswerVerified,
    FeedbackDecided,
    FeedbackScored,
    JudgementCompleted,
    Reason,
    RevocationRequested,
)
from imece.runtime.database import insert_new, matching
from services.feedback_guard import core, reference, retention, revocation, rows, store, tables
from services.feedback_guard.policy import Policy
from services.feedback_guard.rows import Decision
from services.feedback_guard.state import Account, account_id

_TABLE = tables.DECISION
_AT_ONCE = 500


def add_references(
    connection: Connection, references: Mapping[str, str], policy: Policy, cause: str = ""
) -> list[FeedbackDecided]:
    """Learn upstream's answers (the first stands), then decide what waited for them."""
    known = [{"claim": claim, "answer": answer} for claim, answer in references.items()]
    new = insert_new(connection, tables.REFERENCE, known, returning="claim")
    return _announced(connection, _resolve(connection, dict.fromkeys(new, cause), policy), cause)


def add_review(
    connection: Connection,
    feedback: str,
    by: str,
    right: bool,
    policy: Policy,
    *,
    sampled: bool = False,
    cause: str = "",
) -> list[FeedbackDecided]:
    """Book a reviewer's, or a randomly chosen user's, word on an answer; decide what waited."""
    found = rows.decisions(connection, [feedback]).get(feedback)
    if found is None:
        return []
    item = found.scored
    claim = rows.claims(connection, [item.claim])[item.claim]
    support, name = claim.support(item.answer), account_id(item.feedback.tenant, by)
    if sampled and any(name in s.accounts for s in claim.answers.values()):
        return []  # who voted has been heard
    support = support.sampled(name, right) if sampled else support.reviewed(name, right)
    rows.save_claims(connection, {item.claim: claim.with_support(item.answer, support)})
    return _announced(connection, _resolve(connection, {item.claim: cause}, policy), cause)


def add_preference(
    connection: Connection, told: JudgementCompleted, policy: Policy, cause: str = ""
) -> list[FeedbackDecided]:
    """Book which of two answers the reference model prefers; decide what waited."""
    preferred = reference.read(told, policy)
    if preferred is None:
        return []
    claim = rows.claims(connection, [preferred.claim])[preferred.claim]
    if (now := reference.booked(claim, preferred)) is not claim:
        rows.save_claims(connection, {preferred.claim: now})
    return _announced(connection, _resolve(connection, {preferred.claim: cause}, policy), cause)


def add_verified(
    connection: Connection, verified: AnswerVerified, policy: Policy, cause: str = ""
) -> list[FeedbackDecided]:
    """Book what the operator's tests say of an answer, the first result; decide what waited."""
    id, answer = verified.claim, verified.answer
    claim = rows.claims(connection, [id])[id]
    if not (support := claim.support(answer)).tested:
        said = support._replace(tested=("+" if verified.right else "-",))
        rows.save_claims(connection, {id: claim.with_support(answer, said)})
    return _announced(connection, _resolve(connection, {id: cause}, policy), cause)


def backed(
    connection: Connection, scored: Sequence[FeedbackScored], policy: Policy
) -> list[FeedbackDecided]:
    """Decide praise that waited for a second account again, where these votes are that one."""
    votes = [s for s in scored if s.stance > 0 and s.hard is None]
    claims = rows.claims(connection, {s.claim for s in votes})
    causes = {
        s.claim: store.key_of(s)
        for s in votes
        if store.user_of(s.feedback) in claims[s.claim].support(s.answer).older
    }
    held = (
        select(_TABLE.c.claim)
        .where(_TABLE.c.claim.in_(causes), _TABLE.c.expires.is_not(None))
        .where(
            _TABLE.c.decided.contains('"budget_unconfirmed"')
            | _TABLE.c.decided.contains('"budget_delta"')
        )
        .distinct()
        .order_by(_TABLE.c.claim)
    )
    waiting = connection.execute(held).scalars().all() if causes else []
    return _resolve(connection, {id: causes[id] for id in waiting}, policy)


def expire(
    connection: Connection, now: datetime, policy: Policy, cause: str = ""
) -> list[FeedbackDecided]:
    """End the quarantine of what has waited too long by `now`: it stays out, for good.

    What is too old to be kept is forgotten.
    """
    retention.forget(connection, now, policy)
    over = (
        select(_TABLE)
        .where(_TABLE.c.expires < now.timestamp())
        .order_by(_TABLE.c.expires, _TABLE.c.feedback)
        .limit(_AT_ONCE)
    )
    changed = {}
    for row in connection.execute(over).all():
        found = rows.decision(row)
        decided = revocation.next_version(found.decided, "quarantine", Reason(code="expired"))
        changed[row.feedback] = Decision(found.scored, decided, cause)
    rows.save_decisions(connection, changed, policy)
    return [found.decided for found in changed.values()]


def follow(
    connection: Connection,
    scored: Sequence[FeedbackScored],
    now: datetime,
    policy: Policy,
    cause: str,
) -> tuple[list[FeedbackDecided], float | None]:
    """Do what follows from a batch that was decided, in one transaction.

    Returns the newest versions that its events caused, and when the next quarantine ends.
    """
    backed(connection, scored, policy)
    expire(connection, now, policy, cause)
    return consequences(connection, map(store.key_of, scored)), next_end(connection)


def next_end(connection: Connection) -> float | None:
    """Return when the next quarantine ends (seconds since 1970), None when nothing waits."""
    least = select(func.min(_TABLE.c.expires)).where(_TABLE.c.expires.is_not(None))
    return connection.execute(least).scalar_one_or_none()  # the index holds only these


def revoke(
    connection: Connection, request: RevocationRequested, policy: Policy, cause: str = ""
) -> list[FeedbackDecided]:
    """Take back what the request names, and what rested on it; returns the new versions.

    Only the claims that it touches are decided again. A revoked user starts anew, without
    record; one who was taken over has done so when it was seen.
    """
    hit = {key: found for key, found in _named(connection, request)}
    changed = {
        key: Decision(found.scored, revocation.taken_back(found.decided, request, policy), cause)
        for key, found in hit.items()
    }
    voices: dict[str, set[str]] = {}
    for found in hit.values():
        voices.setdefault(found.scored.claim, set()).add(store.user_of(found.scored.feedback))
    claims = rows.claims(connection, voices)
    claims = {id: revocation.without(claim, voices[id]) for id, claim in claims.items()}
    for row in matching(connection, _TABLE.c.claim, claims):
        if row.verdict == "accept" and row.feedback not in changed:
            found = rows.decision(row)
            again = core.decide(found.scored, claims[row.claim], policy)
            if again.verdict != "accept":
                gone = Reason(code="claim_changed", detail=request.reason)
                decided = revocation.next_version(again, again.verdict, gone)
                decided = decided.model_copy(update={"version": found.decided.version + 1})
                changed[row.feedback] = Decision(found.scored, decided, cause)
    rows.save_decisions(connection, changed, policy)
    rows.save_claims(connection, claims)
    if request.user is not None and request.reason != "takeover":
        user = account_id(request.tenant, request.user)
        rows.save_accounts(connection, {user: Account()})
    if request.cluster is not None:
        gang = connection.execute(_members(request.cluster)).scalars()
        rows.save_accounts(connection, {user: Account() for user in gang})
    return _announced(connection, [d.decided for d in changed.values()], cause)


def _announced(
    connection: Connection, changed: list[FeedbackDecided], cause: str
) -> list[FeedbackDecided]:
    """Return what a cause changed, also when it was handled before: then it is told again."""
    return consequences(connection, [cause]) if cause else changed


def consequences(connection: Connection, causes: Iterable[str]) -> list[FeedbackDecided]:
    """Return the newest decisions that these events caused about other feedback."""
    found = matching(connection, _TABLE.c.cause, causes)
    return [rows.decision(row).decided for row in found]


def _members(cluster: str) -> Select[Any]:
    """Select the accounts in lockstep with the one that a cluster is, or was once, named after."""
    table = tables.CLUSTER
    name = select(table.c.cluster).where(table.c.account == cluster).scalar_subquery()
    return select(table.c.account).where(table.c.cluster == name)


def _named(connection: Connection, request: RevocationRequested) -> Iterable[tuple[str, Decision]]:
    """Yield what a request names and is not rejected yet."""
    rules = {
        "user": _TABLE.c.user == account_id(request.tenant, request.user or ""),
        "claim": _TABLE.c.claim == request.claim,
        "cluster": _TABLE.c.user.in_(_members(request.cluster or "")),
        "since": _TABLE.c.at >= (request.since.timestamp() if request.since else 0),
        "until": _TABLE.c.at <= (request.until.timestamp() if request.until else 0),
    }
    given = [rule for name, rule in rules.items() if getattr(request, name) is not None]
    named = select(_TABLE).where(_TABLE.c.verdict != "reject", *given)
    if word := revocation.plain_word(request.phrase):
        named = named.where(_TABLE.c.scored.ilike(f"%{word}%"))
    for row in connection.execute(named.order_by(_TABLE.c.feedback)):
        found = rows.decision(row)
        if revocation.names(request, found.scored.feedback):
            yield row.feedback, found


def _resolve(
    connection: Connection, causes: Mapping[str, str], policy: Policy
) -> list[FeedbackDecided]:
    """Decide what waits on these claims again, oldest first; returns what changed.

    `causes` names for each claim the event why.
    """
    waiting = [
        rows.decision(row)
        for row in sorted(
            matching(connection, _TABLE.c.claim, causes),
            key=lambda row: (row.claim, row.at, row.feedback),
        )
        if row.expires is not None
    ]
    if not waiting:
        return []
    state = store.load(connection, [found.scored for found in waiting], policy)
    for found in waiting:
        state.cause = causes[found.scored.claim]
        state.decide(found.scored, found.decided.version + 1)
    store.save(connection, state)
    return [found.decided for found in state.changed.values()]
