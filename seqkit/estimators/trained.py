"""What an estimator keeps of its training panel, and new panels read by it: channels by name, one clock for both."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

from seqkit.datasets.series import SeriesSet, Target
from seqkit.estimators.panel import read_panel
from seqkit.estimators.shapes import channels_of

__all__ = ["Trained", "read_new", "read_training"]


class Trained(NamedTuple):
    """What new panels are read by.

    Args:
        sample_rate: Samples per second of the training series (Hz); None where nothing said it.
        count_rate: Whole numbers of an index per second: a count in a new index is in the unit of those in training.
        channels: Names of the channels.
        levels: Names of the levels of the index, series and time; None of other panels.
    """

    sample_rate: float | None
    count_rate: float
    channels: list[Any]
    levels: list[Any] | None


def read_training(
    X: Any, y: Target, sample_rate: float | None, before: Trained | None = None
) -> tuple[SeriesSet, Trained]:
    """The series of a training panel, and what to keep of it.

    Args:
        X: The panel.
        y: Labels or values.
        sample_rate: What the user says of it (Hz).
        before: What a fit before this one kept, where training goes on from it.

    Example:
        >>> import numpy as np, pandas as pd
        >>> frames = [pd.DataFrame({"x": np.zeros(5)}, index=range(0, 10, 2))]
        >>> series, trained = read_training(frames, None, None)
        >>> series.sample_rate, trained.count_rate, read_new(frames, trained).sample_rate
        (0.5, 1.0, 0.5)
    """
    series, counted = read_panel(
        X, y, sample_rate=sample_rate, told=True, channels=None if before is None else before.channels
    )
    count_rate = (sample_rate if counted else series.sample_rate) or 1.0
    index: Any = getattr(X, "index", None)
    levels = list(index.names) if getattr(index, "nlevels", 1) == 2 else None
    channels = channels_of(X) if before is None else before.channels
    return series, Trained(series.sample_rate, count_rate, channels, levels)


def read_new(X: Any, trained: Trained, told: float | None = None) -> SeriesSet:
    """The series of a panel to predict.

    Args:
        X: The panel.
        trained: What was kept of the training panel.
        told: Samples per second that the user says of these very series (Hz).

    Raises:
        ValueError: as `panel_to_series`.

    Warns:
        UserWarning: an index of dates, where the training series had no rate that it could be compared with.
    """
    series, counted = read_panel(
        X,
        sample_rate=told or trained.sample_rate,
        count_rate=told or trained.count_rate,
        told=told is not None,
        channels=trained.channels,
    )
    if trained.sample_rate is None and not counted and series.sample_rate not in (None, 1.0):
        warnings.warn(
            f"the index says {series.sample_rate:.4g} Hz and the training series had no rate, which counts as 1 Hz; "
            "fit with sample_rate= or a time index, or leave the index out",
            stacklevel=6,
        )
    return series
