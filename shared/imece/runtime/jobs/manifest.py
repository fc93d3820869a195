"""What Kubernetes is asked for to run one attempt: pure, from a job and settings to a manifest.

Several nodes are an Indexed Job whose pods find each other through a headless service.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imece.runtime.jobs import files, launch
from imece.runtime.jobs.model import Job
from imece.runtime.settings import PodSettings

JOB_LABEL, ATTEMPT_LABEL = "imece-job", "imece-attempt"
_PORT = 29_500
_RANK = "IMECE_NODE_RANK"
_FROM_SECRET = ("IMECE_DATABASE", "IMECE_KAFKA", "IMECE_ARTIFACTS", "IMECE_TRACKING")
"""Addresses may hold passwords; pods get them from the Secret, never from a manifest."""
_TO_LOG = f'log="$0"; [ "${_RANK}" = 0 ] || log="$log.${_RANK}"; exec "$@" >>"$log" 2>&1'
_LEAST_SECONDS = 60


def job_key(job_id: str) -> str:
    """Return a name for a job that fits a label, whatever its id."""
    return hashlib.sha256(job_id.encode()).hexdigest()[:20]


def name_of(job: Job) -> str:
    """Return the name of an attempt's objects; with an index behind it, it names a host."""
    return f"imece-{job_key(job.id)}-{job.token}"


def layout(devices: int, per_node: int) -> tuple[int, int]:
    """Return (nodes, processes of each): as few nodes as hold `devices` in equal shares."""
    each = max(n for n in range(1, min(devices, per_node) + 1) if devices % n == 0)
    return devices // each, each


def render(
    job: Job,
    attempt: Path,
    module: str,
    env: Mapping[str, str],
    settings: PodSettings,
    *,
    service: str,
) -> dict[str, Any]:
    """Return the List that runs `module` on the folder `attempt`, for ``kubectl apply``.

    No pod is started again: the runner decides, from what the attempt left, about another one.
    """
    name = name_of(job)
    nodes, each = layout(job.devices, settings.per_node)
    labels = {
        "app.kubernetes.io/part-of": "imece",
        "app.kubernetes.io/component": f"{service}-job",
        JOB_LABEL: job_key(job.id),
        ATTEMPT_LABEL: name,
    }
    about = {"name": name, "labels": labels, "annotations": {"imece/job": job.id}}
    pod = _pod(name, attempt, module, env, settings, service=service, nodes=nodes, each=each)
    left = job.timeout_seconds - job.spent_seconds
    spec = {
        "completionMode": "Indexed",
        "completions": nodes,
        "parallelism": nodes,
        "backoffLimit": 0,
        # Beyond the runner's own limit: it ends pods whose runner is gone for good.
        "activeDeadlineSeconds": int(max(left, 0)) + _LEAST_SECONDS,
        "ttlSecondsAfterFinished": settings.keep_seconds,
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    items: list[dict[str, Any]] = [
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": about, "spec": spec}
    ]
    if nodes > 1:
        items.insert(0, _meeting_place(about))
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _meeting_place(about: dict[str, Any]) -> dict[str, Any]:
    """A headless service gives each pod a host name, before it is ready too."""
    spec = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": {ATTEMPT_LABEL: about["name"]},
        "ports": [{"name": "rendezvous", "port": _PORT}],
    }
    return {"apiVersion": "v1", "kind": "Service", "metadata": about, "spec": spec}


def _pod(
    name: str,
    attempt: Path,
    module: str,
    env: Mapping[str, str],
    settings: PodSettings,
    *,
    service: str,
    nodes: int,
    each: int,
) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 40,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "attempt",
                "image": settings.image or f"imece/{service}:local",
                "command": ["/bin/sh", "-c", _TO_LOG, str(attempt / files.LOG)],
                "args": ["python", *_words(name, attempt, module, nodes, each)],
                "envFrom": [{"secretRef": {"name": settings.secret}}],
                "env": _variables(env),
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "resources": _resources(settings, each),
                "volumeMounts": [
                    {"name": "tmp", "mountPath": "/tmp"},
                    {"name": "shm", "mountPath": "/dev/shm"},
                    {"name": "state", "mountPath": "/state"},
                    {"name": "cache", "mountPath": "/cache"},
                ],
            }
        ],
        "volumes": [
            {"name": "tmp", "emptyDir": {}},
            {"name": "shm", "emptyDir": {"medium": "Memory"}},
            {"name": "state", "persistentVolumeClaim": {"claimName": settings.state_claim}},
            {"name": "cache", "persistentVolumeClaim": {"claimName": settings.cache_claim}},
        ],
    }
    return spec | {"subdomain": name} if nodes > 1 else spec


def _words(name: str, attempt: Path, module: str, nodes: int, each: int) -> list[str]:
    meeting = (
        f"--nnodes={nodes}",
        f"--node-rank=$({_RANK})",
        f"--master-addr={name}-0.{name}",
        f"--master-port={_PORT}",
    )
    return launch.command(module, attempt, each, nodes=meeting if nodes > 1 else ())[1:]


def _variables(env: Mapping[str, str]) -> list[dict[str, Any]]:
    told = {"OMP_WAIT_POLICY": "passive", "PYTHONUNBUFFERED": "1", **env}
    # `$(` in a value would be expanded by the kubelet; `$$(` is how it is written as it is.
    plain = [
        {"name": key, "value": value.replace("$(", "$$(")}
        for key, value in sorted(told.items())
        if not key.startswith(_FROM_SECRET)
    ]
    index = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    return [{"name": _RANK, "valueFrom": {"fieldRef": {"fieldPath": index}}}, *plain]


def _resources(settings: PodSettings, each: int) -> dict[str, Any]:
    gpus = {settings.gpu: str(each)} if settings.gpu else {}
    return {
        "requests": {"cpu": settings.cpu, "memory": settings.memory, **gpus},
        "limits": {"memory": settings.memory, **gpus},
    }
