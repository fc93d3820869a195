"""What a model folder says of itself: licence, size, context, number types. No weights are loaded.

Parameters are counted from the headers of the safetensors files, which are JSON.
"""

from __future__ import annotations

import fnmatch
import json
import math
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imece.errors import RejectedError
from imece.local.models import DEFAULT_BASE, LocalModel

UNKNOWN = "unknown"
_MOST_HEADER = 100_000_000  # bytes; safetensors' own limit
_SIZES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4}
_SIZES |= {"F16": 2, "BF16": 2, "I16": 2, "U16": 2}
_CAUSAL = re.compile(r"(ForCausalLM|LMHeadModel)$")
_LICENSE = re.compile(
    r"^(?P<key>license(?:_name)?):(?P<value>[^\n#]*(?:\n[ \t]*-[ \t]+[^\n#]+)*)", re.M
)
_WORD = re.compile(r"[\w.+][\w.+-]*")
_CONTEXTS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
# The folder that is made of this wheel holds no model card.
_KNOWN = {DEFAULT_BASE: "apache-2.0"}


@dataclass(frozen=True)
class Facts:
    """What is known of a model before it is loaded; sizes in bytes, None where it does not say."""

    license: str
    """A lower-case identifier such as ``apache-2.0``, several with commas, or ``unknown``."""
    architecture: str | None
    causal: bool | None
    """Whether it continues text."""
    parameters: int
    dtypes: dict[str, int]
    """Parameters by safetensors number type."""
    context: int | None
    """Tokens that it reads at once."""
    vocabulary: int | None
    chat_template: bool
    weights_bytes: int

    def memory(self, bytes_each: int) -> int:
        """Return the bytes that the weights take at so many bytes a parameter."""
        return self.parameters * bytes_each


def read(model: LocalModel) -> Facts:
    """Return the facts of a resolved model.

    RejectedError("broken_weights") where a safetensors header cannot be read, and
    RejectedError("broken_config") where config.json is not a JSON object.
    """
    folder = model.path
    config = _json(folder / "config.json")
    text = config.get("text_config")
    nested = {**config, **text} if isinstance(text, dict) else config
    dtypes, size = _weights(folder)
    named = next(iter(config.get("architectures") or []), None)
    return Facts(
        license=_license(model),
        architecture=named,
        causal=None if named is None else bool(_CAUSAL.search(named)),
        parameters=sum(dtypes.values()),
        dtypes=dtypes,
        context=next((int(nested[n]) for n in _CONTEXTS if nested.get(n)), None),
        vocabulary=nested.get("vocab_size"),
        chat_template=_has_template(folder),
        weights_bytes=size,
    )


def checked(model: LocalModel, forbidden: str) -> Facts:
    """Return the facts of a base to train.

    RejectedError: "license_forbidden", "not_causal_lm", or as for `read`.
    """
    known = read(model)
    check_license(model.uri, known.license, forbidden)
    if known.causal is False:
        raise RejectedError(
            "not_causal_lm",
            f"base {model.uri} is a {known.architecture}, which does not continue text; choose a"
            " causal language model",
            "/base",
        )
    return known


def check_license(name: str, license: str, forbidden: str) -> None:
    """Raise RejectedError("license_forbidden") where one of the comma-separated patterns matches.

    A pattern is a licence identifier, ``cc-by-nc-*`` for several, or ``unknown``. Of several
    licences one that is forbidden is enough.
    """
    patterns = [pattern.strip().lower() for pattern in forbidden.split(",") if pattern.strip()]
    if any(fnmatch.fnmatchcase(each, p) for each in license.split(",") for p in patterns):
        raise RejectedError(
            "license_forbidden",
            f"base {name} has the licence {license}, which IMECE_FORBIDDEN_LICENSES={forbidden}"
            " forbids; choose another base",
            "/base",
        )


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RejectedError("broken_config", f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise RejectedError("broken_config", f"{path} holds no JSON object")
    return content


def _weights(folder: Path) -> tuple[dict[str, int], int]:
    counts: dict[str, int] = {}
    size = 0
    for path in sorted(folder.glob("*.safetensors")):
        for name, tensor in _header(path).items():
            if name == "__metadata__":
                continue
            number = math.prod(tensor["shape"])
            counts[tensor["dtype"]] = counts.get(tensor["dtype"], 0) + number
            size += number * _SIZES.get(tensor["dtype"], 1)
    return counts, size


def _header(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _MOST_HEADER:
                raise ValueError(f"a header of {length} bytes")
            header = json.loads(file.read(length))
        ends = [t["data_offsets"][1] for n, t in header.items() if n != "__metadata__"]
        if path.stat().st_size != 8 + length + max(ends, default=0):
            raise ValueError("it is cut off or has bytes too many")
    except (OSError, ValueError, struct.error, KeyError, TypeError, AttributeError) as error:
        raise RejectedError(
            "broken_weights", f"{path} is no sound safetensors file: {error}"
        ) from error
    return dict(header)


def _license(model: LocalModel) -> str:
    about = model.path / "imece.json"  # says it as it was read; our cards, in the hub's words
    if about.is_file() and (named := _json(about).get("license")):
        return str(named)
    card = _card(model.path)
    if "license" in card:
        return card.get("license_name", "other") if card["license"] == "other" else card["license"]
    return _KNOWN.get(model.uri.partition("#")[0], UNKNOWN)


def _card(folder: Path) -> dict[str, str]:
    """Return what the head of the model card says of the licence."""
    path = folder / "README.md"
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    if not text.startswith("---"):
        return {}
    head = text.split("\n---", 1)[0]
    said = {
        found["key"]: _WORD.findall(found["value"].lower()) for found in _LICENSE.finditer(head)
    }
    return {key: ",".join(names) for key, names in said.items() if names}


def _has_template(folder: Path) -> bool:
    if any(folder.glob("*.jinja")):
        return True
    path = folder / "tokenizer_config.json"
    return path.is_file() and bool(_json(path).get("chat_template"))
