"""Model cards: the metadata is YAML that the hub takes, the rest says what the run knew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from imece.events import DatasetRef, LoraRecipe, PretrainingRecipe
from imece.runtime import energy
from imece.runtime.card import Run, render

REF = DatasetRef(dataset="köy", version=3, uri="file:///d", digest="sha256:" + "a" * 64)
METRICS = {"rows": 1200.0, "rows_too_long": 2.0, "seconds": 12.5, "final_loss": 1.25}
ADAPTER: dict[str, Any] = {
    "model": "m",
    "job": "j-1",
    "attempt": 2,
    "method": "dora",
    "recipe": LoraRecipe(method="dora", rank=4),
    "datasets": (REF,),
    "metrics": METRICS,
    "provenance": {"code": "git:abc", "libraries": {"torch": "2.9"}},
    "base": "hf:HuggingFaceTB/SmolLM2-135M-Instruct@abc",
    "base_digest": "sha256:" + "b" * 64,
    "license": "apache-2.0",
    "relation": "adapter",
}


def head(text: str) -> Any:
    assert text.startswith("---\n")
    return yaml.safe_load(text.split("---\n")[1])


def test_the_metadata_of_an_adapter_is_what_the_hub_expects() -> None:
    assert head(render(Run(**ADAPTER))) == {
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": ["imece", "dora"],
        "license": "apache-2.0",
        "base_model": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "base_model_relation": "adapter",
    }


def test_a_model_from_scratch_names_no_base_and_no_licence() -> None:
    scratch = {**ADAPTER, "base": None, "base_digest": None, "license": None, "relation": None}
    text = render(Run(**{**scratch, "method": "training", "recipe": PretrainingRecipe()}))
    found = head(text)
    assert found["library_name"] == "transformers"
    assert {"license", "base_model", "base_model_relation"} & set(found) == set()
    assert "trained from scratch" in text
    assert "choose one before it is shared" in text


@pytest.mark.parametrize("license", ["my-own-1.0", "smol: licence", "yes"])
def test_a_licence_that_the_hub_does_not_know_is_named_as_another(license: str) -> None:
    found = head(render(Run(**{**ADAPTER, "license": license})))
    assert (found["license"], found["license_name"]) == ("other", license)


def test_the_card_says_data_counts_recipe_metrics_time_and_lineage() -> None:
    text = render(Run(**{**ADAPTER, "metrics": {**METRICS, "joules": 4321.4}}))
    for said in (
        REF.digest,
        "| köy | 3 |",
        "- rows: 1,200",
        "- rows too long: 2",
        '| method | "dora" |',
        "| final_loss | 1.25 |",
        "12.5 s",
        "4,321 J",
        "`j-1`, attempt 2",
        "git:abc",
        "torch 2.9",
        "imece lineage m",
    ):
        assert said in text
    assert "not measurable" in render(Run(**ADAPTER))


@given(st.text(max_size=60))
def test_no_licence_and_base_break_the_metadata(text: str) -> None:
    found = head(render(Run(**{**ADAPTER, "license": text, "base": text})))
    assert found["license"] in (text, "other")
    assert "base_model" not in found or text.startswith("hf:")


def rapl(root: Path, **counters: int) -> None:
    for name, value in counters.items():
        zone = root / name.replace("_", ":").replace("rapl", "intel-rapl")
        zone.mkdir(parents=True, exist_ok=True)
        (zone / "energy_uj").write_text(f"{value}\n")
        (zone / "max_energy_range_uj").write_text("999999\n")


def test_energy_is_the_packages_and_a_counter_may_wrap(tmp_path: Path) -> None:
    rapl(tmp_path, rapl_0=100_000, rapl_1=900_000, rapl_0_0=5)
    before = energy.read(tmp_path)
    rapl(tmp_path, rapl_0=300_000, rapl_1=100_000, rapl_0_0=999)
    assert energy.joules(before, energy.read(tmp_path)) == pytest.approx(0.4)


def test_without_counters_energy_is_not_measurable(tmp_path: Path) -> None:
    assert energy.read(tmp_path) == {}
    assert energy.joules({}, {}) is None
    assert energy.joules({"intel-rapl:0": (1, 9)}, {}) is None
