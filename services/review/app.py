"""Put the review queue together."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog
from starlette.applications import Starlette

from imece.runtime import health
from imece.runtime.app import Publish, Service
from imece.runtime.database import Database
from imece.runtime.settings import Settings
from services.review import tables
from services.review.admin import Admin
from services.review.policy import load
from services.review.routes import Reviews
from services.review.settings import ReviewSettings
from services.review.web import Web

log = structlog.get_logger()


def build(settings: Settings, publish: Publish, own: ReviewSettings | None = None) -> Service:
    """Return the review queue, ready to run; nothing is opened yet."""
    own = own or ReviewSettings()
    policy = load(own.policy)
    database = Database(settings.database_url("review"), tables.METADATA, "review")
    reviews = Reviews(database, publish, policy, own.poll_seconds)
    token = own.admin_token.get_secret_value() if own.admin_token else secrets.token_urlsafe(32)
    web = Web(database, policy, Admin(database, token))
    served = Served(web.app(), own.http, token, settings.home / "review.json")
    return Service("review", reviews.subscriptions(), (reviews.run, served.run), (database,))


@dataclass
class Served:
    """The page on its own address, and the file that tells the command line where it is."""

    app: Starlette
    address: str
    token: str
    file: Path

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`; `ConfigError` when the address is taken."""
        port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        server = asyncio.create_task(
            health.serve(self.app, self.address, port.set_result, "IMECE_REVIEW_HTTP")
        )
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([server, port], return_when=asyncio.FIRST_COMPLETED)  # type: ignore[type-var]
            if server.done():
                await server  # raises why it could not listen
            url = f"http://{self.address.rpartition(':')[0]}:{await port}"
            log.info("review.page", url=url)
            with self._told(url):
                await asyncio.wait([server, stopped], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            server.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await server

    @contextlib.contextmanager
    def _told(self, url: str) -> Iterator[None]:
        """Write where the page is and the operator's token, for this user's eyes only."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.file.with_suffix(f".{os.getpid()}.tmp")
        temporary.unlink(missing_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            json.dump({"url": url, "token": self.token}, out)
        temporary.replace(self.file)
        try:
            yield
        finally:
            self.file.unlink(missing_ok=True)
