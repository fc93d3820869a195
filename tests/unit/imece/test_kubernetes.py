"""Attempts as Kubernetes Jobs: the manifest is pure, and kubectl here is a script that records."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imece.runtime.jobs import launch, manifest, process
from imece.runtime.jobs.kubernetes import Ended, Kubernetes, judge
from imece.runtime.jobs.model import Failed, Job
from imece.runtime.jobs.places import places
from imece.runtime.settings import PodSettings

FAKE = """#!/bin/sh
printf '%s\\n' "$*" >>"$FAKE_HOME/calls"
case "$*" in
  *apply*) cat >"$FAKE_HOME/applied" ;;
  *get*) cat "$FAKE_HOME/shown" ;;
esac
[ ! -e "$FAKE_HOME/refuse" ] || { cat "$FAKE_HOME/refuse" >&2; exit 1; }
"""


def job(**fields: Any) -> Job:
    known = dict.fromkeys(Job.__slots__)
    made: dict[str, Any] = {
        **known,
        "id": "training.a",
        "model": "m",
        "request": {},
        "timeout_seconds": 600,
        "spent_seconds": 100.0,
        "token": 3,
        **fields,
    }
    return Job(**made)


def render(wanted: Job, env: Mapping[str, str] | None = None, **settings: Any) -> dict[str, Any]:
    return manifest.render(
        wanted,
        Path("/state/jobs/trainer/training.a/3"),
        "services.trainer.job",
        env or {},
        PodSettings(**settings),
        service="trainer",
    )


def pod_of(rendered: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = rendered["items"][-1]["spec"]["template"]["spec"]
    return pod


@given(st.integers(1, 512), st.integers(1, 64))
def test_all_devices_are_given_in_equal_shares_that_fit_a_node(devices: int, most: int) -> None:
    nodes, each = manifest.layout(devices, most)
    assert (nodes * each, each <= most) == (devices, True)
    assert not any(devices % n == 0 for n in range(each + 1, min(devices, most) + 1))


def test_one_device_is_one_pod_that_runs_python_alone() -> None:
    rendered = render(job())
    (only,) = rendered["items"]
    assert (only["kind"], only["spec"]["completions"]) == ("Job", 1)
    (container,) = pod_of(rendered)["containers"]
    assert container["args"] == [
        "python", "-m", "services.trainer.job", "/state/jobs/trainer/training.a/3"
    ]  # fmt: skip
    assert container["command"][-1] == "/state/jobs/trainer/training.a/3/job.log"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert container["image"] == "imece/trainer:local"


def test_several_nodes_are_an_indexed_job_that_meets_at_its_first_pod() -> None:
    rendered = render(job(request={"devices": 16}), per_node=8, gpu="")
    service, work = rendered["items"]
    assert (service["kind"], service["spec"]["clusterIP"]) == ("Service", "None")
    spec = work["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 2, 2)
    labels = spec["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    pod = pod_of(rendered)
    name = work["metadata"]["name"]
    assert pod["subdomain"] == service["metadata"]["name"] == name
    (container,) = pod["containers"]
    words = container["args"]
    assert words[:3] == ["python", "-m", launch.TORCHRUN]
    rank = container["env"][0]
    assert f"--node-rank=$({rank['name']})" in words
    assert "job-completion-index" in rank["valueFrom"]["fieldRef"]["fieldPath"]
    port = service["spec"]["ports"][0]["port"]
    assert {f"--master-addr={name}-0.{name}", f"--master-port={port}"} <= set(words)
    assert {"--nnodes=2", "--nproc-per-node=8"} <= set(words)
    assert container["resources"]["limits"] == {"memory": "16Gi"}


@given(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}", fullmatch=True), st.integers(1, 10**9))
def test_names_are_those_that_a_cluster_takes_whatever_the_job_is_called(id: str, at: int) -> None:
    name = manifest.name_of(job(id=id, token=at))
    assert len(f"{name}-999") <= 63
    assert name == name.lower()
    assert name.replace("-", "").isalnum()
    assert name != manifest.name_of(job(id=id, token=at + 1))


def test_a_pod_is_never_started_again_and_has_no_rights() -> None:
    rendered = render(job())
    work, pod = rendered["items"][0]["spec"], pod_of(rendered)
    (container,) = pod["containers"]
    assert (work["backoffLimit"], pod["restartPolicy"]) == (0, "Never")
    assert work["activeDeadlineSeconds"] == 560
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    mounts = {each["name"] for each in container["volumeMounts"]}
    assert mounts == {each["name"] for each in pod["volumes"]}


def test_addresses_with_passwords_come_from_the_secret_and_values_arrive_as_they_are() -> None:
    env = {
        "IMECE_DATABASE": "postgresql://u:hunter2@db/imece",
        "IMECE_KAFKA_USERNAME": "u",
        "IMECE_TRACKING": "http://u:hunter2@mlflow",
        "IMECE_HOME": "/state",
        "IMECE_ODD": "$(HOME)",
    }
    rendered = render(job(), env)
    (container,) = pod_of(rendered)["containers"]
    assert "hunter2" not in json.dumps(rendered)
    assert container["envFrom"] == [{"secretRef": {"name": "imece-settings"}}]
    given = {each["name"]: each.get("value") for each in container["env"]}
    assert (given["IMECE_HOME"], given["IMECE_ODD"]) == ("/state", "$$(HOME)")
    assert "IMECE_KAFKA_USERNAME" not in given


def shown(*ends: tuple[int, str], condition: str | None = None) -> list[dict[str, Any]]:
    conditions = [{"type": condition, "status": "True"}] if condition else []
    pods = [
        {
            "kind": "Pod",
            "metadata": {"name": f"p-{at}"},
            "status": {
                "containerStatuses": [{"state": {"terminated": {"exitCode": c, "reason": why}}}]
            },
        }
        for at, (c, why) in enumerate(ends)
    ]
    return [{"kind": "Job", "status": {"conditions": conditions}}, *pods]


@pytest.mark.parametrize(
    ("items", "ended"),
    [
        (shown(), None),
        (shown((0, "Completed")), None),  # the other node still works
        (shown((0, "Completed"), condition="Suspended"), None),
        (shown((0, "Completed"), condition="Complete"), Ended(0)),
        (shown((64, "Error"), condition="Failed"), Ended(64)),
        (shown((75, "Error")), Ended(75)),
        (shown((143, "Error"), (1, "Error")), Ended(1)),
        (
            shown((1, "Error"), (137, "OOMKilled")),
            Ended(-9, "pod p-1 was ended as OOMKilled"),
        ),
        (shown(condition="Failed"), Ended(-9)),  # evicted, or its node is gone
        ([], Ended(-9)),
    ],
)
def test_how_an_attempt_ended_is_read_from_its_job_and_pods(
    items: list[dict[str, Any]], ended: Ended | None
) -> None:
    assert judge(items) == ended


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    script = tmp_path / "bin" / "kubectl"
    script.parent.mkdir()
    script.write_text(FAKE)
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_HOME", str(tmp_path))
    return tmp_path


def started(cluster: Path, **settings: Any) -> Any:
    pods = PodSettings(**{"namespace": "ml", "poll_seconds": 0, **settings})
    return process.start(
        job(), cluster / "jobs", "services.trainer.job", {}, Kubernetes("trainer", pods)
    )


def test_an_attempt_is_applied_after_older_ones_are_deleted_and_followed_to_its_end(
    cluster: Path,
) -> None:
    running = started(cluster)
    assert (cluster / "jobs/training.a/3/request.json").exists()
    applied = json.loads((cluster / "applied").read_text())
    name = applied["items"][0]["metadata"]["name"]
    key = manifest.job_key("training.a")
    assert (cluster / "calls").read_text().splitlines() == [
        f"-n ml delete job,pod,service -l imece-job={key} --ignore-not-found --now --wait=false",
        "-n ml apply -f -",
    ]
    assert running.name == name
    (cluster / "shown").write_text(json.dumps({"items": shown()}))
    assert running.exit_code() is None
    (cluster / "shown").write_text(json.dumps({"items": shown((137, "OOMKilled"))}))
    assert running.exit_code() == -9
    assert "OOMKilled" in running.starved()
    running.ask_to_stop()
    running.kill()
    asked, killed = (cluster / "calls").read_text().splitlines()[-2:]
    mine = f"-l imece-attempt={name} --ignore-not-found"
    assert asked == f"-n ml delete job {mine} --wait=false"
    assert killed == f"-n ml delete job,pod,service {mine} --now --wait=false"


def test_a_cluster_that_does_not_answer_says_nothing_about_an_attempt(cluster: Path) -> None:
    running = started(cluster)
    (cluster / "shown").write_text("")
    (cluster / "refuse").write_text("the server is currently unable to handle the request")
    assert running.exit_code() is None
    running.kill()  # nothing is raised: the deadline ends the Job
    (cluster / "refuse").unlink()
    (cluster / "shown").write_text(json.dumps({"items": []}))
    assert running.exit_code() == -9


def test_an_attempt_that_waits_for_a_node_is_not_silent(cluster: Path) -> None:
    running, log = started(cluster), cluster / "jobs/training.a/3/job.log"
    unplaced = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    for conditions, alive in (([], False), ([unplaced], True)):
        os.utime(log, (0, 0))
        pod = {"kind": "Pod", "metadata": {"name": "p"}, "status": {"conditions": conditions}}
        (cluster / "shown").write_text(json.dumps({"items": [*shown(), pod]}))
        assert running.exit_code() is None
        assert (log.stat().st_mtime > 0) is alive


def test_the_cluster_is_not_asked_at_every_look(cluster: Path) -> None:
    running = started(cluster, poll_seconds=60)
    assert [running.exit_code() for _ in range(50)] == [None] * 50
    assert "get" not in (cluster / "calls").read_text()


def test_what_the_cluster_refuses_is_a_failure_that_may_be_tried_again(cluster: Path) -> None:
    (cluster / "refuse").write_text('jobs.batch is forbidden: User "x" cannot create')
    failed = started(cluster)
    assert isinstance(failed, Failed)
    assert (failed.failure.reason, failed.retry) == ("cannot_start", True)
    assert "is forbidden" in failed.failure.message
    assert "deploy/k8s/pods" in failed.failure.message


def test_without_kubectl_an_attempt_cannot_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    failed = started(tmp_path)
    assert isinstance(failed, Failed)
    assert "kubectl" in failed.failure.message


def test_a_setting_chooses_where_attempts_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMECE_PODS_AT_ONCE", "5")
    here = places("process", "trainer", tmp_path, 0)
    there = places("kubernetes", "trainer", tmp_path, 0)
    assert (type(here["launcher"]), here["slots"]) == (process.Processes, 1)
    assert here["devices"] is not None
    assert (type(there["launcher"]), there["slots"], there["devices"]) == (Kubernetes, 5, None)
