"""What is known about an answer from elsewhere than its own votes: sums, references, people."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

from imece.events import Correction, FeedbackScored, FeedbackSubmitted, Reason
from imece.runtime.memory import remembered
from services.feedback_guard import arithmetic, claims, dates, units
from services.feedback_guard.policy import Policy
from services.feedback_guard.state import Account, Claim, Support, mark, slot

BLIND = "blind_reference"


class Evidence(NamedTuple):
    """What is known about one answer from elsewhere than votes."""

    arithmetic: bool | None = None
    units: bool | None = None
    dates: bool | None = None
    reference: bool | None = None
    reviewed: bool | None = None
    sampled: bool | None = None
    """What randomly chosen users say, once one side leads by enough and reviewers are silent."""
    asked: tuple[int, int] = (0, 0)
    """How many of them so far say that it is right, and wrong."""
    rival: bool = False
    """People confirmed another answer to the question."""
    blind: int = 0
    """1 when the reference model prefers this answer to others, -1 when it prefers those."""
    tests: bool | None = None

    @property
    def confirmed(self) -> bool:
        """Somebody other than the voters says that the answer is right."""
        people = (self.reference, self.reviewed, self.sampled)
        return self.certain is True or True in people

    @property
    def refuted(self) -> bool:
        """Somebody other than the voters says that the answer is wrong."""
        return self.certain is False or False in (self.reference, self.reviewed, self.sampled)

    @property
    def certain(self) -> bool | None:
        """What a verifier computed; at most one of them understands a question."""
        for says in (self.arithmetic, self.units, self.dates, self.tests):
            if says is not None:
                return says
        return None


def taught(feedback: FeedbackSubmitted) -> str:
    """Return the answer that the feedback is about: the user's own, or the one shown."""
    signal = feedback.signal
    return signal.text if isinstance(signal, Correction) else feedback.answer


def contradicts(scored: FeedbackScored) -> bool:
    """Tell whether the feedback is against the answer that was shown."""
    return scored.stance < 0 or isinstance(scored.feedback.signal, Correction)


def lead(scored: FeedbackScored, policy: Policy) -> int:
    """Return by how many of the users asked one side must lead to decide this feedback."""
    return policy.panel.lead if contradicts(scored) else policy.panel.praise_lead


def evidence(scored: FeedbackScored, claim: Claim, policy: Policy) -> Evidence:
    """Ask the verifiers about the answer that the feedback is about."""
    expression = arithmetic.expression(scored.feedback.prompt)
    truth = arithmetic.value(expression) if expression else None
    said = claim.reference
    if policy.facts:
        said = policy.known.get(claims.question_key(scored.feedback.prompt), said)
    reference = None if said is None else _same(said, scored.answer)
    own, support = slot(scored.answer), claim.support(scored.answer)
    others = (s for answer, s in claim.answers.items() if answer != own)
    blind = preference(claim, scored.answer)
    reviewed = _reviewed(support, policy)
    sampled = _sampled(support, lead(scored, policy), voice(blind, policy))
    return Evidence(
        None if truth is None else _calculates(scored, truth),
        *_checked(scored.feedback.prompt, taught(scored.feedback)),
        reference,
        reviewed,
        sampled if reviewed is None else None,  # reviewers looked closer than users drawn at random
        (len(support.sampled_for), len(support.sampled_against)),
        any(_reviewed(s, policy) or _sampled(s, policy.panel.lead) for s in others),
        blind,
        support.tested[0] == "+" if support.tested else None,
    )


def preference(claim: Claim, answer: str) -> int:
    """Return 1 where the reference model prefers this answer to all that it was compared with.

    -1 where it prefers those, 0 where it was not asked or is of two minds.
    """
    said, own = set(), slot(answer)
    for other, support in claim.answers.items():
        for word in support.compared:
            better = word[0] == "+"
            if other == own:
                said.add(1 if better else -1)
            elif word[1:] == mark(answer):
                said.add(-1 if better else 1)
    return said.pop() if len(said) == 1 else 0


def voice(blind: int, policy: Policy) -> float:
    """Return for how many of the users asked the reference model counts; never a whole lead."""
    return blind * policy.weights.blind / policy.weights.sampled


def weigh(scored: FeedbackScored, known: Evidence, policy: Policy) -> list[Reason]:
    """Return what all but votes say about the answer, in nats; positive speaks for poison."""
    found: list[Reason] = []
    if scored.hard is not None:
        return found
    checks = (
        ("arithmetic", known.arithmetic, policy.weights.verifier),
        ("units", known.units, policy.weights.verifier),
        ("dates", known.dates, policy.weights.verifier),
        ("tests", known.tests, policy.weights.verifier),
        ("reference", known.reference, policy.weights.reference),
        ("review", known.reviewed, policy.weights.verifier),
        ("sample", known.sampled, 0.0),
    )
    for name, says, nats in checks:
        if says is not None:
            right = says == (scored.stance > 0)
            code = f"{'confirmed' if right else 'refuted'}_by_{name}"
            found.append(Reason(code=code, nats=-nats if right else nats))
    agree, differ = known.asked if scored.stance > 0 else known.asked[::-1]
    if agree or differ:
        detail = f"{agree} of {agree + differ} users asked agree"
        nats = policy.weights.sampled * (differ - agree) if known.reviewed is None else 0.0
        found.append(Reason(code="second_opinion", nats=nats, detail=detail))
    if known.rival and scored.stance > 0 and not known.confirmed:
        found.append(Reason(code="rival_confirmed", nats=policy.weights.rival))
    if known.blind:
        detail = f"the model prefers {'this' if known.blind > 0 else 'another'} answer"
        nats = -policy.weights.blind * known.blind * scored.stance
        found.append(Reason(code=BLIND, nats=nats, detail=detail))
    return found


def prior(model: Account | None, policy: Policy) -> float:
    """Return the log-odds that an answer of the model is right; half of the policy's at least.

    It starts with what the policy says and moves with what was proven on the subject.
    """
    most = policy.weights.status_quo
    right, wrong = (model.right, model.wrong) if model else (1.0, 1.0)
    return max(most / 2, min(most, math.log((5 * math.exp(most) + right) / (5 + wrong))))


@remembered  # an answer is looked at again whenever its claim changes
def _checked(question: str, answer: str) -> tuple[bool | None, bool | None]:
    return units.checks(question, answer), dates.checks(question, answer)


def _reviewed(support: Support, policy: Policy) -> bool | None:
    needed = policy.thresholds.reviewers
    if len(support.reviews_for) >= needed and not support.reviews_against:
        return True
    return False if len(support.reviews_against) >= needed and not support.reviews_for else None


def _sampled(support: Support, needed: int, voice: float = 0.0) -> bool | None:
    """Wald's sequential test: decided as soon as one side leads by `needed`."""
    ahead = len(support.sampled_for) - len(support.sampled_against) + voice
    return None if abs(ahead) < needed else ahead > 0


def _calculates(scored: FeedbackScored, truth: Fraction) -> bool | None:
    """Compare an answer with a computed value; None where it is not certain what it says.

    "4, not 5" names the truth beside another number and is left to people, as is an answer that
    carries more than the number: a right sum must not smuggle in a sentence.
    """
    text, prompt = taught(scored.feedback), scored.feedback.prompt
    if not claims.is_plain_number(text, prompt):
        return None
    try:
        said = Fraction(scored.answer)
    except (ValueError, ZeroDivisionError):
        return None
    if said == truth:
        return True if claims.numbers(text) <= {truth} | claims.numbers(prompt) else None
    rounded = abs(said - truth) <= abs(truth) / 50 and truth.denominator > 1
    return None if rounded or truth in claims.numbers(text) else False


def _same(reference: str, answer: str) -> bool | None:
    """Compare with upstream's answer; "not Paris but Lyon" proves nothing."""
    if reference == answer:
        return True
    short, long = sorted((set(reference.split()), set(answer.split())), key=len)
    return None if short <= long else False
