"""The model card of what a job made: README.md with the metadata that Hugging Face reads."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from imece.events import DatasetRef
from imece.events.base import Part

Relation = Literal["adapter", "finetune", "merge"]
# Identifiers that the hub knows; another licence has to be called "other" and named.
_LICENSES = (
    "apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m"
    " bigscience-bloom-rail-1.0 bigcode-openrail-m afl-3.0 artistic-2.0 bsl-1.0 bsd"
    " bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5"
    " cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0"
    " cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0"
    " cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0"
    " epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl"
    " lgpl-2.1 lgpl-3.0 isc lppl-1.3c ms-pl apple-ascl mpl-2.0 odc-by odbl openrail++ osl-3.0"
    " postgresql ofl-1.1 ncsa unlicense zlib pddl deepfloyd-if-license llama2 llama3 llama3.1"
    " llama3.2 llama3.3 llama4 gemma unknown"
)
_KNOWN = frozenset(_LICENSES.split())
_HUB = re.compile(r"hf:(?P<name>[\w.-]+/[\w.-]+)@")


@dataclass(frozen=True)
class Run:
    """What a card says; everything comes from the run itself."""

    model: str
    job: str
    method: str
    recipe: Part
    datasets: Sequence[DatasetRef]
    metrics: Mapping[str, float]
    attempt: int | None = None
    provenance: Mapping[str, Any] | None = None
    """The code and libraries, where the one who writes the card knows them."""
    base: str | None = None
    """URI of what it started from, None for a model from scratch."""
    base_digest: str | None = None
    license: str | None = None
    """The base's, in lower case; None where there is no base."""
    relation: Relation | None = None


def render(run: Run) -> str:
    """Return the card as Markdown; tables and lists only, so that it reads well as plain text."""
    return "\n".join([*_head(run), "", *_about(run), "", *_data(run), "", *_training(run), ""])


def data_sets(text: str) -> frozenset[str] | None:
    """Return the data sets that a card of ours names; None for a card of anybody else's."""
    if not re.search(r'^tags: .*"imece"', text, re.MULTILINE):
        return None
    table = text.partition("\n## Data\n")[2].partition("\n\n")[0]
    return frozenset(re.findall(r"^\| (\S+) \| \d+ \|", table, re.MULTILINE))


def write(run: Run, out: Path, more: Mapping[str, Any]) -> None:
    """Say in the folder `out` what it was made of: `imece.json` for programs, a card for people.

    What a library put there as a card, such as peft's empty template, is replaced.
    """
    about = {
        "model": run.model,
        "datasets": [ref.model_dump(mode="json") for ref in run.datasets],
        "recipe": run.recipe.model_dump(mode="json"),
        **more,
        **(run.provenance or {}),
    }
    if run.base is not None:
        about |= {"base": {"uri": run.base, "digest": run.base_digest}, "license": run.license}
    text = json.dumps(about, indent=1, sort_keys=True, ensure_ascii=False)
    (out / "imece.json").write_text(text, encoding="utf-8")
    (out / "README.md").write_text(render(run), encoding="utf-8")


def _head(run: Run) -> list[str]:
    adapter = run.relation == "adapter"
    fields: dict[str, Any] = {
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["imece", *([run.method] if run.method != "training" else [])],
    }
    if run.license is not None:
        fields |= _license(run.license)
    if (found := _HUB.match(run.base or "")) is not None:
        fields |= {"base_model": found["name"], "base_model_relation": run.relation}
    # A JSON value is a YAML value, whatever is in it.
    return ["---", *(f"{name}: {_json(value)}" for name, value in fields.items()), "---"]


def _license(license: str) -> dict[str, str]:
    if license in _KNOWN:
        return {"license": license}
    return {"license": "other", "license_name": re.sub(r"[^\w :.+-]", "_", license)}


def _about(run: Run) -> list[str]:
    digest = f" (`{run.base_digest}`)" if run.base_digest else ""
    base = f"`{run.base}`{digest}" if run.base else "none, trained from scratch"
    return [
        f"# {run.model}",
        "",
        f"Made by {'fine-tuning' if run.relation else 'training'} with imece. Everything here was"
        " written by the run; nobody has edited it.",
        "",
        f"- base: {base}",
        f"- licence: {_license_text(run)}",
        f"- method: {run.method}",
        f"- job: `{run.job}`" + (f", attempt {run.attempt}" if run.attempt else ""),
        *([f"- code: `{run.provenance['code']}`"] if run.provenance else []),
        "",
        "## Intended use",
        "Text generation on inputs like those in the data sets below, by people who have read how"
        " it was evaluated. The figures here were measured on what it learned from, so they say"
        " how training went, not how good the answers are; that is for the gate's evaluation.",
    ]


def _license_text(run: Run) -> str:
    if run.license is None and run.base is not None:
        return "the base's"
    if run.license is None:
        return "not set, choose one before it is shared"
    return f"{run.license}, the base's" + (
        ": find out before it is shared" if run.license == "unknown" else ""
    )


def _data(run: Run) -> list[str]:
    counts = [name for name in ("rows", "texts", "tokens") if name in run.metrics]
    left = [name for name in ("rows_too_long", "rows_left_out") if run.metrics.get(name)]
    return [
        "## Data",
        "| data set | version | digest |",
        "| --- | --- | --- |",
        *(f"| {ref.dataset} | {ref.version} | `{ref.digest}` |" for ref in run.datasets),
        "",
        f"`imece lineage {run.model}` names its rows and whose feedback is among them.",
        "",
        *(f"- {name.replace('_', ' ')}: {run.metrics[name]:,.0f}" for name in (*counts, *left)),
    ]


def _training(run: Run) -> list[str]:
    shown = run.recipe.model_dump(mode="json", exclude_none=True)
    joules = run.metrics.get("joules")
    energy = f"{joules:,.0f} J by the processor's counter" if joules else "not measurable there"
    libraries = run.provenance["libraries"] if run.provenance else {}
    return [
        "## Training",
        "| hyper-parameter | value |",
        "| --- | --- |",
        *(f"| {name} | {_json(value)} |" for name, value in shown.items()),
        "",
        "| measured | value |",
        "| --- | --- |",
        *(f"| {name} | {value:.6g} |" for name, value in sorted(run.metrics.items())),
        "",
        f"Time of the last attempt: {run.metrics.get('seconds', 0):,.1f} s. Energy: {energy}.",
        *(
            ["", "Made with " + ", ".join(map(" ".join, libraries.items())) + "."]
            if libraries
            else []
        ),
    ]


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
