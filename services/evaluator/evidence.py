"""All that a decision was made from, stored under its hash, and the decision made of it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError

from imece.errors import RejectedError
from imece.events import Check, JudgementCompleted, ModelRef, PromotionDecided
from imece.runtime.artifacts import Artifacts, canonical_json, digest
from services.evaluator import approval, breaker, canary, core, gate, probes
from services.evaluator.approval import Word
from services.evaluator.breaker import Breach
from services.evaluator.canary import Report
from services.evaluator.core import Item, same_model
from services.evaluator.policy import ApprovalPolicy, CanaryPolicy, Policy, Verdict


class Part(BaseModel):
    """Stored items by URI and digest."""

    model_config = ConfigDict(frozen=True)

    uri: str
    digest: str


class Evidence(BaseModel):
    """The inputs of one decision; `champion` served when it was taken, `previous` before that."""

    model_config = ConfigDict(frozen=True)

    model: str
    evaluation: str
    candidate: ModelRef
    baseline: ModelRef
    champion: ModelRef | None
    previous: ModelRef | None = None
    candidate_items: Part
    baseline_items: Part
    judgements: tuple[JudgementCompleted, ...]
    judgements_asked: int
    policy: Policy
    unread: str = ""
    """Why rows that a model was trained on could not be read; then leaks are unknown."""
    requested_by: str | None = None
    words: tuple[Word, ...] = ()
    """What people said, where the policy asks them."""
    canary: Report | None = None
    """What the canary reported last, where the policy waits for one."""
    probes: Part | None = None
    """The second gate's questions and answers; none where no feedback was learned."""
    unprobed: str = ""
    """Why the second gate could not ask or got no answers, where feedback may have been learned."""
    breaches: tuple[Breach, ...] = ()
    """Of the model's decisions before this one, as known at `at` (UTC epoch seconds)."""
    at: float = 0

    @property
    def serving(self) -> bool:
        """Tell whether the candidate is the champion, evaluated again."""
        return self.champion is not None and same_model(self.candidate, self.champion)


def items(artifacts: Artifacts, part: Part) -> list[Item]:
    """Read stored items; `RejectedError` when they are gone or changed."""
    return core.load(artifacts.get(part.uri, part.digest))


def keep(artifacts: Artifacts, evidence: Evidence) -> Part:
    """Store `evidence` under its hash."""
    data = _bytes(evidence)
    name = digest(data).removeprefix("sha256:")[:16]
    stored = artifacts.put(f"evaluations/{evidence.evaluation}/evidence-{name}.json", data)
    return Part(uri=stored.uri, digest=stored.digest)


def find(artifacts: Artifacts, uri: str, expected: str) -> Evidence:
    """Read evidence; `RejectedError` when it is gone, changed or of another version."""
    try:
        return Evidence.model_validate_json(artifacts.get(uri, expected))
    except ValidationError as error:
        raise RejectedError("evidence_unreadable", f"{uri} is no evidence: {error}") from error


def judge(artifacts: Artifacts, evidence: Evidence) -> tuple[Verdict, tuple[Check, ...]]:
    """Return what the gate says before people are asked."""
    verdict, checks = gate.decide(
        items(artifacts, evidence.candidate_items),
        items(artifacts, evidence.baseline_items),
        evidence.judgements,
        evidence.judgements_asked,
        evidence.policy,
    )
    if doubts := _doubts(evidence):
        checks = (*checks, *doubts)
        verdict = "inconclusive" if verdict == "promote" else verdict
    verdict, checks = _second(artifacts, evidence, verdict, checks)
    verdict, checks = _breaker(evidence, verdict, checks)
    return gate.against_champion(verdict, checks, evidence.baseline, evidence.champion)


def decide(artifacts: Artifacts, evidence: Evidence, kept: Part) -> PromotionDecided:
    """Return the decision that follows from `evidence`, the same whenever it is asked for."""
    verdict, checks = judge(artifacts, evidence)
    asked = waits(evidence, verdict, checks)
    if asked is not None:
        more = answered(evidence, *asked)
        verdict, checks = gate.verdict_of(more), (*checks, *more)
    return decision(evidence, verdict, checks, kept)


def waits(
    evidence: Evidence, verdict: Verdict, checks: tuple[Check, ...]
) -> tuple[ApprovalPolicy | None, CanaryPolicy | None] | None:
    """Return who is waited for before a promotion: people, a canary, both; None for nobody."""
    people, live = evidence.policy.approval, evidence.policy.canary
    if not approval.wanted(verdict, checks, people, serving=evidence.serving):
        people = None
    if not canary.wanted(verdict, live, serving=evidence.serving):
        live = None
    return None if people is None and live is None else (people, live)


def answered(
    evidence: Evidence, people: ApprovalPolicy | None, live: CanaryPolicy | None
) -> list[Check]:
    """Return what those who are waited for have said; a denial counts though only a canary is."""
    found = []
    if people is not None or any(not word.approved for word in evidence.words):
        needed = people.people if people else 0
        found.append(approval.check(evidence.words, needed, evidence.requested_by))
    if live is not None:
        found.append(canary.check(evidence.canary, live))
    return found


def _doubts(evidence: Evidence) -> list[Check]:
    """Name what could not be looked at; each is enough to withhold a promotion."""
    found = []
    if evidence.unread and evidence.policy.contamination is not None:
        found.append(gate.leaks_unknown(evidence.unread))
    if evidence.unprobed and evidence.policy.second is not None:
        found.append(gate.unprobed(evidence.unprobed))
    return found


def _second(
    artifacts: Artifacts, evidence: Evidence, verdict: Verdict, checks: tuple[Check, ...]
) -> tuple[Verdict, tuple[Check, ...]]:
    """Let the second gate forbid what the first one allowed."""
    part, policy = evidence.probes, evidence.policy.second
    if part is None or policy is None:
        return verdict, checks
    more = probes.checks(probes.load(artifacts.get(part.uri, part.digest)), policy)
    if any(check.outcome == "failed" for check in more):
        verdict = "reject"
    return verdict, (*checks, *more)


def _breaker(
    evidence: Evidence, verdict: Verdict, checks: tuple[Check, ...]
) -> tuple[Verdict, tuple[Check, ...]]:
    """Withhold a promotion after too many breaches; what serves already is not promoted."""
    policy = evidence.policy.breaker
    if policy is None or evidence.serving:
        return verdict, checks
    said = breaker.check(evidence.model, evidence.breaches, evidence.at, policy)
    if said is None:
        return verdict, checks
    if said.outcome != "passed" and verdict == "promote":
        verdict = "inconclusive"
    return verdict, (*checks, said)


def decision(
    evidence: Evidence, verdict: Verdict, checks: tuple[Check, ...], kept: Part
) -> PromotionDecided:
    """Return the event of a verdict, with the hashes of its inputs."""
    broken = verdict == "reject" and evidence.serving
    stays = (evidence.previous if broken else evidence.champion) or evidence.baseline
    told = canonical_json([each.model_dump(mode="json") for each in evidence.judgements])
    return PromotionDecided(
        model=evidence.model,
        evaluation=evidence.evaluation,
        verdict=verdict,
        checks=checks,
        candidate=evidence.candidate,
        champion=evidence.candidate if verdict == "promote" else stays,
        policy=evidence.policy.name,
        rolled_back=broken,
        approvals=approval.approvers(evidence.words, evidence.requested_by),
        inputs=({"probes": evidence.probes.digest} if evidence.probes else {})
        | {
            "candidate-items": evidence.candidate_items.digest,
            "baseline-items": evidence.baseline_items.digest,
            "judgements": digest(told),
            "policy": evidence.policy.digest(),
            "evidence": kept.digest,
        }
        | _approvals(evidence)
        | _breaches(evidence)
        | _canary(evidence),
        evidence=kept.uri,
    )


def _approvals(evidence: Evidence) -> dict[str, str]:
    if not evidence.words:
        return {}
    said = [word.model_dump(mode="json") for word in evidence.words]
    return {"approvals": digest(canonical_json(said))}


def _breaches(evidence: Evidence) -> dict[str, str]:
    if not evidence.breaches or evidence.policy.breaker is None:
        return {}
    known = [breach.model_dump(mode="json") for breach in evidence.breaches]
    return {"breaches": digest(canonical_json(known))}


def _canary(evidence: Evidence) -> dict[str, str]:
    if evidence.canary is None:
        return {}
    return {"canary": digest(canonical_json(evidence.canary.model_dump(mode="json")))}


def _bytes(evidence: Evidence) -> bytes:
    return canonical_json(evidence.model_dump(mode="json"))
