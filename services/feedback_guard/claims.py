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
        "ne nedir neresi neresidir hangi hangisi hangisidir şehir şehri kim kaç kaçtır eder söyle "
        "lütfen bir mi mı mu mü ve ile için "
        "colour:color quiz class let see normal thanks teşekkürler sağol"
    ).split()
)
_SAME = {"colour": "color", "french": "france", "turkish": "turkey", "turkiye": "turkey"}
_ASIDE, _AGAIN = 8, 16
"""Words of an answer beside its own that may still be wrapping: filler, and the question's."""
_ORDERED = 12
"""Content words from which a question is a story, in which the order of words tells who did it."""
_ASKS_WHETHER = frozenset(["is", "are", "was", "were", "does", "did", "has"])
_EITHER = frozenset(fold("or than veya yoksa").split())
_ALTERS = frozenset(
    fold(
        "not no never nor t half twice double triple times hundred thousand million billion dozen "
        "percent minus plus less değil yok hayır yarım yüz bin milyon milyar yüzde eksi artı"
    ).split()
)
"""Words that make another answer of the one beside them, also where the question has them."""
_TURNS = frozenset({"by", "from"})
"""Filler that tells who did it: "who was beaten by Ann", "who beat Ann"."""
_OPTION = re.compile(r"\b[a-e1-9][).:]\s")
_COUNTS = frozenset({"many", "much", "kac"})
_NUMBER = re.compile(r"-?\d+(?:[.,]\d+)*")
_PLAIN = re.compile(r"-?(?:\d+(?:[.,]\d+)?|[1-9]\d{0,2}(?:[.,]\d{3})+)")
_WORD = re.compile(r"\d+(?:[.,]\d+)?|[^\W\d_]+")
_SIGN = re.compile(r"[^\w\s.,!?'\"():;*`_–—‘“-„•«»-]|-(?<!\S-)(?=\d)")
_SUM = re.compile(r"(?:(?:[a-z]|[\d\s.,+*/x×÷()-]*)\s*=)+")
_GENITIVE = re.compile(r"'(?:s|n?[iuü]n)\b")
"""Of English and Turkish names; other Turkish endings tell who did what to whom, and stay."""
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
    "where was he born" in what is asked; both are kept. So is the order of several numbers, of
    "from" and "to", of choices and what is compared, and of all words in a yes-or-no question or a
    story: who words an answered question anew must not turn it round.
    """
    found = arithmetic.expression(question)
    if found is not None:
        return f"= {found}"
    words = _words(question)
    kept = {w for w in words if w not in FILLER}
    if "capital" in kept:
        kept.discard("where")  # "where is the capital" asks for its name
    counted = {f"#{b}" for a, b in pairwise(words) if a in _COUNTS and b in kept}
    folded = fold(question)
    signs = set(_SIGN.findall(folded)) | (_TURNS & set(words))
    key = " ".join(sorted(kept | counted | signs)) or folded
    turned = _in_order(words, kept, _OPTION.search(folded) is not None)
    return f"{key} : {' '.join(turned)}" if turned else key


def _in_order(words: list[str], kept: set[str], options: bool) -> list[str]:
    """Return the words of a question whose order matters."""
    if (
        options
        or (words[:1] and words[0] in _ASKS_WHETHER)
        or len(kept) >= _ORDERED
        or not _EITHER.isdisjoint(words)
        or {"from", "to"} <= set(words)
    ):
        return [word for word in words if word in kept]
    numbers = [word for word in words if word[0].isdigit()]
    return numbers if len(numbers) > 1 else []


@remembered  # most praise is of an answer that others were shown too
def answer_key(answer: str, question: str = "") -> str:
    """Return the canonical answer: its deciding number, else the words that are not the question's.

    "The capital of France is Paris" and "Paris." are one answer; "not Paris" is another. Of code
    every character counts: "a + b" and "a - b" have the same words. Whatever is confirmed is
    confirmed for all texts with one key, so a text that says more has another: a sign, a word
    beside a number, words before an equals sign, or more filler than wraps an answer.
    """
    if _is_code(answer):
        return f"code {_digest(answer.strip())}"
    text = _LEAD.sub("", fold(answer)).strip(" .!?\"'")
    if (found := _SUM.match(text)) and numbers(found[0]) <= numbers(question):
        text = text[found.end() :].strip() or text
    if (day := dates.key(text)) is not None:
        return day
    if text in arithmetic.WORDS:
        return str(arithmetic.WORDS[text])
    words = _WORD.findall(_bare(text))
    named, count = _named(question)
    extra, signs = _beside(words, named), _SIGN.findall(text)
    padded = len(words) > len(extra) + min(count, _AGAIN) + _ASIDE
    bare = not padded and set(signs) <= {"-"} and all(word[0].isdigit() for word in extra)
    if bare and (number := _one_number(text, question)) is not None:
        return number
    key = " ".join([*(extra or words), *signs, *([_digest(text)] if padded else [])])
    # A right beginning must not carry another end: what is cut off counts too.
    return key if len(key) <= _LONGEST else f"{key[: _LONGEST - 25]} {_digest(key)}"


def _one_number(text: str, question: str) -> str | None:
    """Return the only number in a text that is not the question's, or the only one at all."""
    said, asked = set(_NUMBER.findall(text)), set(_NUMBER.findall(question))
    fresh = said - asked or said
    number = fresh.pop() if len(fresh) == 1 else ""
    return _readings(number)[0] if _PLAIN.fullmatch(number) else None


def _is_code(answer: str) -> bool:
    if "```" in answer:
        return True
    return ("def " in answer or "class " in answer) and _CODE.search(answer) is not None


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def extra_words(answer: str, question: str) -> list[str]:
    """List the words and numbers of an answer that are neither filler nor the question's own."""
    text = _bare(_LEAD.sub("", fold(answer)))
    return _beside(_WORD.findall(text), _named(question)[0])


def _beside(words: list[str], named: frozenset[str]) -> list[str]:
    if not _EITHER.isdisjoint(words):
        named = frozenset()
    stems = ((word, _stem(word)) for word in words)
    return [w for w, s in stems if w in _ALTERS or (s not in FILLER and s not in named)]


@remembered
def _named(question: str) -> tuple[frozenset[str], int]:
    """Return the words of a question that an answer may repeat, and how many words it has.

    Where it asks which of several things, the thing is the answer.
    """
    words = _words(question)
    return frozenset(words if _EITHER.isdisjoint(words) else ()), len(words)


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
    part = rest[0].rstrip("0") if rest else ""
    return [*readings, f"{whole}.{part}" if part else whole]


def _words(question: str) -> list[str]:
    return [_stem(word) for word in _WORD.findall(_bare(fold(question)))]


def _bare(text: str) -> str:
    return _GENITIVE.sub(" ", text)


@lru_cache(maxsize=16_384)
def _stem(word: str) -> str:
    word = _SAME.get(word, word)
    if word in FILLER:
        return word
    if len(word) > 5 and word.endswith(("nin", "nun", "nün")):
        return word[:-3]  # a genitive without its apostrophe
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
