"""The samples of many series without all of them in memory: read when asked for, from files or from one array."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from seqkit.checks import check_positive_int

__all__ = ["Array", "LazyRows", "Rows", "Samples", "StoredRows", "has_nan", "join_rows"]

Array = NDArray[Any]


class Samples(Protocol):
    """Samples of all series one after the other, (total, C): an array, or something that reads slices of a file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Samples in all and channels."""

    def __getitem__(self, rows: slice, /) -> Array: ...


class Rows(Sequence[Array]):
    """Samples of series, (L_i, C) float32 each: the lengths are known, the samples are read one series at a time.

    `rows[i]` reads series i; slices, `take`, `thin` and `columns` give other rows and read nothing.
    """

    @property
    @abstractmethod
    def lengths(self) -> Array:
        """Number of samples of each series, (n,), int64."""

    @property
    @abstractmethod
    def n_channels(self) -> int:
        """Channels C of a sample."""

    @property
    def missing(self) -> bool:
        """Whether values may be missing; those that are, are NaN."""
        return False

    @abstractmethod
    def take(self, indices: Iterable[int]) -> Rows:
        """The series at these places, in this order; nothing is read."""

    @abstractmethod
    def _read(self, place: int) -> Array:
        """Samples of the series at `place`, which is in range."""

    def part(self, place: int, first: int, stop: int) -> Array:
        """Samples `first` to `stop` (excluded) of the series at `place`."""
        return self[place][first:stop]

    def thin(self, k: int) -> Rows:
        """Every k-th sample of each series, from the first on, taken when a series is read."""
        check_positive_int("k", k)
        if k == 1:
            return self
        return LazyRows(-(-self.lengths // k), self.n_channels, _Thinned(self, k), missing=self.missing)

    def columns(self, places: Sequence[int]) -> Rows:
        """These channels of each series, in this order, taken when a series is read."""
        return LazyRows(self.lengths, len(places), _Columns(self, list(places)), missing=self.missing)

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, index: int) -> Array: ...

    @overload
    def __getitem__(self, index: slice) -> Rows: ...

    def __getitem__(self, index: int | slice) -> Array | Rows:
        if isinstance(index, slice):
            return self.take(range(*index.indices(len(self))))
        place = int(index)
        if not -len(self) <= place < len(self):
            raise IndexError(f"there is no series {place}; there are {len(self)}")
        return self._read(place % len(self))


class LazyRows(Rows):
    """Rows that a function reads when they are asked for, such as one sound file each.

    What was read is checked each time: nothing else looks at all samples of a large set.

    Args:
        lengths: Number of samples of each series, (n,), at least 1.
        n_channels: Channels C of a sample.
        read: Gives the samples (L_i, C) of series i. It must be picklable (a function of a module, or an object of a
            class of one) where workers read.
        origin: The file or data set, to name in errors.
        missing: Whether values may be missing (NaN); if not, reading one is an error.

    Raises:
        ValueError: lengths that are not whole numbers (n,).

    Example:
        >>> rows = LazyRows([2, 3], 1, lambda i: np.full((i + 2, 1), i))
        >>> len(rows), rows.take([1]).lengths.tolist(), rows[1][:, 0].tolist()
        (2, [3], [1.0, 1.0, 1.0])
    """

    def __init__(
        self,
        lengths: Sequence[int] | Array,
        n_channels: int,
        read: Callable[[int], Array],
        *,
        origin: str = "the data",
        missing: bool = False,
    ) -> None:
        self._lengths = _whole("lengths", lengths)
        self._n_channels = check_positive_int("n_channels", n_channels)
        self._function = read
        self._origin = origin
        self._missing = missing
        self._places: Array = np.arange(len(self._lengths))

    @property
    def lengths(self) -> Array:
        """Number of samples of each series, (n,), int64."""
        return self._lengths

    @property
    def n_channels(self) -> int:
        """Channels C of a sample."""
        return self._n_channels

    @property
    def missing(self) -> bool:
        """Whether values may be missing; those that are, are NaN."""
        return self._missing

    def take(self, indices: Iterable[int]) -> LazyRows:
        """The series at these places, in this order; nothing is read."""
        places = np.fromiter(indices, dtype=np.int64)
        lengths = self._lengths[places]
        out = LazyRows(lengths, self._n_channels, self._function, origin=self._origin, missing=self._missing)
        out._places = self._places[places]
        return out

    def _read(self, place: int) -> Array:
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is named below
            row = np.asarray(self._function(int(self._places[place])), dtype=np.float32)
        wanted = (int(self._lengths[place]), self._n_channels)
        if row.shape != wanted:
            raise ValueError(
                f"series {place} of {self._origin} was listed with shape {wanted} (samples, channels) and is read with "
                f"{row.shape}; its file has changed"
            )
        bad = np.isinf(row) if self._missing else ~np.isfinite(row)
        if bad.any():
            sample, channel = (int(k) for k in np.argwhere(bad)[0])
            what = "an infinite value" if np.isinf(row[sample, channel]) else "a NaN"
            advice = ", or write NaN for a missing value" if self._missing else " in its file"
            raise ValueError(
                f"series {place} of {self._origin} has {what} at sample {sample}, channel {channel}; correct it{advice}"
            )
        return row


class StoredRows(Rows):
    """Rows of one array of all samples, such as a memory-mapped file; series i is a part of it.

    Args:
        samples: Samples of all series one after the other, (total, C), checked when they were stored.
        starts: First sample of each series, (n,).
        lengths: Number of samples of each series, (n,).
        missing: Whether values are missing (NaN).

    Raises:
        ValueError: a series that does not lie within the samples.

    Example:
        >>> rows = StoredRows(np.arange(5.0)[:, None], starts=[0, 2], lengths=[2, 3])
        >>> rows[1][:, 0].tolist()
        [2.0, 3.0, 4.0]
    """

    def __init__(
        self,
        samples: Samples,
        starts: Sequence[int] | Array,
        lengths: Sequence[int] | Array,
        *,
        missing: bool = False,
    ) -> None:
        self._samples = samples
        self._missing = missing
        self._starts, self._lengths = _whole("starts", starts), _whole("lengths", lengths)
        if len(samples.shape) != 2 or self._starts.shape != self._lengths.shape:
            raise ValueError(
                f"`samples` must be (total, C) with a start and a length for each series, got {samples.shape}"
            )
        ends = self._starts + self._lengths
        total = samples.shape[0]
        if len(ends) and (self._starts.min() < 0 or self._lengths.min() < 0 or ends.max() > total):
            raise ValueError(f"`lengths` must end within the {total} samples, got an end at {ends.max()}")

    @property
    def lengths(self) -> Array:
        """Number of samples of each series, (n,), int64."""
        return self._lengths

    @property
    def n_channels(self) -> int:
        """Channels C of a sample."""
        return int(self._samples.shape[1])

    @property
    def missing(self) -> bool:
        """Whether values may be missing; those that are, are NaN."""
        return self._missing

    def take(self, indices: Iterable[int]) -> StoredRows:
        """The series at these places, in this order; nothing is read."""
        places = np.fromiter(indices, dtype=np.int64)
        return StoredRows(self._samples, self._starts[places], self._lengths[places], missing=self._missing)

    def part(self, place: int, first: int, stop: int) -> Array:
        """Samples `first` to `stop` (excluded) of the series at `place`; no others are read."""
        start = int(self._starts[place])
        first, stop, _ = slice(first, stop).indices(int(self._lengths[place]))
        return np.asarray(self._samples[start + first : start + max(first, stop)], dtype=np.float32)

    def _read(self, place: int) -> Array:
        start = int(self._starts[place])
        return np.asarray(self._samples[start : start + int(self._lengths[place])], dtype=np.float32)


def join_rows(parts: Sequence[Sequence[Array]], n_channels: int) -> Sequence[Array]:
    """The series of several parts one after the other: a list of lists, and rows that read nothing yet of others.

    Example:
        >>> rows = join_rows([[np.zeros((2, 1))], LazyRows([3], 1, lambda i: np.ones((3, 1)))], 1)
        >>> rows.lengths.tolist()
        [2, 3]
    """
    if not any(isinstance(part, Rows) for part in parts):
        return [one for part in parts for one in part]
    lengths = [part.lengths if isinstance(part, Rows) else [len(one) for one in part] for part in parts]
    missing = any(part.missing if isinstance(part, Rows) else any(map(has_nan, part)) for part in parts)
    return LazyRows(np.concatenate(lengths), n_channels, _Joined(parts), missing=missing)


class _Thinned:
    """Classes, not functions within functions: workers that start anew need to pickle them."""

    def __init__(self, rows: Rows, k: int) -> None:
        self.rows, self.k = rows, k

    def __call__(self, i: int) -> Array:
        return self.rows[i][:: self.k]


class _Columns:
    def __init__(self, rows: Rows, places: list[int]) -> None:
        self.rows, self.places = rows, places

    def __call__(self, i: int) -> Array:
        return self.rows[i][:, self.places]


class _Joined:
    def __init__(self, parts: Sequence[Sequence[Array]]) -> None:
        self.parts = list(parts)
        self.ends = np.cumsum([len(part) for part in parts])

    def __call__(self, i: int) -> Array:
        part = int(np.searchsorted(self.ends, i, side="right"))
        return self.parts[part][i - (int(self.ends[part - 1]) if part else 0)]


def has_nan(row: Array) -> bool:
    """Whether a value of a series is missing.

    Example:
        >>> has_nan(np.array([[1.0], [np.nan]]))
        True
    """
    return bool(np.isnan(row).any())


def _whole(name: str, numbers: Sequence[int] | Array) -> Array:
    array = np.asarray(numbers)
    if array.ndim != 1 or (len(array) and array.dtype.kind not in "iu"):
        raise ValueError(f"`{name}` must be whole numbers (n,), got {array.dtype} {array.shape}")
    return array.astype(np.int64)
