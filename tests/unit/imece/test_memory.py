"""Caches of texts stay small."""

from imece.runtime.memory import remembered


def test_short_texts_are_looked_at_once_and_long_ones_each_time():
    seen: list[tuple[str, ...]] = []

    @remembered
    def length(*texts: str) -> int:
        seen.append(texts)
        return sum(map(len, texts))

    for _ in range(2):
        assert (length("a", "bc"), length("x" * 2_000)) == (3, 2_000)
    assert [len(texts[-1]) for texts in seen] == [2, 2_000, 2_000]
