"""Both stages on the database: load a batch's state, decide one by one, save what changed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection

from imece.events import (
    CampaignFlagged,
    Envelope,
    FeedbackDecided,
    FeedbackScored,
    FeedbackSubmitted,
    derived_id,
)
from imece.runtime.database import insert_new, matching, upsert
from services.feedback_guard import (
    admission,
    budgets,
    campaign,
    core,
    habit,
    minhash,
    rows,
    seats,
    tables,
)
from services.feedback_guard.admission import Admission
from services.feedback_guard.budgets import Bucket
from services.feedback_guard.campaign import Member
from services.feedback_guard.content import NO_SCORES, ModelScores
from services.feedback_guard.evidence import contradicts
from services.feedback_guard.policy import Policy
from services.feedback_guard.rows import Decision
from services.feedback_guard.state import NEW, Account, Claim, account_id

METADATA = tables.METADATA
_DAY = 86_400


@lru_cache(maxsize=16_384)
def feedback_key(source: str, id: str) -> str:
    """Return what identifies a feedback event in the tables."""
    return derived_id(source, id)


def score_all(
    connection: Connection,
    events: Sequence[Envelope[FeedbackSubmitted]],
    policy: Policy,
    keys: Mapping[str, bytes] | None = None,
    scores: Sequence[ModelScores] = (),
) -> list[FeedbackScored]:
    """Stage one for a batch: the first vote of a (user, response) stands, later ones are marked.

    `scores` are the optional classifiers', one for each event, or none at all.
    A vote that was seen before fills no bucket again, so a redelivered event fares as at first.
    """
    keys = keys or {}
    accounts = rows.accounts(connection, {user_of(e.data) for e in events})
    rates = [admission.rates(e.data, policy) for e in events]
    ledger = rows.ledger(connection, {key for limits in rates for key in limits})
    accounts_before, ledger_before = dict(accounts), dict(ledger)
    table = tables.VOTE
    keyed = [vote_key(event.data) for event in events]
    votes = matching(connection, table.c.key, keyed)
    known = {row.key: (row.feedback, row.hard, row.changed) for row in votes}
    fresh: dict[str, dict[str, Any]] = {}
    scored, oldest = [], rows.newest(connection) - _DAY * policy.retention.days
    scores = scores or [NO_SCORES] * len(events)
    for event, vote, limits, said in zip(events, keyed, rates, scores, strict=True):
        admitted, changed = admission.admit(event, keys, policy), None
        feedback = feedback_key(event.source, event.id)
        user, now = user_of(event.data), event.time.timestamp()
        account = accounts.get(user, NEW)
        if vote not in known and now < oldest:
            admitted = Admission("too_old", 0.0)  # it would be forgotten before it is settled
        if admitted.hard is None and vote not in known:  # a forged token takes no one's vote
            hard = "rate" if admission.too_fast(now, limits, ledger) else None
            ways, changed = habit.observe(account.habit, event)
            # Whoever took an account over inherits none of its record.
            account = NEW if changed is not None else account.behaving(ways)
            accounts[user] = account
            known[vote] = (feedback, hard, changed)
            fresh[vote] = {"key": vote, "feedback": feedback, "hard": hard, "changed": changed}
        if admitted.hard is None:
            holder, hard, changed = known[vote]
            hard = hard if holder == feedback else "duplicate_vote"
            admitted = Admission(hard, admitted.weight)
            changed = changed if holder == feedback else None
        since = None if changed is None else datetime.fromtimestamp(changed, UTC)
        scored.append(core.score(event, account, admitted, policy, since, scores=said))
    insert_new(connection, table, list(fresh.values()))
    rows.save_ledger(connection, rows.differing(ledger, ledger_before))
    rows.save_accounts(connection, rows.differing(accounts, accounts_before))
    new = [
        event
        for event, vote, item in zip(events, keyed, scored, strict=True)
        if item.hard is None and vote in fresh
    ]
    seats.take(connection, new, policy, next(iter(keys.values()), b""))
    return scored


@dataclass
class State:
    """What is known while a batch is decided; `decide` changes it."""

    policy: Policy
    claims: dict[str, Claim]
    accounts: dict[str, Account]
    ledger: dict[str, Bucket]
    near: dict[str, list[str]]
    near_at: Mapping[str, float] = field(default_factory=dict)
    """When somebody was last met at a band, to the day."""
    clusters: dict[str, Member] = field(default_factory=dict)
    cause: str = ""
    changed: dict[str, Decision] = field(default_factory=dict)
    flags: dict[str, CampaignFlagged] = field(default_factory=dict)
    met: dict[str, float] = field(default_factory=dict)
    """Bands at which somebody was met who was new, or on a new day, and when."""

    def __post_init__(self) -> None:
        """Remember what was loaded: only what differs from it is written back."""
        self.claims_before = dict(self.claims)
        self.accounts_before = dict(self.accounts)
        self.ledger_before = dict(self.ledger)
        self.clusters_before = dict(self.clusters)

    def decide(self, item: FeedbackScored, version: int) -> FeedbackDecided:
        """Decide one feedback whose vote is in its claim, and book what follows from it."""
        user, model = user_of(item.feedback), _model(item)
        known = self.accounts.get(model, NEW)
        account, claim = self.accounts.get(user, NEW), self.claims[item.claim]
        member = self.clusters.get(user)
        cluster = member.cluster if member else None
        mates = {w for w, m in self.clusters.items() if m.cluster == cluster} if cluster else set()
        decided = core.decide(
            item,
            claim,
            self.policy,
            version=version,
            near=self._meet(item),
            ledger=self.ledger,
            model=known,
            cluster=cluster,
            mates=mates,
        )
        if version == 1 or decided.verdict != "quarantine":
            if decided.row is not None:
                alone = core.unconfirmed(item, claim, self.policy, mates)
                self.ledger.update(budgets.book(item, self.policy, self.ledger, cluster, alone))
            for id, old, now in (
                (user, account, core.settle(account, decided, item)),
                (model, known, core.settle_model(known, decided, item)),
            ):
                if now is not old:
                    self.accounts[id] = now
            self.changed[key_of(item)] = Decision(item, decided, self.cause)
        return decided

    def vote(self, item: FeedbackScored) -> None:
        """Put a new vote into its claim; a contradiction may show with whom the account acts."""
        claim, user = self.claims[item.claim], user_of(item.feedback)
        if contradicts(item) and item.stance > 0 and item.hard is None:
            others, now = claim.support(item.answer).accounts, item.submitted.timestamp()
            if friends := campaign.meet(user, others, now, self.policy, self.ledger):
                before = self.clusters
                self.clusters = after = campaign.join(user, friends, before, now)
                flag = campaign.flag(
                    item, friends, before, after, policy=self.policy, ledger=self.ledger
                )
                if flag is not None:
                    self.flags[key_of(item)] = flag
        self.claims[item.claim] = core.record(item, claim, self.policy)

    def _meet(self, item: FeedbackScored) -> int:
        """Add the author to all who sent nearly this text (at most 16); return how many.

        Praise does not count: honest users who like a right answer are no campaign against it.
        """
        if not contradicts(item):
            return 0
        most, user, now = 0, user_of(item.feedback), item.submitted.timestamp()
        for band in minhash.bands(item.feedback.tenant, item.signature):
            users = self.near[band]
            fresh, seen = user not in users and len(users) < 16, self._seen(band)
            if fresh:
                users.append(user)
            if fresh or now > seen + _DAY:
                self.met[band] = max(seen, now)
            most = max(most, len(users))
        return most

    def _seen(self, band: str) -> float:
        return self.met.get(band, self.near_at.get(band, 0.0))


def load(
    connection: Connection, scored: Sequence[FeedbackScored], policy: Policy, cause: str = ""
) -> State:
    """Load all that deciding these feedback events needs."""
    bands = {b for s in scored for b in minhash.bands(s.feedback.tenant, s.signature)}
    met = matching(connection, tables.NEAR.c.band, bands)
    found = {row.band: json.loads(row.accounts) for row in met}
    claims = rows.claims(connection, {s.claim for s in scored})
    voters = _voters(scored, claims)
    clusters = rows.clusters(connection, {who for them in voters.values() for who in them})
    keys = {key for s in scored for key in budgets.keys(s, policy)}
    for item in scored:
        if contradicts(item):
            others = voters[item.claim, item.answer]
            keys |= campaign.keys(user_of(item.feedback), others)
            keys |= {f"cluster|{name}" for name in others}
    keys |= {f"cluster|{member.cluster}" for member in clusters.values()}
    return State(
        policy,
        claims,
        rows.accounts(connection, {id for s in scored for id in (user_of(s.feedback), _model(s))}),
        rows.ledger(connection, keys),
        {band: found.get(band, []) for band in bands},
        {row.band: row.at for row in met},
        clusters,
        cause,
    )


def _voters(
    scored: Sequence[FeedbackScored], claims: Mapping[str, Claim]
) -> dict[tuple[str, str], set[str]]:
    """Return who has voted, or does so in this batch, for each answer."""
    found: dict[tuple[str, str], set[str]] = {}
    for item in scored:
        voters = found.setdefault(
            (item.claim, item.answer), set(claims[item.claim].support(item.answer).accounts)
        )
        voters.add(user_of(item.feedback))
    return found


def save(connection: Connection, state: State) -> None:
    """Write everything that deciding changed."""
    rows.save_decisions(connection, state.changed, state.policy)
    rows.save_claims(connection, rows.differing(state.claims, state.claims_before))
    rows.save_accounts(connection, rows.differing(state.accounts, state.accounts_before))
    rows.save_ledger(connection, rows.differing(state.ledger, state.ledger_before))
    rows.save_clusters(connection, rows.differing(state.clusters, state.clusters_before))
    rows.save_flags(connection, state.flags)
    met = [
        {"band": band, "accounts": json.dumps(state.near[band]), "at": at}
        for band, at in state.met.items()
    ]
    upsert(connection, tables.NEAR, met, ["band"])


def decide_all(
    connection: Connection, scored: Sequence[FeedbackScored], policy: Policy
) -> list[FeedbackDecided]:
    """Stage two for a batch; feedback that was decided before keeps its decision."""
    keys = [key_of(item) for item in scored]
    stored = rows.decisions(connection, keys)
    decided = {key: found.decided for key, found in stored.items()}
    decided |= rows.refused(connection, keys)
    state = load(connection, scored, policy)
    for key, item in zip(keys, scored, strict=True):
        if key not in decided:
            state.vote(item)
            decided[key] = state.decide(item, 1)
    save(connection, state)
    return [decided[key] for key in keys]


def key_of(item: FeedbackScored) -> str:
    """Return what identifies scored feedback in the tables."""
    return feedback_key(item.feedback_source, item.feedback_id)


def user_of(feedback: FeedbackSubmitted) -> str:
    """Return the account of who gave the feedback."""
    return account_id(feedback.tenant, feedback.user)


def _model(item: FeedbackScored) -> str:
    """Return the id under which the record of a model on a subject is kept."""
    return account_id(item.feedback.tenant, f"model\x1f{item.feedback.model}\x1f{item.subject}")


def vote_key(feedback: FeedbackSubmitted) -> str:
    """Return what identifies a user's vote on a response in the tables."""
    return f"{user_of(feedback)}|{feedback.response}"
