"""Cosine similarity by a real, tiny encoder with random weights."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from imece.errors import ConfigError
from imece.local.models import LocalModel, folder_digest
from services.evaluator.encoder import load

WORDS = ["[PAD]", "[UNK]", "ankara", "bursa", "başkent", "deniz", "su"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("encoder")
    vocabulary = {word: at for at, word in enumerate(WORDS)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    made = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")
    made.save_pretrained(path)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes = {"intermediate_size": 16, "max_position_embeddings": 8}
    BertModel(BertConfig(vocab_size=len(WORDS), **shape, **sizes)).save_pretrained(path)
    return path


def test_a_text_is_like_itself_whatever_stands_beside_it_in_the_batch(folder):
    encoder = load(LocalModel(str(folder), folder, folder_digest(folder)))
    pairs = [("ankara", "ankara"), ("ankara", "deniz su"), ("", "ankara"), ("su " * 50, "su " * 60)]
    same, other, empty, long = encoder.similarities(pairs)
    assert same == pytest.approx(1, abs=1e-5)
    assert long == pytest.approx(1, abs=1e-5)
    assert empty == 0
    assert other == pytest.approx(encoder.similarities([pairs[1]])[0], abs=1e-5)
    assert encoder.similarities([]) == []
    assert encoder.name.endswith(folder_digest(folder)[-8:])


def test_a_folder_without_an_encoder_is_told(tmp_path):
    with pytest.raises(ConfigError, match="encoder"):
        load(LocalModel("/nothing", tmp_path, "0" * 64))
