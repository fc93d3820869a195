"""`imece topics`: what is declared and what exists; `manifest`: the same for Kubernetes."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Annotated, Any

import typer
import yaml
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from imece.cli.common import AsJson, Where, show, where
from imece.cli.errors import handle_errors
from imece.client import unreachable
from imece.events import topics as declared
from imece.runtime import manifests
from imece.runtime.topics import reconcile

app = typer.Typer(help="Topics as declared and as they exist.", invoke_without_command=True)


class Kind(StrEnum):
    """What there are manifests of."""

    TOPICS = "topics"
    ACLS = "acls"


@app.callback()
@handle_errors()
def topics(
    context: typer.Context,
    create: Annotated[bool, typer.Option("--create", help="Create what is missing.")] = False,
    as_json: AsJson = False,
) -> None:
    """List every declared topic: its layout, who writes and reads it, and whether it exists."""
    if context.invoked_subcommand is None:
        show(asyncio.run(_topics(where(), create)), as_json)


@app.command()
@handle_errors()
def manifest(
    kind: Annotated[Kind, typer.Option(help="The topics, or who may read and write them.")],
    cluster: Annotated[str, typer.Option(help="Name of the Kafka object of Strimzi.")] = "kafka",
    replicas: Annotated[int, typer.Option(min=1, help="Copies of each topic.")] = 3,
) -> None:
    """Print the topics or the access rights as YAML for Strimzi's operator."""
    if kind is Kind.TOPICS:
        found = manifests.topic_manifests(cluster, replicas)
    else:
        found = manifests.acl_manifests(cluster)
    typer.echo(yaml.safe_dump_all(found, sort_keys=False, explicit_start=True), nl=False)


async def _topics(at: Where, create: bool) -> list[dict[str, Any]]:
    if create:
        await reconcile(at.kafka, at.security, at.settings.replication)
    admin = AIOKafkaAdminClient(bootstrap_servers=at.kafka, **at.security)
    try:
        await admin.start()
        found = await admin.describe_topics([topic.name for topic in declared()])
    except (KafkaError, OSError) as error:
        raise unreachable(at.kafka, error) from error
    finally:
        await admin.close()
    partitions = {one["topic"]: len(one["partitions"]) for one in found if not one["error_code"]}
    return [
        {
            "topic": topic.name,
            "partitions": topic.partitions,
            "existing": partitions.get(topic.name, 0),
            "kept": "compacted" if topic.compacted else f"{topic.retention_days} d",
            "writers": ", ".join(topic.writers),
            "readers": ", ".join(topic.readers),
        }
        for topic in declared()
    ]
