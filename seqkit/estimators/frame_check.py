"""The check of a list of frames that `fit` and `predict` of sktime begin with, in a tenth of its time."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["ChecksFrames"]


class ChecksFrames:
    """Checks lists of plain frames by itself and leaves all else to sktime; comes before the base class of sktime.

    sktime 1.2 asks each frame of a panel some ten questions in pandas' terms, a tenth of a millisecond a frame, and for
    short series that is most of a fit. A frame is plain if it has numpy numbers of one type, a count 0, 1, 2, ... as
    index, and the columns of the first frame, no two alike: of such frames sktime says the same. Any other list goes
    to sktime's own check, with its errors.

    Example:
        >>> import pandas as pd
        >>> from seqkit.estimators import HiPPOFeaturesClassifier
        >>> frames = [pd.DataFrame({"x": [1.0, 2.0]}), pd.DataFrame({"x": [1.0, np.nan, 2.0]})]
        >>> model = HiPPOFeaturesClassifier()
        >>> found = model._check_input(frames, return_metadata=model.METADATA_REQ_IN_CHECKS)
        >>> found["n_instances"], found["has_nans"], found["is_equal_length"]
        (2, True, False)
    """

    def _check_input(
        self, X: Any, y: Any = None, enforce_min_instances: int = 1, return_metadata: Any = True
    ) -> dict[str, Any]:
        """What sktime's method of this name returns and raises."""
        own: Any = self
        if return_metadata == own.METADATA_REQ_IN_CHECKS and _fits(y, X) and enforce_min_instances == 1:
            found = _plain(X)
            if found is not None:
                return found
        out: dict[str, Any] = super()._check_input(X, y, enforce_min_instances, return_metadata)  # type: ignore[misc]
        return out


def _fits(y: Any, X: Any) -> bool:
    """Whether sktime would have no word on the target: none is given, or one of several values for each series."""
    if not isinstance(X, list) or not X:
        return False
    return y is None or (isinstance(y, np.ndarray) and y.shape == (len(X),) and bool((y != y[0]).any()))


def _plain(frames: list[Any]) -> dict[str, Any] | None:
    """What sktime says of plain frames, or None for others."""
    import pandas as pd  # noqa: PLC0415
    from sktime.datatypes._dtypekind import DtypeKind  # noqa: PLC0415

    columns = getattr(frames[0], "columns", None)
    if columns is None or not columns.is_unique or len(columns) == 0:
        return None
    missing, lengths = False, set()
    for frame in frames:
        if type(frame) is not pd.DataFrame or type(frame.index) is not pd.RangeIndex:
            return None
        index, own = frame.index, frame.columns
        if index.start != 0 or index.step != 1 or not (own is columns or own.equals(columns)):
            return None
        values = frame.values
        if values.dtype.kind not in "fiu" or values.size == 0:
            return None
        missing = missing or (values.dtype.kind == "f" and bool(np.isnan(values).any()))
        lengths.add(len(values))
    return {
        "is_univariate": len(columns) == 1,
        "is_equal_length": len(lengths) == 1,
        "has_nans": missing,
        "n_instances": len(frames),
        "feature_kind": [DtypeKind.FLOAT] * len(columns),
        "mtype": "df-list",
        "scitype": "Panel",
    }
