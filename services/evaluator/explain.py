"""Recompute a decision that is given on standard input, and print whether it comes out the same."""

from __future__ import annotations

import json
import sys

from imece.errors import ImeceError
from imece.events import PromotionDecided
from imece.runtime.artifacts import Artifacts, canonical_json
from imece.runtime.settings import Settings
from services.evaluator import evidence


def explain(artifacts: Artifacts, told: PromotionDecided) -> dict[str, object]:
    """Return the recomputed decision and the names of the fields that differ from `told`."""
    kept = evidence.Part(uri=told.evidence, digest=told.inputs["evidence"])
    found = evidence.find(artifacts, kept.uri, kept.digest)
    again = evidence.decide(artifacts, found, kept)
    one, other = told.model_dump(mode="json"), again.model_dump(mode="json")
    differing = [name for name in one if canonical_json(one[name]) != canonical_json(other[name])]
    return {"same": not differing, "differing": differing, "decision": other}


def main() -> int:
    """Read a decision, print the comparison as JSON; 0 same, 1 different, 2 not recomputable."""
    told = PromotionDecided.model_validate_json(sys.stdin.buffer.read())
    try:
        if not told.evidence:
            raise ImeceError("the decision names no evidence: its answers could not be read")
        result = explain(Artifacts(Settings().artifacts_url()), told)
    except ImeceError as error:
        sys.stdout.write(json.dumps({"error": str(error)}))
        return 2
    sys.stdout.write(json.dumps(result, ensure_ascii=False))
    return 0 if result["same"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
