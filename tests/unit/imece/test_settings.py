"""A wrong setting is named by its environment variable, without its value."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError
from pydantic_settings import SettingsError
from sqlalchemy import MetaData
from starlette.applications import Starlette
from typer.testing import CliRunner

from imece.cli.main import app
from imece.errors import ConfigError, UnavailableError
from imece.runtime import health
from imece.runtime.app import run
from imece.runtime.database import Database
from imece.runtime.security import kafka_security
from imece.runtime.settings import Settings, complaint
from services.__main__ import main
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


@pytest.mark.parametrize("url", ["nonsense", "mysql://u:s3cret@host/imece"])
def test_a_database_that_cannot_be_used_is_refused_without_its_password(url: str):
    with pytest.raises(ConfigError, match="IMECE_DATABASE") as raised:
        Database(url, MetaData(), "ingest").transact(lambda _: None)
    assert "s3cret" not in str(raised.value)


def test_a_plain_postgresql_url_takes_the_driver_that_is_installed():
    nobody = Database("postgresql://u:s3cret@127.0.0.1:1/imece", MetaData(), "ingest")
    with pytest.raises(UnavailableError) as raised:
        nobody.transact(lambda _: None)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("address", ["abc", "127.0.0.1:", "127.0.0.1:99999", ""])
def test_an_address_without_a_port_is_refused_with_an_example(address: str):
    with pytest.raises(ConfigError, match=r"IMECE_HTTP=.*write host:port"):
        asyncio.run(health.serve(Starlette(), address, print))


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_cannot_be_used_is_named(tmp_path: Path, content: str | None):
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    settings = Settings(kafka_security="SSL", kafka_ca=file)
    with pytest.raises(ConfigError, match=r"IMECE_KAFKA_CA=.*ca\.pem"):
        kafka_security(settings)


def test_the_services_tell_their_names(capsys):
    assert main(["--help"]) == 0
    assert main(["ingst"]) == 2
    told = capsys.readouterr()
    assert "llm-judge" in told.out
    assert told.err.startswith("error: unknown service 'ingst'")
