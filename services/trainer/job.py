"""One pre-training, new or continued, as a child process: read the text, train, store."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from imece.errors import JobError
from imece.events import TrainingRequested
from imece.local import facts, models
from imece.runtime import card, datasets, energy, leaks, ranks, runs
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
    base, known = _base(request, settings)
    start = recipe.Base(base.path, known.context) if base and known else None
    with ranks.joined() as group:
        unseen = _texts(artifacts, request, "validation")
        used = energy.read()
        result = _train(job, texts, unseen, request, start, group=group)
    if not group.first:
        return {}
    metrics = _metrics(result, len(texts), energy.joules(used, energy.read()))
    if leaked is not None:
        metrics["contaminated_cases"] = leaked
    out = _model(job)
    _describe(out, request, base, known)
    _write_card(out, job, request, metrics, base=base, known=known)
    stored = artifacts.put_folder(f"models/{job.id}/{job.token}", out)
    shutil.rmtree(out)
    return {
        "uri": stored.uri,
        "digest": stored.digest,
        "base_digest": f"sha256:{base.digest}" if base else None,
        "metrics": metrics | {"bytes": stored.size},
        "losses": runs.thinned(result.losses),
    }


def _model(job: child.ChildJob) -> Path:
    return job.folder / "model"


def _base(
    request: TrainingRequested, settings: Settings
) -> tuple[models.LocalModel, facts.Facts] | tuple[None, None]:
    if request.base is None:
        return None, None
    base = models.resolve(request.base, settings.cache)
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
    if group.first:
        runs.inherit(job.checkpoints.earlier, job.checkpoints.own)
    group.wait()
    meter = runs.Meter(wanted.batch_size * wanted.context, "tokens")
    around = recipe.Around(
        work=job.folder / "work" / str(group.rank),
        checkpoints=job.checkpoints.own,
        checkpoint_seconds=TrainerSettings().checkpoint_seconds,
        on_progress=lambda p: job.progress(meter.progress(p.step, p.steps, p.loss, p.seconds)),
        split=job.split,
        should_stop=job.should_stop,
        ranks=group,
    )
    result = recipe.train(texts, validation, wanted, _model(job), around, base=base)
    shutil.rmtree(around.work)
    if not result.finished:
        raise child.Stopped
    return result


def _describe(
    out: Path,
    request: TrainingRequested,
    base: models.LocalModel | None,
    known: facts.Facts | None,
) -> None:
    """Say in the model's folder what it was made of."""
    about: dict[str, Any] = {
        "model": request.model,
        "datasets": [ref.model_dump(mode="json") for ref in request.datasets],
        "recipe": request.recipe.model_dump(mode="json"),
        **runs.provenance(LIBRARIES),
    }
    if base and known:
        about["base"] = {"uri": request.base, "digest": f"sha256:{base.digest}"}
        about["license"] = known.license
    text = json.dumps(about, indent=1, sort_keys=True, ensure_ascii=False)
    (out / "imece.json").write_text(text, encoding="utf-8")


def _write_card(
    out: Path,
    job: child.ChildJob,
    request: TrainingRequested,
    metrics: dict[str, float],
    *,
    base: models.LocalModel | None,
    known: facts.Facts | None,
) -> None:
    made = card.Run(
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
    (out / "README.md").write_text(card.render(made), encoding="utf-8")


def _metrics(result: recipe.Result, texts: int, joules: float | None) -> dict[str, float]:
    metrics = {
        "first_loss": result.losses[0],
        "final_loss": runs.settled(result.losses),
        "steps": result.steps,
        "texts": texts,
        "tokens": result.tokens,
        "parameters": result.parameters,
        "vocabulary": result.vocabulary,
        "resumed_from": result.resumed_from,
        "seconds": round(result.seconds, 3),
    }
    if joules is not None:
        metrics["joules"] = joules
    if result.validation_loss is not None and result.bits_per_byte is not None:
        metrics |= {
            "validation_loss": result.validation_loss,
            "bits_per_byte": result.bits_per_byte,
        }
    return metrics


if __name__ == "__main__":
    child.run(work)
