"""How batches are cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from imece.runtime.ranks import Ranks
from services.adapter.rows import parts


@given(count=st.integers(0, 40), world=st.integers(1, 9), split=st.integers(1, 64))
def test_the_parts_of_all_processes_are_the_batch(count: int, world: int, split: int) -> None:
    batch = list(range(count))
    shares = [Ranks(rank, world).share(batch) for rank in range(world)]
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1
    found = [parts(share, split) for share in shares]
    assert [i for each in found for part in each for i in part] == batch
    assert all(len(each) <= split and all(each) for each in found)
