"""Kappas, certificates, expiry and what is said about a judge."""

from __future__ import annotations

import json
import math
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from imece.calibration.agreement import drift, kappa, majority, mean, people_pairs, rejects
from imece.calibration.certificate import beta_cdf, certify, lower_bound
from imece.calibration.core import Labelled, build, read_labelled
from imece.cli.main import app
from imece.errors import RejectedError

NOW = datetime(2026, 5, 4, tzinfo=UTC)


def test_kappa_is_cohens() -> None:
    # The textbook table of 50 grants: 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no.
    cells = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    found = kappa([[cell] for cell in cells])
    assert found.value == pytest.approx(0.4)
    assert found.low == pytest.approx(0.15, abs=0.01)
    assert found.high == pytest.approx(0.65, abs=0.01)


def test_kappa_is_undefined_where_chance_explains_everything() -> None:
    assert math.isnan(kappa([[("a", "a")]] * 5).value)
    assert math.isnan(kappa([]).value)
    assert math.isnan(kappa([[("a", "b")]]).low)


def test_the_interval_of_kappa_covers() -> None:
    chance = random.Random(5)
    covered = 0
    for _ in range(200):
        items = []
        for _ in range(150):
            truth = chance.choice("ab")
            flip = chance.random() < 0.2
            items.append([(truth, ("b" if truth == "a" else "a") if flip else truth)])
        found = kappa(items)
        covered += found.low <= 0.6 <= found.high
    assert covered >= 180


def test_people_are_compared_in_pairs() -> None:
    assert len(people_pairs(["a", "b", "a"])) == 6
    assert majority(["a", "b"]) is None
    assert majority(["a", "b", "a"]) == "a"


@pytest.mark.parametrize(
    ("hits", "n", "alpha", "bound"),
    [(10, 10, 0.1, 0.7943), (90, 100, 0.05, 0.8363), (0, 5, 0.1, 0.0), (1, 1, 0.05, 0.05)],
)
def test_the_lower_bound_is_clopper_pearsons(hits: int, n: int, alpha: float, bound: float) -> None:
    assert lower_bound(hits, n, alpha) == pytest.approx(bound, abs=1e-4)


def test_the_beta_function_is_exact_at_known_points() -> None:
    assert beta_cdf(0.3, 1, 1) == pytest.approx(0.3)
    assert beta_cdf(0.5, 7, 7) == pytest.approx(0.5)
    assert beta_cdf(0.2, 2, 1) == pytest.approx(0.04)
    assert (beta_cdf(0, 2, 2), beta_cdf(1, 2, 2)) == (0.0, 1.0)


def test_a_certificate_is_rarely_wrong() -> None:
    """Agreement is 0.95 at full confidence, 0.8 at half: 0.85 holds only above."""
    chance, wrong, given = random.Random(7), 0, 0
    for _ in range(300):
        rows = []
        for _ in range(250):
            confidence = chance.choice((1.0, 0.5))
            rows.append((confidence, chance.random() < (0.95 if confidence == 1 else 0.7)))
        proven = certify(rows, 0.85, 0.1)
        given += proven is not None
        wrong += proven is not None and proven.threshold == 0.5  # 0.825 in all
    assert given > 270
    assert wrong <= 0.1 * 300 + 15


def test_without_enough_or_good_enough_labels_nothing_is_certified() -> None:
    assert certify([(1.0, True)] * 13, 0.85, 0.1) is None
    assert certify([(1.0, True)] * 15, 0.85, 0.1) is not None
    assert certify([(1.0, n % 4 > 0) for n in range(400)], 0.85, 0.1) is None
    assert certify([], 0.85, 0.1) is None
    with pytest.raises(ValueError, match="between 0 and 1"):
        certify([], 1.0, 0.1)


def test_drift_is_zero_for_the_same_mix() -> None:
    assert drift({"a": 0.5, "b": 0.5}, {"a": 0.5, "b": 0.5}) == 0
    assert drift({"a": 0.9, "b": 0.1}, {"a": 0.3, "b": 0.7}) > 0.2
    assert drift({"a": 1.0}, {"new": 1.0}) > 0.2


def test_audits_reject_a_worse_judge_and_seldom_a_good_one() -> None:
    chance = random.Random(3)
    bad = sum(rejects([chance.random() < 0.6 for _ in range(100)], 0.85) for _ in range(200))
    good = sum(rejects([chance.random() < 0.85 for _ in range(300)], 0.85) for _ in range(400))
    assert bad >= 190
    assert good <= 0.05 * 400 + 8


def rows(count: int = 60, slice: str = "maths") -> list[Labelled]:
    found = []
    for number in range(count):
        truth = "ab"[number % 2]
        right = number % 10 > 0
        said = truth if right else "ab"[1 - number % 2]
        found.append(
            Labelled.model_validate(
                {
                    "item": f"i{number}",
                    "slice": slice,
                    "verdict": said,
                    "first_order": said,
                    "second_order": said,
                    "people": [truth, truth, "tie"],
                    "length_a": 100,
                    "length_b": 10,
                    "family_a": "openai",
                    "family_b": "meta",
                }
            )
        )
    return found


def made(given: list[Labelled], **more: Any) -> Any:
    return build(given, judge="j", prompt_version="p", now=NOW, family="openai", **more)


def test_a_report_carries_kappas_flips_lengths_and_counts() -> None:
    unscored = rows(1)[0].model_copy(update={"verdict": "unscored"})
    (report,) = made([*rows(), unscored], target=0.8).slices
    assert (report.n, report.unscored, report.agreement.n) == (61, 1, 60)
    assert report.agreement.value == pytest.approx(0.9)
    assert report.kappa.value is not None
    assert report.people_kappa.value is not None
    assert report.kappa.value < report.agreement.value
    assert report.flip_rate.value == 0
    assert report.length_effect.value == pytest.approx(0.0, abs=0.11)
    assert report.self_preference == report.length_effect  # a is longer, and of the family
    assert report.certificate is not None


def test_a_judge_that_likes_long_answers_is_found_out() -> None:
    biased = [row.model_copy(update={"verdict": "a"}) for row in rows()]
    (report,) = made(biased).slices
    assert report.length_effect.value == pytest.approx(0.5)
    assert report.length_effect.low is not None
    assert report.length_effect.low > 0.3
    assert report.certificate is None


def test_a_judge_that_likes_its_own_family_is_found_out_whatever_the_length() -> None:
    families = [("openai", "meta"), ("meta", "openai")]
    lengths = [(100, 10), (10, 100)]
    biased = []
    for number, row in enumerate(rows(80)):
        own, (long_a, long_b) = families[number // 2 % 2], lengths[number // 4 % 2]
        verdict = "a" if own[0] == "openai" else "b"
        told: dict[str, Any] = {"verdict": verdict, "family_a": own[0], "family_b": own[1]}
        told |= {"length_a": long_a, "length_b": long_b}
        biased.append(row.model_copy(update=told))
    (report,) = made(biased).slices
    assert report.self_preference.value == pytest.approx(0.5)
    assert report.self_preference.low is not None
    assert report.self_preference.low > 0.3
    assert report.length_effect.value == pytest.approx(0.0, abs=0.01)
    (other,) = build(biased, judge="j", prompt_version="p", now=NOW, family="google").slices
    assert (other.self_preference.value, other.self_preference.n) == (None, 0)


def test_it_ends_on_time_judge_prompt_and_drift() -> None:
    calibration = made(rows(), days=30, target=0.8)
    assert calibration.expired("j", "p", NOW) is None
    assert "2026-06-03" in str(calibration.expired("j", "p", NOW + timedelta(days=30)))
    assert calibration.expired("k", "p", NOW)
    assert calibration.expired("j", "q", NOW)
    assert calibration.expired("j", "p", NOW, {"maths": 1.0}) is None
    assert "drifted" in str(calibration.expired("j", "p", NOW, {"maths": 0.4, "law": 0.6}))


def test_it_covers_only_its_slices_from_its_threshold_on() -> None:
    calibration = made([*rows(), *rows(5, "law")], target=0.8)
    assert calibration.covers("maths", 1.0)
    assert not calibration.covers("maths", 0.5)
    assert not calibration.covers("maths", None)
    assert not calibration.covers("law", 1.0)
    assert not calibration.covers("poems", 1.0)


def test_equal_content_has_an_equal_digest() -> None:
    assert made(rows()).digest == made(rows()).digest != made(rows(50)).digest


@pytest.mark.parametrize(
    "line", ["{", '{"item": "i", "verdict": "c", "people": ["a"]}', '{"item": "i"}', "[]"]
)
def test_a_bad_line_is_named(line: str) -> None:
    with pytest.raises(RejectedError, match="x, line 2"):
        read_labelled(["", line], "x")


def test_a_file_without_labels_is_refused() -> None:
    with pytest.raises(RejectedError, match="no labelled"):
        read_labelled([" \n"], "x")


def test_one_item_and_all_equal_labels_are_measured_without_an_interval() -> None:
    (report,) = made(rows(1)).slices
    assert (report.kappa.value, report.agreement.low, report.certificate) == (0.0, None, None)
    same = [row.model_copy(update={"verdict": "a", "people": ("a", "a")}) for row in rows()]
    assert made(same).slices[0].kappa.value is None


def test_mean_of_nothing_is_undefined() -> None:
    assert math.isnan(mean([]).value)


def test_the_command_writes_and_shows_a_calibration(tmp_path: Path) -> None:
    file, out, audit = tmp_path / "rows.jsonl", tmp_path / "c.json", tmp_path / "audit.jsonl"
    file.write_text("\n".join(row.model_dump_json() for row in rows()))
    run = CliRunner().invoke
    given = ["--judge", "j", "--prompt-version", "p", "--target", "0.8", "--out", str(out)]
    result = run(app, ["judge", "calibrate", str(file), *given, "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout.splitlines()[0])[0]["slice"] == "maths"
    assert run(app, ["judge", "show", str(out)]).exit_code == 0
    worse = [row.model_copy(update={"people": ("tie",)}) for row in rows()]
    audit.write_text("\n".join(row.model_dump_json() for row in worse))
    contradicted = run(app, ["judge", "show", str(out), "--audit", str(audit)])
    assert contradicted.exit_code == 1
    assert "calibrate again" in contradicted.output
    file.write_text("{")
    assert run(app, ["judge", "show", str(file)]).exit_code == 2
    assert run(app, ["judge", "calibrate", str(file), *given]).exit_code == 2


def test_labels_of_rarely_asked_items_weigh_more() -> None:
    sure = [([("a", "a")], 10.0), ([("b", "b")], 10.0)] * 20
    unsure = [([("a", "b")], 1.0), ([("b", "a")], 1.0)] * 20
    items = [pairs for pairs, _ in sure + unsure]
    weighted = kappa(items, [weight for _, weight in sure + unsure])
    assert kappa(items).value == pytest.approx(0)
    assert weighted.value == pytest.approx(1 - 2 / 11)
    assert mean([1.0, 0.0], [3.0, 1.0]).value == 0.75
