"""`imece review` against a service on a real socket."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from imece.cli import review as review_cli
from imece.cli.main import app
from imece.events import AuditRecorded, new
from imece.runtime.settings import Settings
from services.review import app as review
from services.review import store, tables
from services.review.policy import load
from services.review.settings import ReviewSettings
from tests.unit.review.world import asked


@dataclass
class Running:
    """The service, in a thread of its own, without Kafka."""

    home: Path
    service: Any

    def cli(self, *arguments: str) -> Result:
        env = {"IMECE_HOME": str(self.home)}
        return CliRunner().invoke(app, ["review", *arguments], env=env)

    def ask(self, *items: str) -> None:
        (database,) = self.service.resources
        events = [asked(item) for item in items]
        database.transact(store.add, events, load(ReviewSettings().policy), time.time())

    def edit_the_past(self) -> None:
        (database,) = self.service.resources
        changed = tables.ENTRY.update().where(tables.ENTRY.c.number == 1).values(body='{"x": 1}')
        database.transact(lambda c: c.execute(changed))


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    async def publish(*_: object) -> None:
        """Nothing becomes final while these tests run."""

    service = review.build(Settings(home=tmp_path), publish, ReviewSettings())
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with service.resources[0]:
            await asyncio.gather(*(work(stop) for work in service.background))

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    told = tmp_path / "review.json"
    until = time.monotonic() + 120
    while not told.exists() and time.monotonic() < until:
        time.sleep(0.02)
    try:
        yield Running(tmp_path, service)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(120)
        loop.close()
    assert not told.exists()


def test_reviewers_come_and_go(running):
    token = running.cli("add-reviewer", "ayşe").stdout.strip()
    assert len(token) > 40
    again = running.cli("add-reviewer", "ayşe")
    assert (again.exit_code, "already" in again.stderr) == (2, True)
    assert running.cli("remove-reviewer", "ayşe").exit_code == 0
    assert running.cli("remove-reviewer", "ayşe").exit_code == 2


def test_the_queue_is_listed(running):
    assert "nothing waits" in running.cli("ls").stdout
    running.ask("i-1", "i-2")
    rows = json.loads(running.cli("ls", "--json").stdout)
    assert [row["item"] for row in rows] == ["i-1", "i-2"]
    report = json.loads(running.cli("report", "--json").stdout)
    assert report["shares"][0]["items"] == 2
    assert running.cli("report").exit_code == 0


def test_gold_is_kept_or_its_line_named(running, tmp_path):
    file = tmp_path / "gold.jsonl"
    good = json.dumps({"prompt": "2+2?", "options": ["4", "5"], "right": 0})
    file.write_text(f"{good}\n\n")
    assert running.cli("add-gold", str(file)).stdout == "1 questions kept\n"
    file.write_text(f"{good}\n{good.replace('0', '7')}\n")
    refused = running.cli("add-gold", str(file))
    assert (refused.exit_code, "line 2" in refused.stderr) == (2, True)


def test_the_log_is_exported_and_verified(running, tmp_path):
    running.ask("i-1", "i-2")
    export = tmp_path / "log.jsonl"
    assert running.cli("export", str(export)).exit_code == 0
    verified = running.cli("verify")
    assert verified.exit_code == 0
    head = verified.stdout.split()[-1]
    assert running.cli("verify", str(export), "--head", head).exit_code == 0
    lines = export.read_text().splitlines()
    assert running.cli("export").stdout.splitlines() == lines
    export.write_text("\n".join(lines[:-1]))
    assert running.cli("verify", str(export)).exit_code == 0
    assert running.cli("verify", str(export), "--head", head).exit_code == 1
    export.write_text("{}")
    assert running.cli("verify", str(export)).exit_code == 2


def test_an_edited_past_is_found(running):
    running.ask("i-1", "i-2")
    running.edit_the_past()
    found = running.cli("verify")
    assert (found.exit_code, "entry 1" in found.stderr) == (1, True)


def test_a_log_written_anew_is_found_by_what_kafka_was_told(running, monkeypatch):
    running.ask("i-1", "i-2")
    head = running.cli("verify").stdout.split()[-1]
    told = AuditRecorded(service="review", action="log-head", subject=head, actor="review")
    other = AuditRecorded(service="review", action="other", subject="x", actor="review")

    async def events_of(*_: object) -> list[object]:
        return [new(told, "imece/review"), new(other, "imece/review")]

    monkeypatch.setattr(review_cli, "events_of", events_of)
    monkeypatch.setattr(review_cli, "where", lambda: None)
    assert running.cli("verify", "--published").exit_code == 0
    told = told.model_copy(update={"subject": "f" * 64})
    assert running.cli("verify", "--published").exit_code == 1


def test_the_operators_token_is_for_the_operator_only(running):
    told = running.home / "review.json"
    assert told.stat().st_mode & 0o077 == 0
    url = json.loads(told.read_text())["url"]
    assert running.cli("page").stdout.strip() == url
    refused = running.cli("ls", "--url", url, "--token", "guess")
    assert (refused.exit_code, "token" in refused.stderr) == (2, True)


@pytest.mark.parametrize("url", ["ftp://x", "http://review.example:8081"])
def test_a_token_is_never_sent_in_the_open(url, tmp_path):
    refused = CliRunner().invoke(app, ["review", "ls", "--url", url, "--token", "t"])
    assert refused.exit_code == 2


def test_without_a_service_it_says_how_to_start_one(tmp_path):
    env = {"IMECE_HOME": str(tmp_path)}
    told = CliRunner().invoke(app, ["review", "ls"], env=env)
    assert (told.exit_code, "python -m services review" in told.stderr) == (2, True)
