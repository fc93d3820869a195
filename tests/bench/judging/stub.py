"""An OpenAI-compatible endpoint on a loopback socket that answers right, or fails on purpose.

`python -m tests.bench.judging.stub LATENCY_MS FAULTS` prints its port; it ends with its input.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from collections import Counter
from typing import Any

RIGHT = "RIGHT"
FAULTS = (
    ("429 after", 0.025),
    ("429", 0.025),
    ("5xx", 0.02),
    ("hang", 0.01),
    ("half body", 0.01),
    ("half json", 0.01),
    ("fence", 0.02),
    ("refusal", 0.005),
    ("enum", 0.01),
    ("html", 0.005),
)
"""What goes wrong, and in which share of the calls."""
HANG_SECONDS = 3600


class Stub:
    """Counts what it did; draws a fault for each call when it is to be faulty."""

    def __init__(self, latency: float, faulty: bool) -> None:
        self.latency, self.faulty = latency, faulty
        self.done: Counter[str] = Counter()
        self.chance = random.Random(4)

    def fault(self) -> str:
        drawn = self.chance.random()
        for name, share in FAULTS if self.faulty else ():
            if drawn < share:
                return name
            drawn -= share
        return "right"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                size = _size(head)
                body = json.loads(await reader.readexactly(size)) if size else {}
                if head.startswith(b"GET"):
                    _send(writer, 200, json.dumps(self.done))
                else:
                    await self.answer(writer, body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone: a timeout, or the end
        finally:
            writer.close()

    async def answer(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
        fault = self.fault()
        self.done[fault] += 1
        self.done["calls"] += 1
        if fault.startswith("429"):
            _send(writer, 429, "{}", "Retry-After: 1\r\n" if fault == "429 after" else "")
            return
        if fault == "5xx":
            _send(writer, 503, "{}")
            return
        await asyncio.sleep(HANG_SECONDS if fault == "hang" else self.latency)
        _send(writer, 200, _reply(fault, winner(body)))


def winner(body: dict[str, Any]) -> str:
    """Return what is right about a chat: the answer with the mark."""
    fence, _, rest = body["messages"][1]["content"].partition("\n")
    data = json.loads(rest.partition("\n" + fence)[0])
    return "first" if RIGHT in data["first"] else "second"


def _reply(fault: str, right: str) -> str:
    if fault == "html":
        return "<html>bad gateway</html>"
    verdict = json.dumps({"winner": right})
    said = {
        "half json": verdict[:8],
        "fence": f"```json\n{verdict}\n```",
        "refusal": "I'm sorry, but I can't compare these.",
        "enum": '{"winner": "neither"}',
    }.get(fault, verdict)
    message = {"role": "assistant", "content": said}
    whole = json.dumps(
        {
            "id": "x",
            "object": "chat.completion",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 6, "total_tokens": 106},
        }
    )
    return whole[:40] if fault == "half body" else whole


def _size(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def _send(writer: asyncio.StreamWriter, status: int, body: str, more: str = "") -> None:
    data = body.encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{more}"
    writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)


async def main() -> None:
    stub = Stub(float(sys.argv[1]) / 1000, sys.argv[2] == "faulty")
    server = await asyncio.start_server(stub.serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)  # the pipe closes when its owner ends
    os._exit(0)  # calls that hang would keep it


if __name__ == "__main__":
    asyncio.run(main())
