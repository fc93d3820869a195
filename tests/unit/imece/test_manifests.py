"""Topics and rights for Kubernetes: what the code declares, no more and no less."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from imece.cli.main import app
from imece.events import SERVICES, topics
from imece.runtime import manifests
from imece.runtime.topics import settings_of

DEPLOY = Path(__file__).parents[3] / "deploy/k8s"


def printed(*words: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(app, ["topics", "manifest", *words])
    assert result.exit_code == 0, result.output
    return list(yaml.safe_load_all(result.stdout))


def rules_of(user: str) -> dict[tuple[str, str, str], set[str]]:
    (found,) = [u for u in printed("--kind", "acls") if u["metadata"]["name"] == f"imece-{user}"]
    rules = found["spec"]["authorization"]["acls"]
    named = [(tuple(rule["resource"].values()), set(rule["operations"])) for rule in rules]
    assert len(dict(named)) == len(named), "a resource is named twice"
    return dict(named)


@pytest.mark.parametrize("kind", ["topics", "acls"])
def test_what_is_deployed_is_what_the_code_declares(kind: str) -> None:
    result = CliRunner().invoke(app, ["topics", "manifest", "--kind", kind])
    deployed = (DEPLOY / "kafka" / f"{kind}.yaml").read_text("utf-8")
    assert deployed == result.stdout, f"write it: imece topics manifest --kind {kind}"


def test_every_topic_is_laid_out_as_the_services_would_create_it() -> None:
    found = {each["metadata"]["name"]: each for each in printed("--kind", "topics")}
    assert set(found) == {topic.name for topic in topics()}
    for topic in topics():
        spec = found[topic.name]["spec"]
        assert (spec["partitions"], spec["replicas"]) == (topic.partitions, 3)
        assert spec["config"] == settings_of(topic)


def test_names_of_the_cluster_and_the_copies_can_be_chosen() -> None:
    one, *_ = printed("--kind", "topics", "--cluster", "events", "--replicas", "1")
    assert one["metadata"]["labels"] == {"strimzi.io/cluster": "events"}
    assert one["spec"]["replicas"] == 1
    assert CliRunner().invoke(app, ["topics", "manifest", "--kind", "queues"]).exit_code == 2


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_reads_and_writes_what_is_declared_and_nothing_else(name: str) -> None:
    rules = rules_of(name)
    assert rules.pop(("topic", "imece.", "prefix")) == {"Describe"}
    assert rules.pop(("group", name, "literal")) == {"Read"}
    for topic in topics():
        wanted = {"Read"} if name in topic.readers else set()
        wanted |= {"Write"} if {name, "*"} & set(topic.writers) else set()
        assert rules.pop(("topic", topic.name, "literal"), set()) == wanted
    assert rules == {}


def test_upstream_touches_the_topics_that_name_it_and_no_audit_log() -> None:
    touched = {
        name for kind, name, how in rules_of("upstream") if (kind, how) == ("topic", "literal")
    }
    meant = {t.name for t in topics() if "upstream" in {*t.readers, *t.writers}}
    assert touched == meant


def test_operators_reach_every_topic_and_look_at_every_group() -> None:
    rules = rules_of("operator")
    assert rules[("topic", "imece.", "prefix")] == {"Describe", "Read", "Write"}
    assert all(topic.name.startswith("imece.") for topic in topics())
    groups = {name for kind, name, _ in rules if kind == "group"}
    assert groups == set(SERVICES)
    assert len(manifests.acl_manifests("kafka")) == len(SERVICES) + 2


@pytest.mark.parametrize("name", ["adapter", "trainer", "evaluator"])
def test_a_service_is_scaled_by_the_lag_of_its_own_group_on_a_topic_that_it_reads(
    name: str,
) -> None:
    scaled = yaml.safe_load((DEPLOY / f"scaling/{name}.yaml").read_text("utf-8"))
    assert scaled["spec"]["scaleTargetRef"]["name"] == scaled["metadata"]["name"] == name
    lag, rows = (each["metadata"] for each in scaled["spec"]["triggers"])
    (topic,) = [topic for topic in topics() if topic.name == lag["topic"]]
    assert lag["consumerGroup"] == name
    assert name in topic.readers
    assert scaled["spec"]["maxReplicaCount"] <= topic.partitions
    assert f"FROM {name}.job " in rows["query"]
    secrets = yaml.safe_load_all((DEPLOY / "scaling/secrets.yaml").read_text("utf-8"))
    known = {each["metadata"]["name"] for each in secrets}
    assert {each["authenticationRef"]["name"] for each in scaled["spec"]["triggers"]} <= known
