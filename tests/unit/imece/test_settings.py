"""A wrong setting is named by its environment variable, without its value."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError
from pydantic_settings import SettingsError
from typer.testing import CliRunner

from imece.cli.main import app
from imece.errors import ConfigError
from imece.runtime.app import run
from imece.runtime.security import kafka_security
from imece.runtime.settings import Settings, complaint
from services.llm_judge.settings import JudgeSettings
from services.review.settings import ReviewSettings


@pytest.mark.parametrize(
    ("group", "name", "value", "told"),
    [
        (Settings, "IMECE_REPLICATION", "s3cret", "IMECE_REPLICATION: "),
        (ReviewSettings, "IMECE_REVIEW_POLL_SECONDS", "s3cret", "IMECE_REVIEW_POLL_SECONDS: "),
        (JudgeSettings, "IMECE_LLM_JUDGE_STAGES", '["s3cret"]', "IMECE_LLM_JUDGE_STAGES/0"),
        (JudgeSettings, "IMECE_LLM_JUDGE_STAGES", "[s3cret", '"stages"'),
    ],
)
def test_a_bad_value_is_told_by_its_variable(monkeypatch, group, name, value, told):
    monkeypatch.setenv(name, value)
    with pytest.raises((ValidationError, SettingsError)) as raised:
        group()
    message = complaint(raised.value) or ""
    assert told in message
    assert "s3cret" not in message


def test_an_error_that_is_about_no_settings_is_not_taken_for_one():
    class Other(BaseModel):
        number: int

    with pytest.raises(ValidationError) as raised:
        Other.model_validate({"number": "x"})
    assert complaint(raised.value) is None


def test_services_and_commands_end_with_one_line(monkeypatch, capsys):
    monkeypatch.setenv("IMECE_REPLICATION", "many")
    assert run() == 2
    told = capsys.readouterr().err
    assert told.startswith("error: IMECE_REPLICATION: ")
    assert told.count("\n") == 1
    result = CliRunner().invoke(app, ["status"])
    assert (result.exit_code, result.stderr) == (2, told)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_cannot_be_used_is_named(tmp_path: Path, content: str | None):
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    settings = Settings(kafka_security="SSL", kafka_ca=file)
    with pytest.raises(ConfigError, match=r"IMECE_KAFKA_CA=.*ca\.pem"):
        kafka_security(settings)
