"""A small local model behind the chat interface of OpenAI; JSON schemas are always honoured.

It ends when its standard input closes, so it never outlives the service that started it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import torch
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from imece.local.models import resolve
from imece.runtime import causal

THREADS = 2
STRING_TOKENS = 32
PLAIN_TOKENS = 64


class BadRequestError(ValueError):
    """The request asks for something that this server does not do."""


class Model:
    """One causal model with a chat template; calls are serialised by the caller."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer: Any = causal.tokenizer(folder)
        self._model: Any = causal.model(folder, causal.fast_dtype(torch.device("cpu"))).eval()
        self._context = int(getattr(self._model.config, "max_position_embeddings", 2048))

    def complete(self, messages: list[Any], schema: Any, max_tokens: int) -> tuple[str, int, int]:
        """Return the reply and how many tokens were read and written."""
        text = self._tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        read = len(self._ids(text))
        if read + max_tokens > self._context:
            raise BadRequestError(f"{read} tokens and {max_tokens} more exceed {self._context}")
        with torch.inference_mode():
            reply = self._fill(text, schema) if schema else self._write(text, max_tokens)
        return reply, read, len(self._ids(reply))

    def _fill(self, text: str, schema: dict[str, Any]) -> str:
        """Write a flat object: enum values by likelihood, strings greedily up to the quote."""
        written = "{"
        for number, (name, rule) in enumerate(_fields(schema)):
            written += f"{', ' if number else ''}{json.dumps(name, ensure_ascii=False)}: "
            options = _options(rule)
            if len(options) == 1:
                chosen = options[0]
            elif options:
                chosen = self._likeliest(text + written, options)
            else:
                said = self._write(text + written + '"', STRING_TOKENS)
                short = said.partition('"')[0].partition("\n")[0]
                chosen = json.dumps(short[: rule.get("maxLength", 200)], ensure_ascii=False)
            written += chosen
        return written + "}"

    def _likeliest(self, text: str, options: list[str]) -> str:
        """Return the option with the greatest log-likelihood after `text`.

        Text and option are tokenised together, and only what differs between options counts.
        """
        rows = [self._ids(text + option) for option in options]
        shared = 0
        while len({row[shared] if shared < len(row) else None for row in rows}) == 1:
            shared += 1
        start = self._model(
            input_ids=torch.tensor([rows[0][:shared]]), use_cache=True, logits_to_keep=1
        )
        scores = self._tails(
            start.past_key_values,
            start.logits[0, -1].float().log_softmax(-1),
            [row[shared:] for row in rows],
            shared,
        )
        return options[scores.index(max(scores))]

    def _tails(
        self, cache: Any, first: torch.Tensor, tails: list[list[int]], shared: int
    ) -> list[float]:
        """Return the log-likelihood of each tail; what came before them was run once."""
        width = max(map(len, tails))
        ids = torch.tensor([tail + [0] * (width - len(tail)) for tail in tails])
        mask = torch.tensor([[1] * (shared + len(t)) + [0] * (width - len(t)) for t in tails])
        cache.batch_repeat_interleave(len(tails))
        logits = self._model(input_ids=ids, attention_mask=mask, past_key_values=cache).logits
        logs = logits.float().log_softmax(-1)
        return [
            sum(float((logs[i, at - 1] if at else first)[token]) for at, token in enumerate(tail))
            for i, tail in enumerate(tails)
        ]

    def _write(self, text: str, max_tokens: int) -> str:
        ids = torch.tensor([self._ids(text)])
        out = self._model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=max_tokens,
            do_sample=False,
            pad_token_id=self._tokenizer.eos_token_id,
        )
        return str(self._tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True))

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])


def _fields(schema: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    properties = schema.get("properties")
    if schema.get("type") != "object" or not isinstance(properties, dict) or not properties:
        raise BadRequestError("response_format: only flat objects are supported")
    return list(properties.items())


def _options(rule: dict[str, Any]) -> list[str]:
    """Return the JSON texts that a field may have; none for a free string."""
    if isinstance(rule.get("enum"), list) and rule["enum"]:
        texts = [json.dumps(value, ensure_ascii=False) for value in rule["enum"]]
        return list(dict.fromkeys(texts))
    if rule.get("type") == "boolean":
        return ["true", "false"]
    if rule.get("type") == "string":
        return []
    raise BadRequestError(f"response_format: a field of type {rule.get('type')} is not supported")


def _schema(body: dict[str, Any]) -> dict[str, Any] | None:
    wanted = body.get("response_format") or {"type": "text"}
    if not isinstance(wanted, dict) or wanted.get("type") not in ("text", "json_schema"):
        raise BadRequestError("response_format: use json_schema")
    if wanted["type"] == "text":
        return None
    schema = (wanted.get("json_schema") or {}).get("schema")
    if not isinstance(schema, dict):
        raise BadRequestError("response_format: json_schema.schema is missing")
    return schema


def app(model: Model, name: str) -> Starlette:
    """Return the server of one model."""
    turn = asyncio.Lock()

    async def models(_: Request) -> JSONResponse:
        return JSONResponse({"object": "list", "data": [{"id": name, "object": "model"}]})

    async def complete(request: Request) -> JSONResponse:
        try:
            body = await request.json()
            schema = _schema(body)
            most = int(body.get("max_tokens") or PLAIN_TOKENS)
            async with turn:
                done = await run_in_threadpool(model.complete, body["messages"], schema, most)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            problem = {"message": str(error), "type": "invalid_request_error"}
            return JSONResponse({"error": problem}, 400)
        return JSONResponse(_completion(name, *done))

    return Starlette(
        routes=[
            Route("/v1/models", models),
            Route("/v1/chat/completions", complete, methods=["POST"]),
        ]
    )


def _completion(name: str, reply: str, read: int, written: int) -> dict[str, Any]:
    message = {"role": "assistant", "content": reply, "refusal": None}
    return {
        "id": f"local-{time.monotonic_ns()}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": name,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
        },
    }


def _end_with_the_parent() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


def main() -> None:
    """Load the model, tell the port in one line of JSON, serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    torch.set_num_threads(min(THREADS, torch.get_num_threads()))
    model = Model(resolve(given.model, given.cache).path)
    with socket.create_server(("127.0.0.1", given.port)) as listening:
        sys.stdout.write(json.dumps({"port": listening.getsockname()[1]}) + "\n")
        sys.stdout.flush()
        config = uvicorn.Config(app(model, given.name), log_level="warning", access_log=False)
        uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
