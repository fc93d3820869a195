"""What is wrong with an answer before any judge reads it: pure, and no model is asked.

A flagged answer is never scored: a judge that reads an instruction may follow it, so people look.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata

from imece.runtime.lookalikes import LOOKALIKES
from services.llm_judge.phrases import OPENERS, PATTERNS, SQUEEZED

_ZERO_WIDTH = "\u200b\u2060\u2061\u2062\u2063\u2064\ufeff\u180e\u00ad\u034f\u115f\u1160\u3164\uffa0"
_JOINERS = "\u200c\u200d"
_MARKS = "\u200e\u200f\u061c"
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
_TAG = re.compile("[\U000e0000-\U000e007f\U000e0100-\U000e01ef]")
_FLAG = re.compile("\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f")
_ENCODED = re.compile(r"(?:[A-Za-z0-9+/]{4}){6,}(?:[A-Za-z0-9+/]{2,3}={0,2})?|(?:[0-9a-f]{2}){20,}")
_SPACED = re.compile(r"(?<!\w)(?:[^\W_][\s.\-_*]{1,4}){8,}[^\W_](?!\w)")
_MIXED = re.compile(r"\b(?=\w*[a-zA-Z])(?=\w*[\u0400-\u04ff])\w{3,}\b")
_RUN = re.compile(r"(.)\1{400}", re.DOTALL)
_MARKUP = re.compile(
    r"<\|?/?(?:im_start|im_end|eot_id|start_header_id|end_header_id|endoftext|begin_of_text|"
    r"system|assistant|user|output|outputs|answer|response|reference_outputs?|reference|rubric|"
    r"candidate|verdict)\b[^>\n]{0,40}\|?>|\[/?INST\]|<</?SYS>>|"
    r"\[\s*the (?:start|end) of (?:the )?(?:assistant|reference|answer|output)[^\]\n]{0,40}\]|"
    r"^=== data [0-9a-f]{8,} ===|"
    r"^#{2,}\s*(?:system|assistant|user|judge|evaluator)\s*(?:prompt|message)?\s*:",
    re.IGNORECASE | re.MULTILINE,
)
_FORGED = re.compile(
    r"[\"']?(?:winner|verdict|score|rating|score_\d)[\"']?\s*:\s*[\"']?(?:first|second|tie|a|b|\d+)"
    r"[\"']?\s*\}|\[\[\s*(?:a|b|c|10|5|rating|tie)\s*\]\]|\"\s*,\s*\"(?:second|first|reference)\"\s*:",
    re.IGNORECASE,
)
SHORTEST_CONSTANT = 30
"""Shorter answers ("yes", "42") may well be right for many questions."""


def suspect(answer: str, question: str = "") -> str | None:
    """Return the code of the first thing wrong with `answer`; None when nothing is.

    What the question itself asks for (its own tags, a word of a pattern) is not held against it.
    """
    if hidden := _hidden(answer):
        return hidden
    said = folded(answer)
    if not said:
        return "empty"
    if _only_opener(said):
        return "master_key"
    if _RUN.search(answer) or _repeats(said):
        return "flood"
    asked = folded(question)
    return _instruction(answer, said, asked, question) or _disguised(answer, asked)


def folded(text: str) -> str:
    """Return `text` as a reader sees it: NFKC, look-alikes as Latin, one case, single blanks."""
    plain = unicodedata.normalize("NFKC", text).translate(LOOKALIKES).casefold()
    plain = "".join(c for c in plain if c not in _ZERO_WIDTH + _JOINERS + _MARKS)
    return " ".join(plain.replace("i\u0307", "i").replace("ı", "i").split())


def constant_form(answer: str) -> str | None:
    """Return what makes two answers the same text; None for one too short to tell anything."""
    said = folded(answer)
    return said if len(said) >= SHORTEST_CONSTANT else None


def _hidden(text: str) -> str | None:
    if _BIDI.search(text):
        return "bidi"
    if _TAG.search(_FLAG.sub("", text)):
        return "tag_characters"
    if any(c in _ZERO_WIDTH for c in text.removeprefix("\ufeff").replace("\u00ad", "")):
        return "zero_width"
    for at, char in enumerate(text):
        if char in _JOINERS and _between_latin(text, at):
            return "zero_width"
        if char in _MARKS and not any(unicodedata.bidirectional(c) in ("R", "AL") for c in text):
            return "bidi"
    return None


def _between_latin(text: str, at: int) -> bool:
    """Joiners shape Persian, Indic and emoji; between Latin letters they only split words."""
    around = text[max(0, at - 1) : at] + text[at + 1 : at + 2]
    return not around or any(c.isascii() or "\u00c0" <= c <= "\u024f" for c in around)


def _only_opener(said: str) -> bool:
    bare = said.strip(" \t\n.,:;!?-*#_`'\"()[]{}<>|/\\~…。：，")
    return bare in OPENERS or not any(c.isalnum() or unicodedata.category(c) == "So" for c in said)


def _repeats(said: str) -> bool:
    words = said.split()
    return len(words) >= 200 and len(set(words)) * 50 <= len(words)


def _instruction(answer: str, said: str, asked: str, question: str) -> str | None:
    for pattern, code in ((_MARKUP, "forged_markup"), (_FORGED, "forged_verdict")):
        found = pattern.search(answer)
        if found and found[0].casefold() not in question.casefold():
            return code
    return _phrase(said, asked)


def _phrase(said: str, asked: str) -> str | None:
    for code, pattern in PATTERNS:
        found = pattern.search(said)
        if found and not pattern.search(asked):
            return code
    return None


def _disguised(answer: str, asked: str) -> str | None:
    """Look behind look-alikes, encodings, spaced letters and reversed text."""
    if _MIXED.search(answer):
        return "mixed_script"
    for found in _ENCODED.finditer(answer):
        if _phrase(folded(_decoded(found[0])), asked):
            return "encoded"
    for run in _SPACED.finditer(answer):
        squeezed = re.sub(r"[\s.\-_*]", "", folded(run[0]))
        if any(word in squeezed for word in SQUEEZED):
            return "spaced"
    if _phrase(folded(answer[::-1]), asked):
        return "reversed"
    return None


def _decoded(text: str) -> str:
    try:
        if re.fullmatch(r"[0-9a-f]+", text):
            return bytes.fromhex(text[: len(text) // 2 * 2]).decode("utf-8", "ignore")
        return base64.b64decode(text[: len(text) // 4 * 4], validate=True).decode("utf-8", "ignore")
    except (ValueError, binascii.Error):
        return ""
