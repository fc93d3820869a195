"""What is disguised in a text: base64, hex, letters as digits, letters apart, words without blanks.

Long words, digits and letters apart decide what is searched for: ordinary texts cost one search.
All of a text is looked at, with work that grows with its length: no place in it is out of reach.
"""

from __future__ import annotations

import base64
import binascii
import re

from imece.runtime.text import fold
from services.feedback_guard import background

_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{20,}={0,2}")
_HEX = re.compile(r"(?:(?:0x|\\x|%)?[0-9a-fA-F]{2}[\s:,-]?){12,}")
_LEET = re.compile(r"[^\W\d_][013457@$][^\W\d_]")
_APART = re.compile(r"(?<!\w)(?:[^\W_][\s.\-_*·|/]{1,3}){8,}[^\W_](?!\w)")
_GLUED = re.compile(r"[a-zA-Z\u00c0-\u024f]{18,}")
_LEET_WORD = re.compile(r"[\w@$]+")
_LETTERS = str.maketrans("013457@$", "oieastas")
_DIGIT = re.compile("[0-9@$]")
_WIDE = re.compile(r"\s{2,}|[.\-_*·|/]\s+|\s+[.\-_*·|/]")
_GAP = re.compile(r"[\s.\-_*·|/]+")
_STRETCH = re.compile(r"[\w .,:;!?'\"\n-]{12,}")
_LONG = 17  # letters and signs of the shortest word that hides something, without digits
_WORD = 16  # letters of the longest word that is looked for
_UNKNOWN = 3  # what a letter outside all known words costs, in words


def disguised(text: str) -> str:
    """Return what `text` says in disguise, a line for each find; empty for ordinary texts.

    What comes out is looked at once more: base64 in hex is one step further, not hidden.
    """
    first = _undone(text)
    return f"{first}\n{_undone(first)}".strip() if first else ""


def _undone(text: str) -> str:
    if not _odd(text):
        return ""
    found = [_decoded64(run) for run in _runs(_BASE64, text)]
    found += [_unhexed(run) for run in _runs(_HEX, text)]
    found += [_joined(run) for run in _runs(_APART, text)]
    found += [_split(run) for run in _runs(_GLUED, text)]
    if _LEET.search(text):
        found.append(_LEET_WORD.sub(lambda word: _spelt(word[0]), text))
    return "\n".join(line for line in found if line)


def _odd(text: str) -> bool:
    """Tell cheaply whether there is anything to undo: most texts need one search."""
    forms = [_APART]
    long = max(map(len, text.split()), default=0) >= _LONG
    digits = _DIGIT.search(text) is not None
    if long:
        forms += [_BASE64, _GLUED]
    if digits:
        forms.append(_LEET)
    if long or digits:
        forms.append(_HEX)
    return any(form.search(text) for form in forms)


def _runs(pattern: re.Pattern[str], text: str) -> list[str]:
    return [run[0] for run in pattern.finditer(text)]


def _decoded64(run: str) -> str:
    body = run.rstrip("=").replace("-", "+").replace("_", "/")
    body = body[: len(body) - (len(body) % 4 == 1)]
    try:
        raw = base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
    except binascii.Error:
        return ""
    return _readable(raw)


def _unhexed(run: str) -> str:
    digits = re.sub(r"0x|\\x|[^0-9a-fA-F]", "", run)
    return _readable(bytes.fromhex(digits[: len(digits) // 2 * 2]))


def _readable(raw: bytes) -> str:
    """Return what can be read of bytes; letters that stand among rubbish are not hidden by it."""
    found = _STRETCH.findall(raw.decode("utf-8", "ignore"))
    return "\n".join(line for line in found if sum(map(str.isalnum, line)) > len(line) / 2)


def _spelt(word: str) -> str:
    mixed = len(word) <= _WORD and any(map(str.isalpha, word)) and not word.isalpha()
    return word.translate(_LETTERS) if mixed else word


def _joined(run: str) -> str:
    """Put letters together: words where gaps differ, else the words that ordinary texts have."""
    parts = [_GAP.sub("", part) for part in _WIDE.split(run)]
    words = [_split(part) if len(part) > _WORD else part for part in parts]
    return " ".join(" ".join(words).translate(_LETTERS).split())


def _split(letters: str) -> str:
    """Cut a run of letters into as few known words as possible."""
    folded = fold(letters).translate(_LETTERS)
    best: list[tuple[int, int]] = [(0, 0)]
    for end in range(1, len(folded) + 1):
        ways = [(best[end - 1][0] + _UNKNOWN, end - 1)]
        ways += [
            (best[at][0] + 1, at)
            for at in range(max(0, end - _WORD), end - 1)
            if background.known(folded[at:end])
        ]
        best.append(min(ways))
    words, end = list[str](), len(folded)
    while end:
        words.append(folded[best[end][1] : end])
        end = best[end][1]
    return " ".join(reversed(words))
