"""The processes of one training, and sums over all of them, as torchrun set them up.

Without torchrun there is one process, and nothing here costs anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist

from imece.errors import JobError
from imece.runtime.jobs.model import PEER_LOST

Rows = TypeVar("Rows", torch.Tensor, list[int])
_BUCKET = 2**24  # numbers summed at once


@dataclass(frozen=True)
class Ranks:
    """Which of `world` processes this is; the methods are for all of them to call together."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this one writes what all read."""
        return self.rank == 0

    def share(self, rows: Rows) -> Rows:
        """Return this process's part of `rows`, empty where there are fewer rows than processes."""
        each, more = divmod(len(rows), self.world)
        start = self.rank * each + min(self.rank, more)
        return rows[start : start + each + (self.rank < more)]

    def wait(self) -> None:
        """Wait until all are here."""
        if self.world > 1:
            with _lost_is_named():
                dist.barrier()

    def any(self, mine: bool, device: torch.device) -> bool:
        """Tell whether it is true for one of them; so all stop at the same step."""
        return self.total(float(mine), device) > 0

    def total(self, mine: float, device: torch.device) -> float:
        """Return the sum of what each has."""
        if self.world == 1:
            return mine
        number = torch.tensor([mine], dtype=torch.float64, device=device)
        with _lost_is_named():
            dist.all_reduce(number)
        return float(number)

    def add_up(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by its sum over all processes; all have the same shapes."""
        if self.world == 1:
            return
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
            with _lost_is_named():
                dist.all_reduce(flat)
            parts = torch.split(flat, [tensor.numel() for tensor in bucket])
            for tensor, part in zip(bucket, parts, strict=True):
                tensor.copy_(part.view_as(tensor))


ALONE = Ranks()


@contextmanager
def joined() -> Iterator[Ranks]:
    """Meet the other processes; each has the device of its own number."""
    if not dist.is_torchelastic_launched():
        yield ALONE
        return
    gpus = torch.cuda.is_available()
    if gpus:
        torch.cuda.set_device(dist.get_node_local_rank())
    with _lost_is_named():
        dist.init_process_group("nccl" if gpus else "gloo")
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


@contextmanager
def _lost_is_named() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # the back ends have no type of their own for it
        raise JobError(
            PEER_LOST, f"another process of this job is gone: {error}", retry=True
        ) from error


def _buckets(tensors: Sequence[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    bucket: list[torch.Tensor] = []
    for tensor in tensors:
        if bucket and (
            tensor.dtype != bucket[0].dtype or sum(t.numel() for t in bucket) >= _BUCKET
        ):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
