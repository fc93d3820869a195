"""Put the judge together."""

from __future__ import annotations

from collections.abc import Callable

from imece.errors import ConfigError
from imece.runtime.app import Publish, Service
from imece.runtime.database import Database
from imece.runtime.settings import Settings
from services.llm_judge import store
from services.llm_judge.endpoint import Endpoint
from services.llm_judge.local import LocalJudge
from services.llm_judge.routes import Judging
from services.llm_judge.settings import JudgeSettings

LOCAL_KEY = "local"


def build(settings: Settings, publish: Publish, own: JudgeSettings | None = None) -> Service:
    """Return the judge, ready to run; nothing is opened yet."""
    own = own or JudgeSettings()
    database = Database(settings.database_url("llm-judge"), store.METADATA, "llm-judge")
    if own.base_url is None:
        log_file = settings.home / "logs" / "llm-judge-local.log"
        local = LocalJudge(
            own.local_model,
            settings.cache,
            log_file,
            lambda url, model: connect(own, url, model, LOCAL_KEY, weak=True),
        )
        judging = _judging(own, database, publish, lambda: local.endpoint, concurrency=1)
        background = (local.run, judging.run)
        return Service("llm-judge", judging.subscriptions(), background, (database,), local.ready)
    if own.model is None:
        raise ConfigError("IMECE_LLM_JUDGE_MODEL is not set; name the model at the judge endpoint")
    endpoint = connect(own, own.base_url, own.model, own.api_key.get_secret_value())
    judging = _judging(own, database, publish, lambda: endpoint, concurrency=own.concurrency)
    return Service("llm-judge", judging.subscriptions(), (judging.run,), (database,))


def connect(
    own: JudgeSettings, url: str, model: str, api_key: str, *, weak: bool = False
) -> Endpoint:
    """Return the client of one judge model."""
    return Endpoint(
        url,
        model,
        api_key=api_key,
        # The local server takes one call after the other, so a call may wait for its turn.
        timeout_seconds=own.deadline_seconds if weak else own.timeout_seconds,
        deadline_seconds=own.deadline_seconds,
        max_tokens=own.max_tokens,
        weak=weak,
    )


def _judging(
    own: JudgeSettings,
    database: Database,
    publish: Publish,
    endpoint: Callable[[], Endpoint | None],
    concurrency: int,
) -> Judging:
    return Judging(
        database,
        publish,
        endpoint,
        concurrency=concurrency,
        lease_seconds=own.deadline_seconds + 30,
        poll_seconds=own.poll_seconds,
    )
