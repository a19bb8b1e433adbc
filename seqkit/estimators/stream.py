"""The online form of a fitted estimator: one sample in, one up-to-date prediction out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from seqkit.checks import check_positive
from seqkit.datasets.rows import Array
from seqkit.models import SequenceModel

__all__ = ["ModelStream", "in_seconds"]


class ModelStream:
    """One series as it comes in; memory and time a sample do not grow.

    The same value that `predict_proba` of a classifier, or `predict` of a regressor, gives for the series so far.

    Args:
        model: The fitted model; None for a classifier that has seen one class only, which is always its answer.
        classes: Labels in the order of the probabilities; None for values.
        sample_rate: Samples per second where samples come without a time (Hz); None for that of the training data.

    Raises:
        ValueError: a rate that is not positive, or for a mixer that has no notion of it.

    Example:
        >>> from seqkit.estimators import LSSLClassifier
        >>> X, y = np.random.default_rng(0).normal(size=(6, 2, 20)), list("ababab")
        >>> fitted = LSSLClassifier("s4d", d_model=4, order=4, epochs=1, random_state=0).fit(X, np.array(y))
        >>> stream = fitted.stream()
        >>> for sample in X[0].T:
        ...     shares = stream.update(sample)
        >>> bool(np.allclose(shares, fitted.predict_proba(X[:1])[0], atol=1e-4)), stream.prediction in "ab", len(stream)
        (True, True, 20)
    """

    def __init__(self, model: SequenceModel | None, classes: Array | None, sample_rate: float | None = None) -> None:
        self._model = model
        self._classes = classes
        self._rate = None if sample_rate is None else check_positive("sample_rate", sample_rate)
        if model is not None and sample_rate is not None and not model.uses_rate and model.rate(sample_rate) != 1:
            raise ValueError(f"{model.config.name} has no notion of the sampling step; leave `sample_rate` out")
        self.reset()

    def reset(self) -> None:
        """Begins a new series."""
        self._state = None if self._model is None else self._model.initial_state(1)
        self._outputs: Array | None = None
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
            The probability of each class, (K,), or the predicted value, (1,).

        Raises:
            ValueError: another number of channels, infinite values, a time that does not come after the one before, or
                times for a mixer that has no notion of them.

        Cost:
            One step of the model: O(1) in the length of the series.
        """
        if self._model is None or self._state is None:
            self._outputs = np.ones(1)
        else:
            values, observed = self._checked(sample)
            rate = self._step_rate(time)
            with torch.no_grad():
                outputs, self._state = self._model.step(values, self._state, sample_rate=rate, observed=observed)
            scores = outputs[0].double()
            self._outputs = (scores if self._classes is None else scores.softmax(dim=-1)).numpy()
        self._count += 1
        return self._outputs.copy()

    @property
    def prediction(self) -> Any:
        """The label, or the value, for the series so far.

        Raises:
            ValueError: no sample has come yet.
        """
        if self._outputs is None:
            raise ValueError("a stream predicts from its first sample on; call update(sample) first")
        return float(self._outputs[0]) if self._classes is None else self._classes[int(self._outputs.argmax())]

    def _checked(self, sample: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
        assert self._model is not None  # the caller looked
        values = np.atleast_1d(np.asarray(sample))
        channels = self._model.info.n_channels
        if values.dtype.kind not in "fiub" or values.shape != (channels,):
            raise ValueError(
                f"`sample` must be {channels} numbers, one for each channel, got shape {values.shape} of {values.dtype}"
            )
        with np.errstate(over="ignore"):
            values = values.astype(np.float32)
        if np.isinf(values).any():
            raise ValueError("`sample` must be finite, got an infinite value; leave it out as missing (NaN)")
        there = ~np.isnan(values)
        given = torch.from_numpy(np.where(there, values, np.float32(0)))[None]
        # A model that has seen no gap takes the shorter way where there is none.
        return given, None if there.all() and not self._model.reads_missing else torch.from_numpy(there)[None]

    def _step_rate(self, time: Any) -> float | None:
        """One over the seconds since the sample before."""
        if self._timed is not None and self._timed != (time is not None):
            raise ValueError("either all samples of a series have a time or none; call reset() to begin a new series")
        if time is None:
            self._timed = False
            return self._rate
        assert self._model is not None  # the caller looked
        if not self._model.uses_rate:
            raise ValueError(f"{self._model.config.name} has no notion of time; give samples without `time`")
        seconds, before = in_seconds(time), self._time
        if before is not None and not seconds > before:
            raise ValueError(f"`time` must come after that of the sample before, got {time!r}")
        self._time, self._timed = seconds, True
        return self._rate if before is None else 1 / (seconds - before)


def in_seconds(time: Any) -> float:
    """Seconds of a number, a date or a duration."""
    if isinstance(time, np.datetime64):
        return float(time.astype("datetime64[ns]").astype(np.int64)) / 1e9
    if isinstance(time, np.timedelta64):
        return float(time / np.timedelta64(1, "ns")) / 1e9
    for method in ("timestamp", "total_seconds"):
        if hasattr(time, method):
            return float(getattr(time, method)())
    if isinstance(time, (int, float, np.integer, np.floating)) and np.isfinite(time):
        return float(time)
    raise ValueError(f"`time` must be seconds, a date or a duration, got {time!r}")
