"""What an estimator of panels says of its input before sktime does, in words that name the place."""

from __future__ import annotations

from typing import Any

import numpy as np

from seqkit.estimators.panel_words import check_levels, what_is_wrong, what_is_wrong_in_series

__all__ = ["ChecksInput", "ChecksSeries"]


class ChecksInput:
    """Looks at panels and targets first; comes before the base class of sktime.

    sktime 1.2 lets missing labels be a class of their own, fails on lists of labels inside numpy, and says of most
    panels that it cannot read no more than the names of all that it can.

    Example:
        >>> from seqkit.estimators import HiPPOFeaturesClassifier
        >>> HiPPOFeaturesClassifier(n_filters=9).fit(np.zeros((2, 1, 9)), ["a", None])
        Traceback (most recent call last):
        ...
        ValueError: `y` must have a label for each series, but that of series 1 is missing; leave the series out
    """

    def _check_input(
        self, X: Any, y: Any = None, enforce_min_instances: int = 1, return_metadata: Any = True
    ) -> dict[str, Any]:
        """What sktime's method of this name returns; its errors in words of our own where the reason is found."""
        trained = self.__dict__.get("_trained")
        check_levels(X, None if trained is None else trained.levels)
        try:
            out: dict[str, Any] = super()._check_input(  # type: ignore[misc]
                X, y, enforce_min_instances, return_metadata
            )
        except (TypeError, ValueError) as error:
            words = what_is_wrong(X)
            if words is None:
                raise
            raise type(error)(words) from error
        return out

    def _check_y(self, y: Any = None, return_to_mtype: bool = False) -> Any:
        """What sktime's method of this name returns, for lists too."""
        own: Any = self
        if y is not None:
            y = _as_array(y)
            _check_target(y, own.get_tag("object_type") == "classifier")
        return super()._check_y(y, return_to_mtype)  # type: ignore[misc]


class ChecksSeries:
    """Says what is wrong with a series where sktime refuses it; comes before the base class of a forecaster.

    Example:
        >>> import pandas as pd
        >>> from seqkit.estimators import LSSLForecaster
        >>> LSSLForecaster(horizon=1).fit(pd.Series(["1", "2"]))
        Traceback (most recent call last):
        ...
        TypeError: channel 0 of `y` must hold numbers, got dtype str, which counts as categorical; convert it, ...
    """

    def _check_X_y(self, X: Any = None, y: Any = None, **options: Any) -> Any:  # noqa: N802 - sktime's name
        """What sktime's method of this name returns; its errors in words of our own where the reason is found."""
        try:
            return super()._check_X_y(X=X, y=y, **options)  # type: ignore[misc]
        except (TypeError, ValueError) as error:
            words = what_is_wrong_in_series(y, "`y`") or what_is_wrong_in_series(X, "`X`")
            if words is None:
                raise
            if "categorical" in str(error):  # the word for it in sktime, whose suite asks for it
                words = words.replace("; convert", ", which counts as categorical; convert", 1)
            raise type(error)(words) from error


def _as_array(y: Any) -> Any:
    """A list of labels or values, or of rows of them, as an array, in which what is missing stays so."""
    import pandas as pd  # noqa: PLC0415

    if not isinstance(y, (list, tuple)) or len(y) == 0 or isinstance(y[0], dict):
        return y
    return pd.Series(list(y)).to_numpy() if np.ndim(y[0]) == 0 else np.asarray(y)


def _check_target(y: Any, of_classes: bool) -> None:
    """Refuses what is missing, infinite, or of no use as a label or value.

    Raises:
        ValueError: such a target.
    """
    import pandas as pd  # noqa: PLC0415

    if not isinstance(y, (np.ndarray, pd.Series, pd.DataFrame)):
        return
    what = "label" if of_classes else "value"
    missing = np.asarray(pd.isna(y)).reshape(len(y), -1).any(axis=1)
    if missing.any():
        raise ValueError(
            f"`y` must have a {what} for each series, but that of series {int(missing.argmax())} is missing; leave "
            "the series out"
        )
    values = np.asarray(y)
    if not of_classes and values.dtype.kind in "mMc":
        raise ValueError(f"`y` must hold numbers, got dtype {values.dtype}; convert it, such as by astype(float)")
    if values.dtype.kind == "f" and np.isinf(values).any():
        first = int(np.isinf(values).reshape(len(values), -1).any(axis=1).argmax())
        raise ValueError(f"`y` must hold finite numbers, but that of series {first} is infinite; leave the series out")
    if of_classes and values.dtype == object:
        for column in values.reshape(len(values), -1).T:
            kinds = {isinstance(label, str) for label in column}
            if len(kinds) > 1:
                raise ValueError(
                    "`y` must have labels of one kind, got text beside numbers; make them one, such as by astype(str)"
                )
