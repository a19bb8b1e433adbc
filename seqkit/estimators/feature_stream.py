"""Random features and their ridge model for series as they come in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from seqkit.checks import check_positive, check_positive_int
from seqkit.datasets.rows import Array
from seqkit.estimators.ridge import Ridge, probabilities
from seqkit.estimators.stream import in_seconds
from seqkit.kernels.state_features import carry_features, pack, start

if TYPE_CHECKING:
    from seqkit.estimators.feature_learner import FeatureMap

__all__ = ["FeatureStream"]


class FeatureStream:
    """One series, or several side by side, as they come in; memory and time a sample do not grow.

    The same value that `predict_proba` of a classifier, or `predict` of a regressor, gives for the series so far. Until
    something is observed, that is the prediction for the mean of all features.

    Args:
        features: The map of the fitted estimator; None for a classifier that has seen one class only.
        ridge: Its model.
        classes: Labels in the order of the probabilities; None for values.
        temperature: What scores are divided by to give probabilities.
        sample_rate: Samples per second where samples come without a time (Hz); None for that of the training data.
        n_streams: Number of series side by side; None for one, whose samples and predictions lack that axis.

    Raises:
        ValueError: a rate that is not positive, or a number of streams below 1.

    Example:
        >>> from seqkit.estimators import HiPPOFeaturesClassifier
        >>> X, y = np.random.default_rng(0).normal(size=(6, 2, 20)), np.array(list("ababab"))
        >>> fitted = HiPPOFeaturesClassifier(n_filters=50, random_state=0).fit(X, y)
        >>> stream = fitted.stream()
        >>> for sample in X[0].T:
        ...     shares = stream.update(sample)
        >>> bool(np.allclose(shares, fitted.predict_proba(X[:1])[0], atol=1e-5)), stream.prediction in "ab", len(stream)
        (True, True, 20)
    """

    def __init__(
        self,
        features: FeatureMap | None,
        ridge: Ridge | None,
        classes: Array | None,
        temperature: float = 1.0,
        *,
        sample_rate: float | None = None,
        n_streams: int | None = None,
    ) -> None:
        self._map, self._ridge, self._classes, self._temperature = features, ridge, classes, temperature
        rate = None if sample_rate is None else check_positive("sample_rate", sample_rate)
        self._single = n_streams is None
        self._n_streams = 1 if n_streams is None else check_positive_int("n_streams", n_streams)
        if features is not None:
            self._step = features.step(rate)
            self._bank = pack(features.bank, torch.from_numpy(features.thresholds))
        self.reset()

    def reset(self) -> None:
        """Begins new series in all streams."""
        self._state = None if self._map is None else start(self._bank, self._n_streams)
        self._features: Array | None = None
        self._outputs: Array | None = None
        self._times: Array | None = None
        self._timed: bool | None = None
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def update(self, sample: Any, time: Any = None) -> Array:
        """Takes one sample of each series.

        Args:
            sample: Values of the channels, (C,), or a number where there is one channel; with `n_streams` (n_streams,
                C). NaN where a value is missing; a stream without any new value only lets its time pass.
            time: When it was taken: seconds, a date or a duration, or one of them for each stream. Either all samples
                of a series have a time or none.

        Returns:
            The probability of each class, (K,), or the predicted value, (1,); with `n_streams` a row for each.

        Raises:
            ValueError: another number of channels or streams, infinite values, or a time that does not come after the
                one before.

        Cost:
            About 12 m + 3 T operations a filter of m stages and T thresholds, whatever has been seen.
        """
        if self._map is None or self._ridge is None or self._state is None:
            self._outputs = np.ones((self._n_streams, 1))
        else:
            values = torch.from_numpy(self._checked(self._map, sample))
            steps = torch.from_numpy(self._steps(self._map, time))
            found, self._state = carry_features(values, self._bank, self._state, steps=steps)
            raw = found[..., : self._map.n_statistics].flatten(1).double().numpy()
            self._features = self._map.standardised(raw)
            scores = self._ridge.scores(self._features)
            self._outputs = scores if self._classes is None else probabilities(scores, self._temperature)
        self._count += 1
        return self._shown(self._outputs)

    @property
    def features(self) -> Array:
        """Standardised features of the series so far, (P,) or (n_streams, P), as `features` gives them.

        Raises:
            ValueError: no sample has come yet, or there are no features, as with one class only.
        """
        if self._features is None:
            raise ValueError("a stream of two classes or of values has features from its first sample on; call update")
        return self._shown(self._features)

    @property
    def prediction(self) -> Any:
        """The label, or the value, for the series so far; with `n_streams` one for each, (n_streams,).

        Raises:
            ValueError: no sample has come yet.
        """
        if self._outputs is None:
            raise ValueError("a stream predicts from its first sample on; call update(sample) first")
        if self._classes is None:
            return float(self._outputs[0, 0]) if self._single else self._outputs[:, 0].copy()
        labels = self._classes[self._outputs.argmax(axis=1)]
        return labels[0] if self._single else labels

    def _shown(self, rows: Array) -> Array:
        return rows[0].copy() if self._single else rows.copy()

    def _checked(self, features: FeatureMap, sample: Any) -> Array:
        """Standardised samples, (n_streams, 1, C), float32."""
        channels = len(features.mean)
        values = np.atleast_1d(np.asarray(sample))
        wanted = (channels,) if self._single else (self._n_streams, channels)
        if values.dtype.kind not in "fiub" or values.shape != wanted:
            each = "for each channel" if self._single else "for each stream and channel"
            raise ValueError(
                f"`sample` must be numbers of shape {wanted}, one {each}, got shape {values.shape} of {values.dtype}"
            )
        if np.isinf(values).any():
            raise ValueError("`sample` must be finite, got an infinite value; leave it out as missing (NaN)")
        with np.errstate(over="ignore"):
            return features.scaled(values.astype(np.float32)).reshape(self._n_streams, 1, channels)

    def _steps(self, features: FeatureMap, time: Any) -> Array:
        """Time since the sample before in units of the training step, (n_streams,); notes the time last of all."""
        if self._timed is not None and self._timed != (time is not None):
            raise ValueError("either all samples of a series have a time or none; call reset() to begin a new series")
        steps = np.full(self._n_streams, self._step)
        if time is not None:
            several = isinstance(time, (list, tuple, np.ndarray)) and np.ndim(time) > 0
            given = list(time) if several else [time] * self._n_streams
            if len(given) != self._n_streams:
                raise ValueError(
                    f"`time` must be one time, or one for each of {self._n_streams} streams, got {len(given)}"
                )
            seconds, before = np.array([in_seconds(one) for one in given]), self._times
            if before is not None:
                if not (seconds > before).all():
                    raise ValueError(f"`time` must come after that of the sample before, got {time!r}")
                steps = (seconds - before) * (features.sample_rate or 1.0)
            self._times = seconds
        self._timed = time is not None
        return steps
