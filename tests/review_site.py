"""The review page on a real socket, without Kafka: for tests and the benchmark."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from imece.events import Envelope, ReviewRequested, new
from imece.runtime import health
from imece.runtime.database import Database
from services.review import people, store, tables
from services.review.admin import Admin
from services.review.policy import Checks, Policy
from services.review.web import Web

PLAIN = Policy(checks=Checks(gold=0, repeat=0))


@dataclass
class Site:
    """Where it is, and the means to fill and read its queue."""

    url: str
    database: Database
    policy: Policy

    def ask(self, events: Sequence[Envelope[ReviewRequested]]) -> None:
        self.database.transact(store.add, events, self.policy, time.time())

    def token(self, name: str, *, adjudicator: bool = False) -> str:
        return self.database.transact(people.add, name, adjudicator, time.time())


def question(item: str, prompt: str, *options: str) -> Envelope[ReviewRequested]:
    """Return a request to compare answers."""
    data = ReviewRequested(item=item, origin="judgement", prompt=prompt, options=options)
    return new(data, "tests", item)


def rating(item: str, prompt: str, answer: str, criterion: str) -> Envelope[ReviewRequested]:
    """Return a request to rate one answer from 1 to 5."""
    more = {"answer": answer, "criterion": criterion, "options": tuple("12345")}
    return new(ReviewRequested(item=item, origin="judgement", prompt=prompt, **more), "tests", item)


@contextmanager
def site(url: str, policy: Policy = PLAIN) -> Iterator[Site]:
    """Serve the queue in the database `url` on a free port until the block ends."""
    loop = asyncio.new_event_loop()
    port: list[int] = []
    ready, stop = threading.Event(), asyncio.Event()
    database = Database(url, tables.METADATA, "review")

    def listening(number: int) -> None:
        port.append(number)
        ready.set()

    async def serve() -> None:
        app = Web(database, policy, Admin(database, "operator")).app()
        async with database:
            server = asyncio.create_task(health.serve(app, "127.0.0.1:0", listening))
            await stop.wait()
            server.cancel()
            await asyncio.gather(server, return_exceptions=True)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        if not ready.wait(120):
            raise TimeoutError("the page did not start to listen within 120 s")
        # A second connection of our own, so that filling the queue does not go through the page.
        own = Database(url, tables.METADATA, "review")
        yield Site(f"http://127.0.0.1:{port[0]}", own, policy)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(120)
        loop.close()


def sqlite(folder: Path) -> str:
    """Return the URL of a new database in `folder`."""
    return f"sqlite:///{folder / 'review.db'}"
