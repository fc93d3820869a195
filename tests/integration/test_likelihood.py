"""Shared prefixes give the log probabilities that every text alone would give."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from imece.errors import JobError
from services.evaluator import recipe
from services.evaluator.trie import Request
from tests.integration.test_recipe import tiny  # noqa: F401 - a fixture

pytestmark = pytest.mark.model

PROMPTS = [f"{'örnek: evet. ' * 20}soru {'x' * (i % 7)} {i}?" for i in range(12)] + ["kısa?"]
CHOICES = ("evet", "hayır, olmaz", "e", "belki de öyledir")


def alone(answerer: recipe.Answerer, request: Request) -> list[float]:
    model = answerer._model
    found = []
    for tokens in request.continuations:
        ids = torch.tensor([[*request.prefix, *tokens]])
        with torch.inference_mode():
            logps = torch.log_softmax(model(ids).logits[0].float(), dim=-1)
        at = range(len(request.prefix), ids.shape[1])
        found.append(sum(float(logps[i - 1, ids[0, i]]) for i in at))
    return found


def test_shared_prefixes_change_no_log_probability(tiny: Path) -> None:  # noqa: F811
    answerer = recipe.load(tiny, exact=True)
    requests = [answerer.request(prompt, CHOICES) for prompt in PROMPTS]
    expected = [alone(answerer, request) for request in requests]
    for cap in (1, 300, 100_000):
        found = answerer.logps(None, requests, batch_tokens=cap)
        for one, other in zip(found, expected, strict=True):
            assert one == pytest.approx(other, abs=1e-3)
    again = answerer.logps(None, requests, batch_tokens=300)
    assert again == answerer.logps(None, requests, batch_tokens=300)


def test_nothing_asked_is_nothing_scored_and_an_empty_choice_is_named(
    tiny: Path,  # noqa: F811
) -> None:
    answerer = recipe.load(tiny, exact=True)
    assert answerer.logps(None, []) == []
    answerer._tokenizer.chat_template = None
    with pytest.raises(JobError, match="adds no token"):
        answerer.request("", [""])
