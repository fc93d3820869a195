"""Attempts as Kubernetes Jobs, through kubectl: started, asked how they are, and deleted."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from imece.errors import UnavailableError
from imece.runtime.jobs import files, manifest
from imece.runtime.jobs.launch import Running
from imece.runtime.jobs.model import Job
from imece.runtime.settings import PodSettings

log = structlog.get_logger()
_KINDS = "job,pod,service"
_PATIENCE_SECONDS = 30
_GONE = -9
"""What somebody else deleted ended as by a kill: another attempt may go on from its checkpoint."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How the pods of an attempt ended; `starved` says which of them wanted memory."""

    code: int
    starved: str | None = None


def judge(items: Sequence[Mapping[str, Any]]) -> Ended | None:
    """Return how an attempt ended, from its Job and pods as the cluster shows them; None: it runs.

    Of several pods that failed, one that the kernel killed for want of memory tells most, then
    one that failed by itself; what was killed may only have lost the others.
    """
    jobs = [item for item in items if item["kind"] == "Job"]
    if not jobs:
        return Ended(_GONE)
    told = {c["type"] for c in jobs[0].get("status", {}).get("conditions", ()) if _holds(c)}
    if "Complete" in told:
        return Ended(0)
    ends = [end for item in items if item["kind"] == "Pod" for end in _ends(item)]
    if not told & {"Failed", "FailureTarget"} and not any(end.code for end in ends):
        return None
    failed = [end for end in ends if end.code] or [Ended(_GONE)]
    return min(failed, key=lambda end: (end.starved is None, end.code < 0))


def waits_for_room(items: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether a pod of an attempt has no node yet: the cluster is full, nothing hangs."""
    conditions = [c for i in items for c in i.get("status", {}).get("conditions", ())]
    return any(c["type"] == "PodScheduled" and not _holds(c) for c in conditions)


def _holds(condition: Mapping[str, Any]) -> bool:
    return bool(condition.get("status") == "True")


def _ends(pod: Mapping[str, Any]) -> list[Ended]:
    found = []
    for status in pod.get("status", {}).get("containerStatuses", ()):
        end = status.get("state", {}).get("terminated")
        if end is None:
            continue
        # A shell's way of saying that a signal ended it.
        code = 128 - end["exitCode"] if end["exitCode"] > 128 else end["exitCode"]
        oom = end.get("reason") == "OOMKilled"
        name = pod["metadata"]["name"]
        found.append(Ended(code, f"pod {name} was ended as OOMKilled" if oom else None))
    return found


class Pods:
    """The objects of one running attempt."""

    def __init__(self, name: str, log_file: Path, settings: PodSettings) -> None:
        """Remember their name and log; `settings` say where they are and how often to look."""
        self.name = name
        self._log = log_file
        self._settings = settings
        self._looked = time.monotonic()
        self._ended: Ended | None = None

    def exit_code(self) -> int | None:
        """Return the exit code, negative for a signal, None while they run.

        The cluster is asked every `poll_seconds`. While it does not answer they count as running,
        since nothing else is known.
        """
        due = time.monotonic() - self._looked >= self._settings.poll_seconds
        if self._ended is None and due:
            self._looked = time.monotonic()
            try:
                shown = _kubectl(self._settings, "get", "job,pod", *self._mine(), "-o", "json")
                items = json.loads(shown)["items"]
                self._ended = judge(items)
                if self._ended is None and waits_for_room(items):
                    self._log.touch()  # a sign of life, without which it would count as hanging
            except (OSError, UnavailableError, ValueError) as error:
                log.warning("pods.unknown", name=self.name, error=str(error))
        return None if self._ended is None else self._ended.code

    def starved(self) -> str | None:
        """Say which pod the kernel ended for want of memory."""
        return None if self._ended is None else self._ended.starved

    def ask_to_stop(self) -> None:
        """Delete the Job: each pod gets SIGTERM, and time to save."""
        self._delete("--wait=false")

    def kill(self) -> None:
        """Delete everything at once. What is gone already is fine."""
        self._delete("--now", "--wait=false", kinds=_KINDS)

    def _delete(self, *how: str, kinds: str = "job") -> None:
        try:
            _kubectl(self._settings, "delete", kinds, *self._mine(), "--ignore-not-found", *how)
        except (OSError, UnavailableError) as error:
            # Its deadline ends the Job, and the token keeps its result from counting.
            log.warning("pods.not_deleted", name=self.name, error=str(error))

    def _mine(self) -> tuple[str, str]:
        return "-l", f"{manifest.ATTEMPT_LABEL}={self.name}"


class Kubernetes:
    """Runs attempts as Jobs of a cluster that sees the same folders as this runner."""

    def __init__(self, service: str, settings: PodSettings) -> None:
        """Remember whose jobs they are and how pods look."""
        self._service, self._settings = service, settings

    def start(self, job: Job, attempt: Path, module: str, env: Mapping[str, str]) -> Running:
        """Create the Job, after those of earlier attempts, whose runner may be gone, are deleted.

        OSError without kubectl; UnavailableError where the cluster refuses or does not answer.
        """
        older = f"{manifest.JOB_LABEL}={manifest.job_key(job.id)}"
        _kubectl(
            self._settings, "delete", _KINDS, "-l", older, "--ignore-not-found", "--now",
            "--wait=false",
        )  # fmt: skip
        (attempt / files.LOG).touch()
        wanted = manifest.render(job, attempt, module, env, self._settings, service=self._service)
        _kubectl(self._settings, "apply", "-f", "-", given=json.dumps(wanted))
        return Pods(manifest.name_of(job), attempt / files.LOG, self._settings)


def _kubectl(settings: PodSettings, *words: str, given: str | None = None) -> str:
    where = ("-n", settings.namespace) if settings.namespace else ()
    try:
        done = subprocess.run(
            ["kubectl", *where, *words],
            input=given,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(
            f"kubectl {words[0]} gave no answer in {_PATIENCE_SECONDS} s"
        ) from error
    if done.returncode:
        raise UnavailableError(
            f"kubectl {words[0]} failed ({done.returncode}): {done.stderr.strip()[-500:]}; check"
            " the service account's rights (deploy/k8s/pods) and IMECE_PODS_NAMESPACE"
        )
    return done.stdout
