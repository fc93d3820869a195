"""What Optuna is asked: the next parameters to try, and whether a trial falls behind.

A study is rebuilt from its trials each time, so its state is the jobs' rows and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from imece.events import Choices, FloatRange
from imece.events.sweeps import Dimension, Sweep
from services.adapter.sweep import PLACES, Known

_WARM_UP, _AT_LEAST = PLACES // 5, 4


class Tried:
    """The trials of a study so far, in their order."""

    def __init__(
        self, sweep: Sweep, trials: Sequence[Known], curves: Mapping[str, Mapping[int, float]]
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = {name: _distribution(each) for name, each in sweep.space.items()}
        sampler = optuna.samplers.TPESampler(
            # Another seed for each trial, or every rebuilt study would sample the same.
            seed=sweep.seed * 1_000_003 + len(trials),
            n_startup_trials=max(2, min(10, sweep.trials // 3)),
        )
        self._pruner = optuna.pruners.MedianPruner(
            n_startup_trials=_AT_LEAST, n_warmup_steps=_WARM_UP, n_min_trials=_AT_LEAST
        )
        self._study = optuna.create_study(sampler=sampler, pruner=self._pruner)
        self._trials = {each.job: self._frozen(each, curves.get(each.job, {})) for each in trials}
        for trial in self._trials.values():
            self._study.add_trial(trial)

    def ask(self) -> dict[str, Any]:
        """Return parameters to try next; those that run already count as tried."""
        return dict(self._study.ask(self._space).params)

    def is_worse(self, job: str) -> bool:
        """Tell whether a running trial is behind the median of the finished ones."""
        trial = self._trials[job]
        return trial.last_step is not None and self._pruner.prune(self._study, trial)

    def _frozen(self, known: Known, curve: Mapping[int, float]) -> FrozenTrial:
        states = {"succeeded": TrialState.COMPLETE, "cancelled": TrialState.PRUNED}
        state = states.get(known.state, TrialState.RUNNING)
        if known.state == "failed" or (state == TrialState.COMPLETE and known.value is None):
            state = TrialState.FAIL
        return optuna.trial.create_trial(
            state=state,
            value=known.value if state == TrialState.COMPLETE else None,
            params=dict(known.parameters),
            distributions=self._space,
            intermediate_values=dict(curve),
        )


def _distribution(dimension: Dimension) -> BaseDistribution:
    if isinstance(dimension, Choices):
        return CategoricalDistribution(dimension.values)
    if isinstance(dimension, FloatRange):
        return FloatDistribution(dimension.low, dimension.high, log=dimension.log)
    return IntDistribution(dimension.low, dimension.high, log=dimension.log)
