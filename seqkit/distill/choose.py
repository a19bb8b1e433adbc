"""How much a correction is worth: the weight c, chosen by what students of each c say of labels they did not see."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["C_GRID", "smallest_within_one_error"]

C_GRID = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, math.inf)
"""Weights that are tried: from the teacher alone to the label (or the orthogonal target) alone."""


def smallest_within_one_error(losses: np.ndarray[Any, Any], grid: Sequence[float] = C_GRID) -> float:
    """The smallest c whose loss is within one standard error of the best one's.

    A loss is compared sample by sample with that of the best c, so what all students find hard does not count. The
    smallest is taken since c one decade too large costs much and one too small little.

    Args:
        losses: Loss of a student of each c on each sample that it did not see, (len(grid), n).
        grid: The weights, in rising order.

    Raises:
        ValueError: a shape that does not fit, or NaN.

    Example:
        >>> losses = np.array([[1.0, 3.0, 1.0, 3.0], [1.0, 2.9, 1.1, 2.9], [5.0, 5.0, 5.0, 5.0]])
        >>> smallest_within_one_error(losses, [0.0, 0.1, 1.0])
        0.0
    """
    losses = np.asarray(losses, dtype=np.float64)
    if losses.ndim != 2 or len(losses) != len(grid) or losses.shape[1] < 2:
        raise ValueError(
            f"`losses` must have shape ({len(grid)}, n), a row for each c and at least two samples, got {losses.shape}"
        )
    if not np.isfinite(losses).all():
        raise ValueError("`losses` must be finite, got NaN or infinity; check the students of each c")
    best = int(losses.mean(axis=1).argmin())
    gap = losses - losses[best]
    error = gap.std(axis=1, ddof=1) / math.sqrt(losses.shape[1])
    return float(grid[int(np.argmax(gap.mean(axis=1) <= error))])
