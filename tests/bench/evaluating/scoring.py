"""E8 and E11: scoring choices with shared prefixes against one padded text a choice."""

from __future__ import annotations

import csv
import json
import random
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from services.evaluator import recipe, trie
from services.evaluator.trie import Request
from tests.bench.results import Row

VOCABULARY = 32_000
BATCH = 16
INSTRUCTION = (
    "Below is what a customer asked a bank in its application. Say in a few words which intent"
    " the question has.\n\n"
)


@dataclass(frozen=True)
class Task:
    name: str
    bar: float | None
    requests: list[Request]


def rows(data: Path, quick: bool) -> Iterator[Row]:
    """Yield the rows; rounds are interleaved and CPU seconds counted, as machines are shared."""
    try:
        tasks = list(_tasks(data, 16 if quick else 64))
    except FileNotFoundError as error:
        yield Row("E8.few_shot", None, "times", ">= 8", note=f"no {error.filename}")
        return
    torch.set_num_threads(1)
    answerer = recipe.Answerer(_model(), _NoTokenizer())
    gaps, wrong, count = 0.0, 0, 0
    for task in tasks:
        ratio, ours, theirs = _compare(answerer, task, rounds=1 if quick else 3)
        for one, other in zip(ours, theirs, strict=True):
            gaps = max(gaps, *(abs(a - b) for a, b in zip(one, other, strict=True)))
            wrong += _best(one) != _best(other)
            count += 1
        bar = "" if task.bar is None else f">= {task.bar:g}"
        holds = None if task.bar is None else ratio >= task.bar
        note = f"{len(task.requests)} questions, {len(task.requests[0].continuations)} choices"
        yield Row(f"E8.{task.name}", ratio, "times", bar, holds, None, {"padded texts": 1.0}, note)
    yield Row("E8.delta_logp", gaps, "nats", "<= 1e-3", gaps <= 1e-3, note="largest of all tasks")
    yield Row("E8.other_argmax", wrong, f"questions of {count}", "0", wrong == 0)
    yield from _repeats(answerer, tasks[0].requests)


def _compare(
    answerer: recipe.Answerer, task: Task, rounds: int
) -> tuple[float, list[Any], list[Any]]:
    spent: dict[str, list[float]] = {"ours": [], "theirs": []}
    answerer.logps(None, task.requests[:2])  # warm
    for _ in range(rounds):
        began = time.process_time()
        ours = answerer.logps(None, task.requests)
        middle = time.process_time()
        theirs = padded(answerer._model, task.requests)
        spent["ours"].append(middle - began)
        spent["theirs"].append(time.process_time() - middle)
    return median(spent["theirs"]) / median(spent["ours"]), ours, theirs


def padded(model: Any, requests: list[Request]) -> list[list[float]]:
    """Score as lm-evaluation-harness does: a text a choice, sorted, padded, full log-softmax."""
    texts = [
        (q, c, (*request.prefix, *tokens), len(request.prefix))
        for q, request in enumerate(requests)
        for c, tokens in enumerate(request.continuations)
    ]
    texts.sort(key=lambda text: (-len(text[2]), text[2]))
    found = [[0.0] * len(request.continuations) for request in requests]
    with torch.inference_mode():
        for at in range(0, len(texts), BATCH):
            batch = texts[at : at + BATCH]
            width = max(len(tokens) for _, _, tokens, _ in batch) - 1
            ids = torch.zeros((len(batch), width), dtype=torch.long)
            for i, (_, _, tokens, _) in enumerate(batch):
                ids[i, : len(tokens) - 1] = torch.tensor(tokens[:-1])
            logps = torch.log_softmax(model(ids).logits, dim=-1)
            for i, (q, c, tokens, start) in enumerate(batch):
                wanted = torch.tensor(tokens[start:])
                own = logps[i, start - 1 : len(tokens) - 1].gather(-1, wanted[:, None])
                found[q][c] = float(own.sum())
    return found


def _repeats(answerer: recipe.Answerer, requests: list[Request]) -> Iterator[Row]:
    first, second = (answerer.logps(None, requests, batch_tokens=4096) for _ in range(2))
    other = int(json.dumps(first) != json.dumps(second))
    yield Row("E11.second_run", other, "differences", "0", other == 0, note="the same bytes")
    alone = answerer.logps(None, requests, batch_tokens=1)
    drift = max(
        abs(a - b) for x, y in zip(first, alone, strict=True) for a, b in zip(x, y, strict=True)
    )
    yield Row("E11.batch_1", drift, "nats", "<= 1e-3", drift <= 1e-3, note="batch 1 against many")


def _tasks(data: Path, count: int) -> Iterator[Task]:
    chance = random.Random(0)
    train, test = (_banking(data, part) for part in ("train", "test"))
    labels = sorted({label for _, label in test})
    shots = "".join(f"Question: {t}\nIntent: {n}\n\n" for t, n in chance.sample(train, 5))
    asked = [
        (f"Question: {text}\nIntent:", _choices(chance, label, labels))
        for text, label in chance.sample(test, count)
    ]
    yield Task("few_shot", 8, [_request(shots + q, c) for q, c in asked])
    yield Task("zero_shot", 4, [_request(INSTRUCTION + q, c) for q, c in asked])
    yield Task("zero_shot_bare", None, [_request(q, c) for q, c in asked])
    xcopa = [
        json.loads(line)
        for line in (data / "turkish/xcopa-tr-test.jsonl").read_text("utf-8").splitlines()
    ]
    word = {"cause": "çünkü", "effect": "bu yüzden"}
    pairs = [
        (f"{row['premise']} {word[row['question']]}", [row["choice1"], row["choice2"]])
        for row in xcopa[: count + 5]
    ]
    solved = "".join(f"{q} {c[0]}\n\n" for q, c in pairs[:5])
    yield Task("xcopa_few_shot", None, [_request(solved + q, c) for q, c in pairs[5:]])
    yield Task("xcopa_zero_shot", None, [_request(q, c) for q, c in pairs[5:]])


def _banking(data: Path, part: str) -> list[tuple[str, str]]:
    with (data / f"classification/banking77-{part}.csv").open(encoding="utf-8") as file:
        return [(r["text"], r["category"].replace("_", " ")) for r in csv.DictReader(file)]


def _choices(chance: random.Random, label: str, labels: list[str]) -> list[str]:
    others = chance.sample([each for each in labels if each != label], 3)
    return sorted([label, *others])


def _request(prompt: str, choices: list[str]) -> Request:
    prefix = _ids(prompt)
    return trie.split(prefix, [[*prefix, *_ids(f" {choice}")] for choice in choices])


def _ids(text: str) -> list[int]:
    """Cut words into pieces of at most four characters: about as long as tokens are."""
    pieces = [word[i : i + 4] for word in text.split() for i in range(0, len(word), 4)]
    return [10 + zlib.crc32(piece.encode()) % (VOCABULARY - 10) for piece in pieces]


def _best(logps: Any) -> int:
    return max(range(len(logps)), key=lambda i: logps[i])


def _model() -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=6,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=2048,
    )
    return LlamaForCausalLM(config).float().eval()


class _NoTokenizer:
    """The tasks bring token ids; only these two are looked at."""

    padding_side = "left"
    pad_token_id = 0
