"""Second opinions as they go on: who was invited to which answer, and who is to be asked next."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select

from imece.events import FeedbackScored, OpinionRequested
from imece.runtime.database import matching, upsert
from services.feedback_guard import evidence, panel, rows, seats, store, tables
from services.feedback_guard.budgets import Bucket
from services.feedback_guard.policy import Policy
from services.feedback_guard.state import Claim, account_id, slot

_TABLE = tables.ASK
_AT_ONCE = 100
_DAY = 86_400
_RETRY, _SOON = 3_600, 1


@dataclass
class _Desk:
    """What deciding whom to ask needs, and what changes while it is decided."""

    now: datetime
    policy: Policy
    keys: Mapping[str, bytes]
    claims: Mapping[str, Claim]
    users: Mapping[str, Sequence[str]]
    open: dict[str, dict[str, Any]]
    ledger: dict[str, Bucket]
    done: set[str]

    def next(self, scored: FeedbackScored, cause: str) -> OpinionRequested | None:
        """Invite more users when those who were asked cannot decide any more."""
        key, now = key_of(scored), self.now.timestamp()
        blank = {"feedback": store.key_of(scored), "invited": "[]", "round": 0, "due": now}
        row = self.open.get(key) or {"key": key, **blank, "cause": ""}
        names: list[str] = json.loads(row["invited"])
        item = f"feedback:{row['feedback']}"
        if row["cause"] == cause and row["round"]:  # delivered again: the same question goes out
            again = names[-row["round"] :]
            return panel.request(item, scored, again, self.keys, self.policy)
        wanted = self._wanted(scored, names if now < row["due"] else ())
        if not wanted:
            return None
        drawn = self._draw(item, scored, names, wanted)
        due = now + self._patience(scored, drawn)
        invited = json.dumps([*names, *drawn], ensure_ascii=False)
        self.open[key] = {
            **row,
            "invited": invited,
            "round": len(drawn),
            "due": due,
            "cause": cause,
        }
        return panel.request(item, scored, drawn, self.keys, self.policy) if drawn else None

    def _patience(self, scored: FeedbackScored, drawn: Sequence[str]) -> float:
        """Return after how many seconds to draw again: half as long as it has waited, at least.

        So what nobody answers is not taken up over and over.
        """
        waited = (self.now - scored.submitted).total_seconds()
        least = _SOON if self._few(scored.feedback.tenant) else _RETRY
        return max(self.policy.panel.patience_hours * 3_600 if drawn else least, waited / 2)

    def _few(self, tenant: str) -> bool:
        """Tell whether so few users are known that some accounts could be most of them."""
        return len(self.users[tenant]) < self.policy.panel.least_users

    def _wanted(self, scored: FeedbackScored, open: Sequence[str]) -> int:
        """Return how many more to ask when the invitations to `open` still stand."""
        claim = self.claims[scored.claim]
        support = claim.support(scored.answer)
        voice = evidence.voice(evidence.preference(claim, scored.answer), self.policy)
        said = len(support.sampled_for) + len(support.sampled_against)
        pending = max(0, len(open) - said)
        lead = evidence.lead(scored, self.policy)
        wanted = panel.missing(support, lead, pending, self.policy, voice)
        if wanted == 0 and pending == 0:
            self.done.add(key_of(scored))
        return wanted

    def _draw(
        self, item: str, scored: FeedbackScored, names: Sequence[str], wanted: int
    ) -> list[str]:
        """Draw users who neither voted nor were invited; nobody when there are too few."""
        tenant, claim = scored.feedback.tenant, self.claims[scored.claim]
        if self._few(tenant) or not self._room(scored, wanted):
            return []
        voters = {a for s in claim.answers.values() for a in s.accounts}
        heard = {*voters, store.user_of(scored.feedback), *(account_id(tenant, n) for n in names)}
        secret = next(iter(self.keys.values()), b"")
        others = self.users[tenant]
        drawn = panel.draw(item, others, wanted, tenant=tenant, heard=heard, secret=secret)
        if len(drawn) < wanted:
            return []
        for key in (_cards(tenant), _own(scored)):
            bucket = self.ledger.get(key, Bucket())
            self.ledger[key] = bucket.add(wanted, self.now.timestamp(), _DAY)
        return drawn

    def _room(self, scored: FeedbackScored, wanted: int) -> bool:
        """Tell whether the day's cards suffice; praise may not use those of contradictions.

        Nor may one account use all: a flood of its lies must not leave the truth unasked.
        """
        rules, now = self.policy.panel, self.now.timestamp()
        limit = rules.cards_per_day
        if not evidence.contradicts(scored):
            limit *= rules.praise_share
        used, own = (
            self.ledger.get(key, Bucket()).level_at(now, _DAY) + wanted
            for key in (_cards(scored.feedback.tenant), _own(scored))
        )
        return used <= limit and own <= max(rules.most, rules.cards_per_day * rules.author_share)


def invite(
    connection: Connection,
    waiting: Mapping[str, FeedbackScored],
    now: datetime,
    policy: Policy,
    keys: Mapping[str, bytes],
    *,
    newest: str,
) -> list[OpinionRequested]:
    """Return whom to ask about feedback that waits, by the event that is the cause.

    Also asks others in place of those who have been silent for too long at `now`, which the
    `newest` event tells.
    """
    asked = {key_of(s): (newest, s) for s in _overdue(connection, now)}
    asked |= {key_of(s): (cause, s) for cause, s in waiting.items() if s.stance > 0}
    if not asked:
        return []
    desk = _desk(connection, {key: s for key, (_, s) in asked.items()}, now, policy, keys)
    found = [desk.next(scored, cause) for cause, scored in asked.values()]
    _save(connection, desk)
    return [request for request in found if request is not None]


def after(
    connection: Connection,
    feedback: str,
    now: datetime,
    policy: Policy,
    keys: Mapping[str, bytes],
    *,
    cause: str,
) -> list[OpinionRequested]:
    """Return whom to ask after somebody gave an opinion on this feedback's answer."""
    found = rows.decisions(connection, [feedback]).get(feedback)
    if found is None or found.decided.verdict != "quarantine":
        return []
    return invite(connection, {cause: found.scored}, now, policy, keys, newest=cause)


def key_of(scored: FeedbackScored) -> str:
    """Return the key of an answer that people are asked about."""
    return f"{scored.claim}|{slot(scored.answer)}"


def _overdue(connection: Connection, now: datetime) -> list[FeedbackScored]:
    """Return feedback on which invited users are silent; what waits no more is forgotten."""
    late = select(_TABLE.c.key, _TABLE.c.feedback).where(_TABLE.c.due < now.timestamp())
    late = late.order_by(_TABLE.c.due, _TABLE.c.key).limit(_AT_ONCE)
    keys = {row.feedback: row.key for row in connection.execute(late)}
    if not keys:
        return []
    found = rows.waiting(connection, keys)
    over = [key for feedback, key in keys.items() if feedback not in found]
    connection.execute(delete(_TABLE).where(_TABLE.c.key.in_(over)))
    return [found[feedback] for feedback in keys if feedback in found]


def _desk(
    connection: Connection,
    asked: Mapping[str, FeedbackScored],
    now: datetime,
    policy: Policy,
    keys: Mapping[str, bytes],
) -> _Desk:
    tenants = {s.feedback.tenant for s in asked.values()}
    users = {tenant: sorted(names) for tenant, names in seats.active(connection, tenants).items()}
    return _Desk(
        now,
        policy,
        keys,
        rows.claims(connection, {s.claim for s in asked.values()}),
        users,
        {r.key: dict(r._mapping) for r in matching(connection, _TABLE.c.key, asked)},
        rows.ledger(connection, {*map(_cards, tenants), *map(_own, asked.values())}),
        set(),
    )


def _save(connection: Connection, desk: _Desk) -> None:
    connection.execute(delete(_TABLE).where(_TABLE.c.key.in_(desk.done)))
    kept = [row for key, row in desk.open.items() if key not in desk.done]
    upsert(connection, _TABLE, kept, ["key"])
    rows.save_ledger(connection, desk.ledger)


def _cards(tenant: str) -> str:
    return f"cards|{tenant}"


def _own(scored: FeedbackScored) -> str:
    return f"cards|by|{store.user_of(scored.feedback)}"
