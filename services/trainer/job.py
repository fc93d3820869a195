"""One pre-training, new or continued, as a child process: read the text, train, store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imece.errors import JobError
from imece.events import DatasetRef, TrainingRequested
from imece.local import facts, models
from imece.runtime import bases, card, course, datasets, energy, leaks, ranks, runs
from imece.runtime.artifacts import Artifacts
from imece.runtime.jobs import child
from imece.runtime.settings import Settings
from services.trainer import core, recipe
from services.trainer.settings import TrainerSettings

LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors")


def work(job: child.ChildJob) -> dict[str, Any]:
    """Train the model that `job` asks for and return where it lies."""
    settings = Settings()
    request = TrainingRequested.model_validate(job.request, extra="ignore")
    artifacts = Artifacts(settings.artifacts_url())
    texts = Texts(artifacts, request.datasets, "train")
    if next(iter(texts), None) is None:
        names = ", ".join(f"{ref.dataset} version {ref.version}" for ref in request.datasets)
        raise JobError(
            "empty_dataset", f"{names}: no row of the train split is a document or an instruction"
        )
    looked = TrainerSettings().contamination
    leaked = leaks.check(artifacts, request.suites, request.datasets, core.KINDS, looked)
    base, known = _base(artifacts, request, settings)
    start = recipe.Base(base.path, known.context) if base and known else None
    with ranks.joined() as group:
        unseen = Texts(artifacts, request.datasets, "validation")
        used = energy.read()
        result = _train(job, texts, unseen, request, start, group=group)
    if not group.first:
        return {}
    joules = energy.joules(used, energy.read())
    made = _made(job, request, _metrics(result, joules, leaked), base, known)
    return runs.keep(made, _model(job), (artifacts, "models"), result.losses)


def _model(job: child.ChildJob) -> Path:
    return job.folder / "model"


def _base(
    artifacts: Artifacts, request: TrainingRequested, settings: Settings
) -> tuple[models.LocalModel, facts.Facts] | tuple[None, None]:
    if request.base is None:
        return None, None
    base = bases.resolve(request.base, artifacts, settings.cache)
    return base, facts.checked(base, settings.forbidden_licenses)


@dataclass(frozen=True)
class Texts:
    """The texts of a split, read from the store anew whenever they are gone through."""

    artifacts: Artifacts
    datasets: Sequence[DatasetRef]
    split: str

    def __iter__(self) -> Iterator[str]:
        for ref in self.datasets:
            for row in datasets.stream(self.artifacts, ref, core.KINDS, self.split):
                text = core.text(row.record)
                if text is not None:
                    yield text


def _train(
    job: child.ChildJob,
    texts: Texts,
    validation: Texts,
    request: TrainingRequested,
    base: recipe.Base | None,
    *,
    group: ranks.Ranks,
) -> recipe.Result:
    wanted = request.recipe
    around = course.around(
        job,
        group,
        checkpoint_seconds=TrainerSettings().checkpoint_seconds,
        per_step=wanted.batch_size * wanted.context,
        unit="tokens",
    )
    result = recipe.train(texts, validation, wanted, _model(job), around, base=base)
    if not result.finished:
        raise child.Stopped
    return result


def _made(
    job: child.ChildJob,
    request: TrainingRequested,
    metrics: dict[str, float],
    base: models.LocalModel | None,
    known: facts.Facts | None,
) -> card.Run:
    """Return what the model's card and `imece.json` say."""
    return card.Run(
        model=request.model,
        job=job.id,
        attempt=job.token,
        method="training",
        recipe=request.recipe,
        datasets=request.datasets,
        metrics=metrics,
        provenance=runs.provenance(LIBRARIES),
        base=request.base,
        base_digest=f"sha256:{base.digest}" if base else None,
        license=known.license if known else None,
        relation="finetune" if base else None,
    )


def _metrics(result: recipe.Result, joules: float | None, leaked: int | None) -> dict[str, float]:
    metrics = {
        **result.metrics(joules, leaked),
        "texts": result.texts,
        "tokens": result.tokens,
        "parameters": result.parameters,
        "vocabulary": result.vocabulary,
    }
    if result.validation_loss is not None and result.bits_per_byte is not None:
        metrics |= {
            "validation_loss": result.validation_loss,
            "bits_per_byte": result.bits_per_byte,
        }
    return metrics


if __name__ == "__main__":
    child.run(work)
