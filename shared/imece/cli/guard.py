"""`imece guard`: explain decisions, take feedback back, try a new policy on what has happened."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from imece.cli.common import AsJson, Where, as_dict, events_of, show, where
from imece.cli.errors import handle_errors
from imece.client import Producer
from imece.errors import ConfigError, RejectedError
from imece.events import (
    AnswerVerified,
    AuditRecorded,
    CampaignFlagged,
    Envelope,
    Event,
    FeedbackDecided,
    FeedbackScored,
    FeedbackSubmitted,
    JudgementCompleted,
    OpinionGiven,
    ReviewAnswered,
    RevocationRequested,
    derived_id,
    new,
)

app = typer.Typer(no_args_is_help=True, help="What feedback-guard decided and why; revocations.")
REPLAYED: tuple[type[Event], ...] = (
    FeedbackSubmitted,
    ReviewAnswered,
    OpinionGiven,
    JudgementCompleted,
    AnswerVerified,
    RevocationRequested,
)


@app.command()
@handle_errors()
def explain(event: str, as_json: AsJson = False) -> None:
    """Show every version of the decision about the feedback EVENT (its id), with all reasons."""
    found = [e.data for e in asyncio.run(events_of(where(), FeedbackDecided))]
    versions = {d.version: d for d in found if d.feedback == event}
    if not versions:
        topic = FeedbackDecided.topic.name
        raise RejectedError(
            "unknown_event", f"no decision about feedback {event!r}; see `imece watch {topic}`"
        )
    show([row for version in sorted(versions) for row in reasons(versions[version])], as_json)


def reasons(decided: FeedbackDecided) -> list[dict[str, Any]]:
    """Return one row for each reason of a decision; their nats add up to its score."""
    return [
        {
            "version": decided.version,
            "verdict": decided.verdict,
            "score": round(decided.score, 2),
            "policy": decided.policy,
            "reason": reason.code,
            "nats": round(reason.nats, 2),
            "detail": reason.detail,
        }
        for reason in decided.reasons
    ]


@app.command()
@handle_errors()
def campaigns(as_json: AsJson = False) -> None:
    """List accounts that act in lockstep: each cluster as it was announced last."""
    newest: dict[tuple[str, str], CampaignFlagged] = {}
    for event in asyncio.run(events_of(where(), CampaignFlagged)):
        newest[event.data.tenant, event.data.cluster] = event.data
    found = sorted(newest.values(), key=lambda flag: flag.last_seen)
    show([flag.model_dump(mode="json") for flag in found], as_json, "no account acts in lockstep")


@app.command()
@handle_errors()
def revoke(
    *,
    user: str | None = None,
    claim: str | None = None,
    phrase: str | None = None,
    cluster: Annotated[
        str | None, typer.Option(help="Accounts in lockstep, as `explain` names them.")
    ] = None,
    since: datetime | None = None,
    until: datetime | None = None,
    tenant: str = "default",
    reason: str = "operator",
    by: str = "operator",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what it names.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take back feedback of a user, claim, phrase, cluster or time (UTC); all given must apply."""
    now = datetime.now(UTC).isoformat()
    try:
        request = RevocationRequested(
            request=derived_id("revocation", now, user, claim, phrase, cluster),
            reason=reason,
            by=by,
            tenant=tenant,
            user=user,
            claim=claim,
            phrase=phrase,
            cluster=cluster,
            since=_utc(since),
            until=_utc(until),
        )
    except ValueError as error:
        raise ConfigError(f"revocation: {error}") from error
    at = where()
    if dry_run:
        show(asyncio.run(_named(at, request)), as_json, "it names no accepted feedback")
        return
    asyncio.run(_request(at, request))
    typer.echo(f"requested: {request.request}; see `imece watch {FeedbackDecided.topic.name}`")


def named(
    request: RevocationRequested,
    submitted: Sequence[Envelope[FeedbackSubmitted]],
    decided: Sequence[FeedbackDecided],
) -> list[dict[str, Any]]:
    """Return the accepted feedback that a request names, as far as the topics still hold it."""
    newest: dict[tuple[str, str], FeedbackDecided] = {}
    for each in sorted(decided, key=lambda d: d.version):
        newest[each.feedback_source, each.feedback] = each
    gang = {d.user for d in decided if request.cluster in _lockstep(d)}
    rows = []
    for event in submitted:
        last = newest.get((event.source, event.id))
        member = request.cluster is None or event.data.user in gang
        if member and last and last.verdict == "accept" and _fits(request, event, last):
            rows.append(
                {"feedback": event.id, "user": event.data.user, "prompt": event.data.prompt[:80]}
            )
    return rows


def _lockstep(decided: FeedbackDecided) -> set[str]:
    return {reason.detail for reason in decided.reasons if reason.code == "lockstep"}


def _fits(
    request: RevocationRequested, event: Envelope[FeedbackSubmitted], last: FeedbackDecided
) -> bool:
    data = event.data
    text = f"{data.prompt}\n{getattr(data.signal, 'text', data.answer)}".casefold()
    return (
        data.tenant == request.tenant
        and request.user in (None, data.user)
        and request.claim in (None, last.claim)
        and (request.phrase or "").casefold() in text
        and (request.since is None or event.time >= request.since)
        and (request.until is None or event.time <= request.until)
    )


@app.command()
@handle_errors()
def replay(
    policy: Annotated[Path, typer.Option(help="The new policy file.")],
    as_json: AsJson = False,
) -> None:
    """Decide all feedback again in memory, under the policy in use and under a new one.

    Lists what would change. Upstream's reference records are not part of it: what they confirmed
    stays quarantined on both sides. Needs the services' code, as in the image or a checkout.
    """
    if not policy.is_file():
        raise ConfigError(f"there is no policy file {policy}")
    events = asyncio.run(_everything(where()))
    found = _asked_guard("whatif", [str(policy)], events)
    show(found, as_json, "nothing would change")


@app.command()
@handle_errors()
def bounds(
    *,
    since: Annotated[datetime | None, typer.Option(help="Only events from then on (UTC).")] = None,
    rate: Annotated[float, typer.Option(help="Share of honest feedback that may be lost.")] = 0.005,
    confirmed: Annotated[
        bool, typer.Option("--confirmed", help="All that was found right, not only the audit.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show how much honest feedback is rejected at most, for each kind of user and feedback.

    95 % sure for all kinds together. `threshold` is the score that keeps it below the rate.
    """
    events = asyncio.run(_judged(where(), _utc(since)))
    basis = "confirmed" if confirmed else "audited"
    found = _asked_guard("calibrate", [str(rate), basis], events)
    show(found, as_json, "no honest feedback is known")


async def _judged(at: Where, since: datetime | None) -> list[Envelope[Any]]:
    kinds: tuple[type[Event], ...] = (FeedbackScored, FeedbackDecided, ReviewAnswered)
    found: list[Envelope[Any]] = [event for kind in kinds for event in await events_of(at, kind)]
    return [event for event in found if since is None or event.time >= since]


def _asked_guard(module: str, arguments: Sequence[str], events: Sequence[Envelope[Any]]) -> Any:
    """Run a module of the guard on events; needs the services' code, as in the image."""
    lines = "\n".join(json.dumps(as_dict(event), ensure_ascii=False) for event in events)
    command = [sys.executable, "-m", f"services.feedback_guard.{module}", *arguments]
    done = subprocess.run(command, input=lines.encode(), capture_output=True, check=False)
    if done.returncode:
        last = (done.stderr.decode(errors="replace").strip() or "no output").splitlines()[-1]
        raise ConfigError(f"the guard's {module} failed: {last}")
    return json.loads(done.stdout)


async def _everything(at: Where) -> list[Envelope[Any]]:
    found: list[Envelope[Any]] = [event for kind in REPLAYED for event in await events_of(at, kind)]
    scored = await events_of(at, FeedbackScored)
    found += [e for e in scored if (e.data.injection, e.data.toxicity) != (None, None)]
    return sorted(found, key=lambda event: event.time)


async def _named(at: Where, request: RevocationRequested) -> list[dict[str, Any]]:
    submitted = await events_of(at, FeedbackSubmitted)
    return named(request, submitted, [e.data for e in await events_of(at, FeedbackDecided)])


async def _request(at: Where, request: RevocationRequested) -> None:
    audit = AuditRecorded(
        service="feedback-guard",
        action="guard.revoked",
        subject=request.request,
        actor=request.by,
        detail=request.reason,
    )
    producer = Producer(at.kafka, at.security)
    try:
        await producer.send(new(request, "imece/cli"), new(audit, "imece/cli"))
    finally:
        await producer.stop()


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment
