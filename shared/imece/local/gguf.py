"""Read GGUF files: their metadata, and their tensors de-quantised to float32.

A file is parsed with `struct` over an `mmap`; nothing in it is executed and torch is not needed.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imece.errors import RejectedError

Floats = NDArray[np.float32]

_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING, _ARRAY = 8, 9

# Tensor types that we can read: bytes per block, weights per block.
_F32, _F16, _Q4_0, _Q4_1, _Q8_0, _BF16 = 0, 1, 2, 3, 8, 30
_BLOCKS = {
    _F32: (4, 1),
    _F16: (2, 1),
    _BF16: (2, 1),
    _Q4_0: (18, 32),
    _Q4_1: (20, 32),
    _Q8_0: (34, 32),
}


@dataclass(frozen=True)
class Tensor:
    """Where one tensor lies: shape in row-major order, GGUF type number, bytes from the start."""

    shape: tuple[int, ...]
    kind: int
    offset: int

    @property
    def nbytes(self) -> int:
        """Bytes that the tensor takes in the file."""
        size, per_block = _BLOCKS[self.kind]
        return int(np.prod(self.shape)) // per_block * size


class _Cursor:
    """A position in the mapped file; reading past the end is an error, not garbage."""

    def __init__(self, data: mmap.mmap, at: int) -> None:
        self.data, self.at = data, at

    def number(self, code: str) -> Any:
        (value,) = struct.unpack_from("<" + code, self.data, self.at)
        self.at += struct.calcsize("<" + code)
        return value

    def text(self) -> str:
        size = self.number("Q")
        start, self.at = self.at, self.at + size
        if self.at > len(self.data):
            raise struct.error("string runs past the end of the file")
        return self.data[start : self.at].decode("utf-8")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY:
            item, count = self.number("I"), self.number("Q")
            if count > len(self.data):
                raise struct.error("array is longer than the file")
            return [self.value(item) for _ in range(count)]
        return self.number(_SCALARS[kind])


class GgufFile:
    """An open GGUF file: `meta` (its key-value header) and `tensors` (by GGUF name)."""

    def __init__(self, path: Path) -> None:
        """Map the file and parse its header; raises RejectedError where it is no sound GGUF."""
        self.path = path
        with path.open("rb") as file:
            try:
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                self.meta, self.tensors = self._header()
            except (ValueError, struct.error, KeyError, OverflowError) as error:
                raise broken(path, f"its header cannot be read ({error})") from error

    def _header(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        if self._data[:4] != b"GGUF":
            raise ValueError("magic bytes are missing")
        cursor = _Cursor(self._data, 4)
        version = cursor.number("I")
        if version not in (2, 3):
            raise ValueError(f"version {version} is not 2 or 3")
        tensor_count, key_count = cursor.number("Q"), cursor.number("Q")
        meta = {cursor.text(): cursor.value(cursor.number("I")) for _ in range(key_count)}
        found = [_tensor_info(cursor) for _ in range(tensor_count)]
        align = meta.get("general.alignment", 32)
        base = -(-cursor.at // align) * align
        tensors = {n: Tensor(t.shape, t.kind, base + t.offset) for n, t in found}
        for name, tensor in tensors.items():
            if tensor.offset + tensor.nbytes > len(self._data):
                raise ValueError(f"tensor {name} runs past the end of the file")
        return meta, tensors

    def read(self, name: str) -> Floats:
        """Return tensor `name` de-quantised to float32."""
        tensor = self.tensors[name]
        raw = np.frombuffer(self._data, np.uint8, tensor.nbytes, tensor.offset)
        return dequantise(raw, tensor.kind).reshape(tensor.shape)


def _tensor_info(cursor: _Cursor) -> tuple[str, Tensor]:
    name, dims = cursor.text(), cursor.number("I")
    shape = tuple(cursor.number("Q") for _ in range(dims))[::-1]
    kind, offset = cursor.number("I"), cursor.number("Q")
    if kind not in _BLOCKS:
        raise ValueError(f"tensor {name} has type {kind}, which we cannot read")
    return name, Tensor(shape, kind, offset)


def dequantise(raw: NDArray[np.uint8], kind: int) -> Floats:
    """Turn the bytes of one tensor into flat float32 values; `kind` is the GGUF type number."""
    if kind == _F32:
        return raw.view(np.float32).copy()
    if kind == _F16:
        return raw.view(np.float16).astype(np.float32)
    if kind == _BF16:
        return (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    blocks = raw.reshape(-1, _BLOCKS[kind][0])
    scale = blocks[:, :2].copy().view(np.float16).astype(np.float32)
    if kind == _Q8_0:
        return (blocks[:, 2:].view(np.int8) * scale).reshape(-1)
    packed = blocks[:, 4:] if kind == _Q4_1 else blocks[:, 2:]
    out = np.empty((len(blocks), 32), np.float32)
    out[:, :16], out[:, 16:] = packed & 15, packed >> 4  # low nibbles are the first half
    if kind == _Q4_0:
        return ((out - 8) * scale).reshape(-1)
    out *= scale
    out += blocks[:, 2:4].copy().view(np.float16).astype(np.float32)
    return out.reshape(-1)


def broken(path: Path, why: str) -> RejectedError:
    """Return the error that names a file which cannot serve as a base model, and why."""
    return RejectedError("unknown_base", f"{path.name} cannot serve as a base model: {why}")
