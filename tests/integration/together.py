"""Under torchrun: tune a base in several ways, each process reading its part; write the losses.

`python -m torch.distributed.run ... -m tests.integration.together BASE FOLDER`
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from imece.runtime import ranks
from imece.runtime.course import Around
from services.adapter import recipe as adapter
from tests.integration.test_methods import OBJECTIVES, recipe_of

WAYS: dict[str, dict[str, Any]] = {
    "lora": {"method": "lora"},
    "dora": {"method": "dora"},
    "full": {"method": "full", "learning_rate": 2e-3},
    "prompt": {"method": "prompt", "virtual_tokens": 4},
    "dpo": {"method": "lora", "objective": {"kind": "dpo"}},
    "kto": {"method": "lora", "objective": {"kind": "kto"}},
}


def losses(base: Path, folder: Path, group: ranks.Ranks) -> dict[str, list[float]]:
    """Return the losses of each way; a batch of 5 leaves the last of each epoch unequal."""
    found = {}
    for name, fields in WAYS.items():
        recipe = recipe_of(**fields, batch_size=5)
        around = Around(folder / name / "checkpoints", ranks=group)
        rows: Any = OBJECTIVES[recipe.objective.kind][:21]
        out = folder / name / "out"
        found[name] = adapter.train(base, rows, recipe, out, around, dtype="float32").losses
    return found


if __name__ == "__main__":
    base, folder = map(Path, sys.argv[1:])
    with ranks.joined() as group:
        found = losses(base, folder, group)
    (folder / f"{group.rank}.json").write_text(json.dumps(found), encoding="utf-8")
