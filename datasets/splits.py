"""Cutting one set of series in two: seeded, and by class where there are classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seqkit.datasets.series import Array, SeriesSet

__all__ = ["check_share", "check_validation", "cut_indices", "cut_series"]


def cut_indices(n: int, share: float, seed: Sequence[int], labels: Sequence[str] | None = None) -> tuple[Array, Array]:
    """Places that stay and places that are cut off, both in rising order.

    With labels each class gives its share, rounded so that round(n share) are cut in all, and keeps at least one
    member; so a class with a single member stays whole.

    Args:
        n: Number of series, at least 2.
        share: Share to cut off, in (0, 1).
        seed: Numbers that determine the cut.
        labels: Class of each series.

    Raises:
        ValueError: fewer than two series, or a share out of range.

    Source:
        Largest remainders decide where rounding must; ties fall by the seed.

    Cost:
        O(n log n).

    Example:
        >>> stay, cut = cut_indices(6, 1 / 3, seed=[0], labels=["a", "a", "a", "b", "b", "b"])
        >>> len(stay), len(cut), sorted(i // 3 for i in cut.tolist())
        (4, 2, [0, 1])
    """
    check_share("share", share)
    if n < 2:
        raise ValueError(f"{n} series cannot be cut into two parts; give at least 2")
    random = np.random.default_rng([*seed])
    order = random.permutation(n)
    wanted = min(max(1, round(n * share)), n - 1)
    if labels is None:
        return np.sort(order[wanted:]), np.sort(order[:wanted])
    _, classes = np.unique(np.asarray(labels), return_inverse=True)
    cut = np.concatenate(
        [order[classes[order] == k][:take] for k, take in enumerate(_shares(np.bincount(classes), wanted, random))]
    )
    if len(cut) == 0:  # one member in every class: then nothing can be cut by class
        cut = order[:wanted]
    return np.setdiff1d(np.arange(n), cut), np.sort(cut)


def cut_series(series: SeriesSet, share: float, seed: Sequence[int]) -> tuple[SeriesSet, SeriesSet]:
    """The series that stay and those that are cut off, by class where the target is one.

    Raises:
        ValueError: fewer than two series, or a share out of range.

    Example:
        >>> stay, cut = cut_series(SeriesSet([np.zeros((2, 1))] * 10), 0.2, seed=[0])
        >>> len(stay), len(cut)
        (8, 2)
    """
    labels = [str(label) for label in series.target or []] if series.kind == "classification" else None
    stay, cut = cut_indices(len(series), share, seed, labels)
    return series.select(stay), series.select(cut)


def check_share(name: str, share: float) -> float:
    """Returns `share` when it lies strictly between 0 and 1.

    Raises:
        ValueError: it does not.
    """
    if not (isinstance(share, (int, float)) and 0 < share < 1):
        raise ValueError(f"`{name}` must lie between 0 and 1 (both excluded), got {share!r}")
    return share


def check_validation(share: float) -> float:
    """Returns `share` when it lies in [0, 1): 0 keeps nothing for validation.

    Raises:
        ValueError: it does not.
    """
    if isinstance(share, bool) or not (isinstance(share, (int, float)) and 0 <= share < 1):
        raise ValueError(f"`validation` must lie between 0 (keep none) and 1 (1 excluded), got {share!r}")
    return share


def _shares(counts: Array, wanted: int, random: np.random.Generator) -> list[int]:
    """How many of each class to cut off, `wanted` in all where the classes allow it."""
    exact = counts * (wanted / counts.sum())
    take = np.floor(exact).astype(int)  # below counts, since wanted is below their sum
    while take.sum() < wanted and (take < counts - 1).any():
        short = np.where(take < counts - 1, exact - take, -np.inf)
        best = np.flatnonzero(short >= short.max() - 1e-9)
        take[random.choice(best)] += 1
    return [int(k) for k in take]
