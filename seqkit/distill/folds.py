"""Which samples each teacher is trained on and which it labels: never the same, nor what is too close to them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqkit.checks import check_positive_int

__all__ = ["Folds", "group_folds", "in_sample_fold", "k_folds", "time_folds"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Folds:
    """Fold of each sample, and the samples that each fold's teacher is trained on.

    Args:
        fold: Number of the fold whose teacher labels a sample, (n,), int64; -1 for samples that no teacher labels.
        train: For each fold the places of its training samples, in rising order.
        in_sample: Whether teachers label what they were trained on: the plain distillation.

    Raises:
        ValueError: a fold without samples or without training samples, or a teacher that would label its own training
            samples without `in_sample`.

    Example:
        >>> folds = Folds(np.array([0, 0, 1, 1]), (np.array([2, 3]), np.array([0, 1])))
        >>> folds.n_folds, folds.members(1).tolist()
        (2, [2, 3])
    """

    fold: Array
    train: tuple[Array, ...]
    in_sample: bool = False

    def __post_init__(self) -> None:
        """Refuses what would not be out of fold."""
        for k, train in enumerate(self.train):
            mine = self.members(k)
            if len(mine) == 0 or len(train) == 0:
                what = "labels no sample" if len(mine) == 0 else "has no sample to train on"
                raise ValueError(f"fold {k} of {self.n_folds} {what}; use fewer folds or a smaller embargo")
            if not self.in_sample and len(np.intersect1d(mine, train)):
                raise ValueError(f"fold {k} labels samples that its teacher is trained on; take them out of `train`")
        if len(self.fold) and (self.fold.max() >= self.n_folds or self.fold.min() < -1):
            raise ValueError(f"`fold` must lie between -1 and {self.n_folds - 1}, got {self.fold.max()}")

    @property
    def n_folds(self) -> int:
        """Number of teachers."""
        return len(self.train)

    def __len__(self) -> int:
        return len(self.fold)

    def members(self, k: int) -> Array:
        """Places of the samples that fold k labels, in rising order."""
        return np.flatnonzero(self.fold == k)


def k_folds(
    ids: Sequence[Hashable] | int, n_folds: int = 5, *, labels: Sequence[Hashable] | Array | None = None, seed: int = 0
) -> Folds:
    """Folds of single samples, by class where labels are given.

    The fold of a sample depends on its id, the labels and the seed, not on the order in which samples come.

    Args:
        ids: Name of each sample, all different; or a number of samples, which are then named 0, 1, ...
        n_folds: K, at least 2.
        labels: Class of each sample, to spread each class over the folds.
        seed: Seed of the draw.

    Raises:
        ValueError: fewer samples than folds, an id that occurs twice, or labels of another number.

    Cost:
        O(n log n).

    Example:
        >>> folds = k_folds(6, 3, labels=list("aaabbb"))
        >>> [sorted("aaabbb"[i] for i in folds.members(k)) for k in range(3)]
        [['a', 'b'], ['a', 'b'], ['a', 'b']]
    """
    names = [str(i) for i in range(ids)] if isinstance(ids, int) else [str(one) for one in ids]
    n = len(names)
    _check_count(n_folds, n, "samples")
    if len(set(names)) != n:
        double = next(name for name in names if names.count(name) > 1)
        raise ValueError(
            f"`ids` must all differ, got {double!r} twice; use group_folds for samples that belong together"
        )
    classes = np.array(["" if labels is None else str(one) for one in (names if labels is None else labels)])
    if len(classes) != n:
        raise ValueError(f"`labels` must hold one label for each of {n} samples, got {len(classes)}")
    order = np.argsort(np.array(names), kind="stable")
    random, fold, start = np.random.default_rng(seed), np.empty(n, dtype=np.int64), 0
    for label in np.unique(classes):
        mine = random.permutation(order[classes[order] == label])
        # Going on where the class before stopped keeps all folds of equal size within one.
        fold[mine] = (start + np.arange(len(mine))) % n_folds
        start += len(mine)
    return _complement(fold, n_folds)


def group_folds(groups: Sequence[Hashable] | Array, n_folds: int = 5, *, seed: int = 0) -> Folds:
    """Folds of whole groups: a subject, a machine or a series is never on both sides.

    Groups are dealt out from the largest on, each to the fold that has the fewest samples so far.

    Args:
        groups: Group of each sample, (n,).
        n_folds: K, at least 2 and at most the number of groups.
        seed: Seed of the order of groups of equal size.

    Raises:
        ValueError: fewer groups than folds.

    Example:
        >>> folds = group_folds(["ann", "bob", "ann", "cid"], 3)
        >>> bool(folds.fold[0] == folds.fold[2])
        True
    """
    names, owner, counts = np.unique(np.array([str(one) for one in groups]), return_inverse=True, return_counts=True)
    _check_count(n_folds, len(names), "groups")
    random, sizes = np.random.default_rng(seed), np.zeros(n_folds, dtype=np.int64)
    order = random.permutation(len(names))
    fold_of = np.empty(len(names), dtype=np.int64)
    for group in order[np.argsort(-counts[order], kind="stable")]:
        fold_of[group] = int(sizes.argmin())
        sizes[fold_of[group]] += counts[group]
    return _complement(fold_of[owner], n_folds)


def time_folds(
    starts: Sequence[float] | Array,
    n_folds: int = 5,
    *,
    lookback: float,
    horizon: float,
    series: Sequence[Hashable] | Array | None = None,
    forward_only: bool = False,
) -> Folds:
    """Blocks of time with an embargo: no training window shares a sample, nor a value to forecast, with a labelled one.

    A window starts at s, reads `lookback` and forecasts `horizon`, so windows less than lookback + horizon apart
    overlap. The embargo leaves out of a fold's training everything within lookback + horizon of a window it labels. Of
    several series each is cut into blocks of its own, and the same fold has the same block of each.

    Args:
        starts: Start of each window, (n,), in any unit.
        n_folds: Number of blocks, at least 2.
        lookback: Length of what a window reads, in that unit.
        horizon: Length of what it forecasts.
        series: Series of each window; None for one.
        forward_only: Whether a teacher is trained on earlier blocks only. The first block then has no teacher.

    Raises:
        ValueError: negative lengths, fewer windows than blocks, or an embargo that leaves nothing to train on.

    Example:
        >>> folds = time_folds(range(12), 3, lookback=1, horizon=1)
        >>> folds.members(1).tolist(), folds.train[1].tolist()
        ([4, 5, 6, 7], [0, 1, 2, 9, 10, 11])
    """
    at = np.asarray(list(starts), dtype=np.float64)
    owner = np.zeros(len(at), dtype=np.int64)
    if series is not None:
        owner = np.unique(np.array([str(one) for one in series]), return_inverse=True)[1]
    if len(owner) != len(at):
        raise ValueError(f"`series` must name the series of each of {len(at)} windows, got {len(owner)}")
    for name, length in (("lookback", lookback), ("horizon", horizon)):
        if not (isinstance(length, (int, float)) and np.isfinite(length) and length >= 0):
            raise ValueError(f"`{name}` must be a finite number, 0 or above, got {length!r}")
    fold = np.empty(len(at), dtype=np.int64)
    for one in np.unique(owner):
        mine = np.flatnonzero(owner == one)
        _check_count(n_folds, len(mine), "windows in a series")
        ordered = mine[np.argsort(at[mine], kind="stable")]
        for k, block in enumerate(np.array_split(ordered, n_folds)):
            fold[block] = k
    train = []
    for k in range(1 if forward_only else 0, n_folds):
        keep = fold < k if forward_only else fold != k
        for one in np.unique(owner):
            inside = at[(owner == one) & (fold == k)]
            near = (owner == one) & (at > inside.min() - lookback - horizon) & (at < inside.max() + lookback + horizon)
            keep &= ~near
        train.append(np.flatnonzero(keep))
    return Folds(fold - 1 if forward_only else fold, tuple(train))


def in_sample_fold(n: int) -> Folds:
    """One teacher that is trained on all samples and labels all of them: the plain distillation.

    Args:
        n: Number of samples.

    Example:
        >>> in_sample_fold(3).in_sample
        True
    """
    check_positive_int("n", n)
    return Folds(np.zeros(n, dtype=np.int64), (np.arange(n),), in_sample=True)


def _check_count(n_folds: int, n: int, what: str) -> None:
    if isinstance(n_folds, bool) or not isinstance(n_folds, int) or n_folds < 2:
        raise ValueError(f"`n_folds` must be a whole number of at least 2, got {n_folds!r}")
    if n < n_folds:
        raise ValueError(f"`n_folds` must be at most the number of {what}, {n}, got {n_folds}; use fewer folds")


def _complement(fold: Array, n_folds: int) -> Folds:
    return Folds(fold, tuple(np.flatnonzero(fold != k) for k in range(n_folds)))
