"""What a stream of features carries from sample to sample."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from seqkit.kernels.state_features.bank import LANES, Packed

__all__ = ["HIGHEST", "LAST", "PREVIOUS", "FeatureState", "start"]

PREVIOUS, HIGHEST, LAST, ROWS = 8, 9, 10, 11  # rows of `memory`; those before hold the stages


class FeatureState(NamedTuple):
    """The state of B streams under a bank of K blocks of filters: a fixed size, whatever has been seen.

    Args:
        memory: Stages (real and imaginary parts of four) and previous input, in units of powers of the gain at a step
            of 1, maximum and last output, (B, K, 11, 32).
        totals: Time above each threshold and the integral of the output, (B, K, T + 1, 32), float64.
        held: Last observed value of each channel, NaN before the first, (B, C).
        clock: Time observed so far, and time since the last observed sample, (B, 2), float64.
    """

    memory: Tensor
    totals: Tensor
    held: Tensor
    clock: Tensor


def start(bank: Packed, n_series: int) -> FeatureState:
    """The state of streams that have seen nothing.

    Args:
        bank: Filters and thresholds, from `pack`.
        n_series: Number of streams B.

    Example:
        >>> from seqkit.kernels.state_features import Filters, pack
        >>> one = torch.ones(1)
        >>> bank = pack(Filters(one, one, one, torch.tensor([1]), torch.ones(1, 2), one > 2), torch.zeros(1, 4))
        >>> start(bank, 3).clock.shape
        torch.Size([3, 2])
    """
    blocks, n_thresholds = len(bank.kind), bank.limits.shape[1]
    memory = torch.zeros(n_series, blocks, ROWS, LANES)
    memory[:, :, HIGHEST] = -torch.inf
    totals = torch.zeros(n_series, blocks, n_thresholds + 1, LANES, dtype=torch.float64)
    held = torch.full((n_series, bank.mix.shape[1]), torch.nan)
    return FeatureState(memory, totals, held, torch.zeros(n_series, 2, dtype=torch.float64))
