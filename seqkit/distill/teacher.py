"""Teachers that never label what they were trained on."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqkit.checks import check_positive_int
from seqkit.distill.artifact import FoldStore, OutOfFoldTargets, fingerprint
from seqkit.distill.folds import Folds, k_folds
from seqkit.distill.take import count_samples, take

__all__ = ["CrossFitTeacher", "average_probabilities", "described", "fresh", "one_hot", "predict_values"]

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
        ValueError: no estimator, one without the methods, or a number out of range.

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
        if not self.estimators:
            raise ValueError("`estimator` must be an estimator or a list of at least one, got an empty list")
        for one in self.estimators:
            if not hasattr(one, "fit") or not (hasattr(one, "predict_proba") or hasattr(one, "predict")):
                raise ValueError(
                    f"`estimator` must have fit and predict_proba (or predict, for values), got {type(one).__name__}"
                )
        if task not in (None, "classification", "regression"):
            raise ValueError(f"`task` must be classification or regression, got {task!r}")

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
            progress: Called with the number of folds done and in all, at the start and after each.

        Raises:
            ValueError: numbers of samples that differ, targets of a folder that are damaged or of something else, or
                an estimator that says something unusable.
        """
        y = np.asarray(y)
        n = count_samples(X)
        if len(y) != n:
            raise ValueError(f"`y` must hold a target for each of {n} samples, got {len(y)}")
        names: list[Hashable] = list(range(n)) if ids is None else list(ids)
        if len(names) != n:
            raise ValueError(f"`ids` must name each of {n} samples, got {len(names)} names")
        classifies = self.classifies
        self.classes_ = tuple(str(one) for one in np.unique(y)) if classifies else ()
        labels = y if classifies else y.astype(np.float64).reshape(n, -1)
        folds = self._folds(names, y if classifies else None)
        if len(folds) != n:
            raise ValueError(f"`folds` must be of {n} samples, got {len(folds)}")
        store = FoldStore(folder)
        store.begin(names, folds, self.classes_, fingerprint(_content(X), y, self._described(), self.seed))
        self.teachers_ = [None] * folds.n_folds
        for k in range(folds.n_folds):
            if progress is not None:
                progress(k, folds.n_folds)
            if store.has(k):
                store.read(k)  # a damaged file is found before hours of fitting
                continue
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
        return self.task == "classification" if self.task else hasattr(self.estimators[0], "predict_proba")

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
        return np.asarray(np.mean([predict_values(one, X) for one in members], axis=0))

    def _score(self, values: Array, y: Array) -> float:
        if self.classes_:
            return float(np.mean(np.array(self.classes_)[values.argmax(axis=1)] == y.astype(str)))
        return float(((values - y) ** 2).mean())

    def _described(self) -> list[str]:
        return [*map(described, self.estimators), str(self.n_members)]


def fresh(estimator: Any, seed: Sequence[int]) -> Any:
    """An unfitted copy of an estimator, with a `random_state` of its own where it has one.

    Args:
        estimator: Any estimator.
        seed: Numbers that determine the `random_state`.

    Example:
        >>> from sklearn.tree import DecisionTreeClassifier
        >>> fresh(DecisionTreeClassifier(), [0]) == fresh(DecisionTreeClassifier(), [0])
        False
        >>> fresh(DecisionTreeClassifier(), [0]).random_state == fresh(DecisionTreeClassifier(), [0]).random_state
        True
    """
    made = copy.deepcopy(estimator)
    if hasattr(made, "get_params") and hasattr(made, "set_params"):
        made = type(made)(**made.get_params(deep=False)) if _takes_its_params(made) else made
        if "random_state" in made.get_params(deep=False):
            made.set_params(random_state=int(np.random.default_rng([*seed]).integers(2**31 - 1)))
    return made


def described(estimator: Any) -> str:
    """An estimator in its own words, to tell one from another in the next process too.

    Args:
        estimator: Any object; of its words an address in memory is left out.

    Example:
        >>> from sklearn.tree import DecisionTreeClassifier
        >>> described(DecisionTreeClassifier(max_depth=2))
        'DecisionTreeClassifier(max_depth=2)'
    """
    return re.sub(r" at 0x[0-9a-f]+", "", repr(estimator))


def average_probabilities(members: Sequence[Any], X: Any, classes: Sequence[str]) -> Array:
    """Mean of the members' probabilities, not of their logits, in the order of `classes`, (n, k).

    Args:
        members: Fitted classifiers; one that never saw a class gives it the probability 0.
        X: Samples.
        classes: All labels, as text.

    Raises:
        ValueError: a member that gives NaN, or probabilities of another number of classes than it knows.

    Example:
        >>> from sklearn.dummy import DummyClassifier
        >>> one = DummyClassifier().fit([[0], [0]], ["a", "b"])
        >>> two = DummyClassifier().fit([[0], [0]], ["b", "b"])
        >>> average_probabilities([one, two], [[0]], ["a", "b"]).tolist()
        [[0.25, 0.75]]
    """
    place = {label: i for i, label in enumerate(classes)}
    total: Any = 0.0
    for one in members:
        given = np.asarray(one.predict_proba(X), dtype=np.float64)
        known = [str(label) for label in getattr(one, "classes_", classes)]
        if given.ndim != 2 or given.shape[1] != len(known) or not np.isfinite(given).all():
            raise ValueError(
                f"{type(one).__name__} must give a finite probability for each of its {len(known)} classes, "
                f"got shape {given.shape}"
            )
        full = np.zeros((len(given), len(classes)))
        full[:, [place[label] for label in known]] = given
        total = total + full
    return np.asarray(total / len(members))


def predict_values(estimator: Any, X: Any) -> Array:
    """What a fitted regression predicts, (n, k).

    Raises:
        ValueError: NaN or infinite values.

    Example:
        >>> from sklearn.dummy import DummyRegressor
        >>> predict_values(DummyRegressor().fit([[0], [0]], [1.0, 2.0]), [[0]]).tolist()
        [[1.5]]
    """
    given = np.asarray(estimator.predict(X), dtype=np.float64)
    if not np.isfinite(given).all():
        raise ValueError(f"{type(estimator).__name__} predicts NaN or infinite values; choose another teacher")
    return given.reshape(len(given), -1)


def one_hot(y: Any, classes: Sequence[str]) -> Array:
    """Labels as 0 and 1, (n, k), float32.

    Example:
        >>> one_hot(["b", "a"], ["a", "b"]).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    return np.asarray(np.asarray(y).astype(str)[:, None] == np.asarray(classes)[None], dtype=np.float32)


def _takes_its_params(estimator: Any) -> bool:
    """Whether the constructor takes exactly what `get_params` gives: then making it anew forgets every fit."""
    names = set(inspect.signature(type(estimator).__init__).parameters) - {"self"}
    return set(estimator.get_params(deep=False)) == names


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
