"""What every rule of a memory shares: samples made fit to run, and rows from a block."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from seqkit.checks import check_positive_int
from seqkit.hippo.timeline import Timeline, timeline
from seqkit.kernels.backend import check_dtypes, check_values, full_precision, unwrapped

__all__ = ["block_rows", "check_counts", "prepare"]


def prepare(
    u: Tensor,
    elapsed: Tensor,
    clock: Tensor,
    *,
    rate: float | Tensor,
    timestamps: Tensor | None,
    lengths: Tensor | None,
    observed: Tensor | None,
) -> tuple[Tensor, Timeline]:
    """Returns samples (B, L, D) with 0 for those that do not count, and their times; see `timeline`.

    Raises:
        TypeError: u is neither float32 nor float64.
        ValueError: no samples, values that count and are not finite or would overflow, or as in `timeline`.

    Example:
        >>> zero = torch.zeros(1, dtype=torch.float64)
        >>> u, line = prepare(torch.full((1, 2, 1), torch.nan), zero, zero, rate=1.0, timestamps=None, lengths=None,
        ...                   observed=torch.zeros(1, 2, dtype=torch.bool))
        >>> u.flatten(), line.edges
        (tensor([0., 0.]), tensor([[0., 0., 0.]], dtype=torch.float64))
    """
    if u.shape[1] < 1:
        raise ValueError(f"`u` must have at least 1 sample, got shape {tuple(u.shape)}")
    u = full_precision(u)
    check_dtypes({"u": u}, {})
    line = timeline(u, elapsed, clock, rate=rate, timestamps=timestamps, lengths=lengths, observed=observed)
    if line.keep is not None:
        u = torch.where(line.keep.unsqueeze(-1), u, torch.zeros((), dtype=u.dtype, device=u.device))
    _check_size(u)
    return u, line


LARGEST = {torch.float32: float(np.float32(1e30)), torch.float64: 1e300}
"""What coefficients of any order in use can be weighed with and added up."""


def _check_size(u: Tensor) -> None:
    """Refuses samples that are not finite or that a memory would make so, where `check_values` looks at values."""
    if torch.compiler.is_compiling():
        return
    value = unwrapped(u).detach()
    if type(value) is not Tensor or value.device.type != "cpu" or not value.numel():
        return
    # One pass tells of NaN, infinity and size; it is slow along the wrong axis.
    least, most = torch.aminmax(value if value.is_contiguous() else value.transpose(1, 2))
    largest = max(-least.item(), most.item())
    if not largest <= LARGEST[u.dtype]:
        check_values({"u": value})
        raise ValueError(
            f"`u` must be within {LARGEST[u.dtype]:g} in {str(u.dtype).removeprefix('torch.')}, got {largest:g}; scale "
            "the samples"
        )


def block_rows(
    advance: Callable[[Tensor, Timeline, Tensor, int | None], Tensor],
    u: Tensor,
    line: Timeline,
    state: Tensor,
    every: int | None,
) -> tuple[Tensor, Tensor]:
    """Returns the rows of a block, (B, D, K, N), K = 1 at the end without `every`, and the coefficients at its end.

    Args:
        advance: Runs samples (B, L, D) on from a state (B, D, N) and returns (B, D, K, N).
        u: Samples, (B, L, D).
        line: Their times.
        state: Coefficients before.
        every: Samples from row to row.

    Example:
        >>> def add(u, line, state, every):
        ...     return (state + u.sum(dim=1, keepdim=True)).unsqueeze(2)
        >>> line = Timeline(torch.zeros(1, 4), 1.0, None, torch.zeros(1))
        >>> [value.shape for value in block_rows(add, torch.ones(1, 3, 1), line, torch.zeros(1, 1, 1), 4)]
        [torch.Size([1, 1, 0, 1]), torch.Size([1, 1, 1])]
    """
    length = u.shape[1]
    if every is not None:
        check_positive_int("every", every)
    if not u.numel():
        state = state + u.sum()
        return state.unsqueeze(2).expand(-1, -1, length // every if every else 1, -1), state
    if every is None:
        rows = advance(u, line, state, None)
        return rows, rows[:, :, -1]
    covered = length // every * every
    rows = state.new_zeros(*state.shape[:2], 0, state.shape[2])
    if covered:
        rows = advance(u[:, :covered], line.part(0, covered), state, every)
        state = rows[:, :, -1]
    if covered < length:
        state = advance(u[:, covered:], line.part(covered, length), state, None)[:, :, -1]
    return rows, state


def check_counts(at: Sequence[int], every: int | None, length: int) -> list[int]:
    """Returns the numbers of samples after which rows are wanted.

    Raises:
        ValueError: they do not rise, exceed the length, or `every` is given as well.

    Example:
        >>> check_counts((1, 3), None, 3)
        [1, 3]
    """
    if every is not None:
        raise ValueError(f"`every` and `at` exclude each other, got {every!r} and {at!r}; give one of them")
    counts = [check_positive_int("at", count) for count in at]
    if not counts or counts != sorted(set(counts)) or counts[-1] > length:
        raise ValueError(f"`at` must rise from 1 to at most {length}, the number of samples, got {counts}")
    return counts
