"""Tests of code answers: what operators expect of a function, and what an answer's function does.

Cases come from the operator's file only. Whatever is not certain is no evidence.
"""

from __future__ import annotations

import io
import math
import re
import tokenize
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from imece.errors import ConfigError
from services.feedback_guard import claims
from services.feedback_guard.sandbox import Call

Run = Callable[[Call], list[dict[str, Any]] | None]
"""Runs a program in isolation."""
TENANT = "default"  # as with upstream's trusted records
_FENCE = re.compile(r"```[ \t]*(?:python|py)?[ \t]*\n(.*?)\n?```", re.DOTALL | re.IGNORECASE)
_STARTS = (tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING)


class Case(BaseModel):
    """Arguments and what the function has to return for them, as JSON values."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    given: tuple[JsonValue, ...]
    expected: JsonValue


class Test(BaseModel):
    """What a right answer to a question does."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    __test__ = False  # pytest

    question: str
    function: str
    cases: Annotated[tuple[Case, ...], Field(min_length=1)]


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    test: tuple[Test, ...]


def load(path: Path) -> dict[str, Test]:
    """Return the tests of a TOML file by claim; `ConfigError` says what is wrong with it."""
    try:
        tests = _File.model_validate(tomllib.loads(path.read_text("utf-8"))).test
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise ConfigError(f"unit tests {path}: {error}") from error
    return {claims.claim_id(TENANT, test.question): test for test in tests}


def judge(answer: str, test: Test, run: Run) -> bool | None:
    """Tell whether an answer's code does what is expected; None where that is not certain.

    Code that passes confirms an answer only if the answer is nothing but code without comments: a
    right function must not smuggle in a sentence. Code that fails refutes whatever is around it.
    """
    code, alone = program(answer, test.function)
    if code is None:
        return None
    told = run(Call(code, test.function, [case.given for case in test.cases]))
    if told is None:
        return None
    pairs = zip(told, test.cases, strict=True)
    passed = all("value" in each and same(each["value"], case.expected) for each, case in pairs)
    if not passed:
        return False
    return True if alone and _silent(code) else None


def program(answer: str, function: str) -> tuple[str | None, bool]:
    """Return the code of an answer that defines the function, and whether it is all of it."""
    text = answer.strip()
    fences = _FENCE.findall(text)
    code = fences[0] if len(fences) == 1 else text
    defined = re.search(rf"^def {re.escape(function)}\b", code, re.MULTILINE)
    if len(fences) > 1 or defined is None:
        return None, False
    return code, not fences or _FENCE.fullmatch(text) is not None


def same(value: Any, expected: Any) -> bool:
    """Compare JSON values; numbers with a point are equal up to rounding."""
    if isinstance(value, bool) or isinstance(expected, bool):
        return value is expected
    if isinstance(value, int | float) and isinstance(expected, int | float):
        return value == expected or math.isclose(value, expected, rel_tol=1e-9)
    if isinstance(value, list) and isinstance(expected, Sequence) and not isinstance(expected, str):
        return len(value) == len(expected) and all(map(same, value, expected))
    if isinstance(value, dict) and isinstance(expected, dict):
        return value.keys() == expected.keys() and all(same(value[k], expected[k]) for k in value)
    return bool(value == expected)


def _silent(code: str) -> bool:
    """Tell whether code has neither comments nor texts that do nothing."""
    before = tokenize.ENCODING
    try:
        for token in tokenize.generate_tokens(io.StringIO(code).readline):
            if token.type == tokenize.COMMENT:
                return False
            if token.type == tokenize.STRING and before in _STARTS:
                return False
            before = token.type
    except (tokenize.TokenError, SyntaxError):
        return False
    return True
