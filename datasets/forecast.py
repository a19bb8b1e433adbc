"""Windows of long series for forecasting: the samples so far as input, the next ones as target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from seqkit.checks import check_choice, check_positive_int, nearest
from seqkit.datasets.rows import Array
from seqkit.datasets.series import SeriesSet
from seqkit.datasets.splits import check_share, check_validation
from seqkit.datasets.timing import sampling
from seqkit.datasets.windows import Windows

__all__ = ["CUTS", "Forecast"]

CUTS = ("time", "share")
"""Where parts are cut: at the same times for all series, or at the same shares of each one's samples."""

_DATES = 1e8  # seconds: later times, and those before 0, are dates since 1970 rather than times since a start


class Span(NamedTuple):
    """Samples of each series that are of one part: from `first` up to `stop`, (n,) each."""

    first: Array
    stop: Array


@dataclass(frozen=True)
class Forecast:
    """How windows are made of series: W samples of all channels, and as target the next H values of some of them.

    The target has T = H x targets values: all targets one step ahead, then all two steps ahead, and so on. A window
    lies within one part (training, validation or test), its target included. A window with a missing value in its
    target, or without any value of a target in its samples, is left out.

    Args:
        horizon: Steps H to forecast.
        window: Samples W of a window; four times the horizon and at least 32 if None.
        stride: Samples between the starts of windows.
        season: Samples of a season, for the forecast that repeats the last one; what the step suggests if None (24
            hours, 7 days, 12 months, ...).
        targets: Channels to forecast; all of them if empty.
        cut_by: "time": every series is cut at the same times; "share": each at the same share of its own samples. None
            for "time" where the times are dates and "share" elsewhere.
        overlap: Whether windows of a later part may begin before it. Their targets never do.
        even: Whether samples count as evenly spaced whatever their times.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> series = SeriesSet([np.arange(100.0)[:, None]], channels=("price",))
        >>> parts = Forecast(horizon=2, window=3).cut({"all": series}, validation=0.25, test=0.2)
        >>> [(part.values[0][:, 0].tolist(), part.target[-1].tolist()) for part in parts.values()][:2]
        [([0.0, 1.0, 2.0], [58.0, 59.0]), ([60.0, 61.0, 62.0], [78.0, 79.0])]
    """

    horizon: int
    window: int | None = None
    stride: int = 1
    season: int | None = None
    targets: tuple[str, ...] = ()
    cut_by: str | None = None
    overlap: bool = False
    even: bool = False

    def __post_init__(self) -> None:
        """Refuses what no series could be cut by."""
        check_positive_int("horizon", self.horizon)
        check_positive_int("stride", self.stride)
        for name in ("window", "season"):
            if getattr(self, name) is not None:
                check_positive_int(name, getattr(self, name))
        if self.cut_by is not None:
            check_choice("cut", self.cut_by, CUTS)
        if not isinstance(self.overlap, bool):
            raise ValueError(f"`overlap` must be true or false, got {self.overlap!r}")

    @property
    def size(self) -> int:
        """Samples W of a window."""
        return self.window or max(32, 4 * self.horizon)

    def cut(self, sets: dict[str, SeriesSet], validation: float, test: float) -> dict[str, SeriesSet]:
        """Windows by part, cut in time: the latest samples are for testing, those before them for validation.

        Args:
            sets: Whole series by part, as files have them; parts that have a file of their own are not cut.
            validation: Share of what is not for testing; 0 for no validation part.
            test: Share of all samples.

        Raises:
            ValueError: a share out of range, or a part with too few samples for one window.
        """
        check_validation(validation)
        check_share("test", test)
        spans = {part: (series, _whole(series)) for part, series in sets.items()}
        if "all" in sets:
            series = sets["all"]
            shares, parts = [(1 - test) * (1 - validation), 1 - test], ["train", "val", "test"]
            if validation == 0:
                shares, parts = shares[1:], ["train", "test"]
            spans = {part: (series, span) for part, span in zip(parts, self._spans(series, shares), strict=True)}
        elif "val" not in sets and validation > 0:
            train, val = self._spans(sets["train"], [1 - validation])
            spans = {**spans, "train": (sets["train"], train), "val": (sets["train"], val)}
        self._check_room(spans)
        return {part: self._windows(series, span, part) for part, (series, span) in spans.items()}

    def windows(self, series: SeriesSet) -> SeriesSet:
        """All windows of whole series, with their targets.

        Raises:
            ValueError: no series is long enough for one.
        """
        spans = {"all": (series, _whole(series))}
        self._check_room(spans)
        return self._windows(*spans["all"], "all")

    def latest(self, series: SeriesSet) -> SeriesSet:
        """The last window of each series, to forecast what comes after its end; a shorter series as it is."""
        self.places(series)
        times = self._timestamps(series)
        return SeriesSet(
            values=[np.asarray(row)[-self.size :] for row in series.values],
            timestamps=None if times is None else [one[-self.size :] for one in times],
            names=series.names,
            sample_rate=series.sample_rate,
            channels=series.channels,
            origin=series.origin,
        )

    def places(self, series: SeriesSet) -> list[int]:
        """Channels that are forecast, as numbers from 0; one named "target" where none is asked for.

        Raises:
            ValueError: an unknown name.
        """
        names = list(series.channels) or [str(k) for k in range(series.n_channels)]
        wanted = self.targets or (("target",) if "target" in names else tuple(names))
        for name in wanted:
            if name not in names:
                raise ValueError(f"{series.origin} has no channel {name!r} to forecast; {nearest(name, names)}")
        return [names.index(name) for name in wanted]

    def names(self, series: SeriesSet) -> tuple[str, ...]:
        """Name of each predicted value: "price+1" is one step ahead."""
        channels = series.channels or (tuple(map(str, range(series.n_channels))) if series.n_channels > 1 else ("",))
        return tuple(f"{channels[k]}+{step}" for step in range(1, self.horizon + 1) for k in self.places(series))

    def _spans(self, series: SeriesSet, shares: Sequence[float]) -> list[Span]:
        lengths = series.lengths
        if self._by_time(series):
            times = series.timestamps or []
            every = np.sort(np.concatenate(times))
            moments = [every[min(int(share * len(every)), len(every) - 1)] for share in shares]
            cuts = [np.array([np.searchsorted(one, moment) for one in times]) for moment in moments]
        else:
            cuts = [np.floor(share * lengths + 1e-9).astype(np.int64) for share in shares]
        edges = [np.zeros_like(lengths), *cuts, lengths]
        return [Span(first, stop) for first, stop in pairwise(edges)]

    def _by_time(self, series: SeriesSet) -> bool:
        if self.cut_by == "time" and series.timestamps is None:
            raise ValueError(
                f"`cut` is time, but {series.origin} has no times; name their column (time=), or cut=share"
            )
        if self.cut_by is not None or series.timestamps is None:
            return self.cut_by == "time"
        return any(one[0] < 0 or one[-1] >= _DATES for one in series.timestamps)

    def _check_room(self, spans: dict[str, tuple[SeriesSet, Span]]) -> None:
        """Refuses parts without room for a window, with the size that would do for all of them."""
        room = {part: int((span.stop - self._begin(span)).max()) for part, (_, span) in spans.items()}
        need = self.size + self.horizon
        part = min(room, key=lambda name: room[name])
        if room[part] >= need:
            return
        fits = room[part] - self.horizon
        advice = f"set window to at most {fits}" if fits > 0 else f"shorten the horizon to less than {room[part]}"
        if part != "all" and not self.overlap:
            advice += ", or overlap=true so that windows may begin before the part that their targets are in"
        raise ValueError(
            f"{_place(part, spans[part][0])} has at most {room[part]} samples of a series, and a window of "
            f"{self.size} with a horizon of {self.horizon} needs {need}; {advice}"
        )

    def _begin(self, span: Span) -> Array:
        """First sample that a window of the part may have, (n,)."""
        return np.maximum(span.first - self.size, 0) if self.overlap else span.first

    def _windows(self, series: SeriesSet, span: Span, part: str) -> SeriesSet:
        places = self.places(series)
        starts, targets, left_out = [], [], 0
        for i, (begin, stop) in enumerate(zip(self._begin(span).tolist(), span.stop.tolist(), strict=True)):
            y = np.asarray(series.values[i])[:, places]
            start = np.arange(begin, stop - self.size - self.horizon + 1, self.stride)
            usable = self._usable(y, start)
            left_out += int((~usable).sum())
            starts.append(start[usable])
            ahead = starts[-1][:, None] + self.size + np.arange(self.horizon)
            targets.append(y[ahead].reshape(len(ahead), self.horizon * len(places)))
        owner = np.repeat(np.arange(len(series)), [len(one) for one in starts])
        start = np.concatenate(starts)
        if len(start) == 0:
            raise ValueError(
                f"each of the {left_out} windows of {_place(part, series)} has a missing value in its target, or none "
                "to go by; forecast fewer channels (target=), shorten the horizon or fill the gaps"
            )
        ends = start + self.size
        times = self._timestamps(series)
        return SeriesSet(
            values=Windows(
                series.values,
                owner,
                start,
                self.size,
                horizon=self.horizon,
                places=places,
                season=self.season,
                missing=series.has_missing,
                left_out=left_out,
            ),
            target=np.concatenate(targets),
            timestamps=None
            if times is None
            else [times[i][a:b] for i, a, b in zip(owner.tolist(), start.tolist(), ends.tolist(), strict=True)],
            names=[f"{series.names[i]}@{at}" for i, at in zip(owner.tolist(), ends.tolist(), strict=True)],
            sample_rate=series.sample_rate,
            channels=series.channels,
            targets=self.names(series),
            origin=series.origin,
        )

    def _usable(self, y: Array, start: Array) -> Array:
        """Which windows have all of their target and something of it to go by, (n,)."""
        seen = np.isfinite(y)
        if seen.all() or len(start) == 0:
            return np.ones(len(start), dtype=bool)
        end = start + self.size
        whole = np.concatenate([[0], np.cumsum(seen.all(axis=1))])
        each = np.concatenate([np.zeros((1, y.shape[1]), dtype=np.int64), np.cumsum(seen, axis=0)])
        usable: Array = whole[end + self.horizon] - whole[end] == self.horizon
        usable &= (each[end] > each[start]).all(axis=1)
        return usable

    def _timestamps(self, series: SeriesSet) -> list[Array] | None:
        """Times of the samples where they are uneven and count."""
        if series.timestamps is None or self.even:
            return None
        return sampling(series.timestamps, series.names, series.origin)[0]


def _whole(series: SeriesSet) -> Span:
    return Span(np.zeros_like(series.lengths), series.lengths)


def _place(part: str, series: SeriesSet) -> str:
    return series.origin if part == "all" else f"the {part} part of {series.origin}"
