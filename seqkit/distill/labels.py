"""Labels and values to learn, as arrays of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["as_values", "label_names", "one_hot"]

Array = np.ndarray[Any, Any]


def label_names(y: Array) -> tuple[str, ...]:
    """All classes of labels (n,) in their order, as text.

    Raises:
        ValueError: a missing label, or labels of several kinds, which have no order.

    Example:
        >>> label_names(np.array([2, 1, 2]))
        ('1', '2')
    """
    missing = [place for place, one in enumerate(y.tolist()) if _is_missing(one)]
    if missing:
        raise ValueError(
            f"`y` must hold a label for each sample, got {y[missing[0]]} for sample {missing[0]}; leave it out"
        )
    try:
        return tuple(str(one) for one in np.unique(y))
    except TypeError:
        kinds = " and ".join(sorted({type(one).__name__ for one in y.tolist()}))
        raise ValueError(f"`y` must hold labels of one kind, got {kinds}; write all as text") from None


def as_values(y: Array) -> Array:
    """Values to predict, (n, k), float64.

    Raises:
        ValueError: text, NaN or infinite values.

    Example:
        >>> as_values(np.array([1, 2])).tolist()
        [[1.0], [2.0]]
    """
    try:
        values = y.astype(np.float64).reshape(len(y), -1)
    except (TypeError, ValueError):
        raise ValueError(
            f"`y` must be numbers for estimators that predict values, got {str(y.flat[0])!r}; teach classes with "
            "estimators that have predict_proba"
        ) from None
    if not np.isfinite(values).all():
        raise ValueError("`y` must be finite, got NaN or infinite values; leave these samples out")
    return values


def one_hot(y: Any, classes: Sequence[str]) -> Array:
    """Labels as 0 and 1, (n, k), float32.

    Example:
        >>> one_hot(["b", "a"], ["a", "b"]).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    return np.asarray(np.asarray(y).astype(str)[:, None] == np.asarray(classes)[None], dtype=np.float32)


def _is_missing(label: Any) -> bool:
    try:
        return label is None or bool(label != label)
    except TypeError:  # pandas' NA is neither equal nor unequal to itself
        return True
