"""What the documents name exists: commands and options, settings, modules, files, links."""

from __future__ import annotations

import re
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic_settings import BaseSettings

from imece.cli.main import app
from imece.runtime.settings import PodSettings, Settings
from services.adapter.settings import AdapterSettings
from services.evaluator.settings import EvaluatorSettings
from services.feedback_guard.settings import GuardSettings
from services.ingest.settings import IngestSettings
from services.llm_judge.settings import JudgeSettings
from services.review.settings import ReviewSettings
from services.trainer.settings import TrainerSettings

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/k8s/*.md")]
GROUPS: tuple[type[BaseSettings], ...] = (
    Settings,
    PodSettings,
    AdapterSettings,
    EvaluatorSettings,
    GuardSettings,
    IngestSettings,
    JudgeSettings,
    ReviewSettings,
    TrainerSettings,
)
# Read by the bench and by `imece review`, which have no settings class.
SETTINGS = {"IMECE_BENCH_DATA", "IMECE_REVIEW_URL"} | {
    f"{group.model_config['env_prefix']}{field.upper()}"
    for group in GROUPS
    for field in group.model_fields
}


def code_of(text: str) -> list[str]:
    """Return what stands in backticks and the lines of code blocks, without their comments."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    lines = [line.partition(" #")[0] for block in blocks for line in block.splitlines()]
    return [part.strip() for part in (*re.findall(r"`([^`\n]+)`", prose), *lines)]


def wrong_in(command: str) -> str | None:
    """Return which word of an `imece` command line does not exist."""
    words = shlex.split(re.sub(r"[\[\]|]", " ", command))[1:]
    at: Any = typer.main.get_command(app)
    while words and hasattr(at, "commands"):
        if words[0] not in at.commands:
            return words[0]
        at = at.commands[words.pop(0)]
    known = {name for parameter in at.params for name in parameter.opts} | {"--help"}
    options = (word.partition("=")[0] for word in words if word.startswith("--"))
    return next((option for option in options if option not in known), None)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_each_command_exists_with_its_options(page: Path) -> None:
    found = [code for code in code_of(page.read_text("utf-8")) if code.startswith("imece ")]
    wrong = {command: word for command in found if (word := wrong_in(command))}
    assert wrong == {}


def test_a_slip_in_a_command_is_seen() -> None:
    assert wrong_in("imece jbos ls") == "jbos"
    assert wrong_in("imece jobs lss") == "lss"
    assert wrong_in("imece jobs logs JOB --atempt 1") == "--atempt"
    assert wrong_in("imece guard revoke --user U | --claim C [--dry-run]") is None


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_each_setting_exists(page: Path) -> None:
    named = set(re.findall(r"\bIMECE_[A-Z_]*(?:\*|[A-Z])", page.read_text("utf-8")))
    families = {name for name in named if name.endswith("*")}
    assert named - families - SETTINGS == set()
    assert [f for f in families if not any(s.startswith(f[:-1]) for s in SETTINGS)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_each_module_that_is_run_exists(page: Path) -> None:
    modules = re.findall(r"python -m ([\w.]+)", page.read_text("utf-8"))
    assert [module for module in modules if find_spec(module) is None] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_each_file_and_link_exists(page: Path) -> None:
    text = page.read_text("utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []
    place = r"(?:shared|services|tests|docs|deploy|imece)/[\w./-]+"
    files = [code for code in code_of(text) if re.fullmatch(place, code)]
    bases = (ROOT, ROOT / "shared")
    assert [file for file in files if not any((base / file).exists() for base in bases)] == []
