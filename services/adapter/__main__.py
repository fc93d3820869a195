"""Run the adapter alone."""

from imece.runtime.app import run
from services.adapter.app import build

if __name__ == "__main__":
    raise SystemExit(run(build))
