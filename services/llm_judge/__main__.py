"""Run the judge alone."""

from imece.runtime.app import run
from services.llm_judge.app import build

if __name__ == "__main__":
    raise SystemExit(run(build))
