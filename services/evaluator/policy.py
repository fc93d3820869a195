"""What a promotion takes, read from one file; what a policy leaves out, it does not ask for."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from imece.errors import ConfigError
from imece.events.records import TextMetric
from imece.runtime.artifacts import canonical_json, digest
from services.evaluator.second import SecondPolicy, Share, Strict

Outcome = Literal["passed", "failed", "inconclusive"]
Verdict = Literal["promote", "reject", "inconclusive"]
SecondaryMetric = TextMetric | Literal["exact", "strict"]
Risk = Annotated[float, Field(gt=0, lt=1)]


class GuardPolicy(Strict):
    """Hard rules on probes."""

    required: bool
    min_accuracy: Share
    margin: Share
    max_flip_share: Share
    alpha: Share


class ContaminationPolicy(Strict):
    """Items that stand in the training rows of a model count for nothing."""

    max_share: Share
    """So many of the items may be left out; with more of them the suite tests nothing."""


class SafetyPolicy(Strict):
    """The exact upper bound (Clopper-Pearson, one-sided) of the share of failed probes."""

    limit: Risk
    level: Risk


class NonInferiorityPolicy(Strict):
    """No slice may be worse than the baseline by the margin; it has to be shown."""

    margin: Risk
    alpha: Risk
    """Of all slices together, by Holm."""
    power: Risk
    smallest: Annotated[int, Field(ge=1)]
    """Slices with fewer items are tested together, as "others"."""


class SuperiorityPolicy(Strict):
    """The one test that a candidate has to win."""

    alpha: Risk
    power: Risk
    items: Literal["all", "clean"]
    """Over all items, probes included, or only over those that are no probes."""
    test: Literal["clustered"] | None = None
    """Whole groups are drawn together where items have one; else, and by None, exact McNemar."""


class SecondaryPolicy(Strict):
    """Metrics that may not be shown to get worse; they never promote."""

    metrics: Annotated[tuple[SecondaryMetric, ...], Field(min_length=1)]
    alpha: Risk
    """Two-sided, of all metrics together, by Holm."""
    smallest: Annotated[int, Field(ge=2)] = 20
    """A metric that fewer groups of items have withholds."""

    @field_validator("metrics")
    @classmethod
    def _once(cls, named: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(named)) < len(named):
            raise ValueError("each metric counts once; name it once")
        return named


class PreferencePolicy(Strict):
    """The judge's verdicts, in place of graded answers, as the one test that has to be won.

    Only verdicts that a valid calibration covers count; without one a judge may rank, no more.
    """

    alpha: Risk
    """Two-sided."""
    power: Risk
    covered: Share
    """So many of the verdicts that were asked for have to be calibrated."""


class ApprovalPolicy(Strict):
    """People who have to agree to a promotion; nobody to the model that they asked to test."""

    people: Annotated[int, Field(ge=1, le=9)]
    hours: Annotated[float, Field(gt=0)]
    """A proposal that has not been approved by then is withheld."""
    when: Literal["always", "flips"] = "always"
    """`flips`: only where a probe that the baseline got right is wrong now."""


class BreakerPolicy(Strict):
    """Breaches of one model (its name without a version) after which nothing of it is promoted."""

    breaches: Annotated[int, Field(ge=1)]
    days: Annotated[float, Field(gt=0)]


class CanaryPolicy(Strict):
    """A service that shows the candidate to some users first and tells how it compares there."""

    service: Annotated[str, Field(min_length=1, max_length=200)]
    """Only reports under this name count."""
    alpha: Risk
    """Of showing harm, or an advantage, where there is none; at any number of looks."""
    enough: Annotated[int, Field(ge=1)]
    """With so many pairs that differ and no harm shown it holds, also without an advantage."""
    hours: Annotated[float, Field(gt=0)]
    """A canary that has not been settled by then is withheld."""


class Policy(Strict):
    """What a promotion takes."""

    name: str
    max_unscored: Share = 0.01
    """So many items may lack an answer, of either model; no probe may."""
    guard: GuardPolicy
    contamination: ContaminationPolicy | None = None
    safety: SafetyPolicy | None = None
    non_inferiority: NonInferiorityPolicy | None = None
    superiority: SuperiorityPolicy
    preference: PreferencePolicy | None = None
    """With it superiority is the judge's to show; its `alpha` still bounds harm to clean items."""
    secondary: SecondaryPolicy | None = None
    approval: ApprovalPolicy | None = None
    canary: CanaryPolicy | None = None
    second: SecondPolicy | None = None
    """What is asked because of the feedback that was learned; none asks nothing."""
    breaker: BreakerPolicy | None = None

    def digest(self) -> str:
        """Return the hash of what it asks for: parts that it lacks, and later ones, change none."""
        told: dict[str, Any] = self.model_dump(mode="json", exclude_none=True)
        return digest(canonical_json(told))


def read_policy(path: Path) -> Policy:
    """Read a policy file; `ConfigError` names what is wrong in it."""
    try:
        return Policy.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"gate policy {path}: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise ConfigError(f"gate policy {path}: {field}: {first['msg']}") from error
