"""Shared prefixes: nothing is lost, each row keeps a token, and what is shared is worth it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.evaluator import trie
from services.evaluator.trie import Node, Request

Prefixes = st.lists(
    st.lists(st.integers(0, 2), min_size=1, max_size=12).map(tuple), min_size=1, max_size=30
)


def requests(prefixes: list[tuple[int, ...]]) -> list[Request]:
    return [Request(prefix, ((1,), (2, 3))) for prefix in prefixes]


def below(node: Node) -> list[tuple[int, Node]]:
    return [(row, node) for row in node.rows] + [x for c in node.children for x in below(c)]


@given(Prefixes, st.integers(1, 20))
def test_every_row_is_run_once_from_a_prefix_of_its_own(
    prefixes: list[tuple[int, ...]], least: int
) -> None:
    found = below(trie.plan(requests(prefixes), least))
    assert sorted(row for row, _ in found) == list(range(len(prefixes)))
    for row, node in found:
        assert node.end < len(prefixes[row])
        assert prefixes[row][: node.end] == node.prefix[: node.end]


def test_a_task_prefix_and_the_passages_below_it_are_shared() -> None:
    shots = tuple(range(100))
    prefixes = [(*shots, 200 + p, *([7] * 50), 300 + q) for p in range(3) for q in range(8)]
    root = trie.plan(requests(prefixes))
    assert (root.start, root.end) == (0, 100)
    assert [(c.start, c.end, len(c.rows)) for c in root.children] == [(100, 151, 8)] * 3


def test_prefixes_of_which_each_extends_the_last_do_not_exhaust_the_stack() -> None:
    prefixes = [(1,) * n for n in range(1, 3000)]
    assert len(below(trie.plan(requests(prefixes), 1))) == 2999


@given(Prefixes, st.integers(1, 40))
def test_batches_hold_every_row_once_and_keep_to_the_cap(
    prefixes: list[tuple[int, ...]], cap: int
) -> None:
    asked = requests(prefixes)
    node = Node((), 0, 0, list(range(len(asked))))
    batches = list(trie.buckets(asked, node, cap))
    assert sorted(row for batch in batches for row in batch) == node.rows
    for batch in batches:
        longest = max(len(asked[row].prefix) for row in batch)
        assert len(batch) == 1 or len(batch) * longest <= cap


def test_texts_are_cut_where_the_tokenizer_first_differs() -> None:
    # the prompt's last token 3 was joined with the choice's first letter in one of the wholes
    found = trie.split([1, 2, 3], [[1, 2, 3, 4], [1, 2, 9]])
    assert found == Request((1, 2), ((3, 4), (9,)))
    # a choice without any token of its own leaves the prompt's last token to score
    assert trie.split([1, 2, 3], [[1, 2, 3], [1, 2, 3, 5]]) == Request((1, 2), ((3,), (3, 5)))
