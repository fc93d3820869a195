"""Counters of the out-of-memory killer, read from made-up systems."""

from __future__ import annotations

from pathlib import Path

import pytest

from imece.runtime.jobs.oom import Seen, evidence, read

V2 = "low 0\nhigh 3\nmax 7\noom 2\noom_kill 2\n"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii")


def test_a_unified_hierarchy_counts_in_our_own_group(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "0::/pods/köy/a\n".replace("ö", "o"))
    write(tmp_path / "sys/fs/cgroup/pods/koy/a/memory.events", V2)
    write(tmp_path / "sys/fs/cgroup/pods/koy/a/memory.max", f"{512 * 2**20}\n")
    write(tmp_path / "proc/vmstat", "oom_kill 9\n")
    assert read(tmp_path) == Seen("/sys/fs/cgroup/pods/koy/a/memory.events", 2, "512 MiB")


def test_in_a_container_the_group_is_the_root_of_what_is_seen(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "0::/\n")
    write(tmp_path / "sys/fs/cgroup/memory.events", V2)
    write(tmp_path / "sys/fs/cgroup/memory.max", "max\n")
    assert read(tmp_path) == Seen("/sys/fs/cgroup/memory.events", 2, "")


def test_the_older_hierarchy_is_read_too(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "8:pids:/\n4:memory:/job\n0::/\n")
    write(tmp_path / "sys/fs/cgroup/memory/job/memory.oom_control", "under_oom 0\noom_kill 1\n")
    write(tmp_path / "sys/fs/cgroup/memory/job/memory.limit_in_bytes", "9223372036854771712\n")
    assert read(tmp_path) == Seen("/sys/fs/cgroup/memory/job/memory.oom_control", 1, "")


def test_without_a_group_the_machine_counts_and_without_that_nothing(tmp_path: Path) -> None:
    assert read(tmp_path) is None
    write(tmp_path / "proc/vmstat", "nr_free_pages 7\noom_kill 4\n")
    assert read(tmp_path) == Seen("/proc/vmstat", 4, "")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, Seen("a", 1)),
        (Seen("a", 0), None),
        (Seen("a", 1), Seen("a", 1)),
        (Seen("a", 0), Seen("b", 5)),
    ],
)
def test_no_more_kills_than_before_prove_nothing(before: Seen | None, after: Seen | None) -> None:
    assert evidence(before, after) is None


def test_evidence_names_the_counter_and_the_limit() -> None:
    told = evidence(Seen("/x/memory.events", 1, "64 MiB"), Seen("/x/memory.events", 2, "64 MiB"))
    assert told == "/x/memory.events (limit 64 MiB) counts oom_kill 1 -> 2"
