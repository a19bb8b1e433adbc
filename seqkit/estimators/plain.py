"""Parameters as plain numbers: searches draw them from arrays, and so as numpy's own kinds of number."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["plain"]


def plain(value: Any) -> Any:
    """A number of numpy's as Python's, also within a dictionary; everything else as it is.

    Args:
        value: A parameter.

    Example:
        >>> plain({"order": np.int64(8), "measure": "legs"})
        {'order': 8, 'measure': 'legs'}
    """
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return value.item() if isinstance(value, np.generic) else value
