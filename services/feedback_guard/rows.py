"""Read and write the guard's state: what one batch needs is loaded at once and saved at once."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, func, select

from imece.events import CampaignFlagged, FeedbackDecided, FeedbackScored
from imece.runtime.database import insert_new, matching, upsert
from services.feedback_guard import state, tables
from services.feedback_guard.budgets import Bucket
from services.feedback_guard.campaign import Member
from services.feedback_guard.policy import Policy
from services.feedback_guard.state import Account, Claim

T = TypeVar("T")


class Decision(NamedTuple):
    """A stored decision: what was scored and what was decided about it."""

    scored: FeedbackScored
    decided: FeedbackDecided
    cause: str = ""
    """The event that led to this version, when it is not the feedback itself."""


def differing(now: Mapping[str, T], before: Mapping[str, T]) -> dict[str, T]:
    """Return what was replaced or added since it was loaded."""
    return {key: value for key, value in now.items() if before.get(key) is not value}


def accounts(connection: Connection, ids: Iterable[str]) -> dict[str, Account]:
    found = matching(connection, tables.ACCOUNT.c.id, ids)
    return {row.id: state.unpack_account(row.state) for row in found}


def save_accounts(connection: Connection, changed: Mapping[str, Account]) -> None:
    rows = [{"id": id, "state": state.pack_account(a)} for id, a in changed.items()]
    upsert(connection, tables.ACCOUNT, rows, ["id"])


def claims(connection: Connection, ids: Iterable[str]) -> dict[str, Claim]:
    """Return all claims of these ids; those never heard of are empty."""
    wanted = set(ids)
    known = matching(connection, tables.REFERENCE.c.claim, wanted)
    references = {row.claim: row.answer for row in known}
    found = {row.id: row.answers for row in matching(connection, _ID, wanted)}
    return {id: state.unpack_claim(found.get(id, "{}"), references.get(id)) for id in wanted}


_ID = tables.CLAIM.c.id


def save_claims(connection: Connection, changed: Mapping[str, Claim]) -> None:
    rows = [{"id": id, "answers": state.pack_claim(claim)} for id, claim in changed.items()]
    upsert(connection, tables.CLAIM, rows, ["id"])


def ledger(connection: Connection, keys: Iterable[str]) -> dict[str, Bucket]:
    found = matching(connection, tables.LEDGER.c.key, keys)
    return {key: Bucket(level, at) for key, level, at in found}


def save_ledger(connection: Connection, changed: Mapping[str, Bucket]) -> None:
    rows = [{"key": k, "level": b.level, "at": b.at} for k, b in changed.items()]
    upsert(connection, tables.LEDGER, rows, ["key"])


def clusters(connection: Connection, accounts: Iterable[str]) -> dict[str, Member]:
    """Return the clusters that these accounts are in, with all their members."""
    table = tables.CLUSTER
    names = {row.cluster for row in matching(connection, table.c.account, accounts)}
    members = matching(connection, table.c.cluster, names)
    return {row.account: Member(row.cluster, row.since, row.at) for row in members}


def save_clusters(connection: Connection, changed: Mapping[str, Member]) -> None:
    rows = [{"account": account, **vars(member)} for account, member in changed.items()]
    upsert(connection, tables.CLUSTER, rows, ["account"])


def flags(connection: Connection, keys: Iterable[str]) -> dict[str, CampaignFlagged]:
    """Return the campaigns that these feedback events showed."""
    found = matching(connection, tables.FLAG.c.feedback, keys)
    return {row.feedback: CampaignFlagged.model_validate_json(row.flagged) for row in found}


def save_flags(connection: Connection, new: Mapping[str, CampaignFlagged]) -> None:
    rows = [
        {"feedback": key, "at": flag.last_seen.timestamp(), "flagged": flag.model_dump_json()}
        for key, flag in new.items()
    ]
    insert_new(connection, tables.FLAG, rows)


def decisions(connection: Connection, keys: Iterable[str]) -> dict[str, Decision]:
    found = matching(connection, tables.DECISION.c.feedback, keys)
    return {row.feedback: decision(row) for row in found}


def waiting(connection: Connection, keys: Iterable[str]) -> dict[str, FeedbackScored]:
    """Return what was scored of those among these decisions that evidence may still change."""
    table = tables.DECISION
    found = matching(connection, table.c.feedback, keys)
    return {
        row.feedback: FeedbackScored.model_validate_json(row.scored)
        for row in found
        if row.expires is not None
    }


def refused(connection: Connection, keys: Iterable[str]) -> dict[str, FeedbackDecided]:
    """Return the decisions about events that were invalid."""
    table = tables.REFUSED
    found = matching(connection, table.c.feedback, keys)
    return {row.feedback: FeedbackDecided.model_validate_json(row.decided) for row in found}


def refuse(connection: Connection, feedback: str, decided: FeedbackDecided) -> FeedbackDecided:
    """Store the decision about an event that is invalid, unless there is one; return the first."""
    if found := decisions(connection, [feedback]).get(feedback):
        return found.decided
    text = decided.model_dump_json(exclude_none=True)
    at = newest(connection)  # what is no event has no time of its own
    insert_new(connection, tables.REFUSED, [{"feedback": feedback, "decided": text, "at": at}])
    return refused(connection, [feedback])[feedback]


def newest(connection: Connection) -> float:
    """Return when the newest known feedback was given (seconds since 1970), never in the future."""
    found = connection.execute(select(func.max(tables.DECISION.c.at))).scalar_one_or_none()
    return min(found or 0.0, time.time())


def decision(row: Any) -> Decision:
    return Decision(
        FeedbackScored.model_validate_json(row.scored),
        FeedbackDecided.model_validate_json(row.decided),
    )


def save_decisions(connection: Connection, changed: Mapping[str, Decision], policy: Policy) -> None:
    """Store new versions; those that they replace are kept in the history."""
    later = [key for key, found in changed.items() if found.decided.version > 1]
    table = tables.DECISION
    old = [
        {"feedback": row.feedback, "version": row.version, "decided": row.decided}
        for row in matching(connection, table.c.feedback, later)
    ]
    insert_new(connection, tables.HISTORY, old)
    rows = [
        {
            "feedback": key,
            "claim": found.scored.claim,
            "user": state.account_id(found.scored.feedback.tenant, found.scored.feedback.user),
            "at": found.scored.submitted.timestamp(),
            "expires": _expires(found, policy),
            "cause": found.cause or None,
            "verdict": found.decided.verdict,
            "version": found.decided.version,
            "scored": found.scored.model_dump_json(exclude_none=True),
            "decided": found.decided.model_dump_json(exclude_none=True),
        }
        for key, found in changed.items()
    ]
    upsert(connection, tables.DECISION, rows, ["feedback"])


def _expires(found: Decision, policy: Policy) -> float | None:
    """Return when the wait for evidence ends (seconds since 1970), None when nothing waits."""
    if found.decided.verdict != "quarantine" or found.decided.reasons[-1].code == "expired":
        return None
    return found.scored.submitted.timestamp() + 86_400 * policy.thresholds.quarantine_days
