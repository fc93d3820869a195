"""Run ingest alone."""

from imece.runtime.app import run
from services.ingest.app import build

if __name__ == "__main__":
    raise SystemExit(run(build))
