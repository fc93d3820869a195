"""Who made a model, by its name: a judge may favour its own kin."""

from __future__ import annotations

import re

UNKNOWN = "unknown"
_FAMILIES = (
    ("openai", r"gpt|chatgpt|\bo[134]\b|davinci"),
    ("anthropic", r"claude"),
    ("google", r"gemini|gemma|palm"),
    ("meta", r"llama"),
    ("alibaba", r"qwen|qwq"),
    ("mistral", r"mi[sx]tral|ministral|magistral"),
    ("deepseek", r"deepseek"),
    ("microsoft", r"\bphi"),
    ("huggingface", r"smollm|zephyr"),
    ("cohere", r"command|\baya"),
)


def family_of(model: str) -> str:
    """Return who made a model, by its name; "unknown" when the name does not tell."""
    for family, pattern in _FAMILIES:
        if re.search(pattern, model.casefold()):
            return family
    return UNKNOWN


_VERSION = re.compile(r"(?:[-_.@:/ ]+(?:v|version|rev|r)?[-_.]?\d+(?:[._-]\d+)*)+\Z", re.IGNORECASE)


def unversioned(model: str) -> str:
    """Return a model's name without its version: `support-v3`, `support@2026-11-24`, `support.12`.

    A name that is nothing but a version stays as it is.
    """
    return _VERSION.sub("", model) or model
