"""Jobs that make models, what they made, how it was evaluated, and what was promoted."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AwareDatetime, Field, model_validator

from imece.events.base import Count, Digest, Event, Name, Part, ShortText, Text, Topic
from imece.events.recipes import AdaptationRecipe, LoraRecipe, PretrainingRecipe
from imece.events.records import DatasetRef
from imece.events.sweeps import Study, Sweep

Devices = Annotated[int, Field(ge=1, le=1024)]


class ModelRef(Part):
    """A base model by source URI, or a base plus an adapter by artifact URI."""

    name: Name
    base: ShortText
    base_digest: Digest | None = None
    adapter: ShortText | None = None
    adapter_digest: Digest | None = None


class EvaluationPlan(Part):
    """What to test a trained model on and against; the gate decides when `decide` is set."""

    suites: Annotated[tuple[DatasetRef, ...], Field(min_length=1)]
    baseline: ModelRef | None = None
    decide: bool = True
    judge_items: Annotated[int, Field(ge=0, le=10_000)] = 0
    requested_by: Name | None = None
    """Who wants it tested; that person cannot approve its promotion."""
    probes_of: Name | None = None
    """Ask no suite: only the probes that broke in this evaluation."""


class TrainingRequested(Event):
    """Train `model` on documents: from scratch, or with `base` by going on from that.

    Then the base says vocabulary, layers, hidden and heads, and its tokenizer stays.
    """

    topic: ClassVar[Topic] = Topic(
        "imece.training.requested.v1", "model", ("upstream",), ("trainer",), 3, public=True
    )
    model: Name
    datasets: Annotated[tuple[DatasetRef, ...], Field(min_length=1)]
    recipe: PretrainingRecipe = PretrainingRecipe()
    base: ShortText | None = None
    suites: tuple[DatasetRef, ...] = ()
    """What it will be tested on: its cases are looked for in the documents before training."""
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    timeout_seconds: Annotated[int, Field(ge=1, le=30 * 86400)] = 86400
    devices: Devices = 1
    """On how many GPUs at once, or processes where there are none; the steps stay the same."""


class LeftOut(Part):
    """A shard of the authors of feedback, by a hash that `salt` keys; all rows of theirs go."""

    shard: Annotated[int, Field(ge=0, le=15)]
    of: Annotated[int, Field(ge=2, le=16)]
    salt: Name

    @model_validator(mode="after")
    def _is_one_of_them(self) -> LeftOut:
        if self.shard >= self.of:
            raise ValueError(f"there are {self.of} shards, counted from 0")
        return self


class AdaptationRequested(Event):
    """Fine-tune `base` on the training rows of data sets; the result is named `model`.

    `export` asks for the adapter alone, or for a whole model with the adapter merged into it.
    With a `sweep` many recipes are tried, each a job, and the best adapter alone is announced.
    """

    topic: ClassVar[Topic] = Topic(
        "imece.adaptation.requested.v1",
        "model",
        ("evaluator", "upstream"),
        ("adapter",),
        3,
        public=True,
    )
    model: Name
    base: ShortText
    datasets: Annotated[tuple[DatasetRef, ...], Field(min_length=1)]
    recipe: AdaptationRecipe = LoraRecipe()
    export: Literal["adapter", "merged"] = "adapter"
    evaluation: EvaluationPlan | None = None
    without: LeftOut | None = None
    """Train without these authors' feedback, to see what it was that they taught."""
    sweep: Sweep | None = None
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    timeout_seconds: Annotated[int, Field(ge=1, le=30 * 86400)] = 86400
    devices: Devices = 1
    """On how many GPUs at once, or processes where there are none; the steps stay the same."""


class JobCancelRequested(Event):
    """Stop a job; it checkpoints and ends as cancelled."""

    topic: ClassVar[Topic] = Topic(
        "imece.job.cancel-requested.v1",
        "job",
        ("upstream",),
        ("trainer", "adapter", "evaluator"),
        1,
        public=True,
    )
    job: Name
    by: Name = "unknown"


class Progress(Part):
    """How far a job is; `seconds` is the wall time of this attempt."""

    step: Count
    steps: Count
    loss: float | None = None
    rate: float | None = None
    """Rows or tokens a second, as `unit` says."""
    unit: ShortText = "rows"
    seconds: float = 0
    eta_seconds: float | None = None


class Failure(Part):
    """Why something failed: a stable code and a sentence."""

    reason: Name
    message: ShortText


State = Literal["queued", "running", "cancelling", "cancelled", "retry-wait", "succeeded", "failed"]


class JobState(Event):
    """The newest state of a job; the topic is compacted by job."""

    topic: ClassVar[Topic] = Topic(
        "imece.job.state.v1",
        "job",
        ("trainer", "adapter", "evaluator"),
        ("upstream",),
        compacted=True,
        public=True,
    )
    job: Name
    kind: Literal["training", "adaptation", "evaluation"]
    service: Name
    model: Name
    state: State
    version: Count
    attempt: Count = 0
    progress: Progress | None = None
    failure: Failure | None = None
    at: AwareDatetime


class ModelTrained(Event):
    """A model trained on documents, as a folder of safetensors; `base` is what it started from."""

    topic: ClassVar[Topic] = Topic(
        "imece.model.trained.v1",
        "model",
        ("trainer",),
        ("upstream",),
        3,
        365,
        public=True,
    )
    model: Name
    job: Name
    uri: ShortText
    digest: Digest
    datasets: tuple[DatasetRef, ...]
    recipe: PretrainingRecipe
    base: ShortText | None = None
    base_digest: Digest | None = None
    metrics: dict[str, float]
    losses: tuple[tuple[int, float], ...] = ()


class AdapterTrained(Event):
    """An adapter for a base model, as a folder of safetensors with its manifest.

    After full fine-tuning, or merged, `ref` is a whole model without an adapter.
    """

    topic: ClassVar[Topic] = Topic(
        "imece.adapter.trained.v1",
        "model",
        ("adapter",),
        ("evaluator", "ingest", "upstream"),
        3,
        365,
        public=True,
    )
    model: Name
    job: Name
    ref: ModelRef
    datasets: tuple[DatasetRef, ...]
    recipe: AdaptationRecipe
    base: ShortText | None = None
    """What was fine-tuned; `ref` names it too unless that is a whole model."""
    metrics: dict[str, float]
    losses: tuple[tuple[int, float], ...] = ()
    """(step, loss) pairs, thinned to at most 200."""
    evaluation: EvaluationPlan | None = None
    without: LeftOut | None = None
    """The authors whose rows of the data sets it did not see."""
    study: Study | None = None
    """Of what it is the best, after a sweep."""


class AdapterTainted(Event):
    """An adapter was trained on rows that have been revoked since."""

    topic: ClassVar[Topic] = Topic(
        "imece.adapter.tainted.v1",
        "model",
        ("ingest",),
        ("adapter", "upstream"),
        3,
        365,
    )
    model: Name
    adapter_digest: Digest
    datasets: tuple[DatasetRef, ...]
    revoked: Count


class EvaluationRequested(Event):
    """Test a model by a plan; without a baseline and decision it is only measured."""

    topic: ClassVar[Topic] = Topic(
        "imece.evaluation.requested.v1", "model", ("upstream",), ("evaluator",), 3, public=True
    )
    model: Name
    ref: ModelRef
    plan: EvaluationPlan


class Metric(Part):
    """One figure over `n` items with its 95 % interval; `name` is the metric's signature."""

    slice: Name
    name: ShortText
    value: float
    n: Count
    low: float
    high: float


class EvaluationCompleted(Event):
    """The figures of one evaluation; per-item answers lie at `items` (JSON lines).

    After a failure there are neither figures nor items.
    """

    topic: ClassVar[Topic] = Topic(
        "imece.evaluation.completed.v1", "model", ("evaluator",), ("upstream",), 3, 365, public=True
    )
    model: Name
    evaluation: Name
    ref: ModelRef
    suites: tuple[DatasetRef, ...]
    metrics: tuple[Metric, ...]
    items: ShortText = ""
    items_digest: Digest | None = None
    failure: Failure | None = None


class Check(Part):
    """One test of the gate with its numbers."""

    name: Name
    outcome: Literal["passed", "failed", "inconclusive"]
    detail: Text
    numbers: dict[str, float] = Field(default_factory=dict)


class PromotionDecided(Event):
    """The gate's verdict on a candidate; `champion` is the model to serve from now on."""

    topic: ClassVar[Topic] = Topic(
        "imece.promotion.decided.v1",
        "model",
        ("evaluator",),
        ("upstream",),
        1,
        3650,
        public=True,
    )
    model: Name
    evaluation: Name
    verdict: Literal["promote", "reject", "inconclusive"]
    checks: tuple[Check, ...]
    candidate: ModelRef
    champion: ModelRef
    policy: Name
    rolled_back: bool = False
    """The candidate was champion, broke a check, and the one before it serves again."""
    approvals: tuple[Name, ...] = ()
    inputs: dict[str, Digest] = Field(default_factory=dict)
    """Hashes of all that was decided from; `evidence` holds or names each of them."""
    evidence: ShortText = ""
