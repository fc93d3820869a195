"""Run feedback-guard alone."""

from imece.runtime.app import run
from services.feedback_guard.app import build

if __name__ == "__main__":
    raise SystemExit(run(build))
