"""Marks verdicts that a valid calibration covers; all others may rank, not promote."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from imece.calibration.core import Calibration
from imece.errors import ConfigError
from imece.events import JudgementCompleted

EXPIRED = "calibration_expired"
FEWEST, MOST = 100, 1000
"""Verdicts from which the mix of slices is compared, and how many the newest mix spans."""


def load(file: Path) -> Calibration:
    """Read the calibration that the settings name."""
    try:
        return Calibration.model_validate_json(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"IMECE_LLM_JUDGE_CALIBRATION={file}: {error}") from error


class Marker:
    """One calibration, and the mix of slices that is judged now."""

    def __init__(
        self,
        calibration: Calibration,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._calibration, self._now = calibration, now
        self._slices: deque[str] = deque(maxlen=MOST)

    def mark(self, verdict: JudgementCompleted) -> JudgementCompleted:
        """Return the verdict with the calibration that covers it, or a flag that it has ended."""
        self._slices.append(verdict.slice)
        if verdict.verdict == "unscored":
            return verdict
        ended = self._calibration.expired(
            verdict.judge, verdict.prompt_version or "", self._now(), self._mix()
        )
        if ended:
            return verdict.model_copy(update={"flags": (*verdict.flags, EXPIRED)})
        # A judge may favour its own kin in any slice, so what is flagged is never covered; that
        # the families were not told is no reason, the calibration has measured such verdicts.
        if set(verdict.flags) - {"family_unknown"} or not self._calibration.covers(
            verdict.slice, verdict.confidence
        ):
            return verdict
        return verdict.model_copy(update={"calibration": self._calibration.digest})

    def _mix(self) -> dict[str, float] | None:
        if len(self._slices) < FEWEST:
            return None
        counts = Counter(self._slices)
        return {name: count / len(self._slices) for name, count in counts.items()}
