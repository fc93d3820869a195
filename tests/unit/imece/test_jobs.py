"""What an attempt's remains mean, and which checkpoints count."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imece.errors import ConfigError, JobError, RejectedError, UnavailableError
from imece.events import Failure
from imece.runtime.checkpoints import Checkpoints
from imece.runtime.jobs import JobRequest, files
from imece.runtime.jobs.child import named
from imece.runtime.jobs.model import Failed, RetryPolicy, Succeeded
from imece.runtime.jobs.outcome import decide, failed, last_line, printable


def reason(folder: Path, code: int) -> tuple[str, bool]:
    outcome = decide(folder, 1, code)
    assert isinstance(outcome, Failed)
    return outcome.failure.reason, outcome.retry


def log(folder: Path, text: str) -> None:
    (folder / files.LOG).write_text(text, encoding="utf-8")


def test_zero_and_a_result_of_this_token_is_success(tmp_path: Path) -> None:
    files.write_json(tmp_path / files.RESULT, {"token": 1, "result": {"loss": 0.5}})
    assert decide(tmp_path, 1, 0) == Succeeded({"loss": 0.5})
    assert isinstance(decide(tmp_path, 2, 0), Failed)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"token": 1}', '{"token": 1, "result": 3}'])
def test_zero_with_a_broken_result_is_a_failure(tmp_path: Path, content: str) -> None:
    (tmp_path / files.RESULT).write_text(content)
    assert reason(tmp_path, 0) == ("no_result", False)


def test_exit_codes_and_signals_have_names(tmp_path: Path) -> None:
    assert reason(tmp_path, -signal.SIGKILL) == ("killed", True)
    assert reason(tmp_path, files.BAD_CONFIG) == ("bad_config", False)
    assert reason(tmp_path, files.INTERRUPTED) == ("interrupted", True)
    assert reason(tmp_path, 1) == ("crashed", False)


def test_a_kill_for_want_of_memory_has_a_name_of_its_own_and_the_last_line(tmp_path: Path) -> None:
    log(tmp_path, "step 7 of 9\n")
    outcome = decide(tmp_path, 1, -signal.SIGKILL, "memory.events counts oom_kill 0 -> 1")
    assert isinstance(outcome, Failed)
    assert (outcome.failure.reason, outcome.retry) == ("oom_killed", True)
    assert "oom_kill 0 -> 1; last log line: step 7 of 9" in outcome.failure.message
    # A helper was killed and the child gave up without a name; one that has a name keeps it.
    helper = decide(tmp_path, 1, 1, "memory.events counts oom_kill 0 -> 1")
    assert isinstance(helper, Failed)
    assert helper.failure.reason == "oom_killed"
    files.write_json(tmp_path / files.FAILURE, {"reason": "a", "message": "b", "retry": False})
    named_one = decide(tmp_path, 1, 1, "memory.events counts oom_kill 0 -> 1")
    assert isinstance(named_one, Failed)
    assert named_one.failure.reason == "a"


def test_the_log_tells_what_the_child_could_not(tmp_path: Path) -> None:
    log(tmp_path, "Traceback (most recent call last):\nModuleNotFoundError: No module named 'x'\n")
    assert reason(tmp_path, 1) == ("import_failed", False)
    log(tmp_path, "/usr/bin/python3: No module named services.none\n")
    assert reason(tmp_path, 1) == ("import_failed", False)
    log(tmp_path, "OSError: [Errno 28] No space left on device\n")
    assert reason(tmp_path, 1) == ("disk_full", True)


def test_a_failure_that_the_child_named_wins(tmp_path: Path) -> None:
    files.write_json(
        tmp_path / files.FAILURE, {"reason": "no rows!", "message": "boş\nküme", "retry": True}
    )
    assert decide(tmp_path, 1, 1) == Failed(
        Failure(reason="no_rows_", message="boş küme"), retry=True
    )


def test_the_last_line_is_never_the_inside_of_a_traceback(tmp_path: Path) -> None:
    log(
        tmp_path,
        "step 1\rstep 2\n\x1b[31mTraceback (most recent call last):\n"
        "  File \"a.py\", line 1, in <module>\n    f()\n    ~^^\nKeyError: 'ışık'\n\n   \n",
    )
    assert last_line(tmp_path / files.LOG) == "KeyError: 'ışık'"
    assert last_line(tmp_path / "none") == ""


@given(st.text())
def test_any_text_becomes_a_message_that_an_event_takes(text: str) -> None:
    outcome = failed(text, text, retry=False)
    assert Failure.model_validate_json(outcome.failure.model_dump_json()) == outcome.failure
    assert printable(printable(text)) == printable(text)


def test_errors_have_reasons_and_say_whether_to_try_again() -> None:
    assert named(JobError("no_rows", "none", retry=True)) == ("no_rows", True)
    assert named(RejectedError("artifact_missing", "gone")) == ("artifact_missing", False)
    assert named(OSError(errno.ENOSPC, "full")) == ("disk_full", True)
    assert named(OSError(errno.EFBIG, "too large")) == ("disk_full", True)
    assert named(Exception("I/O error (os error 28)")) == ("disk_full", True)
    assert named(ConfigError("wrong")) == ("bad_config", False)
    assert named(UnavailableError("down")) == ("unavailable", True)
    assert named(MemoryError()) == ("out_of_memory", True)
    for said in (
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling",
    ):
        assert named(RuntimeError(said)) == ("out_of_memory", True)
    assert named(ModuleNotFoundError("x")) == ("import_failed", False)
    assert named(ValueError("x")) == ("crashed", False)


def test_waits_double_up_to_the_longest() -> None:
    policy = RetryPolicy(first_delay=5, longest_delay=30)
    assert [policy.delay(n) for n in range(1, 5)] == [5, 10, 20, 30]


@pytest.mark.parametrize("job", ["", "..", "a/b", "../a", "a b", ".hidden"])
def test_an_id_that_cannot_name_a_folder_is_refused(job: str) -> None:
    with pytest.raises(ValueError, match="job id"):
        JobRequest(id=job, model="m", request={})


def save(checkpoints: Checkpoints, step: int) -> Path:
    def write(folder: Path) -> None:
        (folder / "sub").mkdir()
        (folder / "a.bin").write_bytes(bytes([step]) * 100)
        (folder / "sub" / "b.json").write_text(json.dumps(step))

    return checkpoints.save(step, write).folder


def test_the_newest_checkpoint_of_any_attempt_is_found(tmp_path: Path) -> None:
    first = Checkpoints("j", tmp_path / "1")
    for step in (5, 10, 15):
        save(first, step)
    assert [path.name[-2:] for path in sorted((tmp_path / "1").iterdir())] == ["10", "15"]
    second = Checkpoints("j", tmp_path / "2", [tmp_path / "1", tmp_path / "gone"])
    found = second.newest()
    assert found is not None
    assert (found.step, found.folder.parent.name) == (15, "2"), "not adopted: 1 may still run"
    save(second, 20)
    newest = second.newest()
    assert newest is not None
    assert newest.step == 20


@pytest.mark.parametrize("damage", ["cut", "flip", "missing", "manifest", "foreign"])
def test_damaged_and_foreign_checkpoints_are_passed_over(tmp_path: Path, damage: str) -> None:
    checkpoints = Checkpoints("j", tmp_path)
    save(checkpoints, 1)
    last = save(checkpoints, 2)
    manifest = last / "manifest.json"
    if damage == "cut":
        (last / "a.bin").write_bytes(b"\x02" * 99)
    elif damage == "flip":
        (last / "a.bin").write_bytes(b"\x02" * 99 + b"\x03")
    elif damage == "missing":
        (last / "sub" / "b.json").unlink()
    elif damage == "manifest":
        manifest.write_text(manifest.read_text()[:-5])
    else:
        manifest.write_text(manifest.read_text().replace('"j"', '"k"'))
    found = checkpoints.newest()
    assert found is not None
    assert found.step == 1


def test_later_checkpoints_of_another_run_do_not_crowd_out_the_own(tmp_path: Path) -> None:
    for step in (80, 90):
        save(Checkpoints("before the settings changed", tmp_path), step)
    checkpoints = Checkpoints("j", tmp_path)
    save(checkpoints, 5)
    found = checkpoints.newest()
    assert found is not None
    assert found.step == 5


def test_a_full_disk_leaves_the_older_checkpoint_and_nothing_partial(tmp_path: Path) -> None:
    checkpoints = Checkpoints("j", tmp_path)
    save(checkpoints, 1)

    def write(folder: Path) -> None:
        (folder / "half").write_bytes(b"x")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(JobError, match="no space") as caught:
        checkpoints.save(2, write)
    assert (caught.value.reason, caught.value.retry) == ("disk_full", True)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_a_checkpoint_that_a_stale_attempt_removes_meanwhile_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Checkpoints("j", tmp_path / "1")
    save(first, 5)
    newest = save(first, 10)
    link = os.link

    def removed(source: str, target: str, **options: bool) -> None:
        shutil.rmtree(newest, ignore_errors=True)
        link(source, target, **options)

    monkeypatch.setattr(os, "link", removed)
    found = Checkpoints("j", tmp_path / "2", [tmp_path / "1"]).newest()
    assert found is not None
    assert found.step == 5
    assert [path.name for path in (tmp_path / "2").iterdir()] == ["step-00000005"]
