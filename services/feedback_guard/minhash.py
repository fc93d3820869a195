"""Near-duplicate texts: what a user wants changed, as a MinHash whose bands meet."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise

from rensa import RMinHash

from imece.runtime.text import fold

_WORD = re.compile(r"[^\W_]+")
_LEAST_WORDS = 5
_SIZE, _BANDS = 16, 4  # texts of similarity 0.7 share a band about two times in three


def signature(text: str, *known: str) -> tuple[int, ...]:
    """Return the MinHash of the words of `text` that are not in `known`; empty for a few words.

    Short answers ("five", "Lyon") are the same in many honest places, so they have none.
    """
    said = _WORD.findall(fold(text))
    if len(said) < _LEAST_WORDS:
        return ()
    before = {word for other in known for word in _WORD.findall(fold(other))}
    words = [word for word in said if word not in before]
    if len(words) < _LEAST_WORDS:
        return ()
    sketch = RMinHash(num_perm=_SIZE, seed=1)
    sketch.update([*words, *(f"{a} {b}" for a, b in pairwise(words))])
    return tuple(sketch.digest())


@lru_cache(maxsize=4096)  # every stage asks for them
def bands(tenant: str, signature: tuple[int, ...]) -> tuple[str, ...]:
    """Return the keys under which near-duplicates of one tenant meet."""
    rows = _SIZE // _BANDS
    return tuple(
        f"{tenant}|{band}:" + "-".join(f"{n:x}" for n in signature[band * rows : (band + 1) * rows])
        for band in range(_BANDS if signature else 0)
    )
