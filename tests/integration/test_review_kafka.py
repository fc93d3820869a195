"""The review service as a process on a real Kafka, killed with -9 while people answer."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from imece.cli.common import Where, events_of
from imece.cli.main import app
from imece.client import Client
from imece.events import Envelope, ReviewAnswered
from imece.runtime.settings import Settings
from services.review.settings import ReviewSettings
from tests.integration.herd import Herd, until
from tests.review_site import question

pytestmark = pytest.mark.kafka
ITEMS = 12
_HIDDEN = re.compile(r'type="hidden" name="(\w+)" value="([^"]*)"')


class Desk:
    """One reviewer who keeps the session over restarts of the service."""

    def __init__(self, home: Path, token: str) -> None:
        self._told = home / "review.json"
        self._client = httpx.Client(follow_redirects=True, timeout=120)
        self.page = self._post("/sign-in", token=token)

    def _post(self, path: str, **form: str) -> str:
        url = json.loads(self._told.read_text())["url"]
        return self._client.post(f"{url}{path}", data=form).text

    def answer(self, most: int) -> int:
        """Choose "13" up to `most` times; return how often there was a question."""
        for done in range(most):
            form = dict(_HIDDEN.findall(self.page))
            if "slot" not in form:
                return done
            places = re.findall(r'data-key="(\d)".*?<span>(.*?)</span>', self.page, re.S)
            (place,) = [key for key, text in places if "13" in text]
            self.page = self._post("/answer", **form, shown=str(int(place) - 1))
        return most


async def test_answers_survive_kill_9_and_are_told_once(fresh_kafka, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    policy = tmp_path / "policy.toml"
    text = ReviewSettings().policy.read_text()
    text = text.replace("undo_seconds = 120", "undo_seconds = 0")
    policy.write_text(text.replace("repeat = 0.05", "repeat = 0"))
    herd = Herd(home, fresh_kafka.address, IMECE_REVIEW_POLICY=str(policy))
    env = {"IMECE_HOME": str(home), "IMECE_KAFKA": fresh_kafka.address}

    def cli(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["review", *arguments], env=env)
        assert done.exit_code == 0, done.output
        return done.stdout.strip()

    async def listening() -> bool:
        return (home / "review.json").exists()

    async def asked() -> bool:
        return len(json.loads(await asyncio.to_thread(cli, "ls", "--json"))) == ITEMS

    async def told() -> list[Envelope[ReviewAnswered]]:
        return await events_of(Where(Settings(), fresh_kafka.address, {}), ReviewAnswered)

    async def all_told() -> bool:
        return len({event.id for event in await told()}) == 2 * ITEMS

    try:
        herd.start("review")
        await until(listening)
        requests = [question(f"q{n}", f"{n}?", "12", "13") for n in range(ITEMS)]
        async with Client(fresh_kafka.address, "tests") as client:
            await client.publish(*requests, *requests)
        await until(asked)
        desks = [Desk(home, await asyncio.to_thread(cli, "add-reviewer", n)) for n in "ab"]
        assert sum([desk.answer(ITEMS // 2) for desk in desks]) == ITEMS
        (home / "review.json").unlink()
        herd.kill("review")
        herd.start("review")
        await until(listening)
        assert sum([desk.answer(2 * ITEMS) for desk in desks]) == ITEMS
        await until(all_told)
        found = {event.id: event.data for event in await told()}
        assert {(each.item, each.reviewer) for each in found.values()} == {
            (f"q{n}", name) for n in range(ITEMS) for name in "ab"
        }
        assert {each.choice for each in found.values()} == {1}
        verified = await asyncio.to_thread(cli, "verify", "--published")
        assert "none was touched" in verified
        assert herd.stop() == {"review": 0}
    finally:
        herd.end()
