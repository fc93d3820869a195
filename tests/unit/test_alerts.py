"""The alert rules name only metrics, and labels of them, that the services expose."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from prometheus_client import REGISTRY

from imece.events import SERVICES

FILES = sorted((Path(__file__).parents[2] / "deploy/alerts").glob("*.yaml"))
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}
ADDED = {"le"}


def exposed() -> dict[str, set[str]]:
    """Return the labels of each series; importing a service registers its metrics."""
    for name in SERVICES:
        import_module(f"services.{name.replace('-', '_')}.app")
    found = {}
    for collector in set(REGISTRY._collector_to_names):
        labels = set(getattr(collector, "_labelnames", ()))
        for family in collector.collect():
            for suffix in SUFFIXES.get(family.type, ()):
                found[family.name + suffix] = labels
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_metric_and_label_of_the_alert_rules_exists(file: Path) -> None:
    known = exposed()
    rules = [r for g in yaml.safe_load(file.read_text("utf-8"))["groups"] for r in g["rules"]]
    assert len(rules) >= 5
    for rule in rules:
        names = set(re.findall(r"\bimece_\w+", rule["expr"]))
        assert names, rule["alert"]
        assert names <= set(known), rule["alert"]
        allowed = ADDED.union(*(known[name] for name in names))
        chosen = re.findall(r"[{,]\s*(\w+)\s*=~?", rule["expr"])
        grouped = re.findall(r"\b(?:by|on) \(([\w, ]+)\)", rule["expr"])
        told = re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))
        used = {*chosen, *told, *(part.strip() for each in grouped for part in each.split(","))}
        assert used <= allowed, rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket")
