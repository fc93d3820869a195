"""Reviewers over HTTP at two replicas at once: some leave, some send twice (H1)."""

from __future__ import annotations

import random
import re
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from sqlalchemy import Connection, select

from services.review.policy import Checks, Policy
from services.review.tables import ITEM, SLOT
from tests.bench.results import Row
from tests.review_site import question, site, sqlite

ANSWERS = 2
LEAVES, TWICE = 0.05, 0.05
POLICY = Policy(answers=ANSWERS, lease_seconds=2, undo_seconds=600, checks=Checks(gold=0, repeat=0))
_HIDDEN = re.compile(r'type="hidden" name="(\w+)" value="([^"]*)"')


@dataclass
class Reviewer:
    """One person who answers until nothing is left for them."""

    number: int
    url: str
    token: str
    left: int = 0
    waits: list[float] = field(default_factory=list)

    def work(self) -> None:
        chance = random.Random(self.number)
        with httpx.Client(base_url=self.url, follow_redirects=True, timeout=60) as client:
            page = client.post("/sign-in", data={"token": self.token}).text
            while True:
                form = dict(_HIDDEN.findall(page))
                if 'data-reason="leased"' in page:
                    time.sleep(0.2)
                    page = client.get("/").text
                    continue
                if "slot" not in form:
                    return
                if chance.random() < LEAVES and self.left < 5:
                    self.left += 1
                    time.sleep(POLICY.lease_seconds + 0.5)  # others may take it meanwhile
                form["shown"] = str(chance.randrange(2))
                if chance.random() < TWICE:
                    client.post("/answer", data=form)
                begun = time.perf_counter()
                page = client.post("/answer", data=form).text
                self.waits.append(time.perf_counter() - begun)


def exactly(reviewers: int, items: int) -> tuple[Row, ...]:
    """Let `reviewers` answer `items`, then count what is there."""
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, ExitStack() as stack:
        url = sqlite(Path(name))
        sites = [stack.enter_context(site(url, POLICY)) for _ in range(2)]
        sites[0].ask([question(f"q{n}", f"question {n}", "a", "b") for n in range(items)])
        crowd = [Reviewer(n, sites[n % 2].url, sites[0].token(f"r{n}")) for n in range(reviewers)]
        threads = [threading.Thread(target=each.work) for each in crowd]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        given = sites[0].database.transact(_given)
    seconds = time.perf_counter() - begun
    by_item = Counter(item for item, _ in given)
    twice = sum(1 for count in Counter(given).values() if count > 1)
    over = sum(max(0, count - ANSWERS) for count in by_item.values())
    short = sum(max(0, ANSWERS - by_item[f"q{n}"]) for n in range(items))
    told = (
        f"{reviewers} reviewers, 2 replicas, {items} items, k = {ANSWERS}, {len(given)} answers in "
        f"{seconds:.0f} s; {sum(each.left for each in crowd)} pages left open past their lease, "
        f"{TWICE:.0%} sent twice"
    )
    duplicates = twice + over
    return (
        Row("H1.duplicates", duplicates, "answers", "0", duplicates == 0, note=told),
        Row("H1.short", short, "answers", "0", short == 0, note=told),
    )


def _given(connection: Connection) -> list[tuple[str, str]]:
    query = select(SLOT.c.item, SLOT.c.reviewer).join(ITEM, ITEM.c.item == SLOT.c.item)
    kept = query.where(SLOT.c.state == "answered", SLOT.c.number < ITEM.c.answers)
    return [(row.item, row.reviewer) for row in connection.execute(kept)]


def lease_back() -> Row:
    """Measure how long after its lease a question that nobody answers is with somebody else."""
    policy = POLICY.model_copy(update={"answers": 1, "lease_seconds": 1})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, ExitStack() as stack:
        opened = stack.enter_context(site(sqlite(Path(name)), policy))
        opened.ask([question("q", "question", "a", "b")])
        clients = [
            stack.enter_context(httpx.Client(base_url=opened.url, follow_redirects=True))
            for _ in range(2)
        ]
        tokens = [opened.token(f"r{number}") for number in range(2)]
        until = time.monotonic() + policy.lease_seconds
        for client, token in zip(clients, tokens, strict=True):
            page = client.post("/sign-in", data={"token": token}).text
        assert 'data-reason="leased"' in page
        while 'id="answer"' not in page and time.monotonic() < until + 10:
            page = clients[1].get("/").text
        late = max(0.0, time.monotonic() - until)
    return Row("H1.lease_back", late, "s", "<= 5", late <= 5, note="after the lease ran out")
