"""One fine-tuning, run as a child process: resolve the base, read the rows, train, store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imece.errors import JobError
from imece.events import AdaptationRequested
from imece.local import facts, models
from imece.runtime import bases, card, course, datasets, energy, leaks, ranks, runs, shards
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
    base = bases.resolve(request.base, artifacts, settings.cache)
    known = facts.checked(base, settings.forbidden_licenses)
    suites = request.evaluation.suites if request.evaluation else ()
    leaked = leaks.check(artifacts, suites, request.datasets, core.KINDS, own.contamination)
    rows, left_out = _rows(artifacts, request)
    with ranks.joined() as group:
        used = energy.read()
        result = _train(job, base.path, rows, request, own, context=known.context, group=group)
    if not group.first:
        return {}
    metrics = {
        **result.metrics(energy.joules(used, energy.read()), leaked),
        "rows": result.rows_used,
        "rows_too_long": result.rows_too_long,
        "rows_left_out": left_out,
    }
    _name_the_base(_out(job), request.base)
    whole = _is_whole(request)
    more = request.model_dump(mode="json", include={"without"}, exclude_none=True)
    kept = runs.keep(
        _made(job, request, metrics, base, known),
        _out(job),
        (artifacts, "models" if whole else "adapters"),
        result.losses,
        dtype=own.dtype,
        **more,
    )
    return {**kept, "whole": whole}


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
    group: ranks.Ranks,
) -> recipe.Result:
    if job.split > request.recipe.batch_size:
        raise JobError(
            "out_of_memory",
            f"one row of up to {request.recipe.max_length} tokens is too much for the memory:"
            " lower max_length, or take a smaller base",
        )
    around = course.around(
        job,
        group,
        checkpoint_seconds=own.checkpoint_seconds,
        per_step=request.recipe.batch_size,
        unit="rows",
    )
    result = recipe.train(
        base,
        rows,
        request.recipe,
        _out(job),
        around,
        dtype=own.dtype,
        context=context,
        merge=request.export == "merged",
    )
    if not result.finished:
        raise child.Stopped
    return result


def _name_the_base(out: Path, uri: str) -> None:
    """Put the base's URI where peft wrote a path of this machine."""
    config = out / "adapter_config.json"
    if config.exists():
        content = json.loads(config.read_text(encoding="utf-8"))
        content["base_model_name_or_path"] = uri
        config.write_text(json.dumps(content, indent=1, sort_keys=True), encoding="utf-8")


def _made(
    job: child.ChildJob,
    request: AdaptationRequested,
    metrics: dict[str, float],
    base: models.LocalModel,
    known: facts.Facts,
) -> card.Run:
    """Return what the card and `imece.json` say."""
    return card.Run(
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
        relation="finetune" if _is_whole(request) else "adapter",
    )


if __name__ == "__main__":
    child.run(work)
