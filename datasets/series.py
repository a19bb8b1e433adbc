"""Series: samples, targets, times and names, checked where they enter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from seqkit.batch import TaskKind
from seqkit.checks import check_positive, check_positive_int
from seqkit.datasets.rows import Array, Rows, has_nan, join_rows

__all__ = ["Array", "SeriesSet", "Target"]

Target = list[str] | Array | list[Array] | None
"""Labels of a classification, an array (n, T) of a regression, one array per series of sequence targets, or None."""


@dataclass(eq=False)
class SeriesSet:
    """Series of a data set or of a file, of any lengths.

    Args:
        values: Samples of each series, (L_i, C), kept as float32: a list, or `Rows` that are read when asked for. NaN
            is a missing value.
        target: A list of n labels for classification, an array (n, T) for regression, a list of n arrays for sequence
            targets ((L_i, T) floats or (L_i,) labels), or None where there is nothing but samples.
        timestamps: Time of each sample in seconds, (L_i,) each, or None for evenly spaced samples.
        names: Name of each series; "0", "1", ... if empty.
        sample_rate: Samples per second (Hz), typical ones where timestamps are uneven; None without a unit of time.
        channels: Names of the channels, where they have names.
        origin: The file or data set that the series are from, to name in errors.
        targets: Names of the predicted values, where they have names.

    Raises:
        ValueError: no series, a series without samples or without any value, infinite values, or sizes that do not
            fit.

    Example:
        >>> one, two = np.zeros((5, 2)), np.ones((3, 2))
        >>> series = SeriesSet([one, two], target=["a", "b"], sample_rate=10.0)
        >>> len(series), series.n_channels, series.kind, series.subsample(2).sample_rate
        (2, 2, 'classification', 5.0)
    """

    values: Sequence[Array]
    target: Target = None
    timestamps: list[Array] | None = None
    names: list[str] = field(default_factory=list)
    sample_rate: float | None = None
    channels: tuple[str, ...] = ()
    origin: str = "the data"
    targets: tuple[str, ...] = ()
    _gaps: Array = field(init=False, repr=False)
    """Which series have missing values, (n,), so that asking needs no pass over the samples."""

    def __post_init__(self) -> None:
        """Brings everything into one form and refuses what later steps could not use."""
        if len(self.values) == 0:
            raise ValueError(f"{self.origin} has no series; at least one is needed")
        self.names = list(self.names) or [str(i) for i in range(len(self.values))]
        if len(self.names) != len(self.values):
            raise ValueError(f"{self.origin} has {len(self.values)} series but {len(self.names)} names")
        if self.sample_rate is not None:
            check_positive("sample_rate", self.sample_rate)
        if isinstance(self.values, Rows):  # what they hold is checked when it is read or was when it was stored
            self._check_lengths()
            self._gaps = np.full(len(self.values), self.values.missing)
        else:
            with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is named below
                self.values = [np.asarray(one, dtype=np.float32) for one in self.values]
            self._gaps = np.array([self._check_values(i, one) for i, one in enumerate(self.values)])
        self._check_target()
        self._check_timestamps()

    def __len__(self) -> int:
        return len(self.values)

    @property
    def n_channels(self) -> int:
        """Channels C of a sample."""
        return self.values.n_channels if isinstance(self.values, Rows) else int(self.values[0].shape[1])

    @property
    def lengths(self) -> Array:
        """Number of samples of each series, (n,), int64."""
        if isinstance(self.values, Rows):
            return self.values.lengths
        return np.array([len(one) for one in self.values], dtype=np.int64)

    @property
    def has_missing(self) -> bool:
        """Whether a value is missing, NaN in `values`.

        Example:
            >>> SeriesSet([np.array([[1.0], [np.nan]])]).has_missing
            True
        """
        return bool(self._gaps.any())

    @property
    def kind(self) -> TaskKind | None:
        """Task that the target is for; None without a target."""
        if self.target is None:
            return None
        if isinstance(self.target, np.ndarray):
            return "regression"
        return "classification" if isinstance(self.target[0], str) else "sequence"

    def select(self, indices: Iterable[int]) -> SeriesSet:
        """The series at these places, in this order.

        Example:
            >>> SeriesSet([np.zeros((2, 1)), np.ones((3, 1))]).select([1]).names
            ['1']
        """
        places = [int(i) for i in indices]
        if not places:
            raise ValueError(f"no series of {self.origin} is selected; at least one is needed")
        target: Any = self.target
        if target is not None:
            target = target[places] if isinstance(target, np.ndarray) else [target[i] for i in places]
        values = self.values
        return self._with(
            values=values.take(places) if isinstance(values, Rows) else [values[i] for i in places],
            target=target,
            timestamps=None if self.timestamps is None else [self.timestamps[i] for i in places],
            names=[self.names[i] for i in places],
            _gaps=self._gaps[places],
        )

    def subsample(self, k: int) -> SeriesSet:
        """Every k-th sample of each series, from the first on: the same series recorded k times as slowly.

        Raises:
            ValueError: `k` is not a whole number of at least 1.
        """
        check_positive_int("k", k)
        target: Any = self.target
        if self.kind == "sequence":
            target = [one[::k] for one in target]
        values = self.values
        return self._with(
            values=values.thin(k) if isinstance(values, Rows) else [one[::k] for one in values],
            target=target,
            timestamps=None if self.timestamps is None else [one[::k] for one in self.timestamps],
            sample_rate=None if self.sample_rate is None else self.sample_rate / k,
        )

    def with_channels(self, places: Sequence[int]) -> SeriesSet:
        """These channels of each series, in this order.

        Example:
            >>> SeriesSet([np.zeros((2, 3))], channels=("x", "y", "z")).with_channels([2, 0]).channels
            ('z', 'x')
        """
        values = self.values
        return self._with(
            values=values.columns(places) if isinstance(values, Rows) else [one[:, list(places)] for one in values],
            channels=tuple(self.channels[i] for i in places) if self.channels else (),
        )

    def with_gaps(self, gaps: Array) -> SeriesSet:
        """The same series, with what is known of stored ones: which of them have missing values, (n,) bool."""
        return self._with(_gaps=gaps)

    def _with(self, **changes: Any) -> SeriesSet:
        """A copy of checked series with parts of them; checking all samples again would cost a pass over them."""
        out = copy(self)
        for name, value in changes.items():
            setattr(out, name, value)
        if "values" in changes and "_gaps" not in changes and not isinstance(out.values, Rows):
            out._gaps = np.array([bool(gaps) and has_nan(out.values[i]) for i, gaps in enumerate(self._gaps)])
        return out

    @classmethod
    def join(cls, parts: Sequence[SeriesSet]) -> SeriesSet:
        """All series of several sets in one; a name that occurs twice gets a number.

        Raises:
            ValueError: the sets differ in target kind, channels, sample rate or in having timestamps.
        """
        first = parts[0]
        for other in parts[1:]:
            for what in ("kind", "n_channels", "channels", "sample_rate"):
                one, two = getattr(first, what), getattr(other, what)
                if one != two:
                    raise ValueError(f"{first.origin} and {other.origin} differ in {what}: {one} and {two}")
            if (first.timestamps is None) != (other.timestamps is None):
                raise ValueError(
                    f"of {first.origin} and {other.origin} only one is evenly sampled; give both timestamps"
                )
        targets: list[Any] = [part.target for part in parts]
        target: Any = None
        if first.kind == "regression":
            target = np.concatenate(targets)
        elif first.kind is not None:
            target = [one for each in targets for one in each]
        return cls(
            values=join_rows([part.values for part in parts], first.n_channels),
            target=target,
            timestamps=None if first.timestamps is None else [one for part in parts for one in part.timestamps or []],
            names=_distinct(name for part in parts for name in part.names),
            sample_rate=first.sample_rate,
            channels=first.channels,
            origin=first.origin,
            targets=first.targets,
        )

    def _check_lengths(self) -> None:
        short = np.flatnonzero(self.lengths < 1)
        if len(short):
            raise ValueError(f"lengths[{short[0]}] is 0; every series needs at least one sample ({self.origin})")

    def _check_values(self, i: int, one: Array) -> bool:
        """Refuses samples that cannot be used; returns whether some are missing."""
        if one.ndim != 2:
            raise ValueError(
                f"series {self.names[i]!r} of {self.origin} must have shape (samples, channels), got {one.shape}"
            )
        if len(one) == 0:
            raise ValueError(f"lengths[{i}] is 0; every series needs at least one sample ({self.origin})")
        if one.shape[1] != self.values[0].shape[1] or one.shape[1] == 0:
            raise ValueError(
                f"series {self.names[i]!r} of {self.origin} has {one.shape[1]} channels and series "
                f"{self.names[0]!r} has {self.values[0].shape[1]}; all series need the same channels, at least one"
            )
        if np.isfinite(one).all():
            return False
        infinite = np.argwhere(np.isinf(one))
        if len(infinite):
            sample, channel = (int(k) for k in infinite[0])
            name = repr(self.channels[channel]) if self.channels else str(channel)
            raise ValueError(
                f"series {self.names[i]!r} of {self.origin} has an infinite value, or one too large for float32, at "
                f"sample {sample}, channel {name}; correct it, or leave it out as missing (NaN)"
            )
        if np.isnan(one).all():
            raise ValueError(
                f"series {self.names[i]!r} of {self.origin} has no value at all, all {len(one)} samples are missing; "
                "remove the series"
            )
        return True

    def _check_target(self) -> None:
        if self.target is None:
            return
        if len(self.target) != len(self.values):
            raise ValueError(f"{self.origin} has {len(self.values)} series but {len(self.target)} targets")
        self.target = _labels_or_values(self.target)
        lengths = self.lengths
        if isinstance(self.target, np.ndarray):
            self.target = _numbers(self.target if self.target.ndim == 2 else self.target[:, None])
            bad = ~np.isfinite(self.target).all(axis=1)
            if bad.any():
                raise ValueError(
                    f"the target of series {self.names[int(bad.argmax())]!r} of {self.origin} is NaN or infinite; "
                    "remove the series or fill its target first"
                )
        elif np.ndim(self.target[0]) > 0:
            self.target = [
                self._checked_sequence(i, int(lengths[i]), np.asarray(one)) for i, one in enumerate(self.target)
            ]

    def _checked_sequence(self, i: int, length: int, target: Array) -> Array:
        if len(target) != length:
            raise ValueError(
                f"series {self.names[i]!r} of {self.origin} has {length} samples but {len(target)} targets"
            )
        if target.dtype.kind in "OUS":
            return target.astype(str)
        target = _numbers(target if target.ndim == 2 else target[:, None])
        if not np.isfinite(target).all():
            raise ValueError(f"a target of series {self.names[i]!r} of {self.origin} is NaN or infinite; fill it first")
        return target

    def _check_timestamps(self) -> None:
        if self.timestamps is None:
            return
        if len(self.timestamps) != len(self.values):
            raise ValueError(f"{self.origin} has {len(self.values)} series but timestamps of {len(self.timestamps)}")
        self.timestamps = [np.asarray(one, dtype=np.float64) for one in self.timestamps]
        for name, times, length in zip(self.names, self.timestamps, self.lengths.tolist(), strict=True):
            if times.shape != (length,):
                raise ValueError(f"series {name!r} of {self.origin} has {length} samples, timestamps {times.shape}")
            late = ~(np.diff(times) > 0)  # NaN is not later either
            if late.any() or not np.isfinite(times[0]):
                k = int(late.argmax()) + 1 if late.any() else 0
                raise ValueError(
                    f"timestamps of series {name!r} of {self.origin} must increase, but sample {k} does not"
                )


def _labels_or_values(target: Any) -> Any:
    """Whole numbers of a list are labels, those of an array are values; targets per sample stay as they are."""
    if np.ndim(target[0]) > 0:
        return target
    kind = target.dtype.kind if isinstance(target, np.ndarray) else np.asarray(target[0]).dtype.kind
    if kind == "f" or (isinstance(target, np.ndarray) and kind in "iub"):
        return np.asarray(target)
    return [str(label) for label in target]


def _numbers(target: Array) -> Array:
    with np.errstate(over="ignore"):
        return target.astype(np.float32)


def _distinct(names: Iterable[str]) -> list[str]:
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return out
