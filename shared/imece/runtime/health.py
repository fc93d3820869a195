"""Liveness, readiness and metrics over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from imece.errors import ConfigError

Reasons = Callable[[], dict[str, str | None]]


def app(reasons: Reasons, dead: Callable[[], str | None]) -> Starlette:
    """Return /livez, /readyz (503 with the reason for each service) and /metrics."""

    async def livez(_: Request) -> Response:
        reason = dead()
        return PlainTextResponse(reason or "ok", 503 if reason else 200)

    async def readyz(_: Request) -> Response:
        found = reasons()
        status = 503 if any(found.values()) else 200
        return JSONResponse({name: why or "ready" for name, why in found.items()}, status)

    async def metrics(_: Request) -> Response:
        body = await asyncio.to_thread(generate_latest)
        return Response(body, media_type=CONTENT_TYPE_LATEST)

    return Starlette(
        routes=[Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)]
    )


async def serve(
    asgi: Starlette, address: str, ready: Callable[[int], None], setting: str = "IMECE_HTTP"
) -> None:
    """Serve until cancelled; `ready` gets the port. `ConfigError` when the address is taken."""
    host, _, port = address.rpartition(":")
    if not (port.isdecimal() and int(port) < 65_536):
        raise ConfigError(f"{setting}={address}: write host:port, such as 0.0.0.0:8080")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where TCP is named; without it an answer may wait 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host.strip("[]"), int(port)))
    except OSError as error:
        listener.close()
        raise ConfigError(f"{setting}={address}: {error}") from error
    ready(listener.getsockname()[1])
    server = uvicorn.Server(uvicorn.Config(asgi, log_config=None, lifespan="off", access_log=False))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    serving: Awaitable[None] = server._serve([listener])
    try:
        await serving
    finally:
        listener.close()


@contextlib.contextmanager
def state_file(home: Path, services: list[str], address: str):  # type: ignore[no-untyped-def]
    """Tell `imece status` where this process listens; removed at the end."""
    folder = home / "run"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{os.getpid()}.json"
    content = {"services": services, "pid": os.getpid(), "http": address}
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content))
    temporary.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
