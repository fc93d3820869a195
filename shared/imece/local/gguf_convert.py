"""Write a llama-family GGUF file as a Hugging Face folder: bfloat16 safetensors and tokenizer.

The bytes written depend on the input alone, so the folder's digest is the same on every machine.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imece.local.gguf import Floats, GgufFile, broken

_CONTROL_TOKEN = 3
_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_TOP_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}


def to_bfloat16(values: Floats) -> NDArray[np.uint16]:
    """Round finite float32 to bfloat16 bits, to nearest and ties to even, as torch does."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return ((bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))) >> 16).astype(np.uint16)


def unpermute(rows: Floats, heads: int) -> Floats:
    """Undo the row order that GGUF gives q and k, whose rotary pairs lie side by side there."""
    size, width = rows.shape
    return rows.reshape(heads, size // heads // 2, 2, width).swapaxes(1, 2).reshape(size, width)


def convert(source: Path, out: Path, progress: Callable[[float], None] | None = None) -> None:
    """Write the llama-family GGUF `source` as a Hugging Face folder in bfloat16.

    `out` must exist; it gets model.safetensors, config.json, generation_config.json,
    tokenizer.json and tokenizer_config.json, byte for byte the same on every machine.
    `progress` gets fractions from 0 to 1. Raises RejectedError for a file that we cannot read.
    """
    gguf = GgufFile(source)
    try:
        config = llama_config(gguf)
        tokenizer, tokenizer_config = bpe_tokenizer(gguf.meta)
        names = {_hf_name(name): name for name in gguf.tensors}
    except (KeyError, IndexError) as error:
        raise broken(source, f"{error} is missing in it") from error
    with (out / "model.safetensors").open("wb") as file:
        file.write(safetensors_header({hf: gguf.tensors[name].shape for hf, name in names.items()}))
        for done, name in enumerate(names.values(), start=1):
            file.write(to_bfloat16(_weights(gguf, name, config)).data)
            if progress is not None:
                progress(done / len(names))
    ids = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    _write_json(out / "config.json", config)
    _write_json(out / "generation_config.json", ids)
    _write_json(out / "tokenizer.json", tokenizer)
    _write_json(out / "tokenizer_config.json", tokenizer_config)


def safetensors_header(shapes: dict[str, tuple[int, ...]]) -> bytes:
    """Return the head of a safetensors file whose bfloat16 tensors follow in the given order."""
    # Written by hand: numpy has no bfloat16, and safetensors' own raw API changes by version.
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def llama_config(gguf: GgufFile) -> dict[str, Any]:
    """Return the config.json of a llama-family file; raises RejectedError for another family."""
    meta = gguf.meta
    family, vocabulary = meta["general.architecture"], meta["tokenizer.ggml.model"]
    if (family, vocabulary) != ("llama", "gpt2"):
        raise broken(
            gguf.path, f"it is {family} with a {vocabulary} tokenizer, not llama with gpt2"
        )
    heads = meta["llama.attention.head_count"]
    rope = {"rope_type": "default", "rope_theta": meta.get("llama.rope.freq_base", 10000.0)}
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "bfloat16",
        "vocab_size": gguf.tensors["token_embd.weight"].shape[0],
        "hidden_size": meta["llama.embedding_length"],
        "intermediate_size": meta["llama.feed_forward_length"],
        "num_hidden_layers": meta["llama.block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": meta.get("llama.attention.head_count_kv", heads),
        "max_position_embeddings": meta["llama.context_length"],
        "rms_norm_eps": float(f"{meta['llama.attention.layer_norm_rms_epsilon']:.6g}"),
        "rope_theta": rope["rope_theta"],
        "rope_parameters": rope,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": "output.weight" not in gguf.tensors,
        "bos_token_id": meta["tokenizer.ggml.bos_token_id"],
        "eos_token_id": meta["tokenizer.ggml.eos_token_id"],
        "pad_token_id": _pad_id(meta),
    }


def bpe_tokenizer(meta: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return tokenizer.json and tokenizer_config.json for a byte-level BPE in GGUF metadata."""
    tokens, kinds = meta["tokenizer.ggml.tokens"], meta["tokenizer.ggml.token_type"]
    special = [i for i, kind in enumerate(kinds) if kind == _CONTROL_TOKEN]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    byte_level = {"type": "ByteLevel", "trim_offsets": True, "use_regex": True}
    # SmolLM splits numbers into digits first; without this "  15" is cut differently.
    digits = [{"type": "Digits", "individual_digits": True}]
    steps = digits if meta.get("tokenizer.ggml.pre") == "smollm" else []
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": tokens[i], **flags, "special": True} for i in special
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [*steps, {**byte_level, "add_prefix_space": False}],
        },
        "post_processor": None,
        "decoder": {**byte_level, "add_prefix_space": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": [merge.split(" ", 1) for merge in meta["tokenizer.ggml.merges"]],
        },
    }
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": tokens[meta["tokenizer.ggml.bos_token_id"]],
        "eos_token": tokens[meta["tokenizer.ggml.eos_token_id"]],
        "pad_token": tokens[_pad_id(meta)],
        "chat_template": meta.get("tokenizer.chat_template"),
        "model_max_length": meta["llama.context_length"],
        "clean_up_tokenization_spaces": False,
    }
    return tokenizer, config


def _pad_id(meta: dict[str, Any]) -> int:
    return int(meta.get("tokenizer.ggml.padding_token_id", meta["tokenizer.ggml.eos_token_id"]))


def _weights(gguf: GgufFile, name: str, config: dict[str, Any]) -> Floats:
    values = gguf.read(name)
    if name.endswith("attn_q.weight"):
        return unpermute(values, config["num_attention_heads"])
    if name.endswith("attn_k.weight"):
        return unpermute(values, config["num_key_value_heads"])
    return values


def _hf_name(name: str) -> str:
    if name in _TOP_NAMES:
        return _TOP_NAMES[name]
    parts = name.split(".")
    if len(parts) != 4 or parts[0] != "blk":
        raise KeyError(f"a llama name for the tensor {name}")
    return f"model.layers.{int(parts[1])}.{_LAYER_NAMES[parts[2]]}.{parts[3]}"


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")
