"""Optional classifiers of texts: safetensors models through transformers, scored a batch at a time.

Nothing is loaded unless a setting names a model; without one this module is never imported.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from imece.errors import ConfigError, JobError, RejectedError
from imece.events import Envelope, FeedbackSubmitted
from imece.local import models
from imece.runtime.artifacts import Artifacts
from services.feedback_guard import content
from services.feedback_guard.content import ModelScores

Scorer = Callable[[Sequence[str]], list[float]]
"""Texts to the probability that each of them is bad."""
_PREFIX = "IMECE_FEEDBACK_GUARD_"
_LONGEST = 512  # tokens of a window; fewer where the model reads fewer
_OVERLAP = 8  # a window repeats an eighth of the one before it
_AT_ONCE = 32  # windows in one forward pass
_HUGE = 1 << 20  # tokenizers without a limit say a number beyond this


class Scorers:
    """The models that the settings name: loaded when the service starts, asked in a thread."""

    def __init__(self, injection: str, toxicity: str, artifacts: Artifacts, cache: Path) -> None:
        """Take a folder or an artifact ``URI#sha256=HEX`` for each; an empty one is off."""
        self._sources = {"INJECTION_MODEL": injection, "TOXICITY_MODEL": toxicity}
        self._artifacts, self._cache = artifacts, cache
        self._loaded: dict[str, Scorer] = {}

    async def __aenter__(self) -> Self:
        for name, uri in self._sources.items():
            if uri:
                setting = _PREFIX + name
                folder = await asyncio.to_thread(self._folder, setting, uri)
                self._loaded[name] = await asyncio.to_thread(load, folder, setting)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._loaded.clear()

    def score(self, events: Sequence[Envelope[FeedbackSubmitted]]) -> list[ModelScores]:
        """Return what each model says about each event; every model runs once over the batch."""
        orders = self._column("INJECTION_MODEL", ["\n".join(content.read(e.data)) for e in events])
        toxic = self._column("TOXICITY_MODEL", [content.target(e.data) for e in events])
        return [ModelScores(*both) for both in zip(orders, toxic, strict=True)]

    def _column(self, name: str, texts: Sequence[str]) -> list[float | None]:
        scorer, found = self._loaded.get(name), dict[str, float]()
        if scorer is not None:
            unlike = list(dict.fromkeys(text for text in texts if text))
            found = dict(zip(unlike, scorer(unlike), strict=True))
        return [found.get(text) for text in texts]

    def _folder(self, setting: str, uri: str) -> Path:
        source, _, digest = uri.partition("#sha256=")
        try:
            if source.startswith(f"{self._artifacts.root}/"):
                if not digest:
                    raise ConfigError(f"{setting}={uri}: an artifact needs #sha256=HEX")
                into = self._cache / "scorers"
                return self._artifacts.fetch_folder(source, f"sha256:{digest}", into)
            return models.resolve(uri, self._cache).path
        except (RejectedError, JobError) as error:
            raise ConfigError(f"{setting}={uri}: {error}") from error


def load(folder: Path, setting: str = "model") -> Scorer:
    """Return the classifier in a folder; ConfigError names the setting and what is wrong.

    Label 0 has to be the harmless one, as is usual; with a single label, or with several that may
    hold at once, each is bad and the likeliest counts.
    """
    if not any(folder.glob("*.safetensors")) or any(folder.glob("*.py")):
        raise ConfigError(f"{setting}={folder}: only safetensors without code of its own are read")
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model, told = AutoModelForSequenceClassification.from_pretrained(
            folder, trust_remote_code=False, use_safetensors=True, output_loading_info=True
        )
    except Exception as error:  # transformers raises whatever its parsers do
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"{setting}={folder}: not a sequence classifier: {reason}") from error
    if told["missing_keys"]:
        missing = sorted(told["missing_keys"])[0]
        raise ConfigError(f"{setting}={folder}: weights are missing, such as {missing}")
    if tokenizer.pad_token_id is None:
        raise ConfigError(f"{setting}={folder}: its tokenizer has no token for padding")
    return _Classifier(tokenizer, model.eval()).score


class _Classifier:
    def __init__(self, tokenizer: Any, model: Any) -> None:
        self._tokenizer, self._model = tokenizer, model
        limits = (
            getattr(model.config, "max_position_embeddings", None),
            tokenizer.model_max_length,
        )
        own = [int(limit) for limit in limits if limit and 0 < limit < _HUGE]
        offset = 2 if model.config.model_type in ("roberta", "xlm-roberta", "camembert") else 0
        self._width = min([_LONGEST, *own]) - offset  # RoBERTa's positions begin behind padding
        self._any = model.config.num_labels == 1 or (
            model.config.problem_type == "multi_label_classification"
        )

    def score(self, texts: Sequence[str]) -> list[float]:
        """Return for each text the probability of its worst window."""
        worst = [0.0] * len(texts)
        if not texts:
            return worst
        cut = self._tokenizer(
            list(texts),
            truncation=True,
            max_length=self._width,
            stride=self._width // _OVERLAP,
            return_overflowing_tokens=True,
        )
        owners = cut.pop("overflow_to_sample_mapping")
        windows = sorted(range(len(owners)), key=lambda at: len(cut["input_ids"][at]))
        for start in range(0, len(windows), _AT_ONCE):
            some = windows[start : start + _AT_ONCE]
            for at, chance in zip(some, self._chances(cut, some), strict=True):
                worst[owners[at]] = max(worst[owners[at]], chance)
        return worst

    def _chances(self, cut: Any, some: Sequence[int]) -> list[float]:
        """Return the probability that each window is bad; padding moves all but four digits."""
        fields = {name: [rows[at] for at in some] for name, rows in cut.items()}
        padded = self._tokenizer.pad(fields, return_tensors="pt")
        with torch.inference_mode():
            logits = self._model(**padded).logits.float()
        bad = logits.sigmoid().amax(-1) if self._any else 1 - logits.softmax(-1)[:, 0]
        return [round(float(chance), 4) for chance in bad]
