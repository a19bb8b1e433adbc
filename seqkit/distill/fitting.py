"""What a student learns from: targets, and the fit of an estimator to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from seqkit.distill.artifact import OutOfFoldTargets
from seqkit.distill.estimators import average_probabilities, predict_values, weight_argument
from seqkit.distill.labels import as_values, one_hot
from seqkit.distill.links import get_link
from seqkit.distill.take import take
from seqkit.distill.target import CorrectedTarget

__all__ = ["corrected_targets", "fit_student", "student_probabilities", "truth_of"]

Array = np.ndarray[Any, Any]


def corrected_targets(
    said: OutOfFoldTargets, truth: Array, target: CorrectedTarget, places: Array | None = None
) -> Array:
    """Targets of samples, (n, k), in float64; a sample that no teacher labelled gets its label.

    Args:
        said: What the teachers said.
        truth: Labels as 0 and 1, or values, (n, k).
        target: Link and correction.
        places: Places of the samples; None for all.

    Raises:
        ValueError: samples without a teacher on a link that takes no label.

    Example:
        >>> from seqkit.distill import in_sample_fold
        >>> said = OutOfFoldTargets(("a",), in_sample_fold(1), np.full((1, 2), 0.5, np.float32), ("x", "y"))
        >>> corrected_targets(said, np.array([[1.0, 0.0]]), CorrectedTarget(gamma="scalar", c=0.25)).tolist()
        [[0.75, 0.25]]
    """
    every = slice(None) if places is None else places
    taught, truth = said.taught[every], np.asarray(truth, dtype=np.float64)[every]
    if not taught.all() and get_link(target.link).needs_probabilities:
        raise ValueError(
            f"{int((~taught).sum())} samples have no teacher and get their labels, which the {target.link} link cannot "
            "take; use the identity link"
        )
    out, v = truth.copy(), None if said.v is None else said.v.astype(np.float64)[every][taught]
    out[taught] = target(said.values.astype(np.float64)[every][taught], truth[taught], v)
    return out


def truth_of(y: Array, classes: Sequence[str]) -> Array:
    """Labels as 0 and 1, or values, (n, k), in float64.

    Example:
        >>> truth_of(np.array(["b"]), ["a", "b"]).tolist()
        [[0.0, 1.0]]
    """
    return one_hot(y, classes).astype(np.float64) if classes else as_values(y)


def fit_student(student: Any, X: Any, goals: Array, classes: Sequence[str]) -> Any:
    """Fits a student to targets (n, k) and returns it; one that classifies takes them as weights of the classes.

    Raises:
        ValueError: a student that classifies, and targets that are no probabilities.

    Example:
        >>> from sklearn.linear_model import LinearRegression
        >>> X = np.array([[0.0], [1.0]])
        >>> line = fit_student(LinearRegression(), X, np.array([[1.0, 0.0], [0.5, 0.5]]), ["a", "b"])
        >>> student_probabilities(line, X, ["a", "b"], "identity").round(6).tolist()
        [[1.0, 0.0], [0.5, 0.5]]
    """
    if not (classes and hasattr(student, "predict_proba")):
        # Of two classes one says all, and some students take a single value only.
        column = goals[:, -1] if goals.shape[1] == 1 or len(classes) == 2 else goals
        student.fit(X, column)
        return student
    if (goals < 0).any() or (abs(goals.sum(axis=1) - 1) > 1e-5).any():
        raise ValueError(
            "a student that classifies needs targets that are probabilities; use the identity link and gamma 'scalar', "
            "or a student that predicts values"
        )
    rows, labels = np.nonzero(goals > 0)
    name = weight_argument(student) or "sample_weight"
    student.fit(take(X, rows), np.array(classes)[labels], **{name: goals[rows, labels]})
    return student


def student_probabilities(student: Any, X: Any, classes: Sequence[str], link: str) -> Array:
    """What a student fitted on a link's scale says of samples, as probabilities (n, k); see `fit_student`."""
    if hasattr(student, "predict_proba"):
        return average_probabilities([student], X, classes)
    scores = predict_values(student, X)
    p = get_link(link).inverse(torch.from_numpy(scores)).numpy().clip(0, 1)
    if p.shape[1] == 1:
        return np.concatenate([1 - p, p], axis=1)
    total = p.sum(axis=1, keepdims=True)
    return np.where(total > 0, p / np.where(total > 0, total, 1), 1 / len(classes))
