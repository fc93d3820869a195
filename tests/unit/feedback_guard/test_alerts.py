"""The alert rules name only metrics, and labels, that the guard exposes."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from prometheus_client import REGISTRY

from services.feedback_guard import routes

RULES = Path(__file__).parents[3] / "deploy/alerts/guard.yaml"


def test_every_metric_of_the_alert_rules_exists() -> None:
    assert routes.__file__  # importing it registers the metrics
    known = {
        name
        for family in REGISTRY.collect()
        for name in (family.name, f"{family.name}_total" if family.type == "counter" else "")
    }
    rules = [r for g in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for r in g["rules"]]
    named = {name for rule in rules for name in re.findall(r"\bimece_\w+", rule["expr"])}
    assert len(rules) >= 5
    assert named
    assert named <= known
