"""From texts to training windows: the tokenizer, packed tokens on disk, the order of windows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from imece.events.recipes import PretrainingRecipe
from imece.runtime import checkpoints

END = "<|endoftext|>"
_CHUNK = 1_000  # texts tokenised at once
Tokens = NDArray[np.int32]


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """Return a byte-level BPE of at most `vocabulary` entries; it can write any text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def end_id(tokenizer: Tokenizer) -> int:
    return int(tokenizer.get_vocab()[END])


@dataclass
class Counted:
    """Texts on their way: how many have gone through, and their bytes of UTF-8."""

    source: Iterable[str]
    texts: int = 0
    size: int = 0

    def __iter__(self) -> Iterator[str]:
        for text in self.source:
            self.texts += 1
            self.size += len(text.encode())
            yield text


def pack(tokenizer: Tokenizer, texts: Iterable[str], folder: Path, end: int) -> Tokens:
    """Write all texts, each followed by the end mark, as one row of tokens; map it from disk.

    The file lies in `folder` without a name, so its space is free again once the tokens are let go
    of, even where the process was killed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.encode_special_tokens = True  # a text that spells the end mark ends nothing
    tokenizer.no_truncation()  # a base's file may ask for both
    tokenizer.no_padding()
    with checkpoints.disk_full_is_named(folder), tempfile.TemporaryFile(dir=folder) as file:
        rest = iter(texts)
        while some := list(islice(rest, _CHUNK)):
            for encoding in tokenizer.encode_batch(some, add_special_tokens=False):
                file.write(np.array([*encoding.ids, end], dtype=np.int32).tobytes())
        file.flush()
        if file.tell() == 0:
            return np.empty(0, dtype=np.int32)
        return np.memmap(file, dtype=np.int32, mode="r")


def batches(tokens: int, recipe: PretrainingRecipe, skip: int) -> Iterator[Tokens]:
    """Yield the windows of each step from step `skip` on; an epoch sees every window once."""
    windows = (tokens - 1) // recipe.context
    orders: dict[int, Tokens] = {}
    for step in range(skip, recipe.steps):
        places = np.arange(step * recipe.batch_size, (step + 1) * recipe.batch_size)
        needed = range(int(places[0]) // windows, int(places[-1]) // windows + 1)
        orders = {e: orders[e] if e in orders else _order(recipe, e, windows) for e in needed}
        yield np.array([orders[int(p) // windows][int(p) % windows] for p in places], np.int32)


def _order(recipe: PretrainingRecipe, epoch: int, windows: int) -> Tokens:
    chance = np.random.default_rng([recipe.seed, epoch])
    return chance.permutation(windows).astype(np.int32)
