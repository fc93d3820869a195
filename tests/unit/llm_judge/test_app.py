"""How the judge is put together: with an endpoint, without one, with half of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imece.errors import ConfigError
from imece.events import Envelope
from imece.runtime.settings import Settings
from services.llm_judge import local
from services.llm_judge.app import build
from services.llm_judge.settings import JudgeSettings


async def publish(*_: Envelope[Any]) -> None: ...


def test_without_an_endpoint_it_is_not_ready_until_the_local_model_is(tmp_path: Path) -> None:
    service = build(Settings(home=tmp_path), publish, JudgeSettings(base_url=None))
    assert service.ready() == local.LOADING
    assert len(service.background) == 2


def test_with_an_endpoint_no_local_model_is_started(tmp_path: Path) -> None:
    own = JudgeSettings(base_url="http://127.0.0.1:9/v1", model="m")
    service = build(Settings(home=tmp_path), publish, own)
    assert service.ready() is None
    assert len(service.background) == 1


def test_an_endpoint_without_a_model_is_a_wrong_setting(tmp_path: Path) -> None:
    own = JudgeSettings(base_url="http://127.0.0.1:9/v1")
    with pytest.raises(ConfigError, match="IMECE_LLM_JUDGE_MODEL"):
        build(Settings(home=tmp_path), publish, own)


def test_the_key_is_never_shown() -> None:
    own = JudgeSettings.model_validate({"api_key": "secret-key"})
    assert "secret-key" not in repr(own)


def test_the_local_judge_calls_itself_weak() -> None:
    own = JudgeSettings(base_url=None)
    assert local.judge_name(own.local_model) == "imece-local/SmolLM2-135M-Instruct (weak)"
