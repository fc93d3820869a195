"""What a question is about, in a few broad subjects: people know different things."""

from __future__ import annotations

import re
from functools import lru_cache

from imece.runtime.text import fold
from services.feedback_guard import arithmetic

_WORDS = {
    "medical": "doctor disease medicine symptom dose vaccine cancer drug hastalık ilaç doktor aşı",
    "legal": "law legal court contract tax sue crime yasa hukuk mahkeme vergi sözleşme",
    "money": "price cost bank money invest loan card salary dollar euro fiyat para banka kredi",
    "code": "code python function error bug sql javascript compile program kod hata yazılım",
    "place": "where capital city country river located nerede neresidir başkent şehir ülke",
    "time": "when year date century born died day month zaman yıl tarih gün yüzyıl",
    "person": "who president author wrote invented king actor kim kimdir yazar başkan",
    "amount": "many much number population height length distance kaç kaçtır sayı nüfus",
    "reason": "why how explain because neden niçin nasıl açıkla",
}
_SUBJECTS = {fold(word): subject for subject, words in _WORDS.items() for word in words.split()}
_TOKEN = re.compile(r"[^\W_]+")


@lru_cache(maxsize=4096)
def subject(question: str) -> str:
    """Return the subject of a question: one of ten names, or ``other``."""
    if arithmetic.expression(question) is not None:
        return "sum"
    found = [_SUBJECTS[w] for w in _TOKEN.findall(fold(question)) if w in _SUBJECTS]
    sensitive = [name for name in found if name in ("medical", "legal", "money", "code")]
    return (sensitive or found or ["other"])[0]
