"""The layout: where services are, what the wheel holds, what a module says."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from imece.events import SERVICES

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
FOLDERS = {name: ROOT / "services" / name.replace("-", "_") for name in SERVICES}
SOURCES = sorted([*(ROOT / "shared").rglob("*.py"), *(ROOT / "services").rglob("*.py")])


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_each_service_has_one_folder_and_there_are_no_others() -> None:
    found = {path.parent for path in (ROOT / "services").glob("*/__init__.py")}
    assert found == set(FOLDERS.values())


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_can_be_run_alone(name: str) -> None:
    main = (FOLDERS[name] / "__main__.py").read_text("utf-8")
    assert f"services.{FOLDERS[name].name}" in main
    assert '__name__ == "__main__"' in main


def test_the_wheel_holds_the_library_and_no_service() -> None:
    assert PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["shared/imece"]


def test_the_wheel_alone_needs_nothing_heavy() -> None:
    names = [re.split(r"\W", each)[0] for each in PROJECT["project"]["dependencies"]]
    assert names == ["pydantic"]


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_module_says_what_it_is(path: Path) -> None:
    text = path.read_text("utf-8")
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), f"{name_of(path)} has no docstring"


def test_every_folder_with_modules_is_a_package() -> None:
    folders = {path.parent for path in SOURCES} - {ROOT / "shared", ROOT / "services"}
    assert [name_of(each) for each in sorted(folders) if not (each / "__init__.py").exists()] == []


def test_the_lock_pins_and_hashes_all_that_is_needed_and_names_no_server() -> None:
    lock = (ROOT / "requirements/lock.txt").read_text("utf-8")
    pinned = dict(re.findall(r"^([a-z0-9-]+)==([^ ;]+).*\\\n +--hash=sha256:", lock, re.M))
    extras = PROJECT["project"]["optional-dependencies"].values()
    needed = {re.split(r"[^\w-]", each)[0].lower() for extra in extras for each in extra}
    assert needed - {"imece"} - set(pinned) == set()
    assert "://" not in lock
