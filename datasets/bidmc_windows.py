"""Windows of BIDMC's recordings with their targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from seqkit.datasets.bidmc_csv import Recording
from seqkit.datasets.series import Array, SeriesSet

__all__ = ["BREATHING", "Cut", "Windows"]

BREATHING = "RESP"
"""The signal that is a target per sample; the same word names the respiratory rate among the monitor's numbers."""


class Cut(NamedTuple):
    """Windows of one recording: samples (L, C) each, targets (one number or (L, 1) each, or none), and names."""

    values: list[Array]
    target: list[Array]
    names: list[str]


@dataclass(frozen=True)
class Windows:
    """How a recording is cut.

    Args:
        target: A key of `NUMERICS`, or "RESP".
        channels: Signals of a window.
        samples: Samples L of a window.
        step: Samples from the start of a window to that of the next one.
        rate: Samples per second of the recordings.
    """

    target: str
    channels: tuple[str, ...]
    samples: int
    step: int
    rate: float

    def cut(
        self, recording: Recording, ranges: Sequence[tuple[float, float]] = ((0.0, 1.0),), *, labelled: bool = True
    ) -> list[Cut]:
        """Windows that lie within each range of a recording.

        Args:
            recording: The recording.
            ranges: Beginning and end of each range as shares of the recording; one that begins later than the
                recording begins half a window later still, so that ranges that meet share no moment and no beat.
            labelled: Whether to look for targets; a window without one, or with a channel without samples, is left out.

        Raises:
            FileNotFoundError: the target needs the monitor's numbers and their file is not there.
            ValueError: a file is damaged.
        """
        breathing = labelled and self.target == BREATHING
        signals = recording.signals((*self.channels, BREATHING) if breathing else self.channels, self.rate)
        numbers = recording.numerics(self.target) if labelled and not breathing else None
        out = []
        for begin, end in ranges:
            cut = Cut([], [], [])
            first = round(begin * (len(signals) - 1)) + (self.samples // 2 if begin > 0 else 0)
            last = len(signals) if end == 1 else round(end * (len(signals) - 1))
            for start in range(first, last - self.samples + 1, self.step):
                window = signals[start : start + self.samples]
                values, target = window[:, : len(self.channels)], None
                if breathing:
                    target = window[:, -1:]
                elif numbers is not None:
                    target = self._mean(numbers, start)
                if np.isnan(values).all(axis=0).any() or (target is not None and np.isnan(target).any()):
                    continue
                cut.values.append(values)
                cut.names.append(f"{recording.name}-{start / self.rate:g}s")
                if target is not None:
                    cut.target.append(target)
            out.append(cut)
        return out

    def series(self, cuts: Sequence[Cut], origin: str) -> SeriesSet:
        """Windows of several recordings in one set.

        Raises:
            ValueError: there is not a single window.
        """
        values = [one for cut in cuts for one in cut.values]
        if not values:
            raise ValueError(
                f"{origin} gives no window of {self.samples / self.rate:g} s with a target; give a shorter `window` or "
                "another `target`"
            )
        target = [one for cut in cuts for one in cut.target]
        return SeriesSet(
            values,
            (target if self.target == BREATHING else np.stack(target)) if target else None,
            names=[name for cut in cuts for name in cut.names],
            sample_rate=self.rate,
            channels=self.channels,
            origin=origin,
        )

    def _mean(self, numbers: tuple[Array, Array], start: int) -> Array:
        """Mean of the monitor's numbers within a window, (1,); NaN where one is missing or they end before."""
        times, values = numbers
        begin, end = start / self.rate, (start + self.samples) / self.rate
        inside = values[(times > begin + 1e-6) & (times <= end + 1e-6)]
        expected = int(np.floor(end + 1e-6) - np.floor(begin + 1e-6))
        return np.array([inside.mean() if 0 < expected <= len(inside) else np.nan])
