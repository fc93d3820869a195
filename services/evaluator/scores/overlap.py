"""ROUGE-1/2/L/Lsum, token F1 as in SQuAD, and exact match: for any script, any language."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

from rapidfuzz.distance import LCSseq

from services.evaluator.scores.stems import stems
from services.evaluator.scores.words import fold, sentences, words

_ARTICLES = {"en": frozenset({"a", "an", "the"})}


def rouge_n(
    answer: str, reference: str, n: int, language: str = "", *, stemmed: bool = False
) -> float:
    """Return the F1 of the n-grams that both share."""
    texts = (_words(text, language, stemmed=stemmed) for text in (answer, reference))
    said, wanted = (_grams(found, n) for found in texts)
    return _f1((said & wanted).total(), said.total(), wanted.total())


def rouge_l(answer: str, reference: str, language: str = "", *, stemmed: bool = False) -> float:
    """Return the F1 of the longest common subsequence of words."""
    said, wanted = (_words(text, language, stemmed=stemmed) for text in (answer, reference))
    return _f1(int(LCSseq.similarity(said, wanted)), len(said), len(wanted))


def rouge_lsum(answer: str, reference: str, language: str = "") -> float:
    """Return the F1 of words in the union of longest common subsequences, by sentences."""
    said = [words(each, language) for each in sentences(answer)]
    wanted = [words(each, language) for each in sentences(reference)]
    left, right = (Counter(w for each in text for w in each) for text in (said, wanted))
    sizes = left.total(), right.total()
    hits = 0
    for sentence in wanted:
        places = {i for other in said for i in _common(sentence, other)}
        for i in sorted(places):
            word = sentence[i]
            if left[word] > 0 and right[word] > 0:
                hits += 1
                left[word] -= 1
                right[word] -= 1
    return _f1(hits, *sizes)


def exact(answer: str, expected: Sequence[str], language: str = "") -> bool:
    """Tell whether the answer is one of `expected`, but for case, marks and English articles."""
    said = _answer(answer, language)
    return any(said == _answer(each, language) for each in expected)


def token_f1(answer: str, expected: Sequence[str], language: str = "") -> float:
    """Return the best F1 of words, counted with repeats, over `expected`.

    Texts without any words only match each other.
    """
    said = Counter(_answer(answer, language))
    best = 0.0
    for each in expected:
        wanted = Counter(_answer(each, language))
        if not said and not wanted:
            return 1.0
        best = max(best, _f1((said & wanted).total(), said.total(), wanted.total()))
    return best


def _answer(text: str, language: str) -> list[str]:
    articles = _ARTICLES.get(language, frozenset())
    found = [word for word in words(text, language) if word not in articles]
    # "!" or "+" may be the whole answer: without words the signs themselves count.
    return found or fold(text, language).split()


def _words(text: str, language: str, *, stemmed: bool) -> list[str]:
    found = words(text, language)
    return stems(found, language) if stemmed else found


def _grams(found: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(found[i : i + n]) for i in range(len(found) - n + 1))


def _common(one: Sequence[Hashable], other: Sequence[Hashable]) -> list[int]:
    """Return the places in `one` of a longest common subsequence; ties go to the later words."""
    lengths = [[0] * (len(other) + 1)]
    for word in one:
        above, row = lengths[-1], [0]
        for j, theirs in enumerate(other):
            row.append(above[j] + 1 if word == theirs else max(above[j + 1], row[j]))
        lengths.append(row)
    places, i, j = [], len(one), len(other)
    while i and j:
        if one[i - 1] == other[j - 1]:
            i, j = i - 1, j - 1
            places.append(i)
        elif lengths[i][j - 1] > lengths[i - 1][j]:
            j -= 1
        else:
            i -= 1
    return places


def _f1(hits: int, said: int, wanted: int) -> float:
    return 2 * hits / (said + wanted) if hits else 0.0
