"""Suites are checked whole before anything is sent; what is wrong is named by its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from imece.cli.main import app
from imece.cli.suites import read, records
from imece.errors import ConfigError

TOML = """
suite = "facts-tr"
license = "CC0-1.0"
[defaults]
language = "tr"
slice = "facts"
[[case]]
prompt = "Türkiye'nin başkenti?"
expected = "Ankara"
guard = true
metrics = ["rougeL", "chrf"]
[[case]]
prompt = "Kar ne renk?"
expected = ["beyaz"]
choices = ["beyaz", "kara"]
scoring = "likelihood"
"""


def written(folder: Path, text: str, name: str = "suite.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_toml_suite_becomes_records_and_the_end_of_a_set(tmp_path: Path) -> None:
    suite = read(written(tmp_path, TOML))
    assert (suite.name, [c.language for c in suite.cases]) == ("facts-tr", ["tr", "tr"])
    assert suite.cases[0].metrics == ("rougeL", "chrf")
    sent = records(suite)
    assert [event.data.ends_set for event in sent] == [False, False, True]
    assert {event.data.license for event in sent[:2]} == {"CC0-1.0"}
    assert [e.id for e in sent] == [e.id for e in records(suite)]


def test_json_lines_need_a_name_from_outside(tmp_path: Path) -> None:
    line = json.dumps({"prompt": "2+2?", "expected": ["4"]})
    path = written(tmp_path, line + "\n\n", "cases.jsonl")
    assert read(path, "sums").cases[0].prompt == "2+2?"
    with pytest.raises(ConfigError, match="has no name"):
        read(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('suite = "s"', "it has no case"),
        ('suite = "s"\nshots = 5', "unknown key shots"),
        ("suite = ", "Invalid value"),
        ('suite = "s"\n[[case]]\nprompt = "p"\nexpected = []', "case 1: expected"),
        (
            'suite = "s"\n[[case]]\nprompt = "p"\nexpected = "c"\nchoices = ["a", "b"]',
            "expected is not among choices",
        ),
        (
            'suite = "s"\n[[case]]\nprompt = "p"\nexpected = "c"\nscoring = "likelihood"',
            "likelihood scoring compares choices",
        ),
        (
            'suite = "s"\n[[case]]\nprompt = "p"\nexpected = "c"\nmetrics = ["vibes"]',
            "case 1: metrics.0",
        ),
        (
            'suite = "s"' + '\n[[case]]\nprompt = "p"\nexpected = "c"' * 2,
            "the same case twice",
        ),
    ],
)
def test_a_bad_suite_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(written(tmp_path, text))


def test_a_dry_run_sends_nothing_and_says_how_cases_are_scored(tmp_path: Path) -> None:
    run = CliRunner().invoke(app, ["suites", "publish", str(written(tmp_path, TOML)), "--dry-run"])
    assert run.exit_code == 0
    assert "2 cases valid (1 by generation, 1 by likelihood)" in run.output
    bad = CliRunner().invoke(app, ["suites", "publish", str(tmp_path / "none.toml")])
    assert bad.exit_code == 2
