"""What is known of models: every fact has a value, a source, a date and a level of evidence."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from imece.errors import RejectedError

Level = Literal["measured", "maker", "secondary", "cited"]
Value = str | float
FACTS = (
    "license",
    "weights",
    "commercial",
    "parameters",
    "active",
    "speed",
    "training_data",
    "training_tokens",
    "quality",
    "adaptability",
    "context",
    "price_read",
    "price_written",
    "own",
)
"""The article's seven criteria (licence as `license` and `weights`), and context, price, own."""
MEASURABLE = frozenset({"speed", "quality", "own", "price_read", "price_written", "context"})
_WORDS: dict[str, tuple[str, ...]] = {
    "weights": ("open", "closed"),
    "commercial": ("yes", "conditional", "no"),
    "training_data": ("open", "described", "undisclosed"),
    "adaptability": ("full", "lora", "api", "none"),
}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Fact(_Frozen):
    """One value and where it comes from."""

    value: Value
    source: str
    date: date
    level: Level


class Model(_Frozen):
    """One model; a fact that is missing is unknown, not bad."""

    name: str
    maker: str
    family: str
    facts: Mapping[str, Fact]

    def value(self, name: str) -> Value | None:
        """Return a fact's value; None when it is unknown."""
        fact = self.facts.get(name)
        return None if fact is None else fact.value

    def number(self, name: str) -> float | None:
        """Return a fact that is a number; None when it is unknown."""
        value = self.value(name)
        return float(value) if isinstance(value, int | float) else None


class Measured(_Frozen):
    """New evidence about a model, one line of an evidence file."""

    model: str
    fact: str
    value: float
    source: str
    date: date


def load(path: Path | None = None) -> list[Model]:
    """Read a catalogue, without `path` the one that comes with imece."""
    if path is None:
        text = files("imece.selection").joinpath("catalogue.toml").read_text("utf-8")
    else:
        text = path.read_text("utf-8")
    try:
        body = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _bad(path, str(error)) from error
    models = [_model(entry, body.get("sources", {}), path) for entry in body.get("models", [])]
    names = [model.name for model in models]
    if twice := {name for name in names if names.count(name) > 1}:
        raise _bad(path, f"names {sorted(twice)} more than once")
    return models


def _model(entry: dict[str, Any], sources: dict[str, Any], path: Path | None) -> Model:
    name = str(entry.get("name", "a model without a name"))
    if unknown := set(entry) - {"name", "maker", "family", *FACTS}:
        raise _bad(path, f"{name}: there is no fact {sorted(unknown)}")
    facts = {}
    for key in FACTS:
        if key not in entry:
            continue
        try:
            source = sources[entry[key]["source"]]
            facts[key] = Fact(
                value=entry[key]["value"],
                source=f"{source['name']} <{source['url']}>",
                date=source["date"],
                level=source["level"],
            )
        except (KeyError, TypeError, ValidationError) as error:
            raise _bad(path, f"{name}, {key}: has no good value with a source: {error}") from error
        _check(name, key, facts[key].value, path)
    try:
        return Model(name=name, maker=entry["maker"], family=entry["family"], facts=facts)
    except (KeyError, ValidationError) as error:
        raise _bad(path, f"{name}: {error}") from error


def _check(name: str, key: str, value: Value, path: Path | None) -> None:
    if key in _WORDS and value not in _WORDS[key]:
        raise _bad(path, f"{name}, {key}: {value!r} is none of {', '.join(_WORDS[key])}")
    if key not in _WORDS and key != "license" and (isinstance(value, str) or value < 0):
        raise _bad(path, f"{name}, {key}: {value!r} is not a number from 0 on")


def _bad(path: Path | None, why: str) -> RejectedError:
    return RejectedError("bad_catalogue", f"{path or 'the catalogue'}: {why}")


def read_evidence(lines: Iterable[str], name: str) -> list[Measured]:
    """Read JSON lines of measured facts; RejectedError names the first bad one."""
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found.append(Measured.model_validate_json(line))
        except ValidationError as error:
            why = error.errors(include_url=False)[0]["msg"]
            raise RejectedError("bad_evidence", f"{name}, line {number}: {why}") from error
        if found[-1].fact not in MEASURABLE:
            able = ", ".join(sorted(MEASURABLE))
            raise RejectedError(
                "bad_evidence",
                f"{name}, line {number}: {found[-1].fact!r} cannot be measured, only {able}",
            )
    return found


def with_evidence(models: Sequence[Model], measured: Iterable[Measured]) -> list[Model]:
    """Return the models with what was measured in place of what was told; the newest stands."""
    known = {model.name: dict(model.facts) for model in models}
    for each in sorted(measured, key=lambda each: each.date):
        if each.model not in known:
            raise RejectedError(
                "unknown_model", f"the catalogue has no {json.dumps(each.model)}; add it there"
            )
        known[each.model][each.fact] = Fact(
            value=each.value, source=each.source, date=each.date, level="measured"
        )
    return [model.model_copy(update={"facts": known[model.name]}) for model in models]
