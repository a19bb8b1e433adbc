"""What all estimators share: the bridge to scikit-learn, seeds, threads, and a rate told at prediction."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import torch

from seqkit.checks import check_positive
from seqkit.datasets.rows import Array

__all__ = ["SklearnBridge", "TellsRate", "TellsRateOfShares", "is_true", "seed_of", "threads"]

KEPT = ("_parent_callback_ctx", "_skl_callbacks")
"""What scikit-learn 1.9 hangs on an estimator before `fit` and takes off afterwards."""

WORTH_A_THREAD = 2**17
"""Numbers below which a thread of its own costs more than it brings; and a small fit is the same on any machine."""


class SklearnBridge:
    """What sktime 1.2 lacks for the tools of scikit-learn from 1.6 on; comes before the base class of sktime.

    `__sklearn_tags__` says what kind of estimator it is, and `reset`, which `fit` begins with, keeps what scikit-learn
    1.9 has hung on it. Without them `cross_val_score`, `GridSearchCV` and their like fail with an AttributeError.

    Example:
        >>> from sktime.classification.base import BaseClassifier
        >>> class Mine(SklearnBridge, BaseClassifier):
        ...     pass
        >>> Mine().__sklearn_tags__().estimator_type
        'classifier'
    """

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags  # noqa: PLC0415

        kind = self.get_tag("object_type")  # type: ignore[attr-defined]
        supervised = kind in ("classifier", "regressor")
        missing = bool(self.get_tag("capability:missing_values", False))  # type: ignore[attr-defined]
        return Tags(
            estimator_type=kind if supervised else None,
            target_tags=TargetTags(required=supervised),
            classifier_tags=ClassifierTags() if kind == "classifier" else None,
            regressor_tags=RegressorTags() if kind == "regressor" else None,
            input_tags=InputTags(two_d_array=True, three_d_array=True, allow_nan=missing),
        )

    def reset(self) -> Self:
        """Back to the state after construction, but for what scikit-learn has hung on the estimator."""
        kept = {name: self.__dict__[name] for name in KEPT if name in self.__dict__}
        super().reset()  # type: ignore[misc]
        self.__dict__.update(kept)
        return self


class TellsRate:
    """`predict` with `sample_rate`: samples per second of the series to predict, where their index does not say it.

    Comes before the base class of sktime, whose `predict` it calls on an estimator that knows the rate as `told_rate`.

    Example:
        >>> class Base:
        ...     def predict(self, X):
        ...         return self.told_rate
        >>> class Mine(TellsRate, Base):
        ...     pass
        >>> Mine().predict(None, sample_rate=50.0), Mine().predict(None)
        (50.0, None)
    """

    told_rate: float | None = None

    def predict(self, X: Any, sample_rate: float | None = None) -> Array:
        """Labels or values of series.

        Args:
            X: A panel, as for `fit`; longer or shorter series are fine.
            sample_rate: Samples per second where the index does not say it (Hz); None for that of the training series.

        Returns:
            Labels, or values in the unit of the target, (n,).

        Raises:
            NotFittedError: `fit` was not called yet.
            ValueError: another number of channels, a rate that contradicts the index, or uneven times for a mixer that
                has no notion of time.
        """
        out: Array = super(TellsRate, self.told(sample_rate)).predict(X)  # type: ignore[misc]
        return out

    def told(self, sample_rate: float | None) -> Self:
        """This estimator, or one that shares all its parts and knows another rate.

        Raises:
            ValueError: `sample_rate` is not positive.
        """
        if sample_rate is None:
            return self
        out = object.__new__(type(self))
        out.__dict__.update(self.__dict__)
        out.told_rate = float(check_positive("sample_rate", sample_rate))
        for name in ("classifiers_", "regressors_"):  # sktime's table of one estimator for each column of the target
            if name in out.__dict__:
                setattr(out, name, getattr(self, name).map(lambda one: one.told(sample_rate)))
        return out


class TellsRateOfShares(TellsRate):
    """`TellsRate` of a classifier: `predict_proba` takes the rate too.

    Example:
        >>> class Base:
        ...     def predict_proba(self, X):
        ...         return self.told_rate
        >>> class Mine(TellsRateOfShares, Base):
        ...     pass
        >>> Mine().predict_proba(None, sample_rate=50.0)
        50.0
    """

    def predict_proba(self, X: Any, sample_rate: float | None = None) -> Array:
        """Probabilities of the classes; arguments and errors as `predict`.

        Returns:
            Probabilities, (n, K), in the order of `classes_`.
        """
        out: Array = super(TellsRate, self.told(sample_rate)).predict_proba(X)  # type: ignore[misc]
        return out


def is_true(answer: Any) -> bool:
    """Whether a callback said True, as Python's own or as what a comparison of numpy's numbers gives.

    Example:
        >>> is_true(True), is_true(np.float64(1.0) > 0.5), is_true(1), is_true(None)
        (True, True, False, False)
    """
    return isinstance(answer, (bool, np.bool_)) and bool(answer)


def seed_of(random_state: Any) -> int:
    """A seed from what scikit-learn takes as `random_state`; global generators are neither read nor moved.

    Args:
        random_state: A whole number, a `numpy.random.RandomState` or `Generator`, which gives its next number, or None
            for a new seed at each call.

    Raises:
        ValueError: anything else.

    Example:
        >>> seed_of(7), seed_of(np.random.RandomState(0)) == seed_of(np.random.RandomState(0))
        (7, True)
    """
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0]) >> 1
    if isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool) and random_state >= 0:
        return int(random_state)
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31 - 1))
    raise ValueError(
        f"`random_state` must be a whole number of at least 0, a RandomState, a Generator or None, got {random_state!r}"
    )


@contextmanager
def threads(n_jobs: int | None, values: int | None = None) -> Iterator[None]:
    """Runs torch on this many threads at most, and on as many as before afterwards.

    Args:
        n_jobs: Number of threads; -1 for all cores. None is one, as in scikit-learn: for models of this size more bring
            little, and on a busy machine threads that wait for each other are slower by far.
        values: Numbers that one operation works on, where known: each thread is given enough to be worth it.

    Raises:
        ValueError: 0, or not a whole number.

    Example:
        >>> with threads(1):
        ...     torch.get_num_threads()
        1
    """
    n_jobs = 1 if n_jobs is None else n_jobs
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, (int, np.integer)) or n_jobs == 0:
        raise ValueError(f"`n_jobs` must be a number of threads, -1 for all cores, or None, got {n_jobs!r}")
    cores = os.cpu_count() or 1
    before = torch.get_num_threads()
    wanted = int(n_jobs) if n_jobs > 0 else max(1, cores + 1 + int(n_jobs))
    torch.set_num_threads(wanted if values is None else min(wanted, max(1, values // WORTH_A_THREAD)))
    try:
        yield
    finally:
        torch.set_num_threads(before)
