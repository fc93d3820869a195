"""Cyrillic and Greek letters that pass for Latin ones; only for matching, never for reading."""

from __future__ import annotations

TWINS = str.maketrans(
    "аеорсухіјѕԁɡһԛԝӏАВЕКМНОРСТУХІЈЅԚԜӀοαινρΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
    "aeopcyxijsdghqwlABEKMHOPCTYXIJSQWIoaivpABEZHIKMNOPTYX",
)
"""Letters that most fonts draw as their Latin twin."""
LOOKALIKES = TWINS | str.maketrans("кмтвнτυκε", "kmtbhtuke")
"""Those and letters that only resemble one: ordinary Russian and Greek words are full of them."""
