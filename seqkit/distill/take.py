"""Picking samples of whatever an estimator is given: arrays, panels, lists, tables or sets of series."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["count_samples", "take"]


def take(X: Any, places: np.ndarray[Any, Any]) -> Any:
    """The samples at these places, in the form of `X`.

    Args:
        X: An array (n, ...), a list of series, a `SeriesSet`, or a table of pandas with a sample in a row or, with
            an index of two levels, in all rows of a first level.
        places: Places of the samples, (m,).

    Example:
        >>> take(["a", "b", "c"], np.array([2, 0]))
        ['c', 'a']
    """
    if hasattr(X, "select") and not hasattr(X, "iloc"):
        return X.select(places)
    if hasattr(X, "iloc"):
        if getattr(X.index, "nlevels", 1) == 1:
            return X.iloc[places]
        return X.loc[list(_instances(X)[places])]
    if isinstance(X, (list, tuple)):
        return [X[int(i)] for i in places]
    return X[places]


def count_samples(X: Any) -> int:
    """Number of samples of `X`; see `take`.

    Example:
        >>> count_samples(np.zeros((4, 2)))
        4
    """
    if hasattr(X, "iloc") and getattr(X.index, "nlevels", 1) > 1:
        return len(_instances(X))
    return len(X)


def _instances(X: Any) -> np.ndarray[Any, Any]:
    return np.asarray(X.index.get_level_values(0).unique())
