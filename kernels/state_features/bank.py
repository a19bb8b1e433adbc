"""Filters as people name them, and packed in blocks of 32 of a kind for the loops."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["LANES", "MOST_PARTS", "MOST_STAGES", "Filters", "Packed", "pack"]

LANES = 32
MOST_STAGES = 4
MOST_PARTS = 64


class Filters(NamedTuple):
    """A bank of F filters; times are in units of the training series' sampling step.

    Args:
        decay: Rate at which a stage forgets, 1/tau, (F,), above 0.
        turn: Angle that a stage turns by in a step, (F,), in rad.
        phase: Phase of the output, (F,), in rad.
        stages: Number of equal stages in a row, (F,), 1 to 4.
        mix: Weights of the channels, (F, C).
        sloped: Whether the input is the slope of the samples instead of the samples, bool, (F,).
    """

    decay: Tensor
    turn: Tensor
    phase: Tensor
    stages: Tensor
    mix: Tensor
    sloped: Tensor

    def take(self, places: Tensor) -> Filters:
        """The filters at these places.

        Example:
            >>> one = Filters(*(torch.ones(2) for _ in range(3)), torch.tensor([1, 2]), torch.ones(2, 1), torch.ones(2))
            >>> one.take(torch.tensor([1])).stages
            tensor([2])
        """
        return Filters(*(field[places] for field in self))


class Packed(NamedTuple):
    """Filters in blocks of 32 that share the number of stages and the kind of input; lanes without a filter are idle.

    Args:
        kind: Stages, and 1 for slopes or 0 for samples, of each block, (K, 2), int64.
        order: The filter of each lane, -1 for none, (K, 32), int64.
        system: Decay, turn, real and imaginary part of the output's phase, (K, 4, 32), float32.
        mix: Weights of the channels, (K, C, 32), float32.
        limits: Thresholds, (K, T, 32), float32.
    """

    kind: Tensor
    order: Tensor
    system: Tensor
    mix: Tensor
    limits: Tensor

    @property
    def n_filters(self) -> int:
        """Number of filters, idle lanes left out."""
        return int((self.order >= 0).sum())


def pack(filters: Filters, thresholds: Tensor) -> Packed:
    """Sorts filters into blocks.

    Args:
        filters: F filters.
        thresholds: (F, T).

    Example:
        >>> field = torch.ones(3)
        >>> bank = Filters(field, field, field, torch.tensor([1, 2, 1]), torch.ones(3, 2), torch.tensor([False] * 3))
        >>> packed = pack(bank, torch.zeros(3, 4))
        >>> packed.kind.tolist(), packed.order[0, :3].tolist(), packed.n_filters
        ([[1, 0], [2, 0]], [0, 2, -1], 3)
    """
    kind = 2 * (filters.stages.long() - 1) + filters.sloped.long()
    counts = torch.bincount(kind, minlength=2 * MOST_STAGES)
    blocks = (counts + LANES - 1) // LANES
    ranked = kind.argsort(stable=True)
    idle = LANES * blocks - counts  # lanes at the end of a kind, which shift those of all later kinds
    before = (idle.cumsum(0) - idle)[kind[ranked]]
    order = torch.full((int(blocks.sum()) * LANES,), -1)
    order[torch.arange(len(kind)) + before] = ranked
    order = order.view(-1, LANES)
    kinds = torch.arange(2 * MOST_STAGES).repeat_interleave(blocks)
    place = order.clamp_min(0)
    system = torch.stack([filters.decay, filters.turn, filters.phase.cos(), filters.phase.sin()], dim=-1)
    return Packed(
        torch.stack([kinds // 2 + 1, kinds % 2], dim=1),
        order,
        *(value.float()[place].transpose(1, 2).contiguous() for value in (system, filters.mix, thresholds)),
    )
