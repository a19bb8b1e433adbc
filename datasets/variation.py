"""Training series that differ a little each time they are read: in speed, loudness, where they begin, what is there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seqkit.checks import check_not_negative, check_unit_interval
from seqkit.datasets.frames import in_frames
from seqkit.datasets.series import Array, SeriesSet
from seqkit.datasets.windows import Windows

__all__ = ["Variation"]


@dataclass(frozen=True)
class Variation:
    """What is drawn anew for a training series each time it is read; its target stays.

        y[k] = g x[s + k r],   s in {0, ..., shift},   log r uniform within log(1 + speed),   log g within log(1 + gain)

    Between samples the series is a straight line. A series played faster is shorter, as one of another speaker is: its
    sample rate stays. Where values are missing, those that lie between a missing one and another are.

    Args:
        speed: By what part a series is faster or slower at most: 0.25 for 0.8 to 1.25 times as fast.
        gain: By what part its values are larger or smaller at most, in the same sense; 0 stays 0.
        shift: Samples left out at its start at most; one at least is kept.
        drop: Largest share of its samples that is missing, in [0, 1): the share is drawn, and then each sample apart
            from the last one. Where samples have times of their own they are taken away with them; elsewhere their
            place stays, not observed.

    Raises:
        ValueError: a negative or infinite value, a `shift` that is not a whole number, or a `drop` of 1 or more.

    Cost:
        O(L C) a series, about 0.1 ms for 4,000 samples.

    Example:
        >>> row = np.arange(100.0, dtype=np.float32)[:, None]
        >>> varied = Variation(speed=0.25).apply(row, np.random.default_rng(0))
        >>> len(varied), round(float(varied[1, 0]), 3)
        (110, 0.902)
    """

    speed: float = 0.0
    gain: float = 0.0
    shift: int = 0
    drop: float = 0.0

    def __post_init__(self) -> None:
        """Refuses what is not an amount; the names are those of the settings."""
        check_not_negative("vary_speed", self.speed)
        check_not_negative("vary_gain", self.gain)
        if isinstance(self.shift, bool) or not isinstance(self.shift, int) or self.shift < 0:
            raise ValueError(f"`vary_shift` must be a whole number of at least 0, got {self.shift!r}")
        check_unit_interval("vary_drop", self.drop)

    @property
    def changes_time(self) -> bool:
        """Whether samples move in time."""
        return self.speed > 0 or self.shift > 0

    def check(self, series: SeriesSet) -> None:
        """Refuses series that cannot vary without their targets.

        Raises:
            ValueError: samples would move that have times or targets of their own, or series are windows to forecast
                from.
        """
        moved = f"`vary_speed` and `vary_shift` must be 0 where samples may not move, got {self.speed:g}, {self.shift}"
        if self.changes_time and series.timestamps is not None:
            raise ValueError(f"{moved}: {series.origin} has uneven times")
        if self.changes_time and series.kind == "sequence":
            raise ValueError(f"{moved}: {series.origin} has a target for each sample")
        if self.drop > 0 and series.timestamps is not None and series.kind == "sequence":
            raise ValueError(
                f"`vary_drop` must be 0 where samples have both times and targets, as those of {series.origin}, got "
                f"{self.drop:g}; set it to 0"
            )
        if isinstance(series.values, Windows):
            raise ValueError(
                "`vary_speed`, `vary_gain`, `vary_shift` and `vary_drop` must be 0 for forecasts, got "
                f"{self.speed:g}, {self.gain:g}, {self.shift}, {self.drop:g}: the values after a window of "
                f"{series.origin} would not vary with it"
            )

    def apply(self, row: Array, rng: np.random.Generator, *, frame: int = 1) -> Array:
        """A series as it is this time.

        Args:
            row: Steps, (L, frame C).
            rng: What is drawn from; three numbers are, whatever the options are.
            frame: Samples in each step, C channels each, which are varied one by one.

        Returns:
            Steps, (L', frame C), float32.
        """
        start, speed, gain = rng.random(), rng.uniform(-1.0, 1.0), rng.uniform(-1.0, 1.0)
        samples = row.reshape(len(row) * frame, -1)
        samples = samples[int(start * (min(self.shift, len(samples) - 1) + 1)) :]
        if self.speed > 0:
            samples = _resampled(samples, (1.0 + self.speed) ** speed)
        if self.gain > 0:
            samples = samples * np.float32((1.0 + self.gain) ** gain)
        return in_frames(samples, frame).astype(np.float32, copy=False)

    def kept(self, n_steps: int, rng: np.random.Generator) -> Array:
        """Which steps of a series are there this time, bool, (n_steps,); the last one always is.

        Args:
            n_steps: Steps of the series.
            rng: What is drawn from; nothing is where none may be missing.

        Example:
            >>> Variation(drop=0.5).kept(6, np.random.default_rng(1)).tolist()
            [True, False, True, True, True, True]
        """
        if self.drop == 0:
            return np.ones(n_steps, bool)
        share = self.drop * rng.random()
        there: Array = rng.random(n_steps) >= share
        there[-1] = True
        return there


def _resampled(samples: Array, step: float) -> Array:
    """Samples at the places 0, step, 2 step, ... up to the last one."""
    places = np.arange(int((len(samples) - 1) / step) + 1) * step
    below = np.minimum(places.astype(np.int64), max(len(samples) - 2, 0))
    above = np.minimum(below + 1, len(samples) - 1)
    share = (places - below).astype(np.float32)[:, None]
    mixed: Array = samples[below] * (1 - share) + samples[above] * share
    return mixed
