"""Judge answers that others recorded, with people's labels, as opinions of our own kind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from imece.calibration.core import Labelled
from imece.events import JudgementRequested
from services.llm_judge.core import Reply, Unscored, Verdict
from services.llm_judge.panel import Opinion, decide

Label = Literal["a", "b", "tie"]


@dataclass(frozen=True)
class Pair:
    """One pair with its label and each judge's recorded opinion."""

    request: JudgementRequested
    label: Label
    opinions: dict[str, Opinion]

    def labelled(self, judges: Sequence[str], slice: str) -> Labelled:
        """Return the verdict of `judges` with the label."""
        decision = decide(self.request, [self.opinions[name] for name in judges])
        return Labelled(
            item=self.request.item,
            slice=slice,
            verdict=decision.verdict,
            confidence=decision.confidence,
            first_order=decision.first,
            second_order=decision.second,
            people=(self.label,),
            length_a=len(self.request.answer_a),
            length_b=len(self.request.answer_b),
        )


def llmbar(folder: Path) -> list[Pair]:
    """Read one set of LLMBar with all recorded judges, named `judge/strategy`."""
    items = json.loads((folder / "dataset.json").read_text("utf-8"))
    judges = {
        f"{path.parts[-3]}/{path.parts[-2]}": json.loads(path.read_text("utf-8"))
        for path in sorted(folder.glob("*/*/result.json"))
    }
    return [
        Pair(
            _request(f"{folder.name}-{number}", item),
            "a" if item["label"] == 1 else "b",
            {name: _opinion(name, rows[number]) for name, rows in judges.items()},
        )
        for number, item in enumerate(items)
    ]


def _request(item: str, row: dict[str, Any]) -> JudgementRequested:
    return JudgementRequested.model_construct(
        item=item,
        evaluation="recorded",
        prompt=row["input"],
        answer_a=row["output_1"],
        answer_b=row["output_2"],
        mode="pairwise",
    )


def _opinion(name: str, row: dict[str, Any]) -> Opinion:
    told = next(each for each in reversed(row["results"]) if isinstance(each, dict))
    return Opinion(
        name,
        "openai",
        (
            _reply(told["swap = False"]["winner"], swapped=False),
            _reply(told["swap = True"]["winner"], swapped=True),
        ),
    )


def _reply(winner: object, *, swapped: bool) -> Reply:
    """The record names the winner by its own number, whatever stood first."""
    if winner not in ("1", "2"):
        return Reply(Unscored("bad_verdict", str(winner)))
    first = (winner == "1") != swapped
    return Reply(Verdict(winner="first" if first else "second"))


def pandalm(folder: Path) -> list[Labelled]:
    """Read PandaLM: one recorded judge in one order, three annotators."""
    people = json.loads((folder / "pandalm-testset.json").read_text("utf-8"))
    judge = {
        row["idx"]: row["gpt_result"]
        for row in json.loads((folder / "pandalm-gpt35.json").read_text("utf-8"))
    }
    side = {1: "a", 2: "b", 0: "tie", "1": "a", "2": "b", "Tie": "tie"}
    return [
        Labelled(
            item=str(row["idx"]),
            verdict=cast(Any, side.get(judge[row["idx"]], "unscored")),
            people=cast(Any, tuple(side[row[f"annotator{n}"]] for n in (1, 2, 3))),
            length_a=len(str(row["response1"])),
            length_b=len(str(row["response2"])),
        )
        for row in people
    ]
