"""The catalogue, and what is made of it for a use case."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from imece.cli.evidence import measured
from imece.cli.main import app
from imece.errors import RejectedError
from imece.events import Envelope, EvaluationCompleted, Metric, ModelRef
from imece.selection.catalogue import (
    FACTS,
    Fact,
    Measured,
    Model,
    load,
    read_evidence,
    with_evidence,
)
from imece.selection.core import CRITERIA, UseCase, compare, load_use_case, price, unfit
from imece.selection.drawing import svg


def model(name: str, **facts: Any) -> Model:
    given = {
        key: Fact(value=value, source="test", date=date(2026, 1, 1), level="maker")
        for key, value in facts.items()
    }
    return Model(name=name, maker="m", family="f", facts=given)


def case(weights: dict[str, float], **require: Any) -> UseCase:
    return UseCase.model_validate({"name": "x", "weights": weights, "require": require})


GOOD = model("good", quality=90.0, active=10.0, weights="open", parameters=10.0)
FAST = model("fast", quality=60.0, active=1.0, weights="open", parameters=1.0)
POOR = model("poor", quality=50.0, active=20.0, weights="open", parameters=20.0)


def test_the_catalogue_knows_many_models_and_the_source_of_each_fact() -> None:
    models = load()
    assert len(models) >= 30
    assert {"open", "closed"} == {each.value("weights") for each in models}
    for each in models:
        for name, fact in each.facts.items():
            assert name in FACTS
            assert "https://" in fact.source
            assert fact.level in ("maker", "secondary", "cited")
        assert each.value("speed") is None, "speed is measured, never copied"
        assert each.value("own") is None


def test_what_is_not_known_is_unknown_and_not_bad() -> None:
    unknown = model("unknown", active=5.0)
    found = compare([GOOD, FAST, unknown], case({"quality": 1, "speed": 1}))
    by_name = {each.model.name: each for each in found.ranked}
    assert by_name["unknown"].parts["quality"] is None
    assert by_name["unknown"].pareto, "nothing is known to beat it"
    assert by_name["unknown"].wins > 0, "it might be the best"


@pytest.mark.parametrize(
    ("require", "why"),
    [
        ({"max_parameters": 5}, "parameters is 10, above 5"),
        ({"max_memory_gb": 10}, "memory of the weights in GB is 20, above 10"),
        ({"min_quality": 95}, "quality is 90, below 95"),
        ({"min_context": 1}, "context is unknown"),
        ({"max_price": 1}, "price is unknown"),
        ({"commercial": ["yes"]}, "commercial is unknown, not yes"),
        ({"families_refused": ["f"]}, "the family f is refused"),
        ({"min_own": 0.5}, "own evaluation is unknown"),
        ({"min_speed": 5}, "speed is unknown"),
        ({"adaptability": ["full", "lora"]}, "adaptability is unknown, not full or lora"),
    ],
)
def test_each_requirement_excludes_by_itself_with_its_reason(
    require: dict[str, Any], why: str
) -> None:
    assert unfit(GOOD, case({"quality": 1})) is None
    assert unfit(GOOD, case({"quality": 1}, **require)) == why


def test_closed_weights_and_refused_licences_are_excluded() -> None:
    closed = model("closed", weights="closed", license="proprietary")
    assert "weights is closed" in str(unfit(closed, case({"quality": 1}, open_weights=True)))
    refused = case({"quality": 1}, licenses_refused=["proprietary"])
    assert "proprietary is refused" in str(unfit(closed, refused))


def test_what_is_worse_everywhere_is_not_in_the_pareto_set() -> None:
    found = compare([GOOD, FAST, POOR], case({"quality": 1, "speed": 1}))
    assert {each.model.name for each in found.ranked if each.pareto} == {"good", "fast"}


def test_it_says_from_which_weight_on_another_wins() -> None:
    found = compare([GOOD, FAST, POOR], case({"quality": 0.8, "speed": 0.2}))
    assert found.ranked[0].model.name == "good"
    (turn,) = [turn for turn in found.turns if "speed" in turn]
    crossing = float(turn.rpartition(" ")[2])
    assert turn.startswith("fast wins if speed weighs >")
    for weight, winner in ((crossing - 0.02, "good"), (crossing + 0.02, "fast")):
        again = compare([GOOD, FAST, POOR], case({"quality": 1 - weight, "speed": weight}))
        assert again.ranked[0].model.name == winner


def test_a_close_race_has_no_clear_winner_and_a_clear_one_has() -> None:
    found = compare([GOOD, FAST], case({"quality": 0.5, "speed": 0.5}))
    assert found.winner is None
    assert 0 < found.ranked[0].wins < 0.8
    assert compare([GOOD, FAST, POOR], case({"quality": 1})).winner == "good"


def test_the_same_input_gives_the_same_comparison() -> None:
    weights = {"quality": 0.4, "speed": 0.4, "context": 0.2}
    one, other = (compare(load(), case(weights)) for _ in range(2))
    assert one == other
    assert sum(each.wins for each in one.ranked) == pytest.approx(1)


def test_measured_entries_re_rank() -> None:
    weights = case({"own": 1.0, "quality": 0.2})
    assert compare([GOOD, FAST], weights).ranked[0].model.name == "good"
    line = {"model": "fast", "fact": "own", "value": 0.9, "source": "e-1", "date": "2026-05-04"}
    low = {**line, "model": "good", "value": 0.2}
    evidence = read_evidence([json.dumps(line), "", json.dumps(low)], "x")
    models = with_evidence([GOOD, FAST], evidence)
    assert compare(models, weights).ranked[0].model.name == "fast"
    assert models[1].facts["own"].level == "measured"


def test_the_newest_measurement_stands() -> None:
    def told(value: float, day: int) -> Measured:
        when = date(2026, 5, day)
        return Measured(model="good", fact="speed", value=value, source="b", date=when)

    (found,) = with_evidence([GOOD], [told(2, 9), told(1, 3)])
    assert found.number("speed") == 2


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "line 1"),
        ('{"model": "good"}', "line 1"),
        (
            '{"model":"good","fact":"license","value":1,"source":"x","date":"2026-01-01"}',
            "cannot be measured",
        ),
        (
            '{"model":"good","fact":"own","value":NaN,"source":"x","date":"2026-01-01"}',
            "line 1",
        ),
    ],
)
def test_bad_evidence_is_named(line: str, why: str) -> None:
    with pytest.raises(RejectedError, match=why):
        read_evidence([line], "x")


def test_evidence_about_an_unknown_model_is_refused() -> None:
    line = '{"model":"none","fact":"own","value":1,"source":"x","date":"2026-01-01"}'
    with pytest.raises(RejectedError, match="the catalogue has no"):
        with_evidence([GOOD], read_evidence([line], "x"))


def test_a_price_weighs_reading_and_writing() -> None:
    priced = model("p", price_read=1.0, price_written=5.0)
    assert price(priced, case({"price": 1})) == 2.0
    assert price(GOOD, case({"price": 1})) is None


@pytest.mark.parametrize(
    "text",
    [
        "name = 'x'",
        "name = 'x'\nweights = {}",
        "name = 'x'\n[weights]\nbeauty = 1",
        "name = 'x'\n[weights]\nquality = -1",
        "name = 'x'\n[weights]\nquality = 0",
        "name = 'x'\n[weights]\nquality = 1\n[require]\nfancy = true",
        "name =",
    ],
)
def test_a_bad_use_case_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "u.toml").write_text(text)
    with pytest.raises(RejectedError, match=r"u\.toml"):
        load_use_case(tmp_path / "u.toml")


@pytest.mark.parametrize(
    "text",
    [
        "[[models]]\nname = 'a'\nmaker = 'm'\nfamily = 'f'\nquality = 3",
        "[[models]]\nname = 'a'\nmaker = 'm'\nfamily = 'f'\nbeauty = 3",
        "[[models]]\nname = 'a'",
        "[[models]]\nname = 'a'\nmaker = 'm'\nfamily = 'f'\n" * 2,
        "models = [",
        "[sources.s]\nname='n'\nurl='u'\ndate=2026-01-01\nlevel='maker'\n[[models]]\nname='a'\n"
        "maker='m'\nfamily='f'\nquality={value='x',source='s'}",
        "[sources.s]\nname='n'\nurl='u'\ndate=2026-01-01\nlevel='maker'\n[[models]]\nname='a'\n"
        "maker='m'\nfamily='f'\nweights={value='ajar',source='s'}",
    ],
)
def test_a_bad_catalogue_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(RejectedError, match=r"c\.toml"):
        load(tmp_path / "c.toml")


def test_no_model_at_all_is_an_empty_comparison() -> None:
    found = compare([], case({"quality": 1}))
    assert (found.ranked, found.winner, found.turns) == ((), None, ())
    one = compare([GOOD], case({"quality": 1, "speed": 1}))
    assert (one.winner, one.turns) == ("good", ())


def test_every_criterion_can_be_weighed() -> None:
    found = compare(load(), case(dict.fromkeys(CRITERIA, 1.0)))
    for name in CRITERIA:
        known = [each.parts[name] for each in found.ranked if each.parts[name] is not None]
        assert name == "own" or known
        assert all(0 <= float(value or 0) <= 1 for value in known)


def test_the_command_prints_draws_and_explains(tmp_path: Path) -> None:
    file, drawing = tmp_path / "u.toml", tmp_path / "out.svg"
    file.write_text(
        "name = 'chat <one GPU>'\n[require]\nopen_weights = true\nmax_memory_gb = 80\n"
        "[weights]\nquality = 0.6\nspeed = 0.4\n"
    )
    run = CliRunner().invoke
    told = run(app, ["models", "compare", "--use-case", str(file), "--svg", str(drawing)])
    assert told.exit_code == 0, told.output
    assert "wins if" in told.output
    ElementTree.fromstring(drawing.read_text("utf-8"))
    as_json = run(app, ["models", "compare", "--use-case", str(file), "--json"])
    body = json.loads(as_json.stdout)
    assert "memory" in body["excluded"]["Llama 3.1 405B"]
    assert body["ranked"][0]["facts"]["quality"]["source"]
    file.write_text("name = 'x'")
    assert run(app, ["models", "compare", "--use-case", str(file)]).exit_code == 2


def test_evaluations_become_evidence_that_re_ranks() -> None:
    def told(number: int, model: str, *metrics: Metric) -> Envelope[EvaluationCompleted]:
        ref = ModelRef(name=model, base="b")
        data = EvaluationCompleted(
            model=model, evaluation=f"e{number}", ref=ref, suites=(), metrics=metrics
        )
        when = datetime(2026, 5, number, tzinfo=UTC)
        return Envelope(data, f"id{number}", "test", when)

    def figure(name: str, slice: str, value: float) -> Metric:
        return Metric(slice=slice, name=name, value=value, n=9, low=0, high=1)

    accuracy = "accuracy|answer:contains/1"
    events = [
        told(
            1, "ours", figure(accuracy, "all", 0.4), figure("accuracy|answer:final/1", "all", 0.2)
        ),
        told(2, "ours", figure(accuracy, "sum", 0.9), figure(accuracy, "all", 0.95)),
        told(3, "theirs", figure(accuracy, "all", 0.1)),
        told(4, "ours"),
    ]
    found = measured(events, "ours", "fast", "accuracy", "all")
    assert [(each.value, each.source) for each in found] == [
        (0.4, "evaluation e1"),
        (0.95, "evaluation e2"),
    ]
    other = measured(events, "theirs", "good", "accuracy", "all")
    ranked = compare(with_evidence([GOOD, FAST], [*found, *other]), case({"own": 1})).ranked
    assert ranked[0].model.name == "fast"
    with pytest.raises(RejectedError) as raised:
        measured(events, "nobody", "fast", "accuracy", "all")
    assert raised.value.reason == "not_measured"


def test_an_empty_drawing_is_still_one() -> None:
    ElementTree.fromstring(svg(compare([], case({"quality": 1}))))
