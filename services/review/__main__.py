"""Run the review queue alone."""

from imece.runtime.app import run
from services.review.app import build

if __name__ == "__main__":
    raise SystemExit(run(build))
