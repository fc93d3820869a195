"""Calibration objects: built from verdicts with people's labels, valid until something changes."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from imece.calibration import agreement
from imece.calibration.agreement import Measured
from imece.calibration.certificate import certify
from imece.errors import RejectedError

Label = Literal["a", "b", "tie"]
MOST_DRIFT = 0.2
FEWEST_CHARACTERS = 30
"""Answers closer in length than this are not called longer or shorter."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")


class Labelled(_Frozen):
    """One judged item and what people said; one line of a calibration file."""

    item: str
    slice: str = "default"
    verdict: Literal["a", "b", "tie", "unscored"]
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    first_order: Literal["a", "b", "tie", "unscored"] | None = None
    second_order: Literal["a", "b", "tie", "unscored"] | None = None
    people: Annotated[tuple[Label, ...], Field(min_length=1)]
    length_a: int | None = None
    length_b: int | None = None
    family_a: str | None = None
    family_b: str | None = None
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Inverse of the chance that people were asked; sure verdicts are asked about less often."""

    @property
    def sure(self) -> float:
        """The confidence; without one, whether both orders agree."""
        if self.confidence is not None:
            return self.confidence
        return float(self.first_order is not None and self.first_order == self.second_order)


class Figure(_Frozen):
    """A figure with its 95 % interval; null where it is not defined."""

    value: float | None
    low: float | None
    high: float | None
    n: int

    @classmethod
    def of(cls, measured: Measured) -> Figure:
        """Return what was measured, NaN as null."""
        value, low, high = (
            None if math.isnan(x) else round(x, 6)
            for x in (measured.value, measured.low, measured.high)
        )
        return cls(value=value, low=low, high=high, n=measured.n)


class Certified(_Frozen):
    """At `threshold` and above people agree with at least `target`, with confidence 1 - `delta`."""

    target: float
    delta: float
    threshold: float
    coverage: float
    agreement: float
    n: int


class SliceReport(_Frozen):
    """What a judge is worth on one kind of item; always with its kappas, flips and lengths."""

    slice: str
    n: int
    unscored: int
    agreement: Figure
    """Share of verdicts equal to people's majority; flattering, so never shown alone."""
    kappa: Figure
    """Judge against each person."""
    people_kappa: Figure
    """People against each other; not defined with one person an item."""
    flip_rate: Figure
    """Share of items whose two orders disagree."""
    length_effect: Figure
    """How much more often than people the judge prefers the longer answer."""
    self_preference: Figure
    """How much more often than people the judge prefers its own family."""
    certificate: Certified | None


class Calibration(_Frozen):
    """A judge with a prompt, measured; outside of what it covers a verdict only ranks."""

    version: Literal[1] = 1
    judge: str
    prompt_version: str
    made: AwareDatetime
    valid_until: AwareDatetime
    labels: str
    """Digest of the labelled items."""
    mix: Mapping[str, float]
    slices: tuple[SliceReport, ...]

    @property
    def digest(self) -> str:
        """The name of this calibration: the hash of its content."""
        body = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return f"sha256:{hashlib.sha256(body.encode()).hexdigest()}"

    def expired(
        self,
        judge: str,
        prompt_version: str,
        now: datetime,
        mix: Mapping[str, float] | None = None,
    ) -> str | None:
        """Say why this calibration does not hold (any more); None when it does."""
        if judge != self.judge:
            return f"it is of the judge {self.judge}"
        if prompt_version != self.prompt_version:
            return f"it is of {self.prompt_version}"
        if now >= self.valid_until:
            return f"it ended on {self.valid_until:%Y-%m-%d}"
        if mix is not None and (change := agreement.drift(self.mix, mix)) > MOST_DRIFT:
            return f"the mix of slices has drifted (PSI {change:.2f})"
        return None

    def covers(self, slice: str, confidence: float | None) -> bool:
        """Tell whether a verdict of this slice and confidence is certified."""
        for report in self.slices:
            if report.slice == slice and report.certificate and confidence is not None:
                return confidence >= report.certificate.threshold
        return False


def read_labelled(lines: Iterable[str], name: str = "the file") -> list[Labelled]:
    """Read JSON lines; RejectedError names the first bad line, or says that there is none."""
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            rows.append(Labelled.model_validate_json(line))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = "/".join(map(str, first["loc"]))
            raise RejectedError(
                "bad_label", f"{name}, line {number}: {where}: {first['msg']}", where
            ) from error
    if not rows:
        raise RejectedError("no_labels", f"{name} holds no labelled verdict")
    return rows


def build(
    rows: Sequence[Labelled],
    *,
    judge: str,
    prompt_version: str,
    now: datetime,
    days: float = 90,
    target: float = 0.85,
    delta: float = 0.1,
    family: str | None = None,
) -> Calibration:
    """Measure `judge` on `rows`, each slice by itself; `family` is whose models it may favour."""
    slices = Counter(row.slice for row in rows)
    body = json.dumps([row.model_dump(mode="json") for row in rows], sort_keys=True)
    return Calibration(
        judge=judge,
        prompt_version=prompt_version,
        made=now,
        valid_until=now + timedelta(days=days),
        labels=f"sha256:{hashlib.sha256(body.encode()).hexdigest()}",
        mix={name: count / len(rows) for name, count in sorted(slices.items())},
        slices=tuple(
            report(name, [row for row in rows if row.slice == name], target, delta, family)
            for name in sorted(slices)
        ),
    )


def report(
    name: str, rows: Sequence[Labelled], target: float, delta: float, family: str | None = None
) -> SliceReport:
    """Measure one slice; verdicts that are missing are counted, never taken for wrong or right."""
    scored = [row for row in rows if row.verdict != "unscored"]
    agrees = [(row.sure, row.verdict == agreement.majority(row.people)) for row in scored]
    proven = _certificate(scored, target, delta)
    orders = [row for row in scored if row.first_order and row.second_order]
    several = [row for row in rows if len(row.people) > 1]
    return SliceReport(
        slice=name,
        n=len(rows),
        unscored=len(rows) - len(scored),
        agreement=Figure.of(agreement.mean([float(a) for _, a in agrees], _weights(scored))),
        kappa=Figure.of(
            agreement.kappa([[(r.verdict, p) for p in r.people] for r in scored], _weights(scored))
        ),
        people_kappa=Figure.of(
            agreement.kappa([agreement.people_pairs(r.people) for r in several], _weights(several))
        ),
        flip_rate=Figure.of(
            agreement.mean(
                [float(r.first_order != r.second_order) for r in orders], _weights(orders)
            )
        ),
        length_effect=_excess(scored, _longer),
        self_preference=_excess(scored, lambda r: _own(r, family)),
        certificate=proven,
    )


def _certificate(scored: Sequence[Labelled], target: float, delta: float) -> Certified | None:
    """Certify on the items that were asked about most rarely: a sample with one chance for all."""
    rarest = max((row.weight for row in scored), default=1.0)
    sample = [row for row in scored if row.weight == rarest]
    agrees = [(row.sure, row.verdict == agreement.majority(row.people)) for row in sample]
    proven = certify(agrees, target, delta)
    if proven is None:
        return None
    share = rarest * len(sample) / sum(_weights(scored))
    fields = {name: getattr(proven, name) for name in Certified.model_fields}
    return Certified(**fields | {"coverage": proven.coverage * share})


def _weights(rows: Sequence[Labelled]) -> list[float]:
    return [row.weight for row in rows]


def _excess(rows: Sequence[Labelled], side: Callable[[Labelled], str | None]) -> Figure:
    """Return how much more often than people the judge prefers the side."""
    found, weights = [], []
    for row in rows:
        wanted, people = side(row), agreement.majority(row.people)
        if wanted is not None and people in ("a", "b") and row.verdict in ("a", "b"):
            found.append(float(row.verdict == wanted) - float(people == wanted))
            weights.append(row.weight)
    return Figure.of(agreement.mean(found, weights))


def _longer(row: Labelled) -> str | None:
    if row.length_a is None or row.length_b is None:
        return None
    apart = row.length_a - row.length_b
    return None if abs(apart) < FEWEST_CHARACTERS else ("a" if apart > 0 else "b")


def _own(row: Labelled, family: str | None) -> str | None:
    own = (row.family_a == family, row.family_b == family)
    if family is None or own[0] == own[1]:
        return None
    return "a" if own[0] else "b"
