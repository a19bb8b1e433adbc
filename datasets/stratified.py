"""Random cuts by class exactly as scikit-learn makes them, so that published splits can be made without it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seqkit.checks import check_positive_int
from seqkit.datasets.series import Array

__all__ = ["stratified_cut"]


def stratified_cut(labels: Sequence[str] | Sequence[int] | Array, n_first: int, seed: int) -> tuple[Array, Array]:
    """The places that `sklearn.model_selection.train_test_split(..., stratify=labels)` puts in its two parts, in order.

    Args:
        labels: Class of each series; classes are numbered in their sorted order.
        n_first: Size of the first part, its "train"; the rest is the second.
        seed: Its `random_state`.

    Raises:
        ValueError: a class with one member, or a part smaller than the number of classes.

    Source:
        scikit-learn's StratifiedShuffleSplit, whose order is that of numpy's legacy RandomState, which never changes.

    Cost:
        O(n log n).

    Example:
        >>> first, second = stratified_cut([0, 1] * 4, 4, seed=0)
        >>> first.tolist(), second.tolist()
        ([5, 4, 1, 6], [0, 2, 3, 7])
    """
    check_positive_int("n_first", n_first)
    _, classes = np.unique(np.asarray(labels), return_inverse=True)
    counts = np.bincount(classes)
    n_second = len(classes) - n_first
    if counts.min() < 2:
        raise ValueError("every class needs two members at least to be cut by class, and one of them has a single one")
    if min(n_first, n_second) < len(counts):
        raise ValueError(f"parts of {n_first} and {n_second} series are too small to hold {len(counts)} classes each")
    random = np.random.RandomState(seed)  # the published order is that of the legacy generator
    first_counts = _shares(counts, n_first, random)
    second_counts = _shares(counts - first_counts, n_second, random)
    first, second = [], []
    for k, (a, b) in enumerate(zip(first_counts.tolist(), second_counts.tolist(), strict=True)):
        members = np.flatnonzero(classes == k)[random.permutation(counts[k])]
        first.append(members[:a])
        second.append(members[a : a + b])
    return random.permutation(np.concatenate(first)), random.permutation(np.concatenate(second))


def _shares(counts: Array, wanted: int, random: np.random.RandomState) -> Array:
    """How many of each class, `wanted` in all: the largest remainders first, ties by lot."""
    exact = counts / counts.sum() * wanted
    take = np.floor(exact)
    missing = int(wanted - take.sum())
    for value in np.unique(exact - np.floor(exact))[::-1]:
        if missing <= 0:
            break
        (tied,) = np.nonzero(exact - np.floor(exact) == value)
        chosen = random.choice(tied, size=min(len(tied), missing), replace=False)
        take[chosen] += 1
        missing -= len(chosen)
    out: Array = take.astype(int)
    return out
