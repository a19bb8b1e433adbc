"""Coefficients of whole series by a memory, channel by channel, and series back from them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from seqkit.datasets.rows import Array
from seqkit.datasets.series import SeriesSet
from seqkit.hippo import HiPPOMemory, LegS, MemoryState

__all__ = ["Taken", "read_rows", "take_in"]

AT_ONCE = 2**22
"""Samples of all channels that are taken in side by side."""


class Taken(NamedTuple):
    """What a memory made of one series.

    Args:
        rows: Coefficients after every `every` samples, or the last ones alone, (K, C, N).
        state: State at the end, of C rows and one channel each.
    """

    rows: Array
    state: MemoryState


def take_in(
    memory: HiPPOMemory,
    series: SeriesSet,
    unit: float,
    every: int | None,
    state: MemoryState | None = None,
    offset: float = 1.0,
) -> list[Taken]:
    """Lets a memory take in each series; its channels are rows of a batch, as each has its own missing values.

    Args:
        memory: The memory, in units of one sample of the training data.
        series: The series.
        unit: Training samples per second.
        every: Samples between rows; None for the last coefficients alone.
        state: State to go on from, of C rows; None for an empty memory.
        offset: Time from that state to the first sample of an uneven series, in training samples.

    Example:
        >>> series = SeriesSet([np.ones((4, 2)), np.ones((6, 2))])
        >>> [taken.rows.shape for taken in take_in(HiPPOMemory(3), series, 1.0, 2)]
        [(2, 2, 3), (3, 2, 3)]
    """
    if every is None and state is None and series.timestamps is None:
        return _at_once(memory, series, unit)
    return [_one(memory, series, i, unit, every, state, offset) for i in range(len(series))]


def _at_once(memory: HiPPOMemory, series: SeriesSet, unit: float) -> list[Taken]:
    """Final coefficients of even series, many side by side."""
    out: list[Taken] = [None] * len(series)  # type: ignore[list-item]  # each place is filled below
    order, n_channels = np.argsort(series.lengths, kind="stable"), series.n_channels
    for places in np.array_split(order, max(1, int(series.lengths.sum()) * n_channels // AT_ONCE)):
        if len(places) == 0:
            continue
        lengths = series.lengths[places]
        u = np.full((len(places), int(lengths.max()), n_channels), np.nan)
        for row, i in zip(u, places, strict=True):
            row[: len(series.values[i])] = series.values[i]
        flat = torch.from_numpy(u.transpose(0, 2, 1).reshape(-1, u.shape[1], 1))
        seen = flat[..., 0].isfinite()
        start = memory.initial_state(len(flat), 1, dtype=torch.float64)
        _, state = memory.scan(
            torch.nan_to_num(flat),
            start,
            lengths=torch.from_numpy(np.repeat(lengths, n_channels)),
            observed=None if bool(seen.all()) else seen,
            rate=_step(series, unit),
        )
        for k, i in enumerate(places):
            rows = slice(k * n_channels, (k + 1) * n_channels)
            mine = MemoryState(*(one[rows] for one in state))
            out[i] = Taken(mine.coefficients[:, 0].numpy()[None], mine)
    return out


def _one(
    memory: HiPPOMemory,
    series: SeriesSet,
    i: int,
    unit: float,
    every: int | None,
    state: MemoryState | None,
    offset: float,
) -> Taken:
    u = torch.from_numpy(np.asarray(series.values[i], dtype=np.float64).T[:, :, None].copy())
    seen = u[..., 0].isfinite()
    start = memory.initial_state(len(u), 1, dtype=torch.float64) if state is None else state
    times = None
    if series.timestamps is not None:
        since = torch.from_numpy(series.timestamps[i] - series.timestamps[i][0]) * unit
        times = start.clock[:, None] + since + offset
    rows, state = memory.scan(
        torch.nan_to_num(u),
        start,
        times,
        observed=None if bool(seen.all()) else seen,
        rate=_step(series, unit),
        every=every,
    )
    if every is None:
        return Taken(rows[:, 0].numpy()[None], state)
    return Taken(rows[:, :, 0].transpose(0, 1).numpy(), state)


def read_rows(memory: HiPPOMemory, rows: Array, ends: Array) -> Array:
    """Values at the middle of each row's stretch, (K, C), read from a later row that knows them best.

    The whole past is read from the last row. A sliding or fading memory is read half a window later, where its
    reconstruction is at its best, or from the last row. Rows that did not change are those of a missing sample: their
    coefficients are of the row before.

    Args:
        memory: The memory.
        rows: Coefficients, (K, C, N).
        ends: Time of each row in units of the memory, (K,).

    Example:
        >>> u = torch.linspace(0, 1, 50, dtype=torch.float64)[None, :, None]
        >>> rows = HiPPOMemory(8, rule="exact").project(u, every=1)[0].numpy()
        >>> back = read_rows(HiPPOMemory(8), rows, np.arange(1.0, 51.0))
        >>> float(np.abs(back[:, 0] - u[0, :, 0].numpy()).max()) < 0.02
        True
    """
    middles = (ends + np.concatenate([[0.0], ends[:-1]])) / 2
    if isinstance(memory.measure, LegS):
        chosen = np.full(len(ends), len(ends) - 1)
    else:
        reach = getattr(memory.measure, "window", memory.scale) / 2
        chosen = np.minimum(np.searchsorted(ends, middles + reach), len(ends) - 1)
    out = np.zeros(rows.shape[:2])
    for c in range(rows.shape[1]):
        changed = np.concatenate([[True], (rows[1:, c] != rows[:-1, c]).any(axis=1)])
        covers = ends[np.maximum.accumulate(np.where(changed, np.arange(len(ends)), 0))]
        elapsed = covers[chosen]
        times = torch.from_numpy(np.minimum(middles, elapsed))[:, None]
        coefficients = torch.from_numpy(np.ascontiguousarray(rows[chosen, c])).double()[:, None]
        out[:, c] = memory.reconstruct(coefficients, times, elapsed=torch.from_numpy(elapsed))[:, 0, 0].numpy()
    return out


def _step(series: SeriesSet, unit: float) -> float:
    """Length of a stretch in training samples."""
    if series.sample_rate is None or series.timestamps is not None:
        return 1.0
    return unit / series.sample_rate
