"""Cosine similarity by any encoder with local weights: mean-pooled, normalised last states."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, AutoTokenizer

from imece.errors import ConfigError
from imece.local.models import LocalModel

_LONGEST = 512
_BATCH = 32


class Encoder:
    """A loaded encoder; texts beyond what it reads are cut. Not thread-safe."""

    def __init__(self, name: str, model: Any, tokenizer: Any) -> None:
        self.name = name
        self._model, self._tokenizer = model, tokenizer
        most = getattr(model.config, "max_position_embeddings", _LONGEST)
        self._longest = min(_LONGEST, int(most))

    def similarities(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Return the cosine of each pair, from 0 (unlike, or opposite) to 1."""
        texts = sorted({text for pair in pairs for text in pair}, key=len)
        if not texts:
            return []
        parts = [self._vectors(texts[i : i + _BATCH]) for i in range(0, len(texts), _BATCH)]
        vectors, at = torch.cat(parts), {text: i for i, text in enumerate(texts)}
        one, other = (vectors[[at[pair[side]] for pair in pairs]] for side in (0, 1))
        found = (one * other).sum(-1).clamp(0, 1).tolist()
        # An encoder gives even an empty text a direction; it is like nothing.
        return [
            float(x) if all(map(str.strip, p)) else 0.0 for x, p in zip(found, pairs, strict=True)
        ]

    def _vectors(self, texts: list[str]) -> Any:
        read = self._tokenizer(
            texts, padding=True, truncation=True, max_length=self._longest, return_tensors="pt"
        )
        with torch.inference_mode():
            states = self._model(**read).last_hidden_state.float()
        real = read["attention_mask"][..., None]
        # The mean over no token would be no number: an empty text is like nothing.
        mean = (states * real).sum(1) / real.sum(1).clamp(min=1)
        return torch.nn.functional.normalize(mean, dim=-1)


def load(model: LocalModel) -> Encoder:
    """Load a resolved encoder on the CPU; `ConfigError` where the folder holds none."""
    try:
        weights = AutoModel.from_pretrained(
            model.path, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
        )
        tokenizer = AutoTokenizer.from_pretrained(model.path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"encoder {model.uri}: {error}") from error
    return Encoder(f"{_short(model.uri)}:{model.digest[-8:]}", weights.eval(), tokenizer)


def _short(uri: str) -> str:
    """Return the last part of a URI without what a metric's name cannot hold."""
    last = Path(uri.partition("#")[0]).name.removeprefix("wheel:")
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in last)
