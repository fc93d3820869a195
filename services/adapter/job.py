"""One fine-tuning, run as a child process: resolve the base, read the rows, train, store."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imece.errors import JobError
from imece.events import AdaptationRequested
from imece.local import facts, models
from imece.runtime import card, datasets, energy, leaks, runs, shards
from imece.runtime.artifacts import Artifacts
from imece.runtime.jobs import child
from imece.runtime.settings import Settings
from services.adapter import core, recipe
from services.adapter.rows import AnyRow
from services.adapter.settings import AdapterSettings

LIBRARIES = ("torch", "transformers", "peft", "safetensors")


def work(job: child.ChildJob) -> dict[str, Any]:
    """Train the adapter that `job` asks for and return where it lies."""
    settings, own = Settings(), AdapterSettings()
    request = AdaptationRequested.model_validate(job.request, extra="ignore")
    artifacts = Artifacts(settings.artifacts_url())
    base = models.resolve(request.base, settings.cache)
    known = facts.checked(base, settings.forbidden_licenses)
    suites = request.evaluation.suites if request.evaluation else ()
    leaked = leaks.check(artifacts, suites, request.datasets, core.KINDS, own.contamination)
    rows, left_out = _rows(artifacts, request)
    used = energy.read()
    result = _train(job, base.path, rows, request, own, context=known.context)
    metrics = _metrics(result, left_out, energy.joules(used, energy.read()))
    if leaked is not None:
        metrics["contaminated_cases"] = leaked
    out, whole = _out(job), _is_whole(request)
    _describe(out, request, base, own, known)
    _write_card(out, job, request, metrics, base=base, known=known)
    stored = artifacts.put_folder(f"{'models' if whole else 'adapters'}/{job.id}/{job.token}", out)
    shutil.rmtree(out)
    return {
        "uri": stored.uri,
        "digest": stored.digest,
        "whole": whole,
        "base_digest": f"sha256:{base.digest}",
        "metrics": metrics | {"bytes": stored.size},
        "losses": runs.thinned(result.losses),
    }


def _out(job: child.ChildJob) -> Path:
    return job.folder / "out"


def _is_whole(request: AdaptationRequested) -> bool:
    """Tell whether a whole model comes out, not an adapter."""
    return request.recipe.method == "full" or request.export == "merged"


def _rows(artifacts: Artifacts, request: AdaptationRequested) -> tuple[list[AnyRow], int]:
    """Return what the training rows teach, and how many teach nothing by themselves."""
    found = [
        row
        for ref in request.datasets
        for row in datasets.read(artifacts, ref, core.KINDS, "train")
    ]
    records = [
        row.record
        for row in found
        if not shards.is_left_out(row.origin.get("user"), request.without)
    ]
    if request.without is not None and len(records) == len(found):
        raise JobError(
            "nothing_left_out",
            f"no row's author is in shard {request.without.shard} of {request.without.of}; it"
            " would be the same training",
        )
    objective = request.recipe.objective
    rows = core.lessons(records, objective)
    if not rows:
        names = ", ".join(f"{ref.dataset} version {ref.version}" for ref in request.datasets)
        raise JobError(
            "empty_dataset",
            f"{names}: no row of the train split teaches anything to {objective.kind}",
        )
    return rows, sum(not core.lessons([record], objective) for record in records)


def _train(
    job: child.ChildJob,
    base: Path,
    rows: Sequence[AnyRow],
    request: AdaptationRequested,
    own: AdapterSettings,
    *,
    context: int | None,
) -> recipe.Result:
    if job.split > request.recipe.batch_size:
        raise JobError(
            "out_of_memory",
            f"one row of up to {request.recipe.max_length} tokens is too much for the memory:"
            " lower max_length, or take a smaller base",
        )
    runs.inherit(job.checkpoints.earlier, job.checkpoints.own)
    meter = runs.Meter(request.recipe.batch_size, "rows")
    result = recipe.train(
        base,
        rows,
        request.recipe,
        _out(job),
        job.checkpoints.own,
        on_progress=lambda p: job.progress(meter.progress(p.step, p.steps, p.loss, p.seconds)),
        should_stop=job.should_stop,
        checkpoint_seconds=own.checkpoint_seconds,
        dtype=own.dtype,
        context=context,
        merge=request.export == "merged",
        split=job.split,
    )
    if not result.finished:
        raise child.Stopped
    return result


def _describe(
    out: Path,
    request: AdaptationRequested,
    base: models.LocalModel,
    own: AdapterSettings,
    known: facts.Facts,
) -> None:
    """Say in the folder what it was made of; no path of this machine stays in it."""
    config = out / "adapter_config.json"
    if config.exists():
        content = json.loads(config.read_text(encoding="utf-8"))
        content["base_model_name_or_path"] = request.base
        config.write_text(json.dumps(content, indent=1, sort_keys=True), encoding="utf-8")
    about = {
        "model": request.model,
        "license": known.license,
        "base": {"uri": request.base, "digest": f"sha256:{base.digest}"},
        "datasets": [ref.model_dump(mode="json") for ref in request.datasets],
        "recipe": request.recipe.model_dump(mode="json"),
        "dtype": own.dtype,
        **({"without": request.without.model_dump(mode="json")} if request.without else {}),
        **runs.provenance(LIBRARIES),
    }
    text = json.dumps(about, indent=1, sort_keys=True, ensure_ascii=False)
    (out / "imece.json").write_text(text, encoding="utf-8")


def _write_card(
    out: Path,
    job: child.ChildJob,
    request: AdaptationRequested,
    metrics: dict[str, float],
    *,
    base: models.LocalModel,
    known: facts.Facts,
) -> None:
    """Replace peft's template, which is empty but for our cache's path."""
    relation: card.Relation = "finetune" if _is_whole(request) else "adapter"
    made = card.Run(
        model=request.model,
        job=job.id,
        attempt=job.token,
        method=request.recipe.method,
        recipe=request.recipe,
        datasets=request.datasets,
        metrics=metrics,
        provenance=runs.provenance(LIBRARIES),
        base=request.base,
        base_digest=f"sha256:{base.digest}",
        license=known.license,
        relation=relation,
    )
    (out / "README.md").write_text(card.render(made), encoding="utf-8")


def _metrics(result: recipe.Result, left_out: int, joules: float | None) -> dict[str, float]:
    measured = {} if joules is None else {"joules": joules}
    return measured | {
        "first_loss": result.losses[0],
        "final_loss": runs.settled(result.losses),
        "steps": result.steps,
        "rows": result.rows_used,
        "rows_too_long": result.rows_too_long,
        "rows_left_out": left_out,
        "resumed_from": result.resumed_from,
        "seconds": round(result.seconds, 3),
    }


if __name__ == "__main__":
    child.run(work)
