"""What a question asks and what an answer says, so that paraphrases meet and numbers do not."""

from __future__ import annotations

import hashlib
import re
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

from imece.runtime.memory import remembered
from imece.runtime.text import fold
from services.feedback_guard import arithmetic, dates

FILLER = frozenset(
    fold(
        "a an the is are was be of in on at to for from do does did you me my we i it that this "
        "what which who how whats tell name give please can could would know say answer "
        "question many much has have had get got city called does one there and or with should "
        "ne nedir neresidir hangi kim kaç kaçtır eder söyle lütfen bir mi mı mu mü ve ile için "
        "colour:color quiz class let see normal"
    ).split()
)
_SAME = {"colour": "color", "french": "france", "turkish": "turkey", "turkiye": "turkey"}
_COUNTS = frozenset({"many", "much", "kac"})
_NUMBER = re.compile(r"-?\d+(?:[.,]\d+)*")
_WORD = re.compile(r"\d+(?:[.,]\d+)?|[^\W\d_]+")
_LONGEST = 200
_CODE = re.compile(r"^[ \t]*(?:async[ \t]+)?(?:def|class)[ \t]+\w+.*:", re.MULTILINE)
_LEAD = re.compile(
    r"^(?:so\s+|well\s+)?(?:the\s+(?:correct\s+|right\s+)?answer\s+is|answer|it\s+is|it's|"
    r"that\s+is|cevap|dogru\s+cevap|yanit)\s*:?\s*"
)


@remembered
def claim_id(tenant: str, question: str) -> str:
    """Return the id of the claim that an answer to `question` makes."""
    key = f"{tenant}\x1f{question_key(question)}"
    return hashlib.blake2b(key.encode(), digest_size=12).hexdigest()


def question_key(question: str) -> str:
    """Return the canonical question: an expression, or its content words and numbers, sorted.

    "How many days has a week" and "how many weeks has a day" differ in what is counted, "when" and
    "where was he born" in what is asked; both are kept.
    """
    found = arithmetic.expression(question)
    if found is not None:
        return f"= {found}"
    words = _words(question)
    kept = {w for w in words if w not in FILLER}
    if "capital" in kept:
        kept.discard("where")  # "where is the capital" asks for its name
    counted = {f"#{b}" for a, b in pairwise(words) if a in _COUNTS and b in kept}
    return " ".join(sorted(kept | counted)) or fold(question)


@remembered  # most praise is of an answer that others were shown too
def answer_key(answer: str, question: str = "") -> str:
    """Return the canonical answer: its deciding number, else the words that are not the question's.

    "The capital of France is Paris" and "Paris." are one answer; "not Paris" is another. Of code
    every character counts: "a + b" and "a - b" have the same words.
    """
    if _is_code(answer):
        return f"code {_digest(answer.strip())}"
    text = _LEAD.sub("", fold(answer)).strip(" .!?\"'")
    text = text.rpartition("=")[2].strip() or text
    if (day := dates.key(text)) is not None:
        return day
    said = _NUMBER.findall(text)
    if said and len(text.split()) <= 6 and dates.MONTHS.keys().isdisjoint(_WORD.findall(text)):
        asked = set(_NUMBER.findall(question))
        fresh = [n for n in said if n not in asked]
        return _readings((fresh or said)[-1])[0]
    if text in arithmetic.WORDS:
        return str(arithmetic.WORDS[text])
    words = _WORD.findall(text)
    key = " ".join(extra_words(text, question) or words)
    # A right beginning must not carry another end: what is cut off counts too.
    return key if len(key) <= _LONGEST else f"{key[: _LONGEST - 25]} {_digest(key)}"


def _is_code(answer: str) -> bool:
    if "```" in answer:
        return True
    return ("def " in answer or "class " in answer) and _CODE.search(answer) is not None


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def extra_words(answer: str, question: str) -> list[str]:
    """List the words and numbers of an answer that are neither filler nor the question's own."""
    text = _LEAD.sub("", fold(answer)).replace("'s", " ")
    asked = set(_words(question))
    said = [(word, _stem(word)) for word in _WORD.findall(text)]
    return [word for word, stem in said if stem not in FILLER and stem not in asked]


def is_plain_number(answer: str, question: str) -> bool:
    """Tell whether an answer is a number (perhaps with the question repeated) and nothing else."""
    extra = extra_words(answer, question)
    return all(word[0].isdigit() or word in arithmetic.WORDS for word in extra)


def numbers(text: str) -> set[Fraction]:
    """Return every number that `text` may mean; 1,000 and 1.000 have two readings each."""
    folded = fold(text)
    written = {r for n in _NUMBER.findall(folded) for r in _readings(n)}
    spelt = {str(arithmetic.WORDS[w]) for w in _WORD.findall(folded) if w in arithmetic.WORDS}
    return {Fraction(number) for number in written | spelt}


def _readings(number: str) -> list[str]:
    """Read 1,000 as a thousand first and as a decimal second, 2,5 as 2.5, 1.2.3 as 1.2."""
    readings = []
    if re.fullmatch(r"-?[1-9]\d{0,2}(?:[.,]\d{3})+", number):
        readings.append(re.sub(r"[.,]", "", number))
    whole, *rest = re.split(r"[.,]", number)
    return [*readings, f"{whole}.{rest[0]}" if rest else whole]


def _words(question: str) -> list[str]:
    return [_stem(word) for word in _WORD.findall(fold(question).replace("'s", " "))]


@lru_cache(maxsize=16_384)
def _stem(word: str) -> str:
    word = _SAME.get(word, word)
    if word not in FILLER and len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        return word[:-1]
    return word
