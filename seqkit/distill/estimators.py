"""What teachers and students must be able to do, and what they say, looked at before it is believed."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from seqkit.distill.take import count_samples

__all__ = [
    "average_probabilities",
    "check_estimators",
    "check_student",
    "described",
    "fresh",
    "predict_values",
    "says_classes",
    "weight_argument",
]

Array = np.ndarray[Any, Any]


def check_estimators(estimators: Sequence[Any], task: str | None = None) -> None:
    """Refuses teachers that cannot teach, before any of them is fitted.

    Args:
        estimators: All members of an ensemble.
        task: "classification", "regression" or None for what the first one does.

    Raises:
        ValueError: none at all, a class instead of an object, or one without the methods of the task.

    Example:
        >>> from sklearn.svm import LinearSVC
        >>> check_estimators([LinearSVC()])
        Traceback (most recent call last):
        ...
        ValueError: `estimator` must have fit and predict_proba to teach classes, got LinearSVC; wrap it in one that \
has, such as sklearn's CalibratedClassifierCV
    """
    if not estimators:
        raise ValueError("`estimator` must be an estimator or a list of at least one, got an empty list")
    classifies = task == "classification" if task else says_classes(estimators[0])
    needed = "predict_proba" if classifies else "predict"
    for one in estimators:
        if isinstance(one, type):
            raise ValueError(f"`estimator` must be an object, got the class {one.__name__}; call it to make one")
        if task == "regression" and _calls_itself_classifier(one):
            raise ValueError(
                f"`estimator` must predict values for a regression, got the classifier {type(one).__name__}; take a "
                "regressor"
            )
        if task is None and not (hasattr(one, "fit") and (hasattr(one, "predict") or hasattr(one, "predict_proba"))):
            raise ValueError(
                f"`estimator` must have fit and predict_proba (or predict, for values), got {type(one).__name__}"
            )
        if task is None and says_classes(one) != classifies:
            raise ValueError(
                f"`estimator` must be classifiers only or regressors only, got {type(estimators[0]).__name__} and "
                f"{type(one).__name__}; teach with one kind"
            )
        if not hasattr(one, "fit") or not hasattr(one, needed):
            advice = "; wrap it in one that has, such as sklearn's CalibratedClassifierCV" if classifies else ""
            what = "classes" if classifies else "values"
            raise ValueError(
                f"`estimator` must have fit and {needed} to teach {what}, got {type(one).__name__}{advice}"
            )


def check_student(student: Any, *, classifies: bool) -> None:
    """Refuses a student that cannot learn from soft targets, before any teacher is fitted.

    Args:
        student: An estimator.
        classifies: Whether it is to learn probabilities of classes, or values.

    Raises:
        ValueError: no estimator, a classifier of values, or one that takes no weights of samples.

    Example:
        >>> from sklearn.neighbors import KNeighborsClassifier
        >>> check_student(KNeighborsClassifier(), classifies=True)
        Traceback (most recent call last):
        ...
        ValueError: `student` must take `sample_weight` in fit to learn from probabilities as a classifier, got \
KNeighborsClassifier; take another, or one that predicts values
    """
    name = student.__name__ if isinstance(student, type) else type(student).__name__
    if isinstance(student, type) or not (hasattr(student, "fit") and hasattr(student, "predict")):
        raise ValueError(f"`student` must be an estimator with fit and predict, got {name}; make or choose another")
    if not says_classes(student):
        return
    if not classifies:
        raise ValueError(f"`student` must predict values as its teachers do, got the classifier {name}; take another")
    if weight_argument(student) is None:
        raise ValueError(
            f"`student` must take `sample_weight` in fit to learn from probabilities as a classifier, got {name}; take "
            "another, or one that predicts values"
        )
    if not hasattr(student, "predict_proba"):
        raise ValueError(
            f"`student` must have predict_proba as a classifier, got {name}; take one that predicts values"
        )


def weight_argument(student: Any) -> str | None:
    """Name by which `fit` takes weights of samples: of a pipeline, its last step's; None where it takes none.

    Example:
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.tree import DecisionTreeClassifier
        >>> weight_argument(make_pipeline(DecisionTreeClassifier()))
        'decisiontreeclassifier__sample_weight'
    """
    takes = inspect.signature(student.fit).parameters.values()
    if any(one.name == "sample_weight" for one in takes):
        return "sample_weight"
    if not any(one.kind == one.VAR_KEYWORD for one in takes):
        return None
    steps = getattr(student, "steps", None)
    if not steps:
        return "sample_weight"
    name, last = steps[-1]
    inner = weight_argument(last) if hasattr(last, "fit") else None
    return None if inner is None else f"{name}__{inner}"


def says_classes(estimator: Any) -> bool:
    """Whether an estimator is a classifier: by `predict_proba`, or, without it, by its own word.

    Example:
        >>> from sklearn.svm import LinearSVC, LinearSVR
        >>> says_classes(LinearSVC()), says_classes(LinearSVR())
        (True, False)
    """
    return hasattr(estimator, "predict_proba") or _calls_itself_classifier(estimator)


def _calls_itself_classifier(estimator: Any) -> bool:
    kind = getattr(estimator, "_estimator_type", None)
    if kind is None and hasattr(estimator, "__sklearn_tags__") and not isinstance(estimator, type):
        kind = estimator.__sklearn_tags__().estimator_type
    return bool(kind == "classifier")


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
        ValueError: a member that gives something else than probabilities, for another number of samples or classes,
            or of classes that are not among `classes`.

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
        _check_probabilities(type(one).__name__, given, count_samples(X), known, place)
        full = np.zeros((len(given), len(classes)))
        full[:, [place[label] for label in known]] = given
        total = total + full
    return np.asarray(total / len(members))


def predict_values(estimator: Any, X: Any, width: int | None = None) -> Array:
    """What a fitted regression predicts, (n, k).

    Args:
        estimator: Fitted.
        X: Samples.
        width: Number of values k that each sample has; None for any.

    Raises:
        ValueError: NaN or infinite values, or another number of samples or values.

    Example:
        >>> from sklearn.dummy import DummyRegressor
        >>> predict_values(DummyRegressor().fit([[0], [0]], [1.0, 2.0]), [[0]]).tolist()
        [[1.5]]
    """
    given, n = np.asarray(estimator.predict(X), dtype=np.float64), count_samples(X)
    if not np.isfinite(given).all():
        raise ValueError(f"{type(estimator).__name__} predicts NaN or infinite values; choose another teacher")
    if given.shape[:1] != (n,) or (width is not None and given.size != n * width):
        each = "" if width is None else f"{width} value{'s' if width > 1 else ''} for "
        raise ValueError(f"{type(estimator).__name__} must predict {each}each of {n} samples, got shape {given.shape}")
    return given.reshape(n, -1)


def _check_probabilities(name: str, given: Array, n: int, known: Sequence[str], place: dict[str, int]) -> None:
    """Refuses what is not one probability for each sample and class that the student knows too."""
    strange = [label for label in known if label not in place]
    if strange:
        raise ValueError(
            f"{name} knows the class {strange[0]!r}, which is none of the labels ({', '.join(list(place)[:4])}"
            f"{', ...' if len(place) > 4 else ''}); its `classes_` must be labels that it was fitted on"
        )
    if given.shape != (n, len(known)) or not np.isfinite(given).all():
        raise ValueError(
            f"{name} must give each of {n} samples a finite probability for each of its {len(known)} classes, got "
            f"shape {given.shape}" + ("" if np.isfinite(given).all() else " with NaN or infinite values")
        )
    # A hundredth is more than half precision loses.
    if n and ((given < -1e-6).any() or abs(given.sum(axis=1) - 1).max() > 1e-2):
        raise ValueError(
            f"{name} must give probabilities of 0 or above that sum to 1, got a smallest of {given.min():.3g} and sums "
            f"from {given.sum(axis=1).min():.3g} to {given.sum(axis=1).max():.3g}; calibrate it"
        )


def _takes_its_params(estimator: Any) -> bool:
    """Whether the constructor takes exactly what `get_params` gives: then making it anew forgets every fit."""
    names = set(inspect.signature(type(estimator).__init__).parameters) - {"self"}
    return set(estimator.get_params(deep=False)) == names
