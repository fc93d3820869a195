"""Run the trainer alone."""

from imece.runtime.app import run
from services.trainer.app import build

if __name__ == "__main__":
    raise SystemExit(run(build))
