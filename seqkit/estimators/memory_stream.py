"""The online form of the memory transformer: one sample in, the coefficients of the series so far out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from seqkit.checks import check_positive
from seqkit.datasets.rows import Array
from seqkit.estimators.stream import in_seconds
from seqkit.hippo import HiPPOMemory, MemoryState

__all__ = ["MemoryStream"]


class MemoryStream:
    """One series as it comes in; memory and time a sample do not grow.

    Args:
        memory: The memory, in units of one sample of the training data.
        n_channels: Channels C of a sample.
        unit: Training samples per second; 1 where the training data say nothing about time.
        sample_rate: Samples per second where samples come without a time (Hz); None for that of the training data.
        state: State to go on from; None for an empty memory.

    Raises:
        ValueError: a rate that is not positive.

    Example:
        >>> stream = MemoryStream(HiPPOMemory(2), n_channels=1)
        >>> stream.update(3.0).round(3).tolist(), len(stream)
        ([[3.0, 0.0]], 1)
    """

    def __init__(
        self,
        memory: HiPPOMemory,
        n_channels: int,
        unit: float = 1.0,
        sample_rate: float | None = None,
        state: MemoryState | None = None,
    ) -> None:
        self._memory, self._n_channels, self._unit = memory, n_channels, unit
        self._step = 1.0 if sample_rate is None else unit / check_positive("sample_rate", sample_rate)
        self.reset()
        if state is not None:
            self.state = state

    def reset(self) -> None:
        """Begins a new series."""
        self.state = self._memory.initial_state(self._n_channels, 1, dtype=torch.float64)
        self._time: float | None = None
        self._timed: bool | None = None
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def update(self, sample: Any, time: Any = None) -> Array:
        """Takes one sample.

        Args:
            sample: Values of the channels, (C,), or a number where there is one channel; NaN where one is missing.
            time: When it was taken: seconds, a date or a duration. Either all samples of a series have one or none.

        Returns:
            Coefficients of each channel, (C, N).

        Raises:
            ValueError: another number of channels, infinite values, or a time that does not come after the one before.

        Cost:
            One step of the memory: O(1) in the length of the series.
        """
        values = np.atleast_1d(np.asarray(sample))
        if values.dtype.kind not in "fiub" or values.shape != (self._n_channels,):
            raise ValueError(
                f"`sample` must be {self._n_channels} numbers, one for each channel, got shape {values.shape} of "
                f"{values.dtype}"
            )
        with np.errstate(over="ignore"):
            values = values.astype(np.float32).astype(np.float64)  # as the samples of a whole series are read
        if np.isinf(values).any():
            raise ValueError("`sample` must be finite, got an infinite value; leave it out as missing (NaN)")
        there = torch.from_numpy(~np.isnan(values))
        step = self._since(time)
        given = torch.nan_to_num(torch.from_numpy(values))[:, None]
        _, self.state = self._memory.step(given, self.state, rate=step, observed=there)
        self._count += 1
        return np.asarray(self.state.coefficients[:, 0].numpy()).copy()

    def _since(self, time: Any) -> float:
        """Time since the sample before, in training samples; the first lasts one of its own."""
        if self._timed is not None and self._timed != (time is not None):
            raise ValueError("either all samples of a series have a time or none; call reset() to begin a new series")
        if time is None:
            self._timed = False
            return self._step
        seconds, before = in_seconds(time), self._time
        if before is not None and not seconds > before:
            raise ValueError(f"`time` must come after that of the sample before, got {time!r}")
        self._timed, self._time = True, seconds
        return self._step if before is None else (seconds - before) * self._unit
