"""Data set versions: each row once, whatever the batches and wherever the process dies."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imece.errors import JobError
from imece.events import (
    AdapterTainted,
    AdapterTrained,
    AuditRecorded,
    DatasetPublished,
    Document,
    Envelope,
    EvaluationCase,
    LabelledExample,
    LoraRecipe,
    ModelRef,
    PreferencePair,
    RecordRejected,
)
from imece.runtime.datasets import read, read_manifest
from services.ingest import parquet
from tests.unit.ingest.world import (
    MOMENT,
    World,
    decided,
    instruction,
    prompts,
    revoked,
    submitted,
)


class CrashError(Exception):
    """The process died here."""


class Crashing:
    """Dies before or after the n-th call of the steps that it wraps."""

    def __init__(self, world: World, at: int, *, after: bool) -> None:
        self.left, self.after = at, after
        world.versions._publish = self.wrap(world.publish)
        world.artifacts.put = self.wrap_sync(world.artifacts.put)  # type: ignore[method-assign]
        world.database.run = self.wrap(world.database.run)  # type: ignore[method-assign]

    def wrap(self, step: Any) -> Any:
        async def run(*args: Any, **kwargs: Any) -> Any:
            self.die(now=not self.after)
            result = await step(*args, **kwargs)
            self.die(now=self.after)
            return result

        return run

    def wrap_sync(self, step: Any) -> Any:
        def run(*args: Any) -> Any:
            self.die(now=not self.after)
            result = step(*args)
            self.die(now=self.after)
            return result

        return run

    def die(self, *, now: bool) -> None:
        if now:
            self.left -= 1
            if self.left == 0:
                raise CrashError


def cut(items: list[Any], at: set[int]) -> Iterator[list[Any]]:
    edges = [0, *sorted(edge for edge in at if 0 < edge < len(items)), len(items)]
    for start, end in itertools.pairwise(edges):
        if start < end:
            yield items[start:end]


def check_history(world: World, expected: set[str]) -> None:
    """Every row is introduced once, versions count up, parents are linked, ids do not conflict."""
    introduced: set[str] = set()
    parent = None
    for number, ref in enumerate(world.refs(), start=1):
        assert ref.version == number
        manifest = read_manifest(world.artifacts, ref)
        assert manifest["parent"] == parent
        parent = ref.digest
        held = {row.row_id for row in read(world.artifacts, ref)}
        assert held > introduced
        added = sum(part["rows"] for part in manifest["parts"] if part["added_in"] == number)
        assert added == len(held) - len(introduced)
        introduced = held
    rows = world.rows()
    assert prompts(rows) == expected
    sent: dict[str, Any] = {}
    for event in world.published:
        assert sent.setdefault(event.id, event.data) == event.data


@settings(max_examples=15)
@given(
    count=st.integers(1, 25),
    ends=st.sets(st.integers(0, 24), max_size=4),
    cuts=st.sets(st.integers(1, 24), max_size=6),
    resent=st.sets(st.integers(0, 24), max_size=5),
)
def test_versions_hold_each_row_once_however_the_stream_is_cut(
    count: int, ends: set[int], cuts: set[int], resent: set[int]
) -> None:
    events = [submitted(instruction(i), f"e{i}", ends=i in ends) for i in range(count)]
    events += [events[i] for i in sorted(resent) if i < count]

    async def story(folder: Path) -> None:
        async with World(folder, part_rows=4) as world:
            for batch in cut(events, cuts):
                await world.submit(*batch)
            await world.settle()
            check_history(world, {instruction(i).prompt for i in range(count)})
            inner = {i for i in ends if i < count - 1}
            assert len(world.refs()) == len(inner) + 1
            assert not world.sent(RecordRejected)

    with TemporaryDirectory() as folder:
        asyncio.run(story(Path(folder)))


@settings(max_examples=40)
@given(at=st.integers(1, 30), after=st.booleans(), cuts=st.sets(st.integers(1, 11)))
def test_versions_hold_each_row_once_wherever_the_process_dies(
    at: int, after: bool, cuts: set[int]
) -> None:
    events = [submitted(instruction(i), f"e{i}", ends=i in {3, 8}) for i in range(12)]

    async def story(folder: Path) -> None:
        batches = list(cut(events, cuts))
        async with World(folder, part_rows=3) as first:
            Crashing(first, at, after=after)
            done = 0
            try:
                for batch in batches:
                    await first.submit(*batch)
                    done += 1
                    await first.versions.settle(0)
                await first.settle()
            except CrashError:
                pass
        async with World(folder, part_rows=3) as second:
            second.published = first.published
            for batch in batches[done:]:  # the batch that died was not committed: it comes again
                await second.submit(*batch)
                await second.versions.settle(0)
            await second.settle()
            check_history(second, {instruction(i).prompt for i in range(12)})
            assert not second.sent(RecordRejected)

    with TemporaryDirectory() as folder:
        asyncio.run(story(Path(folder)))


async def test_all_kinds_come_back_typed_with_their_origin_and_split(tmp_path: Path) -> None:
    records = [
        Document(text="Uzun ince bir yoldayım"),
        instruction(1),
        LabelledExample(text="güzel film", label="iyi"),
        PreferencePair(prompt="hangi?", chosen="bu", rejected="şu"),
        EvaluationCase(prompt="2+2?", expected=("4",), guard=True),
    ]
    async with World(tmp_path) as world:
        await world.submit(*(submitted(record, f"e{i}") for i, record in enumerate(records)))
        await world.submit(submitted(None, "end", ends=True))
        await world.versions.settle(0)
        rows = {row.kind: row for row in world.rows()}
        assert {row.record for row in rows.values()} == set(records)
        assert rows["evaluation-case"].split == "test"
        assert rows["document"].origin == {"source": "test", "id": "e0", "user": None}
        ref = world.refs()[0]
        only = read(world.artifacts, ref, kinds={"evaluation-case"}, split="test")
        assert [row.record for row in only] == [records[4]]
        event = world.sent(DatasetPublished)[0]
        assert (event.rows, event.added, sum(event.splits.values())) == (5, 5, 5)
        assert event.kinds == dict.fromkeys(rows, 1)
        assert [audit.subject for audit in world.sent(AuditRecorded)] == ["facts@1"]


async def test_versions_are_cumulative_and_sets_are_apart(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.submit(
            submitted(instruction(1), "a"), submitted(instruction(1), "b", dataset="x")
        )
        await world.settle()
        await world.submit(submitted(instruction(2), "c"))
        await world.settle()
        assert len(world.refs()) == 2
        assert len(world.refs("x")) == 1
        first, second = (e for e in world.sent(DatasetPublished) if e.dataset == "facts")
        assert second.parent == first.ref.digest
        assert (second.rows, second.added) == (2, 1)
        assert len(read(world.artifacts, first.ref)) == 1


async def test_a_set_closes_when_it_was_quiet_or_waited_long_or_is_full(tmp_path: Path) -> None:
    async with World(tmp_path, quiet_seconds=50, longest_seconds=500, max_rows=3) as world:
        now = time.time()
        await world.submit(submitted(instruction(1), "1"))
        await world.versions.settle(now + 10)
        assert not world.refs()
        await world.versions.settle(now + 60)
        assert len(world.refs()) == 1
        await world.submit(*(submitted(instruction(i), f"{i}") for i in (2, 3, 4)))
        await world.versions.settle(now)
        assert len(world.refs()) == 2


async def test_the_end_of_a_set_that_changed_nothing_announces_the_same_version_again(
    tmp_path: Path,
) -> None:
    async with World(tmp_path) as world:
        await world.submit(submitted(instruction(1), "1", ends=True))
        await world.versions.settle(0)
        before = len(world.published)
        await world.submit(submitted(None, "end", ends=True), submitted(None, "end", ends=True))
        await world.versions.settle(0)
        again = [e for e in world.published[before:] if isinstance(e.data, DatasetPublished)]
        assert len(again) == 1
        assert len(world.refs()) == 1
        await world.submit(submitted(None, "nothing", dataset="empty", ends=True))
        await world.versions.settle(0)
        assert not world.refs("empty")


async def test_an_end_that_comes_again_does_not_close_what_came_since(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        end = submitted(instruction(1), "1", ends=True)
        await world.submit(end)
        await world.submit(submitted(instruction(2), "2"), end)
        await world.versions.settle(0)
        assert [event.added for event in world.sent(DatasetPublished)] == [1]


async def test_duplicates_are_refused_with_one_reason_however_often_they_come(
    tmp_path: Path,
) -> None:
    async with World(tmp_path) as world:
        again = submitted(instruction(1), "second")
        await world.submit(submitted(instruction(1), "first"), again, again)
        await world.submit(again, submitted(instruction(1), "first"))
        (refusal,) = world.sent(RecordRejected)
        assert (refusal.event_id, refusal.reason) == ("second", "duplicate")
        assert refusal.record_set == "facts"
        await world.settle()
        assert len(world.rows()) == 1


async def test_accepted_feedback_becomes_a_row_and_leaves_when_it_is_revoked(
    tmp_path: Path,
) -> None:
    async with World(tmp_path) as world:
        await world.decide(
            decided("f1", instruction(1)),
            decided("f2", instruction(2)),
            decided("f3", None, verdict="reject"),
            decided("f4", None, verdict="quarantine"),
        )
        await world.settle()
        assert prompts(world.rows()) == {instruction(1).prompt, instruction(2).prompt}
        assert world.rows()[0].origin["user"] == "ayse"
        await world.revoke(revoked("f1"))
        await world.decide(decided("f2", None, verdict="quarantine", version=2))
        await world.decide(decided("f1", instruction(1)))  # an old verdict comes again
        await world.settle()
        assert world.rows() == []
        assert len(world.refs()) == 2
        assert len(read_manifest(world.artifacts, world.refs()[-1])["revoked"]) == 2
        await world.decide(decided("f2", instruction(2), version=3))
        await world.settle()
        assert prompts(world.rows()) == {instruction(2).prompt}
        assert world.sent(DatasetPublished)[-1].added == 0


async def test_feedback_revoked_before_its_verdict_arrives_never_becomes_a_row(
    tmp_path: Path,
) -> None:
    async with World(tmp_path) as world:
        await world.revoke(revoked("f1", version=2))
        await world.decide(decided("f1", instruction(1), version=1), decided("f2", instruction(2)))
        await world.decide(decided("f2", None, verdict="reject", version=2))
        await world.settle()
        assert not world.refs()


async def test_a_row_stays_while_something_else_stands_behind_it(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.decide(decided("f1", instruction(1)), decided("f2", instruction(1)))
        await world.submit(submitted(instruction(2), "r"))
        await world.decide(decided("f3", instruction(2)))
        await world.settle()
        await world.revoke(revoked("f1"), revoked("f3"))
        await world.settle()
        assert prompts(world.rows()) == {instruction(1).prompt, instruction(2).prompt}
        await world.revoke(revoked("f2"))
        await world.settle()
        assert prompts(world.rows()) == {instruction(2).prompt}


def trained(world: World, model: str, digit: str) -> Envelope[AdapterTrained]:
    ref = ModelRef(name=model, base="folder:x", adapter="u", adapter_digest=f"sha256:{digit * 64}")
    data = AdapterTrained(
        model=model,
        job=f"job-{model}",
        ref=ref,
        datasets=(world.refs()[-1],),
        recipe=LoraRecipe(),
        metrics={},
    )
    return Envelope(data, f"trained-{model}", "imece/adapter", MOMENT)


async def test_adapters_that_learned_revoked_rows_are_tainted_once(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.submit(submitted(instruction(5), "r"))
        await world.settle()
        await world.routes.on_adapters([trained(world, "before", "1")])
        await world.decide(decided("f1", instruction(1)), decided("f2", instruction(2)))
        await world.settle()
        with_poison = trained(world, "during", "2")
        late = trained(world, "late", "3")
        await world.routes.on_adapters([with_poison, with_poison])
        await world.revoke(revoked("f1"))
        await world.settle()
        assert [(t.model, t.revoked) for t in world.sent(AdapterTainted)] == [("during", 1)]
        await world.routes.on_adapters([trained(world, "after", "4")])
        await world.routes.on_adapters([late, with_poison])  # trained while the row was revoked
        await world.revoke(revoked("f1"))
        await world.settle()
        tainted = [e for e in world.published if isinstance(e.data, AdapterTainted)]
        assert sorted(e.data.model for e in tainted) == ["during", "late"]
        assert all(e.data.datasets[0].version == 2 for e in tainted)


async def test_a_full_disk_while_writing_delays_a_version_and_loses_nothing(
    tmp_path: Path,
) -> None:
    async with World(tmp_path) as world:
        put = world.artifacts.put

        def full(path: str, data: bytes) -> Any:
            raise JobError("disk_full", "no space left", retry=True)

        await world.submit(submitted(instruction(1), "1"))
        world.artifacts.put = full  # type: ignore[method-assign]
        with pytest.raises(JobError, match="no space"):
            await world.settle()
        await world.submit(submitted(instruction(2), "2"))
        world.artifacts.put = put  # type: ignore[method-assign]
        await world.settle()
        assert [e.added for e in world.sent(DatasetPublished)] == [1, 1]
        assert len(world.rows()) == 2


async def test_the_background_task_publishes_without_waiting_for_a_tick(tmp_path: Path) -> None:
    async with World(tmp_path, tick_seconds=0.2) as world:
        stop = asyncio.Event()
        task = asyncio.create_task(world.versions.run(stop))
        await world.submit(submitted(instruction(1), "1", ends=True))
        for _ in range(6000):
            if world.refs():
                break
            await asyncio.sleep(0.02)
        stop.set()
        await task
        assert len(world.refs()) == 1


def test_equal_rows_make_equal_parquet_bytes() -> None:
    row = {"row_id": "1", "kind": "labelled", "split": "train", "cluster": "c", "origin": "{}"}
    rows = [{**row, "record": '{"text":"ığ","label":"x"}', "version": 3, "live": True}] * 3_000
    assert parquet.part(rows) == parquet.part([dict(reversed(r.items())) for r in rows])
