"""Columns of a frame in the order of the frame that an estimator was fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["as_fitted", "in_order"]


def in_order(frame: Any, names: Sequence[Any] | None, origin: str) -> Any:
    """The frame with its columns as they were in training, found by name.

    Columns of other names are taken by their place, as arrays are: a frame may be without names, or be renamed. Where
    some names are known and stand elsewhere, nothing says what the others are.

    Args:
        frame: A frame, its columns the channels.
        names: Names in training; None where none are known.
        origin: Name of the frame in errors.

    Raises:
        ValueError: some of the names, at other places than in training, beside names that are not known.

    Example:
        >>> import pandas as pd
        >>> in_order(pd.DataFrame({"b": [1], "a": [2]}), ["a", "b"], "`X`").to_numpy()
        array([[2, 1]])
        >>> in_order(pd.DataFrame([[1, 2]]), ["a", "b"], "`X`").to_numpy()
        array([[1, 2]])
    """
    if names is None or len(frame.columns) != len(names):
        return frame  # a wrong number is refused where the number is needed
    given, wanted = list(frame.columns), list(names)
    if given == wanted:
        return frame
    places = {name: k for k, name in enumerate(given)}
    if len(places) == len(given) and set(given) == set(wanted):
        return frame.iloc[:, [places[name] for name in wanted]]
    moved = [name for k, name in enumerate(wanted) if name in places and places[name] != k]
    if moved:
        raise ValueError(
            f"{origin} must have the channels of training, {wanted}, got {given}; rename those that have another name, "
            "or give an array, whose channels go by their place"
        )
    return frame


def as_fitted(frame: Any, names: Sequence[Any], origin: str) -> Any:
    """The frame with the columns of training, in number, order and name, so that its rows go under theirs.

    Args:
        frame: A frame.
        names: Names in training.
        origin: Name of the frame in errors.

    Raises:
        ValueError: another number of columns, or as `in_order`.

    Example:
        >>> import pandas as pd
        >>> as_fitted(pd.DataFrame({"b": [1], "a": [2]}), ["a", "b"], "`X`").columns.tolist()
        ['a', 'b']
    """
    if len(frame.columns) != len(names):
        raise ValueError(
            f"{origin} must have the {len(names)} columns that `fit` was given, {list(names)}, got "
            f"{list(frame.columns)}; give the same, with NaN where nothing is known"
        )
    return in_order(frame, names, origin).set_axis(names, axis=1)
