"""Author-disjoint shards of feedback rows: which authors an adapter is trained without."""

from __future__ import annotations

import hashlib
import hmac

from imece.events import LeftOut


def of_author(author: str, salt: str, shards: int) -> int:
    """Return the shard of an author, the same on every machine; `salt` keys the hash.

    Nobody can choose accounts that fall in one shard before the salt is known.
    """
    mac = hmac.digest(salt.encode(), author.encode(), hashlib.sha256)
    return int.from_bytes(mac, "big") % shards


def is_left_out(author: str | None, without: LeftOut | None) -> bool:
    """Tell whether a row of `author` is left out; a record of upstream's own (None) never is."""
    if author is None or without is None:
        return False
    return of_author(author, without.salt, without.of) == without.shard
