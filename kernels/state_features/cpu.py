"""The features on the CPU: compiled loops where numba is there, shared among threads, and torch otherwise."""

from __future__ import annotations

import functools
import importlib
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqkit.kernels.state_features import plain
from seqkit.kernels.state_features.bank import LANES, Packed
from seqkit.kernels.state_features.state import FeatureState
from seqkit.kernels.threads import share

__all__ = ["HAS_NUMBA", "advance", "sampled", "whole"]

HAS_NUMBA = find_spec("numba") is not None
AT_ONCE = 1 << 20  # values whose held form and slopes a thread keeps at a time
STREAMS = 16  # streams that are worth a thread


@functools.cache
def loops() -> Any:
    """The compiled loops: importing numba takes a second, so not before they are used."""
    return importlib.import_module("seqkit.kernels.state_features.loops")


def whole(bank: Packed, values: Tensor, steps: Tensor, lengths: Tensor) -> Tensor:
    """Features (B, F, T + 3) of whole series.

    Args:
        bank: Packed filters.
        values: (B, L, C), float32.
        steps: (B, L), float64.
        lengths: (B,), int64.
    """
    if not HAS_NUMBA:
        return plain.whole(bank, values, steps, lengths)
    out = values.new_empty(len(values), bank.n_filters, bank.limits.shape[1] + 3)
    arrays = fields(bank)
    given = [field.numpy() for field in (values, steps, lengths, out)]
    together = max(1, AT_ONCE // max(1, round(float(steps.amax())) * values[0].numel())) if len(values) else 1

    def work(first: int, stop: int) -> None:
        for start_at in range(first, stop, together):
            part = slice(start_at, min(stop, start_at + together))
            loops().whole_series(*arrays, *(array[part] for array in given))

    loops()  # the first import of numba happens in one thread
    share(work, len(values))
    return out


def advance(
    bank: Packed, values: Tensor, steps: Tensor, lengths: Tensor, state: FeatureState, trace: Tensor | None = None
) -> tuple[Tensor, int]:
    """Takes samples into `state`, in place; returns the features so far, (B, F, T + 3), and most rows of a series.

    Args:
        bank: Packed filters.
        values: (B, L, C), float32.
        steps: (B, L), float64.
        lengths: (B,), int64, 0 where a stream has nothing new.
        state: What came before; written to.
        trace: Where the outputs of the only series are written, (K, rows, 32), or None.
    """
    if not HAS_NUMBA:
        return plain.advance(bank, values, steps, lengths, state, trace)
    out = values.new_empty(len(values), bank.n_filters, bank.limits.shape[1] + 3)
    arrays = fields(bank)
    samples, times, ends, result = (field.numpy() for field in (values, steps, lengths, out))
    carried = [field.numpy() for field in state]
    written = np.empty((0, 0, LANES), dtype=np.float32) if trace is None else trace.numpy()

    counts = [0]

    def work(first: int, stop: int) -> None:
        for i in range(first, stop):
            given = samples[i, : ends[i]], times[i, : ends[i]]
            counts.append(loops().carry_series(*arrays, *given, *(field[i] for field in carried), written, result[i]))

    loops()
    share(work, len(values), STREAMS)
    return out, max(counts)


def sampled(bank: Packed, values: Tensor, steps: Tensor, lengths: Tensor, chosen: Tensor, most: int) -> Tensor:
    """Up to `most` outputs of each filter over one series, (F, most), NaN where there are fewer.

    Args:
        bank: Packed filters.
        values: (B, L, C), float32.
        steps: (B, L), float64.
        lengths: (B,), int64.
        chosen: The series for each of G equal parts of the lanes of a block, (K, G), int64.
        most: Outputs kept of a filter, evenly spread over the series.
    """
    out = values.new_full((bank.n_filters, most), torch.nan)
    if not HAS_NUMBA:
        plain.sampled(bank, values, steps, lengths, chosen, out)
    else:
        loops().sampled_blocks(*fields(bank), *(field.numpy() for field in (values, steps, lengths, chosen, out)))
    return out


def fields(bank: Packed) -> tuple[Any, ...]:
    """The bank as arrays."""
    return tuple(field.numpy() for field in bank)
