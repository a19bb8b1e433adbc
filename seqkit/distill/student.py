"""A student of any estimator, for people who have arrays and no run."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from seqkit.checks import check_choice, check_positive_int
from seqkit.distill.artifact import OutOfFoldTargets
from seqkit.distill.choose import C_GRID, smallest_within_one_error
from seqkit.distill.estimators import check_student, fresh, predict_values, says_classes
from seqkit.distill.fitting import corrected_targets, fit_student, student_probabilities, truth_of
from seqkit.distill.folds import Folds, in_sample_fold, k_folds
from seqkit.distill.held_out import held_out_losses
from seqkit.distill.labels import label_names
from seqkit.distill.take import count_samples
from seqkit.distill.target import CorrectedTarget
from seqkit.distill.teacher import CrossFitTeacher

__all__ = ["METHODS", "Distilled", "check_method", "distill"]

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
        return student_probabilities(self.student, X, self.classes, self.link)

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
            regression trees; or a classifier whose `fit` takes `sample_weight` (of a pipeline, its last step's), which
            needs the identity link.
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
        classes = label_names(y) if classifies else ()
        truth = truth_of(y, classes)
        # With gamma 1 on the identity link a target is the label; other links cannot take a label.
        fitted = fit_student(fresh(student, [seed]), X, truth, classes)
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
    truth = truth_of(y, said.classes)
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
        losses = held_out_losses(
            teachers, student, (X, y, truth), parts, min(held_out, parts.n_folds), wanted, place, ids
        )
        weight = smallest_within_one_error(losses)
        tried = dict(zip(C_GRID, losses.mean(axis=1).tolist(), strict=True))
    else:
        weight = c  # type: ignore[assignment] # the target refuses what is no number
    wanted = wanted if wanted.gamma in ("none", "orthogonal") else replace(wanted, c=weight)
    fitted = fit_student(fresh(student, [seed]), X, corrected_targets(said, truth, wanted), said.classes)
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
