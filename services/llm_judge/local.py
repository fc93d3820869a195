"""The local judge's process: started with the service, gone with it, restarted when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import structlog

from imece.errors import UnavailableError
from imece.local.models import DEFAULT_BASE
from services.llm_judge.endpoint import Endpoint

log = structlog.get_logger()
MODULE = "services.llm_judge.local_model"
LOADING = "the local judge model is loading"
NAMES = {DEFAULT_BASE: "SmolLM2-135M-Instruct"}


def judge_name(uri: str) -> str:
    """Return what verdicts of the local judge are signed with."""
    return f"imece-local/{NAMES.get(uri, uri)} (weak)"


class LocalJudge:
    """Runs the model server as a child; `endpoint` is None until it has loaded."""

    def __init__(
        self, uri: str, cache: Path, log_file: Path, connect: Callable[[str, str], Endpoint]
    ) -> None:
        """`connect` makes the client of a base URL and a model name."""
        self._uri, self._cache, self._log_file = uri, cache, log_file
        self._connect = connect
        self.endpoint: Endpoint | None = None

    def ready(self) -> str | None:
        """Say why nothing can be judged yet."""
        return None if self.endpoint else LOADING

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the server up until `stop`; UnavailableError when it ends by itself."""
        process = await asyncio.to_thread(self._spawn)
        try:
            port = await self._port(process, stop)
            if port is None:
                return
            self.endpoint = self._connect(f"http://127.0.0.1:{port}/v1", judge_name(self._uri))
            log.info("judge.local_ready", port=port, pid=process.pid)
            while not stop.is_set():
                if process.poll() is not None:
                    raise self._ended(process)
                await asyncio.sleep(0.2)
        finally:
            endpoint, self.endpoint = self.endpoint, None
            await asyncio.shield(asyncio.to_thread(_kill, process))
            if endpoint is not None:
                await endpoint.close()

    def _spawn(self) -> subprocess.Popen[bytes]:
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", MODULE, "--model", self._uri, "--cache", str(self._cache)]
        with self._log_file.open("ab") as file:
            return subprocess.Popen(
                [*command, "--name", judge_name(self._uri)],
                stdin=subprocess.PIPE,  # it ends when this pipe closes, also when we are killed
                stdout=subprocess.PIPE,
                stderr=file,
                start_new_session=True,
            )

    async def _port(self, process: subprocess.Popen[bytes], stop: asyncio.Event) -> int | None:
        """Return the port that the server tells once it is loaded; None when stopped before."""
        assert process.stdout is not None
        line = asyncio.ensure_future(asyncio.to_thread(process.stdout.readline))
        stopped = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({line, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        if not line.done():
            return None  # the caller kills the server, which ends the read
        if not line.result():
            raise self._ended(process)
        return int(json.loads(line.result())["port"])

    def _ended(self, process: subprocess.Popen[bytes]) -> UnavailableError:
        lines = self._log_file.read_text("utf-8", errors="replace").splitlines() or [""]
        return UnavailableError(
            f"the local judge ended with {process.poll()}: {lines[-1]} (see {self._log_file})"
        )


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # its own session, and it holds no state
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
