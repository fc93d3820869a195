"""What several tests of the guard need."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from imece.runtime.database import Database
from services.feedback_guard import tables


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """The guard's database, empty and open."""
    opened = tables.database(f"sqlite:///{tmp_path}/guard.db")
    await opened.open()
    yield opened
    await opened.close()
