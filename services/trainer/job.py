"""One pre-training, new or continued, as a child process: read the text, train, store."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from imece.errors import JobError
from imece.events import TrainingRequested
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
    texts = _texts(artifacts, request, "train")
    if not texts:
        names = ", ".join(f"{ref.dataset} version {ref.version}" for ref in request.datasets)
        raise JobError(
            "empty_dataset", f"{names}: no row of the train split is a document or an instruction"
        )
    looked = TrainerSettings().contamination
    leaked = leaks.check(artifacts, request.suites, request.datasets, core.KINDS, looked)
    base, known = _base(artifacts, request, settings)
    start = recipe.Base(base.path, known.context) if base and known else None
    with ranks.joined() as group:
        unseen = _texts(artifacts, request, "validation")
        used = energy.read()
        result = _train(job, texts, unseen, request, start, group=group)
    if not group.first:
        return {}
    joules = energy.joules(used, energy.read())
    made = _made(job, request, _metrics(result, len(texts), joules, leaked), base, known)
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


def _texts(artifacts: Artifacts, request: TrainingRequested, split: str) -> list[str]:
    rows = (
        core.text(row.record)
        for ref in request.datasets
        for row in datasets.read(artifacts, ref, core.KINDS, split)
    )
    return [text for text in rows if text is not None]


def _train(
    job: child.ChildJob,
    texts: list[str],
    validation: list[str],
    request: TrainingRequested,
    base: recipe.Base | None,
    *,
    group: ranks.Ranks,
) -> recipe.Result:
    wanted = request.recipe
    work = job.folder / "work" / str(group.rank)
    around = course.around(
        job,
        group,
        checkpoint_seconds=TrainerSettings().checkpoint_seconds,
        per_step=wanted.batch_size * wanted.context,
        unit="tokens",
    )
    result = recipe.train(texts, validation, wanted, _model(job), around, work=work, base=base)
    shutil.rmtree(work)
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


def _metrics(
    result: recipe.Result, texts: int, joules: float | None, leaked: int | None
) -> dict[str, float]:
    metrics = {
        **result.metrics(joules, leaked),
        "texts": texts,
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
