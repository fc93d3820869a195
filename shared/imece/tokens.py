"""Feedback tokens: proof that a user was shown an answer, minted by whoever showed it.

A token names its key, so keys rotate: mint with the new one while the old one still verifies.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from imece.errors import ConfigError

Problem = Literal["bad_token", "expired_token", "off_exposure"]
_LEAST_BYTES = 16


def parse_keys(text: str) -> dict[str, bytes]:
    """Read ``id:secret,id:secret``; the first key mints, all verify.

    `ConfigError` when an id is missing or twice, or a secret is shorter than 16 bytes; secrets are
    never repeated in the message.
    """
    keys: dict[str, bytes] = {}
    for number, part in enumerate(filter(None, map(str.strip, text.split(","))), start=1):
        id, _, secret = part.partition(":")
        if not id.isalnum() or not secret or id in keys:
            raise ConfigError(f"token key {number}: write it as id:secret, each id once")
        if len(secret.encode()) < _LEAST_BYTES:
            raise ConfigError(f"token key {number} has a secret of less than {_LEAST_BYTES} bytes")
        keys[id] = secret.encode()
    return keys


def mint(keys: Mapping[str, bytes], response: str, user: str, expires: datetime) -> str:
    """Return the token for one user's feedback on one response, valid until `expires`."""
    if not keys:
        raise ConfigError("there is no token key to mint with")
    id = next(iter(keys))
    body = f"1.{id}.{int(expires.timestamp())}.{_exposure(response, user)}"
    return f"{body}.{_mac(keys[id], body)}"


def check(
    token: str, keys: Mapping[str, bytes], response: str, user: str, now: datetime
) -> Problem | None:
    """Return what is wrong with a token, or None.

    `bad_token`: no key made it. `off_exposure`: it was made for another response or user.
    `expired_token`: `now` is after its time.
    """
    body, _, mac = token.rpartition(".")
    parts = body.split(".")
    if len(parts) != 4 or parts[0] != "1" or parts[1] not in keys:
        return "bad_token"
    if not hmac.compare_digest(mac.encode(), _mac(keys[parts[1]], body).encode()):
        return "bad_token"
    if not hmac.compare_digest(parts[3], _exposure(response, user)):
        return "off_exposure"
    return "expired_token" if now.timestamp() > int(parts[2]) else None


def _exposure(response: str, user: str) -> str:
    digest = hashlib.sha256(f"{len(response)}\x1f{response}\x1f{user}".encode()).digest()
    return _text(digest[:16])


def _mac(key: bytes, body: str) -> str:
    return _text(hmac.new(key, body.encode(), "sha256").digest())


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
