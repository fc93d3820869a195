"""Call the recipe without a service: `python -m tests.bench.tuning.direct TASK.json OUT`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from imece.events import LoraRecipe
from imece.runtime.course import Around
from services.adapter.recipe import Row, train

if __name__ == "__main__":
    task, out = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2])
    rows = [Row(**row) for row in task["rows"]]
    recipe = LoraRecipe.model_validate(task["recipe"])
    around = Around(out.with_name(f"{out.name}-checkpoints"))
    done = train(Path(task["base"]), rows, recipe, out, around)
    print(done.seconds)
