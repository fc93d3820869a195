"""Light stemmers for ROUGE: words that differ in their endings alone count as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_VOWELS = frozenset("aeıioöuüâîû")
# Case, plural, possessive and copula endings of nouns; verbs are left alone.
_ENDINGS = (
    "lar ler ları leri ların lerin larım lerim larımız lerimiz larınız leriniz",
    "nın nin nun nün ın in un ün yı yi yu yü nı ni nu nü ya ye na ne",
    "da de ta te nda nde dan den tan ten ndan nden la le yla yle",
    "ım im um üm ımız imiz umuz ümüz ınız iniz unuz ünüz sı si su sü",
    "dır dir dur dür tır tir tur tür ca ce ça çe ki ı i u ü",
)
_TURKISH = sorted((end for line in _ENDINGS for end in line.split()), key=len, reverse=True)
_LEAST, _ROUNDS = 3, 3
# What remains of a noun whose last sound softened before a vowel: kitab-ı is kitap.
_HARDENED = {"b": "p", "c": "ç", "d": "t", "ğ": "k"}


def turkish(word: str) -> str:
    """Return the word without up to three nominal endings; at least three letters remain."""
    for _ in range(_ROUNDS):
        ending = next((end for end in _TURKISH if _fits(word, end)), None)
        if ending is None:
            break
        word = word[: -len(ending)]
    return word[:-1] + _HARDENED.get(word[-1], word[-1]) if len(word) >= _LEAST else word


def _fits(word: str, ending: str) -> bool:
    left = word[: -len(ending)]
    least = _LEAST + (len(ending) == 1)  # a lone vowel is often part of the word
    return word.endswith(ending) and len(left) >= least and bool(_VOWELS & set(left))


def english(word: str) -> str:
    """Return the word without its plural s (Harman 1991, the S stemmer)."""
    if word.endswith("ies") and not word.endswith(("eies", "aies")) and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith("es") and not word.endswith(("aes", "ees", "oes")) and len(word) > 3:
        return word[:-1]
    plural = word.endswith("s") and not word.endswith(("us", "ss")) and len(word) > 3
    return word[:-1] if plural else word


_OF: dict[str, tuple[str, Callable[[str], str]]] = {
    "tr": ("tr-light/1", turkish),
    "en": ("en-s/1", english),
}


def name(language: str) -> str:
    """Name the stemmer of a language in signatures; `none` where there is none."""
    return _OF[language][0] if language in _OF else "none"


def stems(found: Sequence[str], language: str) -> list[str]:
    """Return the stems of folded words; unchanged in other languages."""
    if language not in _OF:
        return list(found)
    stem = _OF[language][1]
    return [stem(word) for word in found]
