"""The trainer's handlers on a real SQLite file, a list instead of a broker."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from imece.errors import RejectedError
from imece.events import Envelope, JobState, PretrainingRecipe, TrainingRequested
from imece.runtime.settings import Settings
from services.trainer import core
from services.trainer.app import build
from services.trainer.settings import TrainerSettings
from tests.unit.trainer.test_core import requested


def asked(**fields: Any) -> Envelope[TrainingRequested]:
    return Envelope(requested(**fields), "1", "app", datetime(2026, 5, 4, tzinfo=UTC))


async def receive(folder: Path, *events: Envelope[Any]) -> list[Envelope[Any]]:
    """Hand events to a trainer whose background loop does not run; return what it published."""
    published: list[Envelope[Any]] = []

    async def publish(*found: Envelope[Any]) -> None:
        published.extend(found)

    service = build(Settings(home=folder), publish, TrainerSettings())
    (database,) = service.resources
    async with database:
        await service.subscriptions[0].handle(events)
    return published


async def test_a_redelivered_request_makes_one_job(tmp_path: Path) -> None:
    again = asked(recipe=PretrainingRecipe(steps=7))
    published = await receive(tmp_path, asked(), asked(), again)
    (state,) = {(e.id, e.data.job, e.data.state, e.data.kind) for e in published}
    assert state[1:] == (core.job_id(asked()), "queued", "training")
    assert all(isinstance(event.data, JobState) for event in published)


async def test_a_recipe_that_cannot_be_built_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(RejectedError):
        await receive(tmp_path, asked(recipe=PretrainingRecipe(hidden=128, heads=3)))
