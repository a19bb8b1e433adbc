"""A student of any estimator, for people who have arrays and no run."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seqkit.checks import check_choice, check_positive_int
from seqkit.distill.artifact import OutOfFoldTargets
from seqkit.distill.choose import C_GRID, smallest_within_one_error
from seqkit.distill.estimators import (
    as_values,
    average_probabilities,
    check_student,
    fresh,
    one_hot,
    predict_values,
    says_classes,
)
from seqkit.distill.folds import Folds, in_sample_fold, k_folds
from seqkit.distill.links import get_link
from seqkit.distill.take import count_samples, take
from seqkit.distill.target import CorrectedTarget
from seqkit.distill.teacher import CrossFitTeacher

__all__ = ["METHODS", "Distilled", "check_method", "corrected_targets", "distill"]

Array = np.ndarray[Any, Any]

METHODS = ("labels", "plain", "crossfit", "corrected", "both")
"""Labels alone; a teacher that saw them; one that did not; corrections by labels; and the last two together."""


@dataclass(frozen=True, eq=False)
class Distilled:
    """A fitted student and how it came about.

    Args:
        student: The fitted estimator.
        method: One of `METHODS`.
        classes: Labels in the order of the probabilities; empty for values.
        link: Scale that the student predicts on.
        c: Weight of the correction; 0 without one.
        targets: What the teachers said; None for labels alone.
        tried: Mean loss on unseen labels by c, where c was chosen.

    Example:
        >>> import numpy as np
        >>> from sklearn.tree import DecisionTreeRegressor
        >>> tree = DecisionTreeRegressor().fit([[0], [1]], [0.0, 1.0])
        >>> Distilled(tree, "labels", ("a", "b")).predict(np.array([[1]])).tolist()
        ['b']
    """

    student: Any
    method: str
    classes: tuple[str, ...] = ()
    link: str = "identity"
    c: float = 0.0
    targets: OutOfFoldTargets | None = None
    tried: dict[float, float] = field(default_factory=dict)

    def predict_proba(self, X: Any) -> Array:
        """Probabilities (n, k) in the order of `classes`.

        Raises:
            ValueError: the student predicts values.
        """
        if not self.classes:
            raise ValueError("the student predicts values and no classes; use predict")
        return _probabilities(self.student, X, self.classes, self.link)

    def predict(self, X: Any) -> Array:
        """Labels as text, or values (n, k)."""
        if self.classes:
            return np.asarray(np.array(self.classes)[self.predict_proba(X).argmax(axis=1)])
        return predict_values(self.student, X)


def distill(
    teacher: Any,
    student: Any,
    X: Any,
    y: Any,
    *,
    method: str = "both",
    folds: Folds | int = 5,
    target: CorrectedTarget | None = None,
    c: float | str = "auto",
    held_out: int = 2,
    n_members: int = 1,
    ids: Sequence[Hashable] | None = None,
    folder: str | Path | None = None,
    task: str | None = None,
    seed: int = 0,
    force: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> Distilled:
    """Fits a student to what a teacher says of samples that the teacher did not see, corrected by the labels.

    Args:
        teacher: One estimator or a list; see `CrossFitTeacher`.
        student: An estimator that predicts values and takes a target (n,) or (n, k), such as a small forest of
            regression trees; or a classifier whose `fit` takes `sample_weight`, which needs the identity link.
        X: Samples.
        y: Labels or values.
        method: "labels" (no teacher), "plain" (the teacher saw every label), "crossfit", "corrected" (plain with
            corrections, which is refused without `force`) or "both".
        folds: Number of folds, or the folds themselves.
        target: Link and form of the correction; by default one gamma a sample on the identity link.
        c: Weight of the correction; "auto" takes the smallest within one standard error of the best of `C_GRID`.
        held_out: Number of folds on whose labels c is chosen, one after the other; each costs a teacher for every other
            fold, which sees nothing of either.
        n_members: Members of the teacher; see `CrossFitTeacher`.
        ids: Name of each sample.
        folder: Where the teachers' values are kept, fold by fold, so that a killed run goes on.
        task: "classification" or "regression"; the teacher's if None.
        seed: Seed of folds, teachers and student.
        force: Whether corrections are allowed with a teacher that saw the labels.
        progress: Called with the folds done and in all, before each that is fitted and at the end.

    Returns:
        The student, with the teachers' values and the c that was chosen.

    Raises:
        ValueError: an unknown method, corrections of a teacher that saw the labels, a student that cannot learn from
            soft targets, or what the parts refuse.

    Source:
        Dao et al. 2021, Knowledge distillation as semiparametric inference (arXiv:2104.09732).

    Cost:
        K fits of the teacher for K folds, and one of the student; for "auto" K - 1 more of the teacher and 7 of the
        student for each fold that is held out.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.ensemble import RandomForestClassifier
        >>> from sklearn.tree import DecisionTreeRegressor
        >>> X, y = load_iris(return_X_y=True)
        >>> tree = DecisionTreeRegressor(max_depth=3)
        >>> found = distill(RandomForestClassifier(20), tree, X, y, method="crossfit")
        >>> bool((found.predict(X) == y.astype(str)).mean() > 0.9)
        True
    """
    check_method(method, force=force)
    check_positive_int("held_out", held_out)
    n, y = count_samples(X), np.asarray(y)
    teachers = CrossFitTeacher(teacher, in_sample_fold(n) if method in ("plain", "corrected") else folds,
                               n_members=n_members, task=task, seed=seed)  # fmt: skip
    classifies = teachers.classifies
    check_student(student, classifies=classifies)
    if y.ndim == 0 or len(y) != n:
        raise ValueError(f"`y` must hold a target for each of {n} samples, got {len(y) if y.ndim else y}")
    wanted = target or CorrectedTarget(gamma="scalar" if classifies else "fast")
    if method == "labels":
        classes = tuple(str(one) for one in np.unique(y)) if classifies else ()
        truth = _truth(y, classes)
        # With gamma 1 on the identity link a target is the label; other links cannot take a label.
        fitted = _fit(fresh(student, [seed]), X, truth, classes)
        return Distilled(fitted, method, classes)
    if c == "auto" and method in ("corrected", "both") and wanted.gamma != "orthogonal":
        count = folds.n_folds if isinstance(folds, Folds) else folds
        if isinstance(count, int) and count < 3:
            raise ValueError(
                f"`c` must be a number where there are fewer than three folds, got 'auto' with {count}; choosing it "
                "holds a fold out and cross-fits teachers on the others, so give c or more folds"
            )
    if classifies and says_classes(student) and wanted.link != "identity":
        raise ValueError(
            f"`target` must have the identity link for a student that classifies, got {wanted.link!r}; take a student "
            "that predicts values"
        )
    said = teachers.targets(X, y, ids=ids, folder=folder, progress=progress)
    truth = _truth(y, said.classes)
    if method in ("plain", "crossfit"):
        wanted = replace(wanted, gamma="none")
    elif wanted.gamma == "none":
        raise ValueError(
            f"`target` must correct for method {method}, got gamma 'none'; choose method crossfit or plain"
        )
    tried: dict[float, float] = {}
    if wanted.gamma in ("none", "orthogonal"):
        weight = 0.0 if wanted.gamma == "none" else math.inf
    elif c == "auto":
        parts = (
            folds if isinstance(folds, Folds) else k_folds(ids or n, folds, labels=y if classifies else None, seed=seed)
        )
        place = None if folder is None else Path(folder)
        losses = _losses(teachers, student, (X, y, truth), parts, min(held_out, parts.n_folds), wanted, place, ids)
        weight = smallest_within_one_error(losses)
        tried = dict(zip(C_GRID, losses.mean(axis=1).tolist(), strict=True))
    else:
        weight = c  # type: ignore[assignment] # the target refuses what is no number
    wanted = wanted if wanted.gamma in ("none", "orthogonal") else replace(wanted, c=weight)
    fitted = _fit(fresh(student, [seed]), X, corrected_targets(said, truth, wanted), said.classes)
    return Distilled(fitted, method, said.classes, wanted.link, weight, said, tried)


def check_method(method: str, *, force: bool = False) -> str:
    """Returns a method of `METHODS`.

    Raises:
        ValueError: another one, or corrections with a teacher that saw the labels, without `force`.

    Example:
        >>> check_method("both")
        'both'
    """
    check_choice("method", method, METHODS)
    if method == "corrected" and not force:
        raise ValueError(
            "method 'corrected' takes corrections from a teacher that saw the labels, which harms where it remembers "
            "them; choose method both, or force it"
        )
    return method


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


def _truth(y: Array, classes: Sequence[str]) -> Array:
    return one_hot(y, classes).astype(np.float64) if classes else as_values(y)


def _losses(
    teachers: CrossFitTeacher,
    student: Any,
    data: tuple[Any, Array, Array],
    folds: Folds,
    held_out: int,
    target: CorrectedTarget,
    folder: Path | None,
    ids: Sequence[Hashable] | None,
) -> Array:
    """Squared error, of classes the Brier score, of students of each c on labels that no teacher of theirs saw.

    The fold teachers themselves would not do: each saw the labels of all folds but one, and a teacher that remembers
    carries them over to the samples beside them.
    """
    X, y, truth = data
    found = []
    for k in range(held_out):
        inner = _without(folds, k)
        said = CrossFitTeacher(
            teachers.estimators, inner, n_members=teachers.n_members, task=teachers.task, seed=teachers.seed
        ).targets(X, y, ids=ids, folder=None if folder is None else folder / f"without-{k:03d}")
        train, mine = folds.train[k], folds.members(k)
        learned, unseen, rows = take(X, train), take(X, mine), []
        for c in C_GRID:
            goals = corrected_targets(said, truth, replace(target, c=c), train)
            fitted = _fit(fresh(student, [teachers.seed, k]), learned, goals, said.classes)
            guess = (
                _probabilities(fitted, unseen, said.classes, target.link)
                if said.classes
                else predict_values(fitted, unseen)
            )
            rows.append(((guess - truth[mine]) ** 2).sum(axis=1))
        found.append(np.stack(rows))
    return np.concatenate(found, axis=1)


def _without(folds: Folds, k: int) -> Folds:
    """The other folds, whose teachers see nothing of fold k either."""
    others = [j for j in range(folds.n_folds) if j != k]
    fold = np.full(len(folds), -1, dtype=np.int64)
    for place, j in enumerate(others):
        # Within the embargo of fold k nobody is labelled, since nobody there is trained on.
        fold[np.intersect1d(folds.members(j), folds.train[k])] = place
    return Folds(fold, tuple(np.intersect1d(folds.train[j], folds.train[k]) for j in others))


def _fit(student: Any, X: Any, goals: Array, classes: Sequence[str]) -> Any:
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
    student.fit(take(X, rows), np.array(classes)[labels], sample_weight=goals[rows, labels])
    return student


def _probabilities(student: Any, X: Any, classes: Sequence[str], link: str) -> Array:
    if hasattr(student, "predict_proba"):
        return average_probabilities([student], X, classes)
    scores = predict_values(student, X)
    p = get_link(link).inverse(torch.from_numpy(scores)).numpy().clip(0, 1)
    if p.shape[1] == 1:
        return np.concatenate([1 - p, p], axis=1)
    total = p.sum(axis=1, keepdims=True)
    return np.where(total > 0, p / np.where(total > 0, total, 1), 1 / len(classes))
