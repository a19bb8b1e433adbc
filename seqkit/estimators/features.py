"""A classifier and a regressor on random multi-timescale state-space features: fitted in seconds, and online."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from sktime.classification.base import BaseClassifier
from sktime.regression.base import BaseRegressor

from seqkit.checks import check_not_negative
from seqkit.datasets.rows import Array
from seqkit.estimators.base import TellsRateOfShares
from seqkit.estimators.feature_learner import FeatureEstimator
from seqkit.estimators.panel import PANEL_MTYPES
from seqkit.estimators.ridge import probabilities, temperature_of

__all__ = ["HiPPOFeaturesClassifier", "HiPPOFeaturesRegressor"]

TAGS: dict[str, Any] = {
    "authors": "seqkit",
    "maintainers": "seqkit",
    "python_dependencies": ["torch"],
    "X_inner_mtype": PANEL_MTYPES,
    "y_inner_mtype": "numpy1D",
    "capability:multivariate": True,
    "capability:unequal_length": True,
    "capability:missing_values": True,
    "capability:random_state": True,
    "capability:multithreading": True,
    "capability:categorical_in_X": False,
    "property:randomness": "derandomized",
}


class HiPPOFeaturesClassifier(TellsRateOfShares, FeatureEstimator, BaseClassifier):  # type: ignore[misc] # untyped
    """Classifies series by a ridge model on pooled outputs of fixed random state-space filters.

        series -> standardise -> F random filters -> shares of time above T thresholds, maximum -> ridge model

    A filter is a row of one to four leaky integrators that turn as they forget, with a memory between less than a
    sample and a fifth of a series; half of them read the slope. Nothing is trained but the ridge model, in closed form,
    so a fit takes seconds; and as each filter is a recurrence, `stream()` predicts after every sample in constant
    memory. Takes every panel of sktime's: series of unequal length, missing values (NaN is "not observed"), and times
    from the index, even at another rate than in training, or uneven.

    Args:
        n_filters: Number of filters F; the loops take 32 of a kind at once, so that multiples of 256 are used best.
        n_thresholds: Number of thresholds T of each filter.
        alphas: Penalties of the ridge model to choose from; None for twelve from 0.001 to 10000.
        class_weight: Weights of the classes by label, 1 for those left out; "balanced" for weights that make all
            classes count alike; None for equal weights.
        sample_rate: Samples per second of the training series where their index does not say it (Hz).
        random_state: Seed of filters and thresholds: a whole number, a generator of numpy's, or None for a new one each
            time. Global generators are left alone.
        n_jobs: Threads; -1 for all cores, None for one.
        verbose: Whether to say on standard error what was made and how long it took.

    Attributes:
        classes_: Labels in the order of the probabilities.
        alpha_: The penalty with the least error on held-out series.
        temperature_: What the scores are divided by, fitted to scores of each series by the model without it.
        feature_names_: Name of each column of `features`.

    Raises:
        ValueError: at `fit`, a value out of range, or series that cannot be used.

    Source:
        Dempster, Schmidt, Webb 2021, MiniRocket (arXiv:2012.08791), for shares above thresholds of random filters and
        a ridge model. Differs: filters are recurrent and have any memory, so features can be kept up online, know the
        sampling rate, and leave out what was not observed.

    Cost:
        Linear in the number of samples: about 1 ns a sample and filter. The ridge model takes n^2 P for n series and
        P = F (T + 1) features.

    Example:
        >>> import numpy as np
        >>> from seqkit.estimators import HiPPOFeaturesClassifier
        >>> random, steps = np.random.default_rng(0), np.arange(40)
        >>> X = np.stack([np.sin(steps / pace + random.uniform(0, 6))[None] for pace in (2.0, 3.0) * 10])
        >>> y = np.array(["quick", "slow"] * 10)
        >>> model = HiPPOFeaturesClassifier(n_filters=100, random_state=0).fit(X, y)
        >>> str(model.predict(X[:1])[0]), model.features(X).shape
        ('quick', (20, 500))
    """

    _tags: ClassVar[dict[str, Any]] = {**TAGS, "capability:predict_proba": True, "capability:class_weight": True}

    def __init__(
        self,
        n_filters: int = 768,
        *,
        n_thresholds: int = 4,
        alphas: Sequence[float] | None = None,
        class_weight: str | dict[Any, float] | None = None,
        sample_rate: float | None = None,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.n_filters = n_filters
        self.n_thresholds = n_thresholds
        self.alphas = alphas
        self.class_weight = class_weight
        self.sample_rate = sample_rate
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose
        super().__init__()

    def _fit(self, X: Any, y: Array) -> HiPPOFeaturesClassifier:
        codes = np.searchsorted(self.classes_, y)
        weight = _weights(self.class_weight, self.classes_, codes)
        targets = np.where(codes[:, None] == np.arange(len(self.classes_)), 1.0, -1.0)
        self._learn(X, targets, weight)
        self.temperature_ = temperature_of(self.ridge_.held_out, codes, weight)
        return self

    def _n_statistics(self, n_thresholds: int) -> int:
        return n_thresholds + 1  # mean and last output did not help on held-out training series

    def _predict(self, X: Any) -> Array:
        return np.asarray(self.classes_[self._scores(X).argmax(axis=1)])

    def _predict_proba(self, X: Any) -> Array:
        return probabilities(self._scores(X), self.temperature_)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Small settings for sktime's tests."""
        return [
            {"n_filters": 20, "random_state": 0, "n_jobs": 1},
            {"n_filters": 9, "n_thresholds": 2, "alphas": [1.0], "class_weight": "balanced", "random_state": 1},
        ]


class HiPPOFeaturesRegressor(FeatureEstimator, BaseRegressor):  # type: ignore[misc] # sktime has no types
    """Predicts a number for each series by a ridge model on pooled outputs of fixed random state-space filters.

        series -> standardise -> F random filters -> shares above T thresholds, maximum, mean, last, and
            signed logarithms of the last three -> ridge model

    The filters are those of `HiPPOFeaturesClassifier`. Beside shares and maximum, the mean and the last output of each
    filter are features: a number to predict may depend on the level of a series, not only on its shapes. So are signed
    logarithms of these, sign(x) log(1 + |x| / u) with u = 0.03 deviations: with them the model tells small outputs
    apart. Features are held at three deviations from their mean, so that a series unlike all others is not extrapolated
    to. Takes every panel of sktime's: series of unequal length, missing values (NaN is "not observed"), and times from
    the index, even at another rate than in training, or uneven.

    Args:
        n_filters: Number of filters F; the loops take 32 of a kind at once, so that multiples of 256 are used best.
        n_thresholds: Number of thresholds T of each filter.
        alphas: Penalties of the ridge model to choose from; None for twelve from 0.001 to 10000.
        sample_rate: Samples per second of the training series where their index does not say it (Hz).
        random_state: Seed of filters and thresholds: a whole number, a generator of numpy's, or None for a new one each
            time. Global generators are left alone.
        n_jobs: Threads; -1 for all cores, None for one.
        verbose: Whether to say on standard error what was made and how long it took.

    Attributes:
        alpha_: The penalty with the least error on held-out series.
        feature_names_: Name of each column of `features`.

    Raises:
        ValueError: at `fit`, a value out of range, or series that cannot be used.

    Source:
        Dempster, Schmidt, Webb 2021, MiniRocket (arXiv:2012.08791), for shares above thresholds of random filters and
        a ridge model.

    Example:
        >>> import numpy as np
        >>> from seqkit.estimators import HiPPOFeaturesRegressor
        >>> X = np.random.default_rng(0).normal(size=(60, 1, 30)).cumsum(axis=-1)
        >>> y = X[:, 0].max(axis=-1)
        >>> model = HiPPOFeaturesRegressor(n_filters=100, random_state=0).fit(X[:40], y[:40])
        >>> model.score(X[40:], y[40:]) > 0.8
        True
    """

    _tags: ClassVar[dict[str, Any]] = dict(TAGS)
    _logs = True

    def __init__(
        self,
        n_filters: int = 768,
        *,
        n_thresholds: int = 4,
        alphas: Sequence[float] | None = None,
        sample_rate: float | None = None,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.n_filters = n_filters
        self.n_thresholds = n_thresholds
        self.alphas = alphas
        self.sample_rate = sample_rate
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose
        super().__init__()

    def _fit(self, X: Any, y: Array) -> HiPPOFeaturesRegressor:
        self._learn(X, np.asarray(y, dtype=np.float64)[:, None], None)
        return self

    def _predict(self, X: Any) -> Array:
        return self._scores(X)[:, 0]

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Small settings for sktime's tests."""
        return [
            {"n_filters": 20, "random_state": 0, "n_jobs": 1},
            {"n_filters": 9, "n_thresholds": 2, "alphas": [1.0], "random_state": 1},
        ]


def _weights(given: Any, classes: Array, codes: Array) -> Array | None:
    """One weight for each series."""
    if given is None:
        return None
    if isinstance(given, str) and given == "balanced":
        each = len(codes) / (len(classes) * np.bincount(codes, minlength=len(classes)))
        return np.asarray(each[codes])
    if not isinstance(given, dict):
        raise ValueError(f'`class_weight` must be "balanced", a dictionary by label, or None, got {given!r}')
    known = classes.tolist()
    for label in given:
        if label not in known:
            raise ValueError(f"`class_weight` has the label {label!r}, which no series has; labels are {known}")
    each = np.array([float(check_not_negative("class_weight", given.get(label, 1.0))) for label in known])
    if not (each > 0).any():
        raise ValueError("`class_weight` must hold a weight above 0, got zeros only; leave it out for equal ones")
    return np.asarray(each[codes])
