"""What the demo measures, computed from what came out of Kafka."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from imece.events import FeedbackDecided
from tests.demo.story import Outcome
from tests.demo.users import Kind


def share_right(items: Sequence[dict[str, Any]], *, guard: bool) -> float | None:
    """Accuracy on the guard probes or on the clean held-out questions; None without items."""
    chosen = [i for i in items if bool(i["guard"]) == guard and i["slice"] != "all"]
    return sum(bool(i["correct"]) for i in chosen) / len(chosen) if chosen else None


def verdicts(outcome: Outcome) -> dict[Kind, dict[str, int]]:
    """Decisions by who was behind the feedback."""
    table: dict[Kind, dict[str, int]] = {}
    for item, id in zip(outcome.sent, outcome.ids, strict=True):
        row = table.setdefault(item.kind, {"accept": 0, "quarantine": 0, "reject": 0})
        row[outcome.decisions[id].verdict] += 1
    return table


def reasons(outcome: Outcome) -> dict[str, int]:
    """How often each reason code was given for keeping feedback out."""
    counts: dict[str, int] = {}
    for decision in outcome.decisions.values():
        if decision.verdict != "accept":
            for code in _codes(decision):
                counts[code] = counts.get(code, 0) + 1
    return dict(sorted(counts.items(), key=lambda pair: -pair[1]))


def figures(outcome: Outcome) -> dict[str, float | None]:
    """The demo's row ids and values; None where a model was not trained in this run."""
    table = verdicts(outcome)
    campaign = table.get("campaign", {})
    honest = _sum(table, ("honest", "true-correction", "farming"))
    items = outcome.items
    return {
        "demo.seconds": outcome.seconds,
        "demo.guarded_probes": share_right(items.get("guarded", []), guard=True),
        "demo.unguarded_probes": share_right(items.get("unguarded", []), guard=True),
        "demo.clean_guarded": share_right(items.get("guarded", []), guard=False),
        "demo.clean_only": share_right(items.get("clean-only", []), guard=False),
        "demo.clean_base": share_right(items.get("base", []), guard=False),
        "demo.campaign_kept_out": 1 - _share(campaign, "accept"),
        "demo.honest_rejected": _share(honest, "reject"),
        "demo.true_corrections_rejected": float(table.get("true-correction", {}).get("reject", 0)),
        "demo.kafka_ready_s": outcome.kafka_ready_seconds,
        "demo.decision_p95_s": _p95(outcome.latencies),
    }


def answers(outcome: Outcome) -> list[tuple[str, dict[str, tuple[str, bool]]]]:
    """For each probe: the prompt, and (answer, right) of each model."""
    by_prompt: dict[str, dict[str, tuple[str, bool]]] = {}
    for model, items in outcome.items.items():
        for item in items:
            if item["guard"]:
                seen = by_prompt.setdefault(item["prompt"], {})
                seen[model] = (item["answer"], bool(item["correct"]))
    return list(by_prompt.items())


def _codes(decision: FeedbackDecided) -> set[str]:
    return {reason.code for reason in decision.reasons if reason.nats >= 0}


def _sum(table: dict[Kind, dict[str, int]], kinds: Sequence[Kind]) -> dict[str, int]:
    total: dict[str, int] = {}
    for kind in kinds:
        for verdict, count in table.get(kind, {}).items():
            total[verdict] = total.get(verdict, 0) + count
    return total


def _share(row: dict[str, int], verdict: str) -> float:
    return row.get(verdict, 0) / max(1, sum(row.values()))


def _p95(values: Sequence[float]) -> float | None:
    return sorted(values)[int(0.95 * (len(values) - 1))] if values else None
