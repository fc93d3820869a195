"""Greedy answers and log probabilities of a base model and of adapters on it.

Log probabilities: a prefix that many requests share is run once, its keys and values are copied
to the rows that go on from it, and logits are made only where a token is scored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch.nn.functional import pad
from transformers import DynamicCache

from imece.errors import JobError
from imece.runtime import causal
from imece.runtime.chat import prompt_text
from services.evaluator import trie
from services.evaluator.trie import Node, Request

OnProgress = Callable[[int, int], None]
"""Called with prompts answered so far and prompts in all."""


class Answerer:
    """One loaded base that answers with any number of adapters in turn; not thread-safe."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._tokenizer.padding_side = "left"
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token_id = self._tokenizer.eos_token_id

    def answer(
        self,
        adapter: Path | None,
        prompts: Sequence[str],
        *,
        max_new_tokens: int = 24,
        batch_size: int = 32,
        on_progress: OnProgress = lambda _done, _all: None,
    ) -> list[str]:
        """Return one greedy answer a prompt, in order; `adapter` none means the bare base."""
        texts = [prompt_text(self._tokenizer, prompt) for prompt in prompts]
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        answers = [""] * len(texts)
        with _adapted(self._model, adapter) as model, torch.inference_mode():
            for at in range(0, len(order), batch_size):
                picked = order[at : at + batch_size]
                said = self._batch(model, [texts[i] for i in picked], max_new_tokens)
                for i, text in zip(picked, said, strict=True):
                    answers[i] = text
                on_progress(at + len(picked), len(texts))
        return answers

    def _batch(self, model: Any, texts: list[str], max_new_tokens: int) -> list[str]:
        tokenizer = self._tokenizer
        read = tokenizer(texts, add_special_tokens=False, padding=True, return_tensors="pt")
        read = read.to(model.device)
        written = model.generate(
            input_ids=read["input_ids"],
            attention_mask=read["attention_mask"],
            max_new_tokens=max_new_tokens,
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id,
        )
        new = written[:, read["input_ids"].shape[1] :]
        return [text.strip() for text in tokenizer.batch_decode(new, skip_special_tokens=True)]

    def request(self, prompt: str, continuations: Sequence[str]) -> Request:
        """Return what has to be scored to compare `continuations` as answers to `prompt`."""
        before = prompt_text(self._tokenizer, prompt)
        texts = [before, *(before + each for each in continuations)]
        prefix, *wholes = self._tokenizer(texts, add_special_tokens=False)["input_ids"]
        request = trie.split(prefix, wholes)
        if not request.prefix or not all(request.continuations):
            raise JobError("nothing_to_score", f"{prompt[:80]!r}: a choice adds no token to it")
        return request

    def logps(
        self,
        adapter: Path | None,
        requests: Sequence[Request],
        *,
        batch_tokens: int = 4096,
        on_progress: OnProgress = lambda _done, _all: None,
    ) -> list[tuple[float, ...]]:
        """Return the log probability (nats) of each continuation of each request, in order."""
        if not requests:
            return []
        with _adapted(self._model, adapter) as model, torch.inference_mode():
            scorer = _Scorer(model, requests, batch_tokens, on_progress)
            scorer.walk(trie.plan(requests), None)
        return [tuple(each) for each in scorer.found]


@dataclass(frozen=True, slots=True)
class _Begun:
    """A batch whose first tokens are scored; `longer` has (tokens left, row of the cache, …)."""

    cache: Any
    mask: Any
    longer: list[tuple[int, int, int, int]]

    @property
    def copied(self) -> int:
        return len(self.longer) * int(self.mask.shape[1])


class _Scorer:
    """One walk over the tree of prefixes."""

    def __init__(
        self, model: Any, requests: Sequence[Request], batch_tokens: int, on_progress: OnProgress
    ) -> None:
        layers = getattr(model.config.get_text_config(), "layer_types", None) or ()
        if any(kind != "full_attention" for kind in layers):
            raise JobError(
                "unsupported_attention",
                f"layers of {sorted(set(layers))}: prefixes are shared by full attention only",
            )
        self._model, self._requests, self._cap = model, requests, batch_tokens
        self._tell, self._done = on_progress, 0
        # Logits in float32 are the largest tensor: at most 256 MiB of them at a time.
        self._positions = max(16, 2**26 // model.config.get_text_config().vocab_size)
        self._begun: list[_Begun] = []
        self.found = [[0.0] * len(request.continuations) for request in requests]

    def walk(self, node: Node, cache: Any) -> None:
        """Run a node's own tokens, then its rows, then its children."""
        if node.end > node.start:
            cache = _copy(cache, None)
            ids = torch.tensor([node.prefix[node.start : node.end]], device=self._model.device)
            self._model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        for rows in trie.buckets(self._requests, node, self._cap):
            self._score(rows, node.end, cache)
            if sum(each.copied for each in self._begun) > 8 * self._cap:
                self._finish()
            self._done += len(rows)
            self._tell(self._done, len(self._requests))
        self._finish()
        for child in node.children:
            self.walk(child, cache)

    def _score(self, rows: list[int], shared: int, cache: Any) -> None:
        """Run the rest of the rows' prefixes, and what comes after the first scored token."""
        device = self._model.device
        own = [self._requests[row].prefix[shared:] for row in rows]
        width = max(map(len, own))
        ids = torch.zeros((len(rows), width), dtype=torch.long)
        mask = torch.zeros((len(rows), shared + width), dtype=torch.long)
        mask[:, :shared] = 1
        for i, tokens in enumerate(own):  # padded on the left: the last column is the last token
            ids[i, width - len(tokens) :] = torch.tensor(tokens)
            mask[i, shared + width - len(tokens) :] = 1
        mask = mask.to(device)
        cache = _copy(cache, torch.zeros(len(rows), dtype=torch.long, device=device))
        logits = self._model(
            input_ids=ids.to(device),
            attention_mask=mask,
            position_ids=(mask.cumsum(-1) - 1).clamp(min=0)[:, shared:],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        first = torch.log_softmax(logits[:, -1].float(), dim=-1).cpu()
        longer = []
        for i, row in enumerate(rows):
            for c, tokens in enumerate(self._requests[row].continuations):
                self.found[row][c] = float(first[i, tokens[0]])
                if len(tokens) > 1:
                    longer.append((len(tokens) - 1, i, row, c))
        if longer:
            self._begun.append(_Begun(cache, mask, longer))

    def _finish(self) -> None:
        """Score the second and later tokens of what was begun, shortest first."""
        if not self._begun:
            return
        cache, mask = _joined(self._begun)
        longer, before = [], 0
        for each in self._begun:
            longer += [(size, before + i, row, c) for size, i, row, c in each.longer]
            before += len(each.mask)
        longer.sort()
        self._begun = []
        while longer:
            count = 1
            while count < len(longer) and (count + 1) * longer[count][0] <= self._positions:
                if trie.wasteful(count, longer[0][0], longer[count][0]):
                    break
                count += 1
            part, longer = longer[:count], longer[count:]
            rest = [self._requests[row].continuations[c] for _, _, row, c in part]
            sums = self._sums(rest, [i for _, i, _, _ in part], mask, cache)
            for total, (_, _, row, c) in zip(sums, part, strict=True):
                self.found[row][c] += total

    def _sums(
        self, rest: list[trie.Tokens], source: list[int], mask: Any, cache: Any
    ) -> list[float]:
        width = max(map(len, rest)) - 1
        ids, wanted, real = (torch.zeros((len(rest), width), dtype=torch.long) for _ in range(3))
        for k, tokens in enumerate(rest):
            size = len(tokens) - 1
            ids[k, :size], wanted[k, :size] = torch.tensor(tokens[:-1]), torch.tensor(tokens[1:])
            real[k, :size] = 1
        device = self._model.device
        at = torch.tensor(source, device=device)
        before = mask[at]
        places = before.sum(-1, keepdim=True) + torch.arange(ids.shape[1], device=device)
        logits = self._model(
            input_ids=ids.to(device),
            attention_mask=torch.cat([before, real.to(device)], dim=1),
            position_ids=places,
            past_key_values=_copy(cache, at),
            use_cache=True,
        ).logits.float()
        told = logits.gather(-1, wanted.to(device)[..., None])[..., 0] - logits.logsumexp(-1)
        return [float(x) for x in (told * real.to(device)).sum(-1).cpu()]


def _joined(batches: list[_Begun]) -> tuple[Any, Any]:
    """Return the caches and masks of batches as one, padded on the left to the same width."""
    if len(batches) == 1:
        return batches[0].cache, batches[0].mask
    width = max(each.mask.shape[1] for each in batches)
    gaps = [width - each.mask.shape[1] for each in batches]
    fresh = DynamicCache()
    for i in range(len(batches[0].cache.layers)):
        layers = [each.cache.layers[i] for each in batches]
        keys = [pad(x.keys, (0, 0, gap, 0)) for x, gap in zip(layers, gaps, strict=True)]
        values = [pad(x.values, (0, 0, gap, 0)) for x, gap in zip(layers, gaps, strict=True)]
        fresh.update(torch.cat(keys), torch.cat(values), i)
    masks = [pad(each.mask, (gap, 0)) for each, gap in zip(batches, gaps, strict=True)]
    return fresh, torch.cat(masks)


def _copy(cache: Any, rows: Any) -> Any:
    """Return a cache of its own with the given rows of `cache`; all of them when `rows` is None."""
    fresh = DynamicCache()
    for i, layer in enumerate(cache.layers if cache is not None else ()):
        keys, values = layer.keys, layer.values
        if rows is not None:
            keys, values = keys.index_select(0, rows), values.index_select(0, rows)
        fresh.update(keys, values, i)
    return fresh


def load(base: Path, *, exact: bool = False) -> Answerer:
    """Load `base` once, in bfloat16 where the hardware multiplies it natively.

    `exact` takes float32, in which a batch's size moves no log probability by 0.001.
    """
    device = causal.device()
    dtype = torch.float32 if exact else causal.fast_dtype(device)
    return Answerer(causal.model(base, dtype).to(device).eval(), causal.tokenizer(base))


@contextmanager
def _adapted(base: Any, adapter: Path | None) -> Iterator[Any]:
    """Put the adapter's modules on the base and take them off again, weights untouched."""
    if adapter is None:
        yield base
        return
    try:
        wrapped = PeftModel.from_pretrained(base, str(adapter), autocast_adapter_dtype=False)
    except (RuntimeError, ValueError, KeyError) as error:
        why = str(error).strip().splitlines()
        raise JobError(
            "adapter_for_another_base",
            f"adapter {adapter.name} does not fit {type(base).__name__}: {why[-1] if why else ''}",
        ) from error
    try:
        yield wrapped.eval()
    finally:
        if hasattr(wrapped.base_model, "unload"):  # learned tokens change no module
            wrapped.unload()
