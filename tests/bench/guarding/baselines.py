"""What is published or simple, on the same streams: each returns the ids of accepted rows.

All of them see the whole stream at once, which is more than the guard sees.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from cleanlab.multiannotator import get_label_quality_multiannotator
from crowdkit.aggregation import MACE, OneCoinDawidSkene
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import Pipeline, make_pipeline, make_union

from imece.events import Correction
from services.feedback_guard import claims
from tests.bench.guarding.material import Material
from tests.bench.guarding.stream import MODEL_WRONG, Sent

Baseline = Callable[[Sequence[Sent]], set[str]]
_CLASSES = 4


def answers(stream: Sequence[Sent]) -> pd.DataFrame:
    """Return one vote a row: what each user says is the answer to which question."""
    rows = []
    for sent in stream:
        data = sent.event.data
        text = data.signal.text if isinstance(data.signal, Correction) else data.answer
        claim = claims.claim_id(data.tenant, data.prompt)
        rows.append((sent.event.id, claim, data.user, claims.answer_key(text, data.prompt)))
    votes = pd.DataFrame(rows, columns=["id", "task", "worker", "label"])
    return votes[[s.teaches for s in stream]]


def no_guard(stream: Sequence[Sent]) -> set[str]:
    """Everything trains."""
    return {s.event.id for s in stream if s.teaches}


def rate_and_dedup(stream: Sequence[Sent], a_day: int = 20) -> set[str]:
    """At most 20 events a user a day, and each text once."""
    counts: Counter[tuple[str, int]] = Counter()
    seen: set[tuple[str, str]] = set()
    passed = set()
    for sent in stream:
        data = sent.event.data
        text = data.signal.text if isinstance(data.signal, Correction) else data.answer
        counts[data.user, sent.event.time.day] += 1
        fresh = (data.prompt, text) not in seen
        seen.add((data.prompt, text))
        if sent.teaches and fresh and counts[data.user, sent.event.time.day] <= a_day:
            passed.add(sent.event.id)
    return passed


def majority(stream: Sequence[Sent], least: int = 3) -> set[str]:
    """The answer with most voters, when it has three and more than half."""
    votes = answers(stream).drop_duplicates(["task", "worker"], keep="last")
    won: dict[str, str] = {}
    for task, said in votes.groupby("task")["label"]:
        label, count = Counter(said).most_common(1)[0]
        if count >= least and count > len(said) / 2:
            won[str(task)] = label
    return _winners(answers(stream), won)


def dawid_skene(stream: Sequence[Sent]) -> set[str]:
    """One-coin Dawid-Skene of crowd-kit."""
    return _aggregated(stream, OneCoinDawidSkene(n_iter=50).fit_predict)


def mace(stream: Sequence[Sent]) -> set[str]:
    """MACE of crowd-kit."""
    return _aggregated(stream, MACE(n_restarts=1, n_iter=20, random_state=0).fit_predict)


def crowdlab(stream: Sequence[Sent]) -> set[str]:
    """CROWDLAB of cleanlab; its model believes the answer shown as often as that is right."""
    return _aggregated(stream, _consensus)


def _aggregated(
    stream: Sequence[Sent], aggregate: Callable[[pd.DataFrame], pd.Series[Any]]
) -> set[str]:
    """Aggregate votes for the answer shown (0) and the most frequent others (1, 2, ...)."""
    votes, options = answers(stream), _options(stream)
    places = [
        options[task].index(label) if label in options[task] else -1
        for task, label in zip(votes["task"], votes["label"], strict=True)
    ]
    table = votes.assign(label=places)
    found = aggregate(table[table["label"] >= 0][["task", "worker", "label"]])
    won = {
        task: options[task][place] for task, place in found.items() if place < len(options[task])
    }
    return _winners(votes, won)


def _options(stream: Sequence[Sent]) -> dict[str, list[str]]:
    shown: dict[str, str] = {}
    for sent in stream:
        data = sent.event.data
        claim = claims.claim_id(data.tenant, data.prompt)
        shown.setdefault(claim, claims.answer_key(data.answer, data.prompt))
    options = {task: [answer] for task, answer in shown.items()}
    votes = answers(stream)
    for task, said in votes.groupby("task")["label"]:
        ranked = [label for label, _ in Counter(said).most_common()]
        others = [label for label in ranked if label != shown[task]]
        options[task] = [shown[task], *others][:_CLASSES]
    return options


def _consensus(votes: pd.DataFrame) -> pd.Series[Any]:
    tasks = sorted(set(votes["task"]))
    place = {task: n for n, task in enumerate(tasks)}
    workers = {worker: n for n, worker in enumerate(sorted(set(votes["worker"])))}
    table = np.full((len(tasks), len(workers)), np.nan)
    for task, worker, label in zip(votes["task"], votes["worker"], votes["label"], strict=True):
        table[place[task], workers[worker]] = label
    belief = np.full((len(tasks), _CLASSES), MODEL_WRONG / (_CLASSES - 1))
    belief[:, 0] = 1 - MODEL_WRONG
    found = get_label_quality_multiannotator(
        table, belief, verbose=False, return_detailed_quality=False, return_annotator_stats=False
    )
    return pd.Series(found["label_quality"]["consensus_label"].astype(int).to_list(), index=tasks)


def content_filter(material: Material) -> Baseline:
    """A linear n-gram model of injections; its threshold passes 99 % of harmless texts."""
    model, threshold = fitted(material)

    def passed(stream: Sequence[Sent]) -> set[str]:
        rows = [s for s in stream if s.teaches]
        texts = [_spans(s) for s in rows]
        scores = model.decision_function(texts)
        return {s.event.id for s, score in zip(rows, scores, strict=True) if score <= threshold}

    return passed


def fitted(material: Material, *, every: int = 2) -> tuple[Pipeline, float]:
    """Return a model of one half of the data (`every` second row) and its 1 % threshold."""
    bad = [text for _, text in material.injections][::every]
    good = [text for _, text in material.harmless][::every]
    model = make_pipeline(
        make_union(
            HashingVectorizer(ngram_range=(1, 2), n_features=2**17),
            HashingVectorizer(analyzer="char_wb", ngram_range=(3, 5), n_features=2**18),
        ),
        SGDClassifier(loss="log_loss", class_weight="balanced", alpha=1e-6, random_state=0),
    )
    model.fit([*bad, *good], [1] * len(bad) + [0] * len(good))
    held_back = [text for _, text in material.harmless][1::every]
    return model, float(np.quantile(model.decision_function(held_back), 0.99))


def _spans(sent: Sent) -> str:
    data = sent.event.data
    text = data.signal.text if isinstance(data.signal, Correction) else data.answer
    return f"{text} {data.comment}"


def _winners(votes: pd.DataFrame, won: Mapping[str, str]) -> set[str]:
    tasks, labels = votes["task"], votes["label"]
    return {
        id
        for id, task, label in zip(votes["id"], tasks, labels, strict=True)
        if won.get(task) == label
    }


def crowd() -> Mapping[str, Baseline]:
    """Return the baselines that need nothing but the stream."""
    return {
        "none": no_guard,
        "rate_dedup": rate_and_dedup,
        "majority3": majority,
        "dawid_skene": dawid_skene,
        "mace": mace,
        "crowdlab": crowdlab,
    }
