"""`imece judge`: measure a judge against people, and look at what is certified."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from imece.calibration.agreement import majority, rejects
from imece.calibration.core import (
    Calibration,
    Figure,
    Labelled,
    SliceReport,
    build,
    read_labelled,
)
from imece.cli.common import AsJson, Where, events_of, show, where
from imece.cli.errors import handle_errors
from imece.errors import RejectedError
from imece.events import (
    Envelope,
    JudgementCompleted,
    JudgementRequested,
    ReviewAnswered,
    derived_id,
)

app = typer.Typer(no_args_is_help=True, help="Calibrate the judge against people.")
File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)]


@app.command()
@handle_errors()
def calibrate(
    file: File,
    *,
    judge: Annotated[str, typer.Option(help="Name of the judge, as its verdicts sign it.")],
    prompt_version: Annotated[str, typer.Option(help="`prompt_version` of the verdicts.")],
    family: Annotated[str | None, typer.Option(help="Whose models it may favour.")] = None,
    target: Annotated[float, typer.Option(min=0.5, max=0.999)] = 0.85,
    delta: Annotated[float, typer.Option(min=0.001, max=0.5)] = 0.1,
    days: Annotated[float, typer.Option(min=1, max=730, help="Valid for so long.")] = 90,
    out: Annotated[Path, typer.Option(help="Where to write it.")] = Path("calibration.json"),
    as_json: AsJson = False,
) -> None:
    """Measure a judge on FILE (JSON lines with verdict and people) and write its calibration."""
    with file.open(encoding="utf-8") as lines:
        rows = read_labelled(lines, str(file))
    made = build(
        rows,
        judge=judge,
        prompt_version=prompt_version,
        now=datetime.now(UTC),
        days=days,
        target=target,
        delta=delta,
        family=family,
    )
    out.write_text(made.model_dump_json(indent=2) + "\n", encoding="utf-8")
    show([_row(each) for each in made.slices], as_json)
    typer.echo(f"{made.digest} in {out}; set IMECE_LLM_JUDGE_CALIBRATION={out}", err=True)


@app.command("show")
@handle_errors()
def show_(
    file: File,
    audit: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Newer verdicts with people, JSON lines."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a calibration; exit code 1 when it has ended or AUDIT contradicts what it certifies."""
    calibration = load(file)
    show([_row(each) for each in calibration.slices], as_json)
    ended = calibration.expired(calibration.judge, calibration.prompt_version, datetime.now(UTC))
    problems = [f"not valid: {ended}"] if ended else []
    if audit is not None:
        with audit.open(encoding="utf-8") as lines:
            problems += contradictions(calibration, lines, str(audit))
    for problem in problems:
        typer.echo(problem, err=True)
    if problems:
        raise typer.Exit(1)


@app.command()
@handle_errors()
def report(
    evaluation: Annotated[str | None, typer.Option(help="Only this one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what the judge made of each evaluation: verdicts, flips, reasons, calls and money."""
    told = [event.data for event in asyncio.run(events_of(where(), JudgementCompleted))]
    show(summary([v for v in told if evaluation in (None, v.evaluation)]), as_json, "no verdicts")


def summary(told: Sequence[JudgementCompleted]) -> list[dict[str, Any]]:
    """Return one row an evaluation; attempted is always scored and unscored together."""
    rows = []
    for name in sorted({verdict.evaluation for verdict in told}):
        mine = [verdict for verdict in told if verdict.evaluation == name]
        scored = [verdict for verdict in mine if verdict.verdict != "unscored"]
        pairwise = [verdict for verdict in scored if verdict.mode == "pairwise"]
        flips = sum(verdict.first_order != verdict.second_order for verdict in pairwise)
        reasons = Counter(v.reason.partition(":")[0] for v in mine if v.verdict == "unscored")
        costs = [v.usage.money for v in mine if v.usage.money is not None]
        rows.append(
            {
                "evaluation": name,
                "attempted": len(mine),
                "scored": len(scored),
                "unscored": ", ".join(f"{why} {n}" for why, n in sorted(reasons.items())) or None,
                "flip rate": round(flips / len(pairwise), 4) if pairwise else None,
                "calibrated": sum(verdict.calibration is not None for verdict in mine),
                "flags": ", ".join(sorted({flag for v in mine for flag in v.flags})) or None,
                "calls": sum(verdict.usage.calls for verdict in mine),
                "cached": sum(verdict.usage.cached or 0 for verdict in mine),
                "tokens": sum(v.usage.prompt_tokens + v.usage.completion_tokens for v in mine),
                "money": round(sum(costs), 6) if costs else None,
            }
        )
    return rows


@app.command()
@handle_errors()
def pairs() -> None:
    """Print verdicts with people's answers from Kafka, as lines for `imece judge calibrate`."""
    for row in asyncio.run(_pairs(where())):
        typer.echo(row.model_dump_json(exclude_none=True))


async def _pairs(at: Where) -> list[Labelled]:
    return labelled(
        await events_of(at, JudgementRequested),
        await events_of(at, JudgementCompleted),
        await events_of(at, ReviewAnswered),
    )


def labelled(
    asked: Sequence[Envelope[JudgementRequested]],
    told: Sequence[Envelope[JudgementCompleted]],
    answers: Sequence[Envelope[ReviewAnswered]],
) -> list[Labelled]:
    """Join verdicts with people's answers; what people skipped is left out.

    An answer weighs the inverse of the chance that its item was asked at all.
    """
    people: dict[str, list[ReviewAnswered]] = {}
    for answer in answers:
        if answer.data.choice is not None and answer.data.item.startswith("judgement/"):
            people.setdefault(answer.data.item.removeprefix("judgement/"), []).append(answer.data)
    verdicts = {event.id: event.data for event in told}
    found = []
    for event in asked:
        # Ids are derived, so the judgement behind a question needs no table.
        id = derived_id("judgement", event.source, event.id)
        verdict = verdicts.get(derived_id(id, JudgementCompleted.topic.name))
        if verdict is not None and id in people:
            found.append(_labelled(event.data, verdict, people[id]))
    return found


def _labelled(
    asked: JudgementRequested, verdict: JudgementCompleted, people: list[ReviewAnswered]
) -> Labelled:
    families = asked.families if len(asked.families) == 2 else (None, None)
    return Labelled.model_validate(
        {
            "item": asked.item,
            "slice": asked.slice,
            "verdict": verdict.verdict,
            "confidence": verdict.confidence,
            "first_order": verdict.first_order,
            "second_order": verdict.second_order,
            "people": [("a", "b", "tie")[min(each.choice or 0, 2)] for each in people],
            "length_a": len(asked.answer_a),
            "length_b": len(asked.answer_b) if asked.mode == "pairwise" else None,
            "family_a": families[0],
            "family_b": families[1],
            "weight": 1 / people[0].inclusion,
        }
    )


def load(file: Path) -> Calibration:
    """Read a calibration; RejectedError when it is none."""
    try:
        return Calibration.model_validate_json(file.read_bytes())
    except ValueError as error:
        raise RejectedError("bad_calibration", f"{file} is no calibration: {error}") from error


def contradictions(calibration: Calibration, lines: Iterable[str], name: str) -> list[str]:
    """Say which certified slices newer labels rule out."""
    rows = read_labelled(lines, name)
    found = []
    for report in calibration.slices:
        if report.certificate is None:
            continue
        agreed = [
            row.verdict == majority(row.people)
            for row in rows
            if row.slice == report.slice and calibration.covers(row.slice, row.sure)
        ]
        if rejects(agreed, report.certificate.target):
            found.append(
                f"{report.slice}: people agree less than {report.certificate.target:.0%}"
                f" ({sum(agreed)} of {len(agreed)} audits): calibrate again"
            )
    return found


def _row(report: SliceReport) -> dict[str, Any]:
    proven = report.certificate
    return {
        "slice": report.slice,
        "n": report.n,
        "unscored": report.unscored,
        "agreement": _figure(report.agreement),
        "kappa": _figure(report.kappa),
        "people kappa": _figure(report.people_kappa),
        "flips": _figure(report.flip_rate),
        "longer": _figure(report.length_effect),
        "own family": _figure(report.self_preference),
        "certified": f"{proven.target:.0%} from {proven.threshold:.2g} ({proven.coverage:.0%})"
        if proven
        else "no: it may rank, not promote",
    }


def _figure(figure: Figure) -> str | None:
    if figure.value is None:
        return None
    if figure.low is None or figure.high is None:
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"
