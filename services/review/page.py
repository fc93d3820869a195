"""Turns what a reviewer is to see into HTML; everything from outside is escaped by the template."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from services.review import core
from services.review.people import Reviewer
from services.review.reports import Progress, Waiting
from services.review.slots import Task

HERE = Path(__file__).parent
TEXTS: dict[str, dict[str, str]] = tomllib.loads((HERE / "texts.toml").read_text("utf-8"))
LANGUAGES = tuple(TEXTS)
_PAGE = Environment(
    loader=FileSystemLoader(HERE),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
).get_template("page.html")


@dataclass(frozen=True, slots=True)
class Shown:
    """An option on the page and the key that chooses it."""

    key: str
    pieces: list[core.Piece]
    tie: bool


@dataclass(frozen=True, slots=True)
class View:
    """All that one page holds; without a reviewer it is the sign-in."""

    language: str
    notice: str = ""
    reviewer: Reviewer | None = None
    csrf: str = ""
    progress: Progress | None = None
    task: Task | None = None
    waiting: Waiting | None = None


def render(view: View) -> str:
    """Return the page."""
    options = _shown(view.task) if view.task else []
    seconds = (view.waiting.seconds if view.waiting else None) or 0
    values: dict[str, Any] = {
        "t": TEXTS[view.language],
        "language": view.language,
        "languages": LANGUAGES,
        "notice": view.notice,
        "reviewer": view.reviewer.name if view.reviewer else "",
        "csrf": view.csrf,
        "progress": view.progress,
        "task": view.task,
        "options": options,
        "marked": any(piece.differs for option in options for piece in option.pieces),
        "reasons": core.REASONS,
        "waiting": view.waiting,
        "minutes": int(seconds // 60) + 1,
    }
    return _PAGE.render(values)


def _shown(task: Task) -> list[Shown]:
    texts = [text for text in task.options if text != core.TIE]
    pieces = [[core.Piece(text, False)] for text in texts]
    if len(texts) == 2 and not task.answer:
        pieces = list(core.differences(*texts))
    options = [Shown(str(n), found, False) for n, found in enumerate(pieces, 1)]
    return options + [Shown("0", [], True)] * (len(task.options) - len(texts))


def language(wanted: str, accepted: str) -> str:
    """Return the language asked for, else the first one accepted that there is, else English."""
    if wanted in TEXTS:
        return wanted
    offered = (part.split(";")[0].strip().split("-")[0].lower() for part in accepted.split(","))
    return next((each for each in offered if each in TEXTS), "en")
