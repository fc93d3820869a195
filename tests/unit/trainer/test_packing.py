"""From texts to windows: nothing is lost, nothing is seen twice in an epoch."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from imece.events.recipes import PretrainingRecipe
from services.trainer.packing import END, batches, end_id, pack, train_tokenizer
from tests.training import documents

TEXTS = [document.text for document in documents(30)]
TOKENIZER = train_tokenizer(TEXTS, 400)


@given(st.text())
def test_any_text_survives_the_tokenizer(text: str) -> None:
    ids = TOKENIZER.encode(text).ids
    if END not in text:
        assert TOKENIZER.decode(ids) == unicodedata.normalize("NFC", text)


def test_frequent_words_become_few_tokens_dotless_i_included() -> None:
    assert len(TOKENIZER.encode("ılık").ids) == 1
    assert TOKENIZER.encode("ılık").ids != TOKENIZER.encode("ilik").ids


def test_packed_texts_are_separated_by_the_end_mark_alone(tmp_path: Path) -> None:
    texts = ["çay", f"a {END} b", "su"]
    packed = pack(TOKENIZER, texts, tmp_path / "work", end_id(TOKENIZER))
    assert list((tmp_path / "work").iterdir()) == [], "nothing is left if the process is killed now"
    assert int((packed == end_id(TOKENIZER)).sum()) == len(texts)
    assert packed[-1] == end_id(TOKENIZER)


def test_a_text_is_packed_whole_whatever_the_bases_tokenizer_cuts_or_fills(tmp_path: Path) -> None:
    texts, end = ["çay su " * 20, "su"], end_id(TOKENIZER)
    whole = pack(TOKENIZER, texts, tmp_path / "whole", end).tolist()
    cutting = Tokenizer.from_str(TOKENIZER.to_str())
    cutting.enable_truncation(8)
    cutting.enable_padding(length=8)
    assert pack(cutting, texts, tmp_path / "tokens", end).tolist() == whole


def test_no_text_packs_to_no_tokens(tmp_path: Path) -> None:
    assert len(pack(TOKENIZER, [], tmp_path / "tokens", end_id(TOKENIZER))) == 0


@pytest.mark.parametrize(("tokens", "size"), [(17, 3), (81, 4), (81, 5), (81, 12)])
def test_each_epoch_sees_every_window_once(tokens: int, size: int) -> None:
    recipe = PretrainingRecipe(context=16, steps=40, batch_size=size)
    seen = np.concatenate(list(batches(tokens, recipe, skip=0)))
    windows = (tokens - 1) // 16
    assert len(seen) == 40 * size
    for at in range(0, len(seen) - windows + 1, windows):
        assert sorted(seen[at : at + windows]) == list(range(windows))


@given(st.integers(0, 20))
def test_batches_after_a_resumption_are_those_that_were_to_come(skip: int) -> None:
    recipe = PretrainingRecipe(context=16, steps=20, batch_size=5, seed=3)
    whole = [batch.tolist() for batch in batches(200, recipe, skip=0)]
    assert [batch.tolist() for batch in batches(200, recipe, skip=skip)] == whole[skip:]
