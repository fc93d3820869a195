"""A server on a real socket that answers each request with whatever bytes a test wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

Answer = Callable[[int, str, dict[str, Any]], Any]
"""Called with the number of the request, its path and its body; returns bytes, or None to hang up,
or a coroutine of either."""


def http(body: str | bytes, status: int = 200, **headers: str) -> bytes:
    data = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(data)}", "connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + data


def ok(content: Any) -> bytes:
    return http(json.dumps(content), content_type="application/json")


def said(text: str | None, **message: Any) -> bytes:
    finish = message.pop("finish", "stop")
    return ok({"choices": [{"message": {"content": text, **message}, "finish_reason": finish}]})


def weighed(tokens: list[str], logprobs: list[float | None], **more: Any) -> bytes:
    told = {"tokens": tokens, "token_logprobs": logprobs, **more}
    return ok({"choices": [{"text": "", "logprobs": told}]})


@asynccontextmanager
async def wire(answer: Answer) -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """Serve `answer` and record the bodies; yields the base URL and the calls."""
    calls: list[dict[str, Any]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            lines = head.split("\r\n")
            path = lines[0].split(" ")[1]
            sizes = [line.split(":")[1] for line in lines if line.lower().startswith("content-le")]
            body = json.loads(await reader.readexactly(int(sizes[0])))
            calls.append({"path": path, "head": head, **body})
            result = answer(len(calls), path, body)
            data = await result if asyncio.iscoroutine(result) else result
            if data is not None:
                writer.write(data)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the caller went away first
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", calls
    finally:
        server.close()
