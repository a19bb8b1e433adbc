"""Series sampled anew: at another rate, with samples missing, with uneven times that are told or not."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from seqkit.checks import check_choice, check_positive, check_unit_interval
from seqkit.datasets.lines import fill_by_lines
from seqkit.datasets.series import Array, SeriesSet

__all__ = ["Sampling", "drop_samples", "hide_times", "pad_by_last", "stretch_time", "time_as_channel"]

TIMES = ("given", "channel", "hidden")
MISSING = ("remove", "nan", "line")


@dataclass(frozen=True)
class Sampling:
    """How the parts of an evenly recorded set are sampled anew; targets stay, and validation goes as training.

    In this order: padding, rate, missing samples, stretch of time, and what of the times is told. Each series loses
    samples by a draw of its own, from the seed and its name, whatever part it is in.

    Args:
        rate: Samples per second of the recording (Hz).
        train_rate: Samples per second to train with, `rate` over a whole number; None keeps every sample.
        test_rate: The same for testing.
        drop: Share of the samples of each series that is missing, in [0, 1); at least two are kept.
        drop_seed: Seed of the draw.
        missing: "remove" leaves missing samples out, so that times are uneven; "nan" keeps their place, not observed;
            "line" draws straight lines between the samples that are left, so that the series are even and whole.
        timestamps: "given" tells the model: uneven times go along with the batch, an even rate with the set. "channel"
            puts the time in seconds in front as a channel, and tells nothing else. "hidden" tells neither times nor
            rate.
        train_scale: Factor on the times of training.
        test_scale: Factor on the times of testing.
        pad_to: Length to which each series first repeats its last sample; None for none.

    Raises:
        ValueError: an option out of range, or a factor on times that are hidden.

    Source:
        Gu et al. 2020, HiPPO (arXiv:2008.07669), section 4 and released code: other rates without times ("hidden"),
        missing samples with times in two units ("given", or "channel" for models that take no times).

    Example:
        >>> series = SeriesSet([np.arange(8.0)[:, None]], ["a"], sample_rate=200.0)
        >>> sampling = Sampling(200.0, test_rate=100.0, drop=0.5)
        >>> part = sampling.apply("test", series)
        >>> part.lengths.tolist(), part.sample_rate, part.timestamps[0].tolist()
        ([2], 50.0, [0.01, 0.02])
    """

    rate: float
    train_rate: float | None = None
    test_rate: float | None = None
    drop: float = 0.0
    drop_seed: int = 0
    missing: str = "remove"
    timestamps: str = "given"
    train_scale: float = 1.0
    test_scale: float = 1.0
    pad_to: int | None = None

    def __post_init__(self) -> None:
        """Refuses what cannot be done to any series."""
        for name in ("train_rate", "test_rate"):
            _every(name, self.rate, getattr(self, name))
        check_unit_interval("drop", self.drop)
        if isinstance(self.drop_seed, bool) or not isinstance(self.drop_seed, int) or self.drop_seed < 0:
            raise ValueError(f"`drop_seed` must be a whole number of at least 0, got {self.drop_seed!r}")
        check_choice("missing", self.missing, MISSING)
        check_choice("timestamps", self.timestamps, TIMES)
        for name in ("train_scale", "test_scale"):
            check_positive(name, getattr(self, name))
            if self.timestamps == "hidden" and getattr(self, name) != 1:
                raise ValueError(f"`{name}` must be 1 where times are hidden; use timestamps=given or channel")

    def apply(self, part: str, series: SeriesSet) -> SeriesSet:
        """The part as the options want it.

        Args:
            part: "test"; "train" and "val" go as training.
            series: Evenly sampled series of `rate`.
        """
        if self.pad_to is not None:
            series = pad_by_last(series, self.pad_to)
        series = series.subsample(self._k(part))
        if self.drop > 0:
            series = drop_samples(series, self.drop, self.drop_seed, missing=self.missing)
        series = stretch_time(series, self.test_scale if part == "test" else self.train_scale)
        if self.timestamps == "channel":
            series = time_as_channel(series)
        return series if self.timestamps == "given" else hide_times(series)

    def told_rate(self, part: str = "train") -> float | None:
        """Samples per second that the part will say of itself; typical ones where times are uneven."""
        if self.timestamps != "given":
            return None
        kept = 1 - self.drop if self.missing == "remove" else 1.0
        return self.rate / self._k(part) * kept / (self.test_scale if part == "test" else self.train_scale)

    def channels(self, channels: tuple[str, ...]) -> tuple[str, ...]:
        """Names of the channels that come out."""
        return ("time", *channels) if self.timestamps == "channel" else channels

    def max_length(self, longest: int) -> int | None:
        """Longest series that comes out of one of `longest` samples; None where that depends on its part."""
        lengths = {-(-max(longest, self.pad_to or 0) // self._k(part)) for part in ("train", "test")}
        if len(lengths) > 1:
            return None
        (length,) = lengths
        return _n_kept(length, self.drop) if self.missing == "remove" else length

    def _k(self, part: str) -> int:
        name = "test_rate" if part == "test" else "train_rate"
        return _every(name, self.rate, getattr(self, name))


def drop_samples(series: SeriesSet, share: float, seed: int, *, missing: str = "remove") -> SeriesSet:
    """The series without a random share of each one's samples; two at least are kept.

    Args:
        series: The series.
        share: Share that is missing, in [0, 1).
        seed: Seed; the draw of a series also depends on its name, and on nothing else.
        missing: "remove", with uneven times; "nan", not observed; or "line", on lines between the others.

    Raises:
        ValueError: another way of being missing.

    Cost:
        O(L) a series.

    Example:
        >>> series = SeriesSet([np.ones((6, 1))], ["a"], sample_rate=10.0)
        >>> drop_samples(series, 0.5, 0, missing="nan").values[0][:, 0].tolist()
        [nan, 1.0, 1.0, 1.0, nan, nan]
        >>> slope = SeriesSet([np.arange(6.0)[:, None]], ["a"], sample_rate=10.0)
        >>> drop_samples(slope, 0.5, 0, missing="line").values[0][:, 0].tolist()
        [1.0, 1.0, 2.0, 3.0, 3.0, 3.0]
        >>> drop_samples(series, 0.5, 0).timestamps[0].tolist()
        [0.1, 0.2, 0.3]
    """
    check_choice("missing", missing, MISSING)
    draws = ((int(n), [seed, zlib.crc32(name.encode())]) for n, name in zip(series.lengths, series.names, strict=True))
    kept = [np.sort(np.random.default_rng(draw).permutation(n)[: _n_kept(n, share)]) for n, draw in draws]
    if missing == "remove":
        rate = None if series.sample_rate is None else series.sample_rate * (1 - share)
        return replace(_taken(replace(series, timestamps=_times(series)), kept), sample_rate=rate)
    values = []
    for one, places in zip(series.values, kept, strict=True):
        holes = np.full_like(one, np.nan)
        holes[places] = one[places]
        values.append(fill_by_lines(holes) if missing == "line" else holes)
    return replace(series, values=values)


def pad_by_last(series: SeriesSet, length: int) -> SeriesSet:
    """Each series to `length` samples at least by repeating its last one; longer ones stay.

    Raises:
        ValueError: series with times of their own, which have none past their end.

    Example:
        >>> pad_by_last(SeriesSet([np.array([[1.0], [2.0]])]), 4).values[0][:, 0].tolist()
        [1.0, 2.0, 2.0, 2.0]
    """
    if series.timestamps is not None:
        raise ValueError(f"{series.origin} has uneven times, which say nothing past the end of a series; do not pad")
    places = [np.minimum(np.arange(max(length, len(one))), len(one) - 1) for one in series.values]
    return _taken(series, places)


def stretch_time(series: SeriesSet, factor: float) -> SeriesSet:
    """The same samples taken `factor` times as slowly.

    Example:
        >>> stretch_time(SeriesSet([np.zeros((2, 1))], sample_rate=10.0), 2.0).sample_rate
        5.0
    """
    if factor == 1:
        return series
    times = None if series.timestamps is None else [factor * one for one in series.timestamps]
    return replace(
        series, timestamps=times, sample_rate=None if series.sample_rate is None else series.sample_rate / factor
    )


def time_as_channel(series: SeriesSet) -> SeriesSet:
    """The time of each sample (seconds) in front as a channel, for models that take no times.

    Example:
        >>> time_as_channel(SeriesSet([np.ones((2, 1))], sample_rate=2.0)).values[0].tolist()
        [[0.0, 1.0], [0.5, 1.0]]
    """
    columns = zip(_times(series), series.values, strict=True)
    values = [np.concatenate([times[:, None].astype(np.float32), one], axis=1) for times, one in columns]
    return replace(series, values=values, channels=("time", *series.channels) if series.channels else ())


def hide_times(series: SeriesSet) -> SeriesSet:
    """The samples one after the other, without times or a rate.

    Example:
        >>> hide_times(SeriesSet([np.ones((2, 1))], sample_rate=2.0)).sample_rate is None
        True
    """
    return replace(series, timestamps=None, sample_rate=None)


def _every(name: str, rate: float, wanted: float | None) -> int:
    """Every how many samples are kept for a rate."""
    if wanted is None:
        return 1
    k = max(1, round(rate / check_positive(name, wanted)))
    if abs(rate / k - wanted) > 1e-3 * wanted:
        rates = ", ".join(f"{rate / j:g}" for j in range(1, 6))
        raise ValueError(f"`{name}` must be {rate:g} Hz over a whole number ({rates}, ...), got {wanted:g}")
    return k


def _n_kept(n: int, share: float) -> int:
    return min(n, max(2, int(n * (1 - share) + 1e-9)))  # 0.7 of 10 falls short of 7 by rounding


def _times(series: SeriesSet) -> list[Array]:
    if series.timestamps is not None:
        return series.timestamps
    return [np.arange(n) / (series.sample_rate or 1.0) for n in series.lengths]


def _taken(series: SeriesSet, places: list[Array]) -> SeriesSet:
    """Some samples of each series, with what belongs to them."""
    target: Any = series.target
    if series.kind == "sequence":
        target = [one[k] for one, k in zip(target, places, strict=True)]
    times = series.timestamps
    if times is not None:
        times = [one[k] for one, k in zip(times, places, strict=True)]
    values = [one[k] for one, k in zip(series.values, places, strict=True)]
    return replace(series, values=values, target=target, timestamps=times)
