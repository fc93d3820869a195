"""Put the judge together."""

from __future__ import annotations

from collections.abc import Callable

from imece.errors import ConfigError
from imece.runtime.app import Publish, Service
from imece.runtime.database import Database
from imece.runtime.settings import Settings
from services.llm_judge import store
from services.llm_judge.calibrated import Marker, load
from services.llm_judge.cascade import Cascade, Stage
from services.llm_judge.endpoint import Endpoint, Purse
from services.llm_judge.local import LocalJudge
from services.llm_judge.purse import StoredPurse
from services.llm_judge.routes import Judging
from services.llm_judge.settings import JudgeModel, JudgeSettings, StageSettings

LOCAL_KEY = "local"


def build(settings: Settings, publish: Publish, own: JudgeSettings | None = None) -> Service:
    """Return the judge, ready to run; nothing is opened yet."""
    own = own or JudgeSettings()
    database = Database(settings.database_url("llm-judge"), store.METADATA, "llm-judge")
    stages = _stages(own)
    if not stages:
        log_file = settings.home / "logs" / "llm-judge-local.log"
        local = LocalJudge(
            own.local_model,
            settings.cache,
            log_file,
            lambda url, model: connect(own, url, model, LOCAL_KEY, weak=True),
        )
        # A weak judge fails probes, and its verdicts are marked anyway: it gets none.
        judging = _judging(own, database, publish, lambda: _alone(local.endpoint), weak=True)
        background = (local.run, judging.run)
        return Service("llm-judge", judging.subscriptions(), background, (database,), local.ready)
    cascade = _cascade(own, stages, StoredPurse.within(own, database))
    judging = _judging(own, database, publish, lambda: cascade)
    return Service("llm-judge", judging.subscriptions(), (judging.run,), (database,))


def connect(
    own: JudgeSettings,
    url: str,
    model: str,
    api_key: str,
    *,
    weak: bool = False,
    of: JudgeModel | None = None,
    purse: Purse | None = None,
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
        family=of.family if of else own.family,
        prices=of.prices if of else own.prices,
        most_calls=2 * own.concurrency,
        purse=purse,
    )


def _stages(own: JudgeSettings) -> tuple[StageSettings, ...]:
    if own.stages or own.base_url is None:
        return own.stages
    if own.model is None:
        raise ConfigError("IMECE_LLM_JUDGE_MODEL is not set; name the model at the judge endpoint")
    alone = JudgeModel(
        base_url=own.base_url,
        model=own.model,
        api_key=own.api_key,
        family=own.family,
        prices=own.prices,
    )
    return (StageSettings(judges=(alone,)),)


def _cascade(own: JudgeSettings, stages: tuple[StageSettings, ...], purse: Purse | None) -> Cascade:
    if own.budget_money and any(each.prices is None for s in stages for each in s.judges):
        raise ConfigError(
            "IMECE_LLM_JUDGE_BUDGET_MONEY needs the prices of every judge"
            " (IMECE_LLM_JUDGE_PRICES, or prices in IMECE_LLM_JUDGE_STAGES)"
        )
    return Cascade(
        tuple(
            Stage(
                tuple(
                    connect(
                        own,
                        each.base_url,
                        each.model,
                        each.api_key.get_secret_value(),
                        of=each,
                        purse=purse,
                    )
                    for each in stage.judges
                ),
                stage.accept,
            )
            for stage in stages
        )
    )


def _alone(endpoint: Endpoint | None) -> Cascade | None:
    return Cascade((Stage((endpoint,)),)) if endpoint else None


def _judging(
    own: JudgeSettings,
    database: Database,
    publish: Publish,
    cascade: Callable[[], Cascade | None],
    *,
    weak: bool = False,
) -> Judging:
    marker = None if own.calibration is None or weak else Marker(load(own.calibration))
    return Judging(
        database,
        publish,
        cascade,
        concurrency=1 if weak else own.concurrency,
        # A verdict waits for the others of its batch and for the probes.
        lease_seconds=3 * own.deadline_seconds + 30,
        poll_seconds=own.poll_seconds,
        patience_seconds=own.patience_seconds,
        probes=0 if weak else own.probes,
        batch=1 if weak else own.batch,
        mark=marker.mark if marker else lambda verdict: verdict,
    )
