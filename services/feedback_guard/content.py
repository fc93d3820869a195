"""What a text gives away: hidden characters, look-alike letters, orders, dictated answers."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from imece.events import Correction, FeedbackSubmitted, Rating, Reason, Thumb
from imece.runtime.lookalikes import LOOKALIKES, TWINS
from imece.runtime.memory import remembered
from imece.runtime.text import fold
from services.feedback_guard import claims, injection, views
from services.feedback_guard.policy import Policy

_HIDDEN = re.compile(
    "[\u00ad\u180e\u200b-\u200f\u2060-\u2064\u206a-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e01ef]"
)
_JOINED = re.compile("[\u0600-\u0dff\u2190-\u2bff\U0001f000-\U0001faff]")
"""Arabic, Indic scripts and emoji, where joiners and selectors are ordinary."""
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff]")
_WORD = re.compile(r"[^\W\d_]{2,}")
_LATIN = re.compile("[a-zA-Z\u00c0-\u024f]")
_OTHER = re.compile("[\u0370-\u03bb\u03bd-\u03ff\u0400-\u052f]")  # Greek without mu, Cyrillic
_ORDER = re.compile(
    r"\b(?:say|repeat|respond with|reply with|answer with|output|print|write exactly|"
    r"state that|claim that|tell me that|(?:just|only|simply) (?:say|answer|write)|"
    r"if (?:heads|tails)|flip a coin|choose between|söyle|tekrarla|tekrar et|aynen yaz|"
    r"de ki|diye (?:yaz|cevap ver|yanitla)|cevabini ver|yazi tura)\b"
)
_LEADING = re.compile(
    r"(?:\bright|\bcorrect|\bisn't it|\bdon't you agree|\bagreed|\bdeğil mi)\s*\?"
    r"|\bi (?:read|heard|know|learned|think) that\b|\beveryone knows\b"
)
_LINK = re.compile(
    r"\s*(?:(?:(?:after|back to) me|me|us|that|just|only|exactly|the (?:word|number|text))\b)?"
    r"[\s:,]*"
)
_QUOTED = re.compile(
    '["\u201c\u00ab\u201e`]([^"\u201c\u201d\u00ab\u00bb\u201e`]+)["\u201d\u00bb\u201c`]'
)
_END = re.compile(r"\s*(?:$|[.!;\"\n]|\?\s*$)")
_CHOICES = frozenset(fold("yes no true false evet hayır doğru yanlış a b c d e").split())
_LONG_PROMPT = 60  # words; a longer one is a context to answer from


class ModelScores(NamedTuple):
    """Probabilities of the optional classifiers; None where there is none, or nothing to read."""

    injection: float | None = None
    toxicity: float | None = None


NO_SCORES = ModelScores()


def supports(feedback: FeedbackSubmitted) -> bool:
    """Tell whether the feedback is for an answer (a correction is for its own text)."""
    signal = feedback.signal
    if isinstance(signal, Thumb):
        return signal.up
    return signal.stars >= 4 if isinstance(signal, Rating) else True


def target(feedback: FeedbackSubmitted) -> str:
    """Return the text that a model would learn to say; empty when it would learn nothing."""
    signal = feedback.signal
    if isinstance(signal, Correction):
        return signal.text
    return feedback.answer if supports(feedback) else ""


def read(feedback: FeedbackSubmitted) -> list[str]:
    """Return what is searched for orders: text and comment, and what is disguised in them."""
    return undisguised(_read(feedback))


def _read(feedback: FeedbackSubmitted) -> str:
    signal = feedback.signal
    text = signal.text if isinstance(signal, Correction) else feedback.answer
    return f"{text}\n{feedback.comment}"


def undisguised(text: str) -> list[str]:
    """Return a text as a reader sees it, then each thing that is disguised in it."""
    shown = plain(text)
    found = views.disguised(shown)
    return [shown, *plain(found).splitlines()] if found else [shown]


def trains_on_prompt(feedback: FeedbackSubmitted) -> bool:
    """Tell whether the feedback becomes a row once it is accepted; three stars do not."""
    return not (isinstance(feedback.signal, Rating) and feedback.signal.stars == 3)


def reasons(
    feedback: FeedbackSubmitted, text: str, policy: Policy, scores: ModelScores = NO_SCORES
) -> list[Reason]:
    """Return what speaks against the text that is taught, its prompt and the comment beside it."""
    weights, found = policy.weights, []
    asked = trains_on_prompt(feedback)
    said = f"{text}\n{feedback.comment}\n{feedback.prompt if asked else ''}"
    if detail := hidden(said):
        found.append(Reason(code="invisible_text", nats=weights.invisible_text, detail=detail))
    if detail := mixed_scripts(said):
        found.append(Reason(code="mixed_scripts", nats=weights.mixed_scripts, detail=detail))
    found += _orders(_read(feedback), policy, scores.injection)
    if asked and not found:
        prompt = feedback.prompt
        odds, span = _ordering(prompt)  # most questions are orders, so more is asked
        if odds >= policy.thresholds.injection_prompt:
            nats = weights.injection_prompt
            found.append(Reason(code="injection_prompt", nats=nats, detail=span[:80]))
    if scores.toxicity is not None and scores.toxicity >= policy.thresholds.toxic:
        detail = f"classifier {scores.toxicity:.2f}"
        found.append(Reason(code="toxic", nats=scores.toxicity * weights.toxic, detail=detail))
    if not isinstance(feedback.signal, Correction) and (nats := dictated(feedback)):
        found.append(Reason(code="elicited", nats=nats * weights.elicited))
    return found


@remembered  # popular questions and their answers come again
def _ordering(text: str) -> tuple[float, str]:
    """Look for orders to a model in a text and in what is disguised in it."""
    return max(map(injection.score, undisguised(text)))


def _orders(text: str, policy: Policy, chance: float | None) -> list[Reason]:
    """Ask the n-gram model and, where there is one, the classifier; the stronger of them counts."""
    weight, limits, found = policy.weights.injection, policy.thresholds, []
    odds, span = _ordering(text)
    if odds >= limits.injection:
        nats = min(1.0, 0.6 + (odds - limits.injection) / 4) * weight
        found.append(Reason(code="injection", nats=nats, detail=span[:80]))
    if chance is not None and chance >= limits.injection_model:
        detail = f"classifier {chance:.2f}"
        found.append(Reason(code="injection", nats=chance * weight, detail=detail))
    return sorted(found, key=lambda reason: -reason.nats)[:1]


def plain(text: str) -> str:
    """Return the text as a reader sees it: nothing hidden, look-alike letters as Latin."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFKC", _HIDDEN.sub("", text)).translate(LOOKALIKES)


def hidden(text: str) -> str:
    """Name the first character that no reader sees, where its script has no use for it."""
    if text.isascii():
        return ""
    for match in _HIDDEN.finditer(text):
        character, around = match[0], text[max(0, match.start() - 2) : match.end() + 2]
        joiner = character in "\u200c\u200d" or "\ufe00" <= character <= "\ufe0f"
        mark = character in "\u200e\u200f"
        if character == "\u00ad" or (joiner and _JOINED.search(around)):
            continue
        if mark and _RIGHT_TO_LEFT.search(text):
            continue
        return f"U+{ord(character):04X}"
    return ""


def mixed_scripts(text: str) -> str:
    """Return a word that mixes alphabets, or that only looks Latin inside Latin text."""
    if text.isascii():
        return ""
    words = _WORD.findall(text)
    latin = sum(bool(_LATIN.search(word)) for word in words)
    for word in words:
        if not _OTHER.search(word):
            continue
        if _LATIN.search(word):
            return str(word)[:80]
        if latin > len(words) / 2 and all(map(_LATIN.match, word.translate(TWINS))):
            return str(word)[:80]
    return ""


def dictated(feedback: FeedbackSubmitted) -> float:
    """Return 1 when the prompt orders what the praised answer says, 0.5 when it suggests it.

    Up-votes alone can teach a lie when the voter makes the model say it (arXiv 2507.02850).
    """
    orders, leading = _steering(feedback.prompt)
    if not orders and not leading:
        return 0.0  # most questions
    prompt, answer = fold(feedback.prompt), fold(feedback.answer)
    if _spelt_out(prompt, orders, answer):
        return 1.0
    asked = set(_tokens(prompt))
    content = [w for w in _tokens(answer) if w not in claims.FILLER and w not in _CHOICES]
    if len(content) < 2 or len(prompt.split()) > 3 * _LONG_PROMPT:
        return 0.0
    covered = sum(word in asked for word in content) / len(content)
    if orders and covered >= 0.6:
        return 1.0
    short = len(prompt.split()) <= _LONG_PROMPT
    return 0.5 if short and leading and covered >= 0.9 else 0.0


@remembered
def _steering(prompt: str) -> tuple[Sequence[re.Match[str]], bool]:
    """Return the orders to say something in a prompt, and whether it leads to an answer."""
    prompt = fold(prompt)
    statement = not prompt.rstrip(" \"'").endswith("?") and "?" in prompt
    return list(_ORDER.finditer(prompt)), statement or bool(_LEADING.search(prompt))


def _spelt_out(prompt: str, orders: Sequence[re.Match[str]], answer: str) -> bool:
    """Tell whether an order is followed by, or quotes, the very answer: one number is enough."""
    said = list(_tokens(answer))
    if not said or not orders:
        return False
    if any(list(_tokens(quoted)) == said for quoted in _QUOTED.findall(prompt)):
        return True
    for order in orders:
        start = _LINK.match(prompt, order.end())
        rest = prompt[start.end() if start else order.end() :]
        words = list(re.finditer(r"\w+", rest))[: len(said)]
        if [word[0] for word in words] == said and _END.match(rest, words[-1].end()):
            return True
    return False


def _tokens(text: str) -> Iterator[str]:
    return (match[0] for match in re.finditer(r"\w+", text))
