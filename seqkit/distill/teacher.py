"""Teachers that never label what they were trained on."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqkit.checks import check_positive_int
from seqkit.distill.artifact import FoldStore, OutOfFoldTargets, fingerprint
from seqkit.distill.estimators import (
    average_probabilities,
    check_estimators,
    described,
    fresh,
    predict_values,
    says_classes,
)
from seqkit.distill.folds import Folds, k_folds
from seqkit.distill.labels import as_values, label_names
from seqkit.distill.take import count_samples, take

__all__ = ["CrossFitTeacher"]

Array = np.ndarray[Any, Any]


class CrossFitTeacher:
    """Labels each training sample with a teacher that was trained without it.

    Samples are cut into K folds; teacher k is trained on everything outside fold k (and its embargo) and labels fold k.
    A student then learns from all samples. What a teacher merely remembers of its own training labels, which no student
    should learn, stays out.

    Args:
        estimator: An object with `fit(X, y)` and `predict_proba(X)` or, for values, `predict(X)`: of scikit-learn, of
            sktime, of this toolkit, or your own. It stays unfitted. A list of several is an ensemble, whose
            probabilities are averaged.
        folds: Who labels what, from `k_folds`, `group_folds`, `time_folds` or `in_sample_fold`; or a number of folds,
            drawn by class.
        n_members: Copies of the estimator for each fold, which differ in `random_state`; their mean is the teacher.
        task: "classification" or "regression"; None for classification where the estimator has `predict_proba`.
        seed: Seed of the folds and of `random_state`, where the estimator has one.

    Attributes:
        teachers_: The fitted members, fold by fold; folds that were read from a folder are None.

    Raises:
        ValueError: no estimator, one without the methods that the task needs, or a number out of range.

    Source:
        Dao et al. 2021, Knowledge distillation as semiparametric inference (arXiv:2104.09732).

    Cost:
        K (or K times `n_members`) fits.

    Example:
        >>> from sklearn.neighbors import KNeighborsClassifier
        >>> X, y = np.arange(40.0)[:, None], np.arange(40) % 2
        >>> targets = CrossFitTeacher(KNeighborsClassifier(1), 4).targets(X, y)
        >>> targets.seen[0], targets.unseen[0]  # the nearest sample is the sample itself, if it may be
        (1.0, 0.0)
    """

    def __init__(
        self,
        estimator: Any,
        folds: Folds | int = 5,
        *,
        n_members: int = 1,
        task: str | None = None,
        seed: int = 0,
    ) -> None:
        self.estimators = list(estimator) if isinstance(estimator, (list, tuple)) else [estimator]
        self.folds = folds
        self.n_members = check_positive_int("n_members", n_members)
        self.task = task
        self.seed = seed
        self.teachers_: list[list[Any] | None] = []
        self.classes_: tuple[str, ...] = ()
        self._width: int | None = None
        if task not in (None, "classification", "regression"):
            raise ValueError(f"`task` must be classification or regression, got {task!r}")
        check_estimators(self.estimators, task)

    def targets(
        self,
        X: Any,
        y: Any,
        *,
        ids: Sequence[Hashable] | None = None,
        folder: str | Path | None = None,
        progress: Callable[[int, int], object] | None = None,
    ) -> OutOfFoldTargets:
        """Fits the teachers fold by fold and returns what they say of the folds.

        Args:
            X: Samples, in any form that `take` knows and the estimator reads.
            y: A label each, or values (n,) or (n, k).
            ids: Name of each sample; 0, 1, ... if None. Drawn folds depend on them.
            folder: Where each fold is kept as soon as it is there. A call that finds some goes on with the next;
                estimators and data must be the same ones. None keeps nothing.
            progress: Called with the number of folds done and in all, before each that is fitted and at the end.

        Raises:
            ValueError: numbers of samples that differ, a missing label, labels where teachers predict values, a teacher
                that would see one class only, targets of a folder that are damaged or of something else, or an
                estimator that says something unusable.
        """
        y = np.asarray(y)
        n = count_samples(X)
        if y.ndim == 0 or len(y) != n:
            raise ValueError(f"`y` must hold a target for each of {n} samples, got {len(y) if y.ndim else y}")
        if self.classifies and y.ndim != 1:
            raise ValueError(f"`y` must have shape (n,), one label for each sample, got {y.shape}; teach one at a time")
        names: list[Hashable] = list(range(n)) if ids is None else list(ids)
        if len(names) != n:
            raise ValueError(f"`ids` must name each of {n} samples, got {len(names)} names")
        classifies = self.classifies
        labels = y if classifies else as_values(y)
        self.classes_ = label_names(y) if classifies else ()
        self._width = None if classifies else labels.shape[1]
        folds = self._folds(names, y if classifies else None)
        if len(folds) != n:
            raise ValueError(f"`folds` must be of {n} samples, got {len(folds)}")
        if classifies:
            _check_classes(y, folds)
        store = FoldStore(folder)
        store.begin(names, folds, self.classes_, fingerprint(_content(X), y, self._described(), self.seed))
        self.teachers_ = [None] * folds.n_folds
        for k in range(folds.n_folds):
            if store.has(k):
                store.read(k)  # a damaged file is found before hours of fitting
                continue
            if progress is not None:
                progress(k, folds.n_folds)
            members = self.teachers_[k] = self._fit(take(X, folds.train[k]), y[folds.train[k]], k)
            inside = self._values(members, take(X, folds.train[k]))
            outside = inside if folds.in_sample else self._values(members, take(X, folds.members(k)))
            seen, unseen = labels[folds.train[k]], labels[folds.members(k)]
            square = None if classifies else ((outside - unseen) ** 2).mean(axis=0)
            store.write(k, outside, seen=self._score(inside, seen), unseen=self._score(outside, unseen), square=square)
        if progress is not None:
            progress(folds.n_folds, folds.n_folds)
        return store.gather(names, folds, self.classes_)

    def predict(self, X: Any) -> Array:
        """Mean of all fold teachers for samples that none was trained on, such as unlabelled ones, (n, k).

        Raises:
            ValueError: nothing was fitted, or some folds were only read from a folder.
        """
        if not self.teachers_ or any(members is None for members in self.teachers_):
            raise ValueError("the teachers of some folds are not here; call `targets` without a folder first")
        known = [self._values(members, X) for members in self.teachers_ if members is not None]
        return np.asarray(np.mean(known, axis=0))

    @property
    def classifies(self) -> bool:
        """Whether the teachers give probabilities of classes."""
        return self.task == "classification" if self.task else says_classes(self.estimators[0])

    def _folds(self, ids: Sequence[Hashable], labels: Array | None) -> Folds:
        if isinstance(self.folds, Folds):
            return self.folds
        return k_folds(ids, self.folds, labels=labels, seed=self.seed)

    def _fit(self, X: Any, y: Array, k: int) -> list[Any]:
        members = [
            fresh(one, [self.seed, k, place, member])
            for place, one in enumerate(self.estimators)
            for member in range(self.n_members)
        ]
        for one in members:
            one.fit(X, y)
        return members

    def _values(self, members: Sequence[Any], X: Any) -> Array:
        if self.classes_:
            return average_probabilities(members, X, self.classes_)
        return np.asarray(np.mean([predict_values(one, X, self._width) for one in members], axis=0))

    def _score(self, values: Array, y: Array) -> float:
        if self.classes_:
            return float(np.mean(np.array(self.classes_)[values.argmax(axis=1)] == y.astype(str)))
        return float(((values - y) ** 2).mean())

    def _described(self) -> list[str]:
        return [*map(described, self.estimators), str(self.n_members)]


def _check_classes(y: Array, folds: Folds) -> None:
    """A teacher of one class has nothing to say; some estimators fail on it in words of their own."""
    for k, train in enumerate(folds.train):
        known = np.unique(y[train])
        if len(known) < 2:
            whose = "" if folds.in_sample else f" outside fold {k} of {folds.n_folds}"
            raise ValueError(
                f"`y` must hold two classes or more for a teacher to learn, got {str(known[0])!r} alone{whose}; give "
                "other folds, or data of more classes"
            )


def _content(X: Any) -> Any:
    """What tells data apart: the array itself where there is one."""
    if isinstance(X, np.ndarray) and X.dtype != object:
        return X
    if hasattr(X, "to_numpy"):
        values = X.to_numpy()
        if values.dtype != object:
            return values
    rows = getattr(X, "values", X) if not hasattr(X, "iloc") else X.to_numpy()
    return fingerprint(*(np.asarray(one) for one in rows))
