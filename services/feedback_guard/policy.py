"""The guard's policy: one versioned file."""

from __future__ import annotations

import tomllib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from imece.errors import ConfigError
from services.feedback_guard import claims
from services.feedback_guard.state import SAMPLED


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Weights(_Part):
    """Weights in nats."""

    status_quo: float
    verifier: float
    reference: float
    young_account: float
    campaign: float
    cluster_cap: float
    invisible_text: float
    injection: float
    mixed_scripts: float
    elicited: float
    takeover: float
    lockstep: float
    sampled: float
    rival: float
    toxic: float = 4.0
    injection_prompt: float = 2.0
    blind: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 2.2


class Admission(_Part):
    """Who is let in: rates are events an hour, of which that many may come at once."""

    tokens: Literal["required", "optional"]
    unproven_weight: float
    user_per_hour: float
    device_per_hour: float
    tenant_per_hour: float


class Thresholds(_Part):
    """When a score decides."""

    accept: float
    reject: float
    reject_for: dict[str, float] = {}
    injection: float
    injection_model: float = 0.9
    injection_prompt: float = 2.0
    toxic: float = 0.8
    young_days: float
    campaign_accounts: int
    reviewers: int
    quarantine_days: float
    praise_waits: bool


class Panel(_Part):
    """Second opinions of users chosen at random: asked one after the other until one side leads."""

    lead: Annotated[int, Field(ge=1)]
    praise_lead: Annotated[int, Field(ge=1)]
    most: Annotated[int, Field(ge=1, le=SAMPLED)]
    least_users: int
    patience_hours: float
    cards_per_day: float
    praise_share: float
    author_share: Annotated[float, Field(gt=0, le=1)] = 0.01


class Campaign(_Part):
    """When two accounts act in lockstep."""

    window_days: float
    shared: float
    share: float


class Budgets(_Part):
    """Most rows that are accepted from one place in a window of event time."""

    window_days: float
    per_author: float
    per_cluster: float
    per_claim_answer: float
    per_phrase: float
    per_delta: float
    per_unconfirmed: float
    young_days: float
    young_share: float
    young_rows: float


class Audit(_Part):
    """How many of the decisions people check."""

    share: float = 0.01
    false_rejections: Annotated[float, Field(gt=0, lt=1)] = 0.005


class Reference(_Part):
    """A model that is asked blindly which of two answers is right, through llm-judge."""

    judges: tuple[str, ...] = ()
    """The names in verdicts that count; with none nothing is asked."""
    trained_on: Literal["", "trusted"] = ""
    per_day: Annotated[float, Field(ge=0)] = 1000

    @model_validator(mode="after")
    def _has_learned_from_trusted_data_only(self) -> Self:
        if self.judges and self.trained_on != "trusted":
            raise ValueError(
                '[reference] needs trained_on = "trusted": a model that learned from unchecked'
                " feedback confirms its poison"
            )
        return self


class Retention(_Part):
    """For how many days of event time feedback and what was decided about it is remembered."""

    days: Annotated[float, Field(gt=0)] = 400


class Policy(_Part):
    """All of it."""

    version: str
    trusted_record_sets: tuple[str, ...]
    admission: Admission
    weights: Weights
    thresholds: Thresholds
    panel: Panel
    campaign: Campaign
    budgets: Budgets
    audit: Audit = Audit()
    retention: Retention = Retention()
    reference: Reference = Reference()
    facts: dict[str, str] = {}
    """Questions that the operator has answered, such as house rules; they outrank all records."""

    @model_validator(mode="after")
    def _no_model_decides_alone(self) -> Self:
        people = min(self.panel.lead, self.panel.praise_lead) - 1
        if self.reference.judges and self.weights.blind > people * self.weights.sampled:
            raise ValueError("weights.blind would decide without any person: lower it")
        return self

    @model_validator(mode="after")
    def _nothing_is_forgotten_while_it_counts(self) -> Self:
        needed = max(
            self.thresholds.quarantine_days, self.campaign.window_days, self.budgets.window_days
        )
        if self.retention.days < needed:
            raise ValueError(f"retention.days has to be at least {needed:g}, as long as it counts")
        return self

    @cached_property
    def known(self) -> dict[str, str]:
        """The facts by canonical question, canonical too."""
        return {
            claims.question_key(question): claims.answer_key(answer, question)
            for question, answer in self.facts.items()
        }


def load(path: Path) -> Policy:
    """Read a policy file; `ConfigError` names what is wrong with it."""
    try:
        return Policy.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise ConfigError(f"guard policy {path}: {error}") from error
