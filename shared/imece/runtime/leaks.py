"""Looks before training for cases of the planned suites in the training rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Literal, TypeAlias

import structlog

from imece.errors import JobError, RejectedError
from imece.events import DatasetRef
from imece.runtime import contamination, datasets
from imece.runtime.artifacts import Artifacts
from imece.runtime.contamination import Hit

Policy: TypeAlias = Literal["off", "warn", "refuse"]
log = structlog.get_logger()


def check(
    artifacts: Artifacts,
    suites: Sequence[DatasetRef],
    trained_on: Iterable[DatasetRef],
    kinds: Collection[str],
    policy: Policy,
) -> int | None:
    """Return how many cases of `suites` are in the training rows; None if not looked.

    `refuse` raises JobError("contaminated") where there are any. A suite that cannot be read is
    the evaluator's to report; nothing is known about it here.
    """
    if not suites or policy == "off":
        return None
    try:
        cases = dict(_cases(artifacts, suites))
    except RejectedError as error:
        log.warning("contamination.unknown", error=str(error))
        return None
    hits = contamination.find(cases, contamination.training_rows(artifacts, trained_on, kinds))
    if hits:
        told = _told(hits, len(cases))
        if policy == "refuse":
            raise JobError("contaminated", told)
        log.warning("contamination.found", told=told)
    return len(hits)


def _told(hits: list[Hit], cases: int) -> str:
    first = "; ".join(f"{hit.case} by row {hit.row} ({hit.by})" for hit in hits[:3])
    return (
        f"{len(hits)} of {cases} cases to test on are in the training rows: {first}; take them out"
        " of either, or set IMECE_ADAPTER_CONTAMINATION or IMECE_TRAINER_CONTAMINATION to warn"
    )


def _cases(artifacts: Artifacts, suites: Iterable[DatasetRef]) -> Iterator[tuple[str, str]]:
    for ref in suites:
        for row in datasets.read(artifacts, ref, {"evaluation-case", "labelled"}):
            text = contamination.question_of(row.record)
            if text is not None:
                yield f"{ref.dataset}/{row.row_id}", text
