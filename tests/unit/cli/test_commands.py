"""What the commands decide without a broker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from imece.cli import dead, publish, status, watch
from imece.cli.main import app
from imece.errors import ConfigError
from imece.events import RecordSubmitted

TOPIC = RecordSubmitted.topic.name
GOOD = {"type": TOPIC, "data": {"record_set": "s", "record": {"kind": "document", "text": "ığ"}}}


def _line(**change: Any) -> bytes:
    return json.dumps(GOOD | change).encode()


@pytest.mark.parametrize(
    ("line", "reason", "field"),
    [
        (b"{", "invalid_json", ""),
        (b"[1]", "invalid_json", ""),
        (b"\xff", "invalid_utf8", ""),
        (b" " + b"x" * (publish.LINE_BYTES + 1), "line_too_long", ""),
        (_line(type="nope"), "unknown_type", "/type"),
        (_line(type=None), "unknown_type", "/type"),
        (_line(typo=1), "unknown_field", "/typo"),
        (_line(id=""), "invalid_id", "/id"),
        (_line(data={"record_set": "s", "ends_set": True, "x": 1}), "extra_forbidden", "/data/x"),
        (_line(data={"ends_set": True}), "missing", "/data/record_set"),
    ],
    ids=range(10),
)
def test_a_bad_line_is_named_by_line_field_and_reason(line: bytes, reason: str, field: str) -> None:
    events, problems = publish.parse([_line(), b"", line], "tests")
    assert len(events) == 1
    assert [(p.line, p.reason, p.field) for p in problems] == [(3, reason, field)]


def test_a_dry_run_needs_no_broker(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(_line(id="1") + b"\n" + _line() + b"\n")
    result = CliRunner().invoke(app, ["publish", str(file), "--dry-run", "--json"])
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"valid": 2})


def test_errors_are_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMECE_HOME", str(tmp_path))
    monkeypatch.delenv("IMECE_KAFKA", raising=False)
    for arguments in (
        ["publish", str(tmp_path / "none.jsonl")],
        ["topics"],
        ["watch", "imece.nope.v1"],
        ["watch", TOPIC, "--since", "soon"],
        ["dead", "ls", "nobody"],
        ["jobs", "ls"],
        ["status"],
    ):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2, arguments
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1


def test_a_broker_that_is_away_is_one_line_that_says_what_to_look_at(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from imece.cli.main import main; main()", "topics"],
        env=dict(os.environ, IMECE_HOME=str(tmp_path), IMECE_KAFKA="127.0.0.1:1"),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot reach Kafka at 127.0.0.1:1; does it run")
    assert done.stderr.count("\n") == 1


def test_durations_have_a_unit() -> None:
    assert [watch.duration(text) for text in ("90s", "15m", "1h", "7d")] == [90, 900, 3600, 604800]
    with pytest.raises(ConfigError, match="15m"):
        watch.duration("15")


def _parked(offset: int, reason: str) -> Any:
    marks = {"original-topic": TOPIC, "original-partition": "0", "original-offset": str(offset)}
    marks["error-reason"] = reason
    headers = [("ce_id", b"1"), *((f"x-{name}", text.encode()) for name, text in marks.items())]
    return SimpleNamespace(headers=headers, key=b"k", value=b"\xff")


def test_parked_twice_is_listed_once_with_the_newest_reason() -> None:
    found = dead.read([_parked(1, "old"), _parked(2, "other"), _parked(1, "new")])
    reasons = {one.subject: dead.row(one)["reason"] for one in found}
    assert reasons == {f"{TOPIC}/0/1": "new", f"{TOPIC}/0/2": "other"}
    assert found[0].headers == [("ce_id", b"1")]
    assert found[0].value == b"\xff"


def test_a_service_that_does_not_answer_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    state = {"services": ["ingest"], "pid": 1, "http": "127.0.0.1:9"}
    (tmp_path / "run" / "1.json").write_text(json.dumps(state))
    (tmp_path / "run" / "2.json").write_text("{")
    assert "does not answer at 127.0.0.1:9" in status.services(tmp_path)["ingest"]
