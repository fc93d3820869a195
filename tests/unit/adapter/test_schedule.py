"""How the learning rate goes over a run."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import get_linear_schedule_with_warmup

from services.adapter.recipe import _schedule


@given(st.integers(1, 60))
def test_without_warm_up_the_rate_falls_linearly_as_that_of_transformers_does(steps: int):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = get_linear_schedule_with_warmup(optimizer, 0, steps)
    for step in range(steps):
        assert abs(_schedule(step, steps, 0) - theirs.get_last_lr()[0]) < 1e-9
        optimizer.step()
        theirs.step()


@given(st.integers(1, 60), st.floats(0, 1))
def test_no_step_is_without_effect_and_none_is_above_the_rate(steps: int, warmup: float):
    assert all(0 < _schedule(step, steps, warmup) <= 1 for step in range(steps))
