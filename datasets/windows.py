"""Equally long windows of series as rows that copy no sample."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy

import numpy as np

from seqkit.datasets.rows import Array, LazyRows, Rows
from seqkit.datasets.series import SeriesSet

__all__ = ["Windows", "samples_once"]

_PIECE = 2**20  # samples read at once from a series that may be larger than memory


class Windows(Rows):
    """Equally long parts of series as rows, which copy no sample.

    Args:
        base: The whole series, (L_i, C) each.
        owner: Series that each window is of, (n,).
        start: First sample of each window, (n,).
        size: Samples W of a window.
        horizon: Steps H that are to be forecast from each.
        places: Channels that are to be forecast, as numbers from 0.
        season: Samples of a season, where it is known.
        missing: Whether samples may be missing.
        left_out: Windows that were left out, since values to forecast are missing.

    Example:
        >>> base, owner, start = [np.arange(5.0)[:, None]], np.array([0, 0]), np.array([0, 2])
        >>> windows = Windows(base, owner, start, 3, horizon=1, places=(0,))
        >>> [row[:, 0].tolist() for row in windows]
        [[0.0, 1.0, 2.0], [2.0, 3.0, 4.0]]
    """

    def __init__(
        self,
        base: Sequence[Array],
        owner: Array,
        start: Array,
        size: int,
        *,
        horizon: int,
        places: Sequence[int],
        season: int | None = None,
        missing: bool = False,
        left_out: int = 0,
    ) -> None:
        self.base, self.owner, self.start, self.size = base, owner, start, size
        self.horizon, self.places, self.season = horizon, tuple(places), season
        self.left_out, self._missing = left_out, missing

    @property
    def lengths(self) -> Array:
        """Samples of each window, (n,), int64."""
        return np.full(len(self.owner), self.size, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.owner)

    @property
    def n_channels(self) -> int:
        """Channels C of a sample."""
        return self.base.n_channels if isinstance(self.base, Rows) else int(self.base[0].shape[1])

    @property
    def missing(self) -> bool:
        """Whether samples may be missing."""
        return self._missing

    def take(self, indices: Iterable[int]) -> Windows:
        """The windows at these places, in this order; nothing is read."""
        places = np.fromiter(indices, dtype=np.int64)
        out = copy(self)
        out.owner, out.start = self.owner[places], self.start[places]
        return out

    def _read(self, place: int) -> Array:
        first = int(self.start[place])
        return self.samples(int(self.owner[place]), first, first + self.size)

    def samples(self, owner: int, first: int, stop: int) -> Array:
        """Samples `first` to `stop` (excluded) of a whole series."""
        if isinstance(self.base, Rows):
            return self.base.part(owner, first, stop)
        return np.asarray(self.base[owner][first:stop], dtype=np.float32)


def samples_once(series: SeriesSet) -> SeriesSet:
    """The samples that windows were cut from, from the first window of each series to its last, each once.

    Args:
        series: Windows; other series come back as they are.

    Example:
        >>> base, owner, start = [np.arange(5.0)[:, None]], np.array([0, 0]), np.array([0, 1])
        >>> windows = Windows(base, owner, start, 3, horizon=1, places=(0,))
        >>> samples_once(SeriesSet(windows)).values[0][:, 0].tolist()
        [0.0, 1.0, 2.0, 3.0]
    """
    rows = series.values
    if not isinstance(rows, Windows):
        return series
    pieces: list[tuple[int, int, int]] = []
    for owner in np.unique(rows.owner).tolist():
        mine = rows.start[rows.owner == owner]
        first, stop = int(mine.min()), int(mine.max()) + rows.size
        pieces += [(owner, at, min(at + _PIECE, stop)) for at in range(first, stop, _PIECE)]
    lengths = [stop - first for _, first, stop in pieces]
    read = LazyRows(lengths, rows.n_channels, _Pieces(rows, pieces), missing=rows.missing)
    return SeriesSet(read, names=[str(owner) for owner, _, _ in pieces], channels=series.channels, origin=series.origin)


class _Pieces:
    """A class, not a function within a function, so that it can be pickled."""

    def __init__(self, windows: Windows, pieces: list[tuple[int, int, int]]) -> None:
        self.windows, self.pieces = windows, pieces

    def __call__(self, i: int) -> Array:
        return self.windows.samples(*self.pieces[i])
