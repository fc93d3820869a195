"""`imece status`: services, consumer lag, jobs and the champion."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import typer
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError

from imece.cli.common import AsJson, Where, events_of, show, where
from imece.cli.errors import handle_errors
from imece.cli.jobs import newest, row
from imece.client import unreachable
from imece.events import SERVICES, PromotionDecided


@handle_errors()
def status(as_json: AsJson = False) -> None:
    """Say what runs on this home, how far behind it is, its jobs and the promoted champion."""
    at = where()
    ready = services(at.settings.home)
    lags, jobs, champions = asyncio.run(_ask(at))
    rows = [
        {"service": name, "state": ready.get(name, "not running here"), "lag": lags[name]}
        for name in SERVICES
    ]
    if as_json:
        found = {"kafka": at.kafka, "services": rows, "jobs": jobs, "champions": champions}
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    typer.echo(f"kafka {at.kafka}")
    show(rows, False)
    show(jobs, False, "no jobs")
    for model, champion in champions.items():
        typer.echo(f"champion of {model}: {champion['name']} {champion.get('adapter', '')}")


def services(home: Path) -> dict[str, str]:
    """Return what each service that runs on `home` says about its readiness."""
    found: dict[str, str] = {}
    for path in sorted((home / "run").glob("*.json")):
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            names, address = state["services"], state["http"]
        except (OSError, ValueError, KeyError):
            continue  # it ended between listing and reading
        answers = _readyz(address)
        found |= {name: answers.get(name, answers.get("*", "unknown")) for name in names}
    return found


def _readyz(address: str) -> dict[str, str]:
    url = address if address.startswith("http") else f"http://{address}"
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=3) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        return dict(json.load(error))
    except (OSError, ValueError) as error:
        return {"*": f"does not answer at {address}: {error}"}


async def _ask(at: Where) -> tuple[dict[str, int | None], list[dict[str, Any]], dict[str, Any]]:
    lags = await _lags(at)
    jobs = [row(state) for state in (await newest(at)).values()]
    champions = {
        event.data.model: event.data.champion.model_dump(exclude_none=True)
        for event in await events_of(at, PromotionDecided)
        if event.data.verdict == "promote"
    }
    return lags, jobs, champions


async def _lags(at: Where) -> dict[str, int | None]:
    """Return how many records each service has not committed; None: it never committed."""
    admin = AIOKafkaAdminClient(bootstrap_servers=at.kafka, **at.security)
    consumer = AIOKafkaConsumer(bootstrap_servers=at.kafka, enable_auto_commit=False, **at.security)
    try:
        await admin.start()
        await consumer.start()
        lags: dict[str, int | None] = {}
        for name in SERVICES:
            done = await _committed(admin, name)
            ends = await consumer.end_offsets(list(done)) if done else {}
            behind = [max(0, ends[place] - at_.offset) for place, at_ in done.items()]
            lags[name] = sum(behind) if done else None
        return lags
    except (KafkaError, OSError) as error:
        raise unreachable(at.kafka, error) from error
    finally:
        await consumer.stop()
        await admin.close()


async def _committed(admin: AIOKafkaAdminClient, group: str) -> dict[Any, Any]:
    """Return a group's offsets; a new broker first has to make its topic of offsets."""
    for _ in range(40):
        try:
            return dict(await admin.list_consumer_group_offsets(group))
        except GroupCoordinatorNotAvailableError:
            await asyncio.sleep(0.25)
    return dict(await admin.list_consumer_group_offsets(group))
