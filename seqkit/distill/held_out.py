"""Weights of the correction, tried on folds whose labels no teacher saw."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from seqkit.distill.choose import C_GRID
from seqkit.distill.estimators import fresh, predict_values
from seqkit.distill.fitting import corrected_targets, fit_student, student_probabilities
from seqkit.distill.folds import Folds
from seqkit.distill.take import take
from seqkit.distill.target import CorrectedTarget
from seqkit.distill.teacher import CrossFitTeacher

__all__ = ["held_out_losses", "without_fold"]

Array = np.ndarray[Any, Any]


def held_out_losses(
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

    Args:
        teachers: The teachers; copies of them are fitted.
        student: The student; copies of it are fitted.
        data: Samples, their labels, and these as `truth_of` gives them.
        folds: Who labels what.
        held_out: Number of folds whose labels are looked at, one after the other.
        target: Link and form of the correction.
        folder: Where the teachers' values are kept; None for nowhere.
        ids: Name of each sample.

    Returns:
        Losses by c, (len(C_GRID), samples of the folds that were held out).
    """
    X, y, truth = data
    found = []
    for k in range(held_out):
        inner = without_fold(folds, k)
        said = CrossFitTeacher(
            teachers.estimators, inner, n_members=teachers.n_members, task=teachers.task, seed=teachers.seed
        ).targets(X, y, ids=ids, folder=None if folder is None else folder / f"without-{k:03d}")
        train, mine = folds.train[k], folds.members(k)
        learned, unseen, rows = take(X, train), take(X, mine), []
        for c in C_GRID:
            goals = corrected_targets(said, truth, replace(target, c=c), train)
            fitted = fit_student(fresh(student, [teachers.seed, k]), learned, goals, said.classes)
            guess = (
                student_probabilities(fitted, unseen, said.classes, target.link)
                if said.classes
                else predict_values(fitted, unseen)
            )
            rows.append(((guess - truth[mine]) ** 2).sum(axis=1))
        found.append(np.stack(rows))
    return np.concatenate(found, axis=1)


def without_fold(folds: Folds, k: int) -> Folds:
    """The other folds, whose teachers see nothing of fold k either.

    Example:
        >>> from seqkit.distill import k_folds
        >>> inner = without_fold(k_folds(range(6), 3), 0)
        >>> inner.n_folds, int((inner.fold == -1).sum())
        (2, 2)
    """
    others = [j for j in range(folds.n_folds) if j != k]
    fold = np.full(len(folds), -1, dtype=np.int64)
    for place, j in enumerate(others):
        # Within the embargo of fold k nobody is labelled, since nobody there is trained on.
        fold[np.intersect1d(folds.members(j), folds.train[k])] = place
    return Folds(fold, tuple(np.intersect1d(folds.train[j], folds.train[k]) for j in others))
