"""Which GPU a job gets, with readings made up here."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imece.runtime.jobs.devices import Device, Devices, by_room, parse, visible

TWO = [Device("GPU-a", 4_000, 16_000), Device("GPU-b", 15_000, 16_000)]


def devices(folder: Path, needed: int = 2_000, found: list[Device] = TWO) -> Devices:
    return Devices(folder, needed, lambda: found)


def test_readings_are_those_of_nvidia_smi() -> None:
    text = "GPU-1f, 80012, 81559\nGPU-2e, [N/A], [N/A]\nno devices were found\n"
    assert parse(text) == [Device("GPU-1f", 80_012, 81_559)]
    assert parse("") == []


@given(
    st.lists(st.builds(Device, st.uuids().map(str), st.integers(0, 99), st.just(99))),
    st.integers(0, 99),
)
def test_only_devices_with_room_are_given_those_with_most_first(
    found: list[Device], needed: int
) -> None:
    room = {device.uuid: device.free for device in found}
    chosen = by_room(found, needed)
    assert sorted(chosen) == sorted(uuid for uuid, free in room.items() if free >= needed)
    assert [room[uuid] for uuid in chosen] == sorted((room[u] for u in chosen), reverse=True)


@pytest.mark.parametrize(
    ("named", "places"),
    [
        (None, [0, 1]),
        ("1", [1]),
        ("1,0", [1, 0]),
        ("GPU-b", [1]),
        ("", []),
        ("-1", []),
        ("0,7,1", [0]),
    ],
)
def test_a_service_that_was_given_some_devices_takes_no_others(
    named: str | None, places: list[int]
) -> None:
    assert visible(TWO, named) == [TWO[at] for at in places]


def test_each_holder_has_a_device_of_its_own_and_the_last_waits(tmp_path: Path) -> None:
    some = devices(tmp_path)
    with some.hold(1) as first, devices(tmp_path).hold(1) as second, some.hold(1) as third:
        assert first == {"CUDA_VISIBLE_DEVICES": "GPU-b"}
        assert second == {"CUDA_VISIBLE_DEVICES": "GPU-a"}
        assert third is None
    with some.hold(1) as again:
        assert again == first


def test_a_device_without_enough_free_memory_is_not_given(tmp_path: Path) -> None:
    some = devices(tmp_path, needed=10_000)
    with some.hold(1) as first, some.hold(1) as second:
        assert (first, second) == ({"CUDA_VISIBLE_DEVICES": "GPU-b"}, None)


def test_a_machine_without_a_gpu_runs_jobs_on_its_cpu(tmp_path: Path) -> None:
    with (
        devices(tmp_path, found=[]).hold(1) as first,
        devices(tmp_path, found=[]).hold(1) as second,
    ):
        assert (first, second) == ({}, {})


def test_several_devices_are_held_at_once_or_none_of_them(tmp_path: Path) -> None:
    three = [*TWO, Device("GPU-c", 9_000, 16_000)]
    here = devices(tmp_path, found=three)
    assert here.most() == 3
    with here.hold(2) as two, here.hold(2) as more, here.hold(1) as rest:
        assert two == {"CUDA_VISIBLE_DEVICES": "GPU-b,GPU-c"}
        assert more is None
        assert rest == {"CUDA_VISIBLE_DEVICES": "GPU-a"}, "what was too little was given back"
    assert devices(tmp_path, found=[]).most() is None
