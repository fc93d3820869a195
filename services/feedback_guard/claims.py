"""What a question asks and what an answer says, so that paraphrases meet and numbers do not."""

from __future__ import annotations

import hashlib
import re

from imece.runtime.text import fold
from services.feedback_guard import arithmetic

_FILLER = frozenset(
    fold(
        "a an the is are was be of in on at to for from do does did you me my we i it that this "
        "what which who where when how whats tell name give please can could would know say answer "
        "question many much has have had get got city called does one there and or with should "
        "ne nedir neresidir hangi kim kaç kaçtır eder söyle lütfen bir mi mı mu mü ve ile için "
        "colour:color quiz class let see normal"
    ).split()
)
_SAME = {"colour": "color", "french": "france", "turkish": "turkey", "turkiye": "turkey"}
_WORD = re.compile(r"\d+(?:[.,]\d+)?|[^\W\d_]+")
_LEAD = re.compile(
    r"^(?:so\s+|well\s+)?(?:the\s+(?:correct\s+|right\s+)?answer\s+is|answer|it\s+is|it's|"
    r"that\s+is|cevap|dogru\s+cevap|yanit)\s*:?\s*"
)


def claim_id(tenant: str, question: str) -> str:
    """Return the id of the claim that an answer to `question` makes."""
    key = f"{tenant}\x1f{question_key(question)}"
    return hashlib.blake2b(key.encode(), digest_size=12).hexdigest()


def question_key(question: str) -> str:
    """Return the canonical question: an expression, or its content words and numbers, sorted."""
    found = arithmetic.expression(question)
    if found is not None:
        return f"= {found}"
    words = [_stem(w) for w in _WORD.findall(fold(question).replace("'s", " "))]
    kept = sorted({w for w in words if w not in _FILLER})
    return " ".join(kept) or fold(question)


def answer_key(answer: str, question: str = "") -> str:
    """Return the canonical answer: its deciding number, else its folded words without a lead."""
    text = _LEAD.sub("", fold(answer)).strip(" .!?\"'")
    text = text.rpartition("=")[2].strip() or text
    numbers = re.findall(r"-?\d+(?:[.,]\d+)?", text)
    if numbers and len(text.split()) <= 6:
        asked = set(re.findall(r"\d+(?:[.,]\d+)?", question))
        fresh = [n for n in numbers if n not in asked]
        return str((fresh or numbers)[-1]).replace(",", ".")
    if text in arithmetic.WORDS:
        return str(arithmetic.WORDS[text])
    return " ".join(_WORD.findall(text))[:200]


def _stem(word: str) -> str:
    word = _SAME.get(word, word)
    if len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        return word[:-1]
    return word
