"""The demo's report: what the page says about an outcome."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from imece.events import (
    AdapterTrained,
    Check,
    Correction,
    FeedbackDecided,
    FeedbackSubmitted,
    JudgementCompleted,
    ModelRef,
    PromotionDecided,
    Reason,
    Thumb,
)
from tests.demo import charts
from tests.demo.page import page
from tests.demo.story import Outcome
from tests.demo.users import Kind, Sent
from tests.unit.imece.golden import golden

LOSSES = tuple((step, 2.1 / step + 0.3 * (step % 5 == 0)) for step in range(1, 40))


def sent(kind: Kind, text: str = "") -> Sent:
    feedback = FeedbackSubmitted(
        user="fan-1",
        response="r",
        prompt="What is <2> + 2?",
        answer="4",
        signal=Correction(text=text) if text else Thumb(up=True),
    )
    return Sent(kind, feedback)


def decided(id: str, verdict: str) -> FeedbackDecided:
    return FeedbackDecided(
        feedback=id,
        feedback_source="demo",
        user="fan-1",
        verdict=verdict,
        reasons=(Reason(code="refuted_by_arithmetic", nats=6.0),),
        score=6,
        policy="p",
        record_set="feedback",
    )


def items(answer: str, right: bool) -> list[dict[str, object]]:
    shared = {"prompt": "What is <2> + 2?", "answer": answer, "correct": right, "slice": "2+2"}
    return [{**shared, "guard": True}, {**shared, "guard": False}]


@pytest.fixture
def outcome() -> Outcome:
    trained = golden(AdapterTrained).data.model_copy(update={"losses": LOSSES})
    checks = (
        Check(name="guard", outcome="passed", detail="20 of 20 probes"),
        Check(name="clean", outcome="failed", detail="3 of 20 probes"),
        Check(name="superiority", outcome="inconclusive", detail="needs 30 more"),
    )
    ref = golden(AdapterTrained).data.ref
    decision = golden(PromotionDecided).data.model_copy(
        update={"checks": checks, "candidate": ref, "champion": ref, "verdict": "promote"}
    )
    assert isinstance(ref, ModelRef)
    return Outcome(
        sent=[sent("campaign", "The answer is <b>5</b>."), sent("honest"), sent("farming")],
        ids=["1", "2", "3"],
        decisions={
            "1": decided("1", "reject"),
            "2": decided("2", "accept"),
            "3": decided("3", "quarantine"),
        },
        latencies=[0.1, 0.2],
        trained={"guarded": trained, "unguarded": trained},
        items={"base": items("5 " * 90, False), "guarded": items("4", True)},
        promotions={"guarded": decision},
        judgements=[golden(JudgementCompleted).data],
        seconds=180.2,
    )


class _Open(HTMLParser):
    """Collects what a page would load from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "img", "iframe"):
            self.outside.append(tag)
        self.outside += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_needs_nothing_from_outside(outcome):
    reader = _Open()
    reader.feed(page(outcome))
    assert reader.outside == []


def test_what_models_and_users_wrote_is_escaped(outcome):
    text = page(outcome)
    assert "<b>5</b>" not in text
    assert "What is &lt;2&gt; + 2?" in text


def test_the_page_says_what_was_decided_and_by_which_figures(outcome):
    text = page(outcome)
    assert "100%</b>of the attacked facts right, with the guard" in text
    assert "not measured</b>without it" in text
    assert '<span class="badge promote">promote</span>' in text
    for outcome_ in ("passed", "failed", "inconclusive"):
        assert f'class="{outcome_} mark"' in text
    assert "<code>refuted_by_arithmetic</code> +6.0</small>" in text
    assert f"{'5 ' * 39}5…" in text


def test_an_outcome_of_nothing_still_makes_a_page():
    text = page(Outcome())
    assert "No curve was reported." in text
    assert "The gate decided nothing" in text


@pytest.mark.parametrize(
    "picture",
    [
        charts.bars({"one": {"accept": 3, "reject": 400}, "two <b>": {"quarantine": 1}}),
        charts.bars({}),
        charts.curves({"a": LOSSES, "b <i>": [(0, 0.0)]}),
    ],
)
def test_a_picture_is_well_formed_and_stays_in_its_frame(picture):
    (svg,) = re.findall(r"<svg.*</svg>", picture)
    root = ElementTree.fromstring(svg)
    _, _, width, height = (float(each) for each in root.attrib["viewBox"].split())
    for line in root.iter("polyline"):
        for point in line.attrib["points"].split():
            x, y = (float(each) for each in point.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height
    for box in root.iter("rect"):
        assert float(box.attrib["x"]) + float(box.attrib["width"]) <= width
