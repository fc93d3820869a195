"""Phrases that we wrote to train the injection model: orders to models, and ordinary talk."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

_GROUP = re.compile(r"\{([^{}]*)\}")
_NAME = re.compile(r"@(\w+)", re.ASCII)


def written(name: str, each: int, seed: int = 0) -> Iterator[tuple[str, str]]:
    """Yield (family, text) of a phrase file: at most `each` different texts of every line."""
    lists: dict[str, list[str]] = {}
    lines = (Path(__file__).with_name(name)).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line or line.startswith("# "):
            continue
        if found := re.match(r"@(\w+) = (.*)", line):
            lists[found[1]] = found[2].split("|")
            continue
        dice = random.Random(f"{seed} {line}")
        texts = dict.fromkeys(_filled(line, lists, dice) for _ in range(each))
        yield from ((f"{name}:{number}", text) for text in texts)


def _filled(line: str, lists: dict[str, list[str]], dice: random.Random) -> str:
    """Return the line with every choice made."""
    while group := _GROUP.search(line):
        picked = dice.choice(group[1].split("|")) if group[1] else ""
        line = line[: group.start()] + picked + line[group.end() :]
    text = _NAME.sub(lambda m: dice.choice(lists[m[1]]) if m[1] in lists else m[0], line)
    text = re.sub(r"\s+([.,!?;])", r"\1", " ".join(text.split()))
    return text if dice.random() < 0.8 else text.lower()
