"""The system that the cases share: HiPPO-LegS, with step sizes from 0.001 to 0.1 over the channels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from seqkit.bench.case import Setting
from seqkit.hippo import diagonal_start, discretize, discretize_diagonal, transition

__all__ = ["FEW", "dense_legs", "diagonal_legs", "normal", "series", "settings", "step_sizes"]

FEW = 4  # channels that the error is looked at in: they are independent, and float64 references are slow
DRAWN = (1 << 24) - 3  # odd, so that repeated numbers do not line up with channels


def normal(generator: torch.Generator, *shape: int, cplx: bool = False) -> Tensor:
    """Standard normal numbers, float64 or complex128.

    Example:
        >>> normal(torch.Generator(), 2, cplx=True).dtype
        torch.complex128
    """
    return torch.randn(*shape, dtype=torch.complex128 if cplx else torch.float64, generator=generator)


def series(generator: torch.Generator, *shape: int) -> Tensor:
    """Standard normal numbers in float32; large batches repeat some, because drawing them would take minutes.

    Example:
        >>> series(torch.Generator(), 2, 3).shape
        torch.Size([2, 3])
    """
    count = math.prod(shape)
    drawn = torch.randn(min(count, DRAWN), generator=generator)
    return drawn.repeat(-(-count // len(drawn)))[:count].view(shape) if count else drawn.view(shape)


def step_sizes(channels: int) -> Tensor:
    """Step sizes, evenly spaced in the logarithm, (H,).

    Example:
        >>> step_sizes(3)
        tensor([0.0010, 0.0100, 0.1000], dtype=torch.float64)
    """
    return torch.logspace(-3, -1, channels, dtype=torch.float64)


def dense_legs(channels: int, order: int) -> tuple[Tensor, Tensor]:
    """LegS, discretised: A_bar (H, N, N) and B_bar (H, N).

    Example:
        >>> dense_legs(2, 4)[0].shape
        torch.Size([2, 4, 4])
    """
    A, B = transition("legs", order)
    return discretize(A.expand(channels, -1, -1), B.expand(channels, -1), step_sizes(channels))


def diagonal_legs(channels: int, order: int) -> tuple[Tensor, Tensor]:
    """LegS' normal part, discretised: A_bar and B_bar, (H, N/2) complex, one of each conjugate pair.

    Example:
        >>> diagonal_legs(2, 4)[0].shape
        torch.Size([2, 2])
    """
    Lambda, B = diagonal_start("legs", order)
    return discretize_diagonal(
        Lambda.expand(channels, -1), B.expand(channels, -1), step_sizes(channels), method="zero_order_hold"
    )


def settings(lengths: tuple[int, ...], dtype: str = "float32", **sizes: int) -> tuple[Setting, ...]:
    """The same sizes at several lengths.

    Example:
        >>> [setting.label for setting in settings((8, 16), N=4)]
        ['N=4 L=8', 'N=4 L=16']
    """
    return tuple(Setting({**sizes, "L": length}, dtype) for length in lengths)
