"""How batches are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.adapter.rows import parts


@given(weights=st.lists(st.integers(1, 50), min_size=1, max_size=40), split=st.integers(1, 64))
def test_parts_of_a_batch_are_all_of_it_with_shares_that_sum_to_one(
    weights: list[int], split: int
) -> None:
    batch = list(range(len(weights)))
    found = list(parts(batch, weights, split))
    assert [i for part, _ in found for i in part] == batch
    assert len(found) <= split
    assert sum(share for _, share in found) == pytest.approx(1)
