"""Run the evaluator alone."""

from imece.runtime.app import run
from services.evaluator.app import build

if __name__ == "__main__":
    raise SystemExit(run(build))
