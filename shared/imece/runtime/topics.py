"""Topics as declared on the events: created and reconciled at start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from imece.client import unreachable
from imece.errors import ConfigError
from imece.events import Topic, topics

DAY_MS = 86_400_000


def settings_of(topic: Topic) -> dict[str, str]:
    """Return the broker settings of a topic."""
    if topic.compacted:
        return {"cleanup.policy": "compact"}
    return {"cleanup.policy": "delete", "retention.ms": str(topic.retention_days * DAY_MS)}


async def reconcile(
    kafka: str, security: Mapping[str, Any] | None = None, replication: int = 1
) -> list[str]:
    """Create every declared topic that is missing; returns their names.

    `UnavailableError` when the broker does not answer, `ConfigError` when it refuses a topic.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka, **(security or {}))
    try:
        await admin.start()
        existing = set(await admin.list_topics())
        missing = [topic for topic in topics() if topic.name not in existing]
        if missing:
            await _create(admin, missing, replication)
        return [topic.name for topic in missing]
    except (KafkaError, OSError) as error:
        raise unreachable(kafka, error) from error
    finally:
        await admin.close()


async def _create(admin: AIOKafkaAdminClient, missing: list[Topic], replication: int) -> None:
    answer = await admin.create_topics(
        [NewTopic(t.name, t.partitions, replication, topic_configs=settings_of(t)) for t in missing]
    )
    for name, code, *rest in answer.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise ConfigError(f"topic {name} cannot be created: {error.__name__} {rest}")
