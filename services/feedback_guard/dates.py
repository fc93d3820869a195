"""Dates in words and numbers, English and Turkish: one day has one key, and simple sums of days."""

from __future__ import annotations

import re
from datetime import date

from imece.runtime.text import fold, stemmed

_ENGLISH = "january february march april may june july august september october november december"
_TURKISH = "ocak şubat mart nisan mayıs haziran temmuz ağustos eylül ekim kasım aralık"
MONTHS = {fold(w): n for t in (_ENGLISH, _TURKISH) for n, w in enumerate(t.split(), start=1)}
MONTHS |= {fold(w)[:3]: n for n, w in enumerate(_ENGLISH.split(), start=1)}
_DAYS = "monday tuesday wednesday thursday friday saturday sunday"
_GUN = "pazartesi salı çarşamba perşembe cuma cumartesi pazar"
WEEKDAYS = {fold(w): n for t in (_DAYS, _GUN) for n, w in enumerate(t.split())}
_NAME = "|".join(sorted(MONTHS, key=len, reverse=True))
_YEAR = re.compile(r"\d{4}")
_DATE = (
    re.compile(r"(?P<y>\d{4})-(?P<m>\d{1,2})-(?P<d>\d{1,2})"),
    re.compile(rf"(?:(?P<d>\d{{1,2}})(?:st|nd|rd|th)?\s+)?(?P<n>{_NAME})\.?,?\s+(?P<y>\d{{4}})"),
    re.compile(rf"(?P<n>{_NAME})\.?\s+(?P<d>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<y>\d{{4}})"),
)
_WEEKDAY = (
    re.compile(r"(?:what|which) (?:day|weekday) (?:of the week )?(?:is|was|will be|fell on) (.+)"),
    re.compile(r"(.+?) (?:hangi gün(?:e (?:denk )?gel\w+|dür|dü)?|günlerden ne(?:ydi|dir)?)"),
)
_BETWEEN = (
    re.compile(r"how many days (?:are (?:there )?)?(?:between|from) (.+?) (?:and|to) (.+)"),
    re.compile(r"(.+?) ile (.+?) arasi(?:nda)? kaç gün(?: var(?:dir)?)?"),
)
_LEAP = (
    re.compile(r"(?:is|was|will) (\d{4})(?: be)? a leap year"),
    re.compile(r"(\d{4})(?: yili)? artik yil mi(?:dir|ydi)?"),
)
_YES, _NO = frozenset(fold("yes evet true").split()), frozenset(fold("no hayır false").split())


def key(text: str) -> str | None:
    """Return the canonical form when `text` is a date and nothing else: a day, or a month."""
    text = fold(text).strip(" .!?,\"'")
    if not _YEAR.search(text):
        return None  # most texts
    for form in _DATE:
        if found := form.fullmatch(text):
            parts = found.groupdict()
            month = int(parts["m"]) if parts.get("m") else MONTHS[parts["n"]]
            day = parts.get("d")
            if day is None:
                return f"{parts['y']}-{month:02}"
            return _iso(int(parts["y"]), month, int(day))
    return None


def checks(question: str, answer: str) -> bool | None:
    """Tell whether `answer` is right when `question` asks for a weekday, a span or a leap year.

    None for every other question, and for an answer that says more than that.
    """
    asked = stemmed(question).strip(" ?.!")
    said = fold(answer).strip(" .!?\"'")
    for verify in (_weekday, _span, _leap):
        if (found := verify(asked, said)) is not None:
            return found
    return None


def _weekday(asked: str, said: str) -> bool | None:
    if said not in WEEKDAYS:
        return None
    day = next((_day(m[1]) for form in _WEEKDAY if (m := form.fullmatch(asked))), None)
    return None if day is None else WEEKDAYS[said] == day.weekday()


def _span(asked: str, said: str) -> bool | None:
    number = re.fullmatch(r"(\d{1,6})(?: days?| gün)?", said)
    if number is None:
        return None
    found = next((m for form in _BETWEEN if (m := form.fullmatch(asked))), None)
    first, last = (_day(found[1]), _day(found[2])) if found else (None, None)
    if first is None or last is None:
        return None
    days = abs((last - first).days)
    if int(number[1]) == days + 1:
        return None  # counted with both ends: some people do
    return int(number[1]) == days


def _leap(asked: str, said: str) -> bool | None:
    if said not in _YES | _NO:
        return None
    found = next((m for form in _LEAP if (m := form.fullmatch(asked))), None)
    if found is None:
        return None
    year = int(found[1])
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return leap == (said in _YES)


def _day(text: str) -> date | None:
    found = key(text)
    if found is None or len(found) != 10 or found < "1583":  # before, calendars differ
        return None
    return date.fromisoformat(found)


def _iso(year: int, month: int, day: int) -> str | None:
    try:
        return date(year, month, day).isoformat()
    except ValueError:
        return None
