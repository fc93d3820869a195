"""Topics and rights as Kubernetes objects of Strimzi, from what the events declare: all pure."""

from __future__ import annotations

from typing import Any

from imece.events import SERVICES, Topic, topics
from imece.runtime.topics import settings_of

_API = "kafka.strimzi.io/v1beta2"
_ANYBODY = "*"
_PREFIX = "imece."


def topic_manifests(cluster: str, replicas: int) -> list[dict[str, Any]]:
    """Return a KafkaTopic for each declared topic, by name."""
    return [
        {
            "apiVersion": _API,
            "kind": "KafkaTopic",
            "metadata": _about(topic.name, cluster),
            "spec": {
                "partitions": topic.partitions,
                "replicas": replicas,
                "config": settings_of(topic),
            },
        }
        for topic in sorted(topics(), key=lambda topic: topic.name)
    ]


def acl_manifests(cluster: str) -> list[dict[str, Any]]:
    """Return a KafkaUser for each service, for upstream systems and for operators."""
    return [_user(name, cluster) for name in (*sorted(SERVICES), "upstream", "operator")]


def _user(name: str, cluster: str) -> dict[str, Any]:
    return {
        "apiVersion": _API,
        "kind": "KafkaUser",
        "metadata": _about(f"imece-{name}", cluster),
        "spec": {
            "authentication": {"type": "scram-sha-512"},
            "authorization": {
                "type": "simple",
                "acls": _operator() if name == "operator" else [*_seeing(), *_acls(name)],
            },
        },
    }


def _about(name: str, cluster: str) -> dict[str, Any]:
    return {"name": name, "labels": {"strimzi.io/cluster": cluster}}


def _operator() -> list[dict[str, Any]]:
    """Operators see every topic, and hand dead letters back to where they came from."""
    every = {"type": "topic", "name": _PREFIX, "patternType": "prefix"}
    groups = [_rule("group", name, "Describe") for name in sorted(SERVICES)]
    return [{"resource": every, "operations": ["Describe", "Read", "Write"]}, *groups]


def _seeing() -> list[dict[str, Any]]:
    """A service lists topics at its start, and would create those that it may not see."""
    every = {"type": "topic", "name": _PREFIX, "patternType": "prefix"}
    return [{"resource": every, "operations": ["Describe"]}]


def _acls(name: str) -> list[dict[str, Any]]:
    found = [
        _rule("topic", topic.name, *operations)
        for topic in sorted(topics(), key=lambda topic: topic.name)
        if (operations := _operations(topic, name))
    ]
    if name in SERVICES:
        return [*found, _rule("group", name, "Read")]
    groups = {"type": "group", "name": f"{name}.", "patternType": "prefix"}
    return [*found, {"resource": groups, "operations": ["Read"]}]


def _operations(topic: Topic, name: str) -> list[str]:
    named = {"Read": topic.readers, "Write": topic.writers}
    every = {_ANYBODY} if name in SERVICES else set()
    return [does for does, who in named.items() if ({name} | every) & set(who)]


def _rule(kind: str, name: str, *operations: str) -> dict[str, Any]:
    resource = {"type": kind, "name": name, "patternType": "literal"}
    return {"resource": resource, "operations": list(operations)}
