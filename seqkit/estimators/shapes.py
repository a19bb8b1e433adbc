"""Parts of a series or a panel of sktime: names, times and samples, and frames put together in the shape given."""

from __future__ import annotations

from typing import Any

import numpy as np

from seqkit.datasets.rows import Array

__all__ = ["as_given", "channels_of", "frames_of", "indices_of", "is_single", "keys_of"]


def is_single(X: Any) -> bool:
    """Whether X is one series: a frame of numbers by time."""
    return hasattr(X, "columns") and X.index.nlevels == 1 and not _is_nested(X)


def _is_nested(X: Any) -> bool:
    return hasattr(X, "columns") and X.shape[1] > 0 and hasattr(X.iat[0, 0], "__len__")


def channels_of(X: Any) -> list[Any]:
    """Names of the channels; sktime's own for an array."""
    if isinstance(X, np.ndarray):
        return [f"var_{k}" for k in range(X.shape[1])]
    return list((X[0] if isinstance(X, (list, tuple)) else X).columns)


def keys_of(X: Any) -> Any:
    """Names of the series, as the index of a table."""
    import pandas as pd  # noqa: PLC0415

    if isinstance(X, (np.ndarray, list, tuple)):
        return pd.RangeIndex(len(X))
    if _is_nested(X):
        return X.index
    return pd.RangeIndex(1) if X.index.nlevels == 1 else X.index.droplevel(-1).unique()


def indices_of(X: Any) -> list[Any]:
    """Time index of each series."""
    import pandas as pd  # noqa: PLC0415

    if isinstance(X, np.ndarray):
        return [pd.RangeIndex(X.shape[2])] * len(X)
    if isinstance(X, (list, tuple)):
        return [one.index for one in X]
    if _is_nested(X):
        cells = [X.iat[i, 0] for i in range(len(X))]
        return [getattr(cell, "index", pd.RangeIndex(len(cell))) for cell in cells]
    if X.index.nlevels == 1:
        return [X.index]
    return [X.loc[key].index for key in X.index.droplevel(-1).unique()]


def frames_of(X: Any) -> list[Array]:
    """Samples (L, C) of each series, in full precision."""
    if isinstance(X, np.ndarray):
        return [np.asarray(one.T, dtype=np.float64) for one in X]
    if isinstance(X, (list, tuple)):
        return [one.to_numpy(dtype=np.float64) for one in X]
    if _is_nested(X):
        return [np.stack([np.asarray(cell, dtype=np.float64) for cell in X.iloc[i]], axis=1) for i in range(len(X))]
    if X.index.nlevels == 1:
        return [X.to_numpy(dtype=np.float64)]
    return [X.loc[key].to_numpy(dtype=np.float64) for key in X.index.droplevel(-1).unique()]


def as_given(frames: list[Any], X: Any) -> Any:
    """One frame for one series, a frame of all for such a panel, else a list."""
    import pandas as pd  # noqa: PLC0415

    if is_single(X):
        return frames[0]
    if hasattr(X, "columns") and X.index.nlevels > 1:
        return pd.concat(dict(zip(keys_of(X), frames, strict=True)), names=X.index.names)
    return frames
