"""Ranks compare what they were given before they exchange messages whose lengths depend on it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["agree_on", "agree_on_batch", "fingerprint"]


def fingerprint(values: bytes) -> int:
    """A number of 63 bits that two different values hardly share.

    Example:
        >>> fingerprint(b"a") == fingerprint(b"a"), fingerprint(b"a") == fingerprint(b"b")
        (True, False)
    """
    return int.from_bytes(hashlib.blake2b(values, digest_size=8).digest(), "little") >> 1


def agree_on(values: Mapping[str, Any], group: dist.ProcessGroup | None) -> None:
    """Refuses ranks that were given different settings: their messages would not fit.

    Args:
        values: Settings by name, plain values.
        group: The ranks.

    Raises:
        ValueError: on every rank, with the setting and what two of them have.
    """
    found: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(found, dict(values), group=group)
    for name in values:
        for rank, theirs in enumerate(found):
            if theirs.get(name) != found[0].get(name):
                raise ValueError(
                    f"`{name}` must be the same on all ranks, got {found[0].get(name)} on rank 0 and "
                    f"{theirs.get(name)} on rank {rank}; start them with the same settings"
                )


def agree_on_batch(ids: Tensor, sides: Sequence[tuple[int, int, bytes]], n_cuts: int, group: Any, device: Any) -> None:
    """Refuses a step whose samples, or what is known of them, differ between ranks.

    Args:
        ids: Id of each sample of the batch on this rank.
        sides: For each side of a cut on this rank: number of the cut, 0 for the sender and 1 for the receiver, and
            which of the samples its buffer knows.
        n_cuts: Number of cuts of the pipeline.
        group: The ranks.
        device: Where the process group communicates.

    Raises:
        ValueError: on every rank, with what differs.
    """
    mine = torch.zeros(1 + 2 * n_cuts, dtype=torch.int64)
    mine[0] = fingerprint(ids.numpy().tobytes())
    for cut, side, known in sides:
        mine[1 + 2 * cut + side] = fingerprint(known)
    size = dist.get_world_size(group)
    gathered = torch.empty(size * len(mine), dtype=torch.int64, device=device)
    dist.all_gather_into_tensor(gathered, mine.to(device), group=group)
    rows = gathered.cpu().view(size, len(mine))
    for rank in range(1, size):
        if rows[rank, 0] != rows[0, 0]:
            raise ValueError(
                f"`ids` must be the same samples in the same order on all ranks, got others on rank {rank} than on "
                "rank 0; give every rank the same seed and the same data"
            )
    sent, received = rows[:, 1::2].amax(0), rows[:, 2::2].amax(0)
    for cut in range(n_cuts):
        if sent[cut] != received[cut]:
            raise ValueError(
                f"the two sides of cut {cut} know different samples, so their buffers are not of one training; "
                "load the same checkpoint on all ranks, or none"
            )
