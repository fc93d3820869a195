"""Runs and models as MLflow shows them: a projection of the topics that can be made again.

Everything is found by a tag before it is made, so that an event may come twice.
"""

from __future__ import annotations

import re
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException

from imece.errors import UnavailableError
from imece.events import (
    AdapterTrained,
    Envelope,
    EvaluationCompleted,
    Event,
    ModelRef,
    ModelTrained,
    PromotionDecided,
    PromotionProposed,
)
from imece.runtime import card
from imece.runtime.lineage import Trained, artifact

KINDS = (AdapterTrained, ModelTrained, EvaluationCompleted, PromotionProposed, PromotionDecided)
EXPERIMENT = "imece"
CHAMPION, CHALLENGER = "champion", "challenger"
_MOST = 250  # characters of a parameter's value


class Tracker:
    """One MLflow server or database. All methods block; the first use makes the tables."""

    def __init__(self, url: str) -> None:
        """Use ``sqlite:///file`` or ``http(s)://server``; `UnavailableError` without an answer."""
        try:
            self._client = MlflowClient(tracking_uri=url, registry_uri=url)
            found = self._client.get_experiment_by_name(EXPERIMENT)
            self._experiment = (
                found.experiment_id if found else self._client.create_experiment(EXPERIMENT)
            )
        except MlflowException as error:
            raise UnavailableError(f"MLflow at {url}: {error}") from error

    def take(self, event: Envelope[Event]) -> None:
        """Show what an event of `KINDS` says."""
        data = event.data
        if isinstance(data, AdapterTrained | ModelTrained):
            self._trained(data, int(event.time.timestamp() * 1000))
        elif isinstance(data, EvaluationCompleted):
            self._evaluated(data, int(event.time.timestamp() * 1000))
        elif isinstance(data, PromotionProposed):
            self._challenges(data)
        elif isinstance(data, PromotionDecided):
            self._decided(data)

    def _trained(self, data: Trained, at: int) -> None:
        run = self._run("imece.job", data.job) or self._begin(data, at)
        if self._client.get_run(run).info.status == "FINISHED":
            return
        recipe = data.recipe.model_dump(mode="json", exclude_none=True)
        self._client.log_batch(
            run,
            metrics=[
                *(Metric(name, value, at, 0) for name, value in data.metrics.items()),
                *(Metric("loss", loss, at, step) for step, loss in data.losses),
            ],
            params=[Param(name, str(value)[:_MOST]) for name, value in recipe.items()],
        )
        name, version = self._version(
            data.model, str(artifact(data)), _uri(data), run, described(data)
        )
        self._client.set_registered_model_alias(name, CHALLENGER, version)
        self._client.set_terminated(run, end_time=at)  # last: an open run is taken up again

    def _begin(self, data: Trained, at: int) -> str:
        tags = {
            "imece.job": data.job,
            "imece.model": data.model,
            "imece.artifact": str(artifact(data)),
            "imece.uri": _uri(data),
            "imece.base": getattr(data, "base", None) or "none",
            "imece.datasets": " ".join(ref.digest for ref in data.datasets),
        }
        made = self._client.create_run(self._experiment, at, tags, run_name=data.model)
        return str(made.info.run_id)

    def _evaluated(self, data: EvaluationCompleted, at: int) -> None:
        digest = data.ref.adapter_digest or data.ref.base_digest
        run = self._run("imece.artifact", str(digest))
        if run is not None:
            values = [
                Metric(_safe(f"eval/{each.slice}/{each.name}"), each.value, at, 0)
                for each in data.metrics
            ]
            self._client.log_batch(run, metrics=values)
            self._client.set_tag(run, "imece.evaluation", data.evaluation)

    def _challenges(self, data: PromotionProposed) -> None:
        name, version = self._candidate(data)
        self._client.set_registered_model_alias(name, CHALLENGER, version)

    def _candidate(self, data: PromotionProposed | PromotionDecided) -> tuple[str, str]:
        ref = data.candidate
        digest, uri = ref.adapter_digest or ref.base_digest, ref.adapter or ref.base
        return self._version(data.model, str(digest), uri, None, "")

    def _decided(self, data: PromotionDecided) -> None:
        name, version = self._candidate(data)
        self._client.set_model_version_tag(name, version, "imece.verdict", data.verdict)
        self._client.set_model_version_tag(name, version, "imece.evaluation", data.evaluation)
        if data.verdict == "promote":
            self._crown(name, version)
        held = self._client.get_registered_model(name).aliases.get(CHALLENGER)
        if data.verdict != "inconclusive" and str(held) == version:
            self._client.delete_registered_model_alias(name, CHALLENGER)

    def _crown(self, name: str, version: str) -> None:
        """Let one version of all models be the champion."""
        for model in self._client.search_registered_models():
            if model.name != name and CHAMPION in model.aliases:
                self._client.delete_registered_model_alias(model.name, CHAMPION)
        self._client.set_registered_model_alias(name, CHAMPION, version)

    def _run(self, tag: str, value: str) -> str | None:
        wanted = f"tags.`{tag}` = '{value}'"
        found = self._client.search_runs([self._experiment], wanted, max_results=1)
        return str(found[0].info.run_id) if found else None

    def _version(
        self, model: str, digest: str, uri: str, run: str | None, text: str
    ) -> tuple[str, str]:
        """Return the registered model and version of an artifact, made when there is none."""
        name = _safe(model)
        wanted = f"name='{name}' and tags.`imece.artifact` = '{digest}'"
        for found in self._client.search_model_versions(wanted):
            return name, str(found.version)
        try:
            self._client.create_registered_model(name, tags={"imece.model": model})
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        tags = {"imece.artifact": digest}
        made = self._client.create_model_version(name, uri, run, tags=tags, description=text)
        return name, str(made.version)


def described(data: Trained) -> str:
    """Return the card of what an event announces; the one beside its files says more."""
    base_digest: str | None
    relation: card.Relation | None = "finetune" if data.base else None
    if isinstance(data, ModelTrained):
        method, base_digest = "training", data.base_digest
    else:
        method, base_digest = data.recipe.method, None
        if data.ref.adapter:  # else `ref.base` is what was made
            base_digest, relation = data.ref.base_digest, "adapter"
    run = card.Run(
        model=data.model,
        job=data.job,
        method=method,
        recipe=data.recipe,
        datasets=data.datasets,
        metrics=data.metrics,
        base=data.base,
        base_digest=base_digest,
        relation=relation,
    )
    return card.render(run)


def _uri(data: Trained) -> str:
    if isinstance(data, ModelTrained):
        return data.uri
    ref: ModelRef = data.ref
    return ref.adapter or ref.base


def _safe(name: str) -> str:
    """Return a name that MLflow takes, which has no colon in it, nor a slash in a model's."""
    kept: Any = re.sub(r"[^\w./ -]" if name.startswith("eval/") else r"[^\w. -]", "_", name)
    return str(kept)[:250]
