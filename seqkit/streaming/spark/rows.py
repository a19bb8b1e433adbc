"""Rows of one stream as they come from Spark: put in order, and looked at before the stream takes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from seqkit.streaming.engine import Array
from seqkit.streaming.spark.columns import NONE
from seqkit.streaming.stream import Stream

__all__ = ["Row", "check_row", "in_order"]


class Row(NamedTuple):
    """One row of a stream.

    Args:
        values: The sample, NaN where a value is missing; None where all are.
        seconds: Its time; NaN where it is missing, None where samples have none.
        stamp: The time as the table has it: seconds, or microseconds since 1970.
        sequence: Its place; NONE where it is missing or rows have none.
    """

    values: Array | None
    seconds: float | None = None
    stamp: float | int | None = None
    sequence: int = NONE


def in_order(frame: pd.DataFrame, *, dates: bool) -> list[Row]:
    """The rows in the order of their stream; equal ones in the order of their values, so that none is by chance.

    Args:
        frame: Columns `values`, and perhaps `time` and `sequence`.
        dates: Whether times are microseconds since 1970.

    Example:
        >>> table = pd.DataFrame({"values": [[1.0], [2.0]], "time": [7.0, 5.0]})
        >>> [row.seconds for row in in_order(table, dates=False)]
        [5.0, 7.0]
    """
    return sorted(_rows(frame, dates), key=_place)


def _rows(frame: pd.DataFrame, dates: bool) -> Iterator[Row]:
    n = len(frame)
    stamps = frame["time"].tolist() if "time" in frame else [None] * n
    places = frame["sequence"].tolist() if "sequence" in frame else [NONE] * n
    for held, stamp, place in zip(frame["values"], stamps, places, strict=True):
        values = None if held is None else np.asarray(held, dtype=np.float64)
        seconds = stamp
        if dates:
            seconds = float("nan") if stamp == NONE else stamp / 1_000_000
        yield Row(values, seconds, stamp, place)


def _place(row: Row) -> tuple[int, bool, float, bytes]:
    seconds = 0.0 if row.seconds is None else row.seconds
    nowhere = seconds != seconds
    return row.sequence, nowhere, 0.0 if nowhere else seconds, b"" if row.values is None else row.values.tobytes()


def check_row(row: Row, key: object, stream: Stream, sequence: int | None) -> None:
    """Refuses a row that its stream cannot take, in the words of the table.

    Args:
        row: The row.
        key: Name of its stream.
        stream: The stream, after the rows before.
        sequence: Place of the newest row that it has taken, NONE before the first; None where rows have no place.

    Raises:
        ValueError: as said.

    Example:
        >>> from seqkit import S4D
        >>> check_row(Row(np.zeros(2)), "a", Stream(S4D(2, order=4)), None)
    """
    channels = stream.engine.n_channels
    if key is None:
        raise ValueError("the name of the stream is missing (null), so the row belongs to none")
    if row.values is None or row.values.shape != (channels,):
        got = "null" if row.values is None else str(len(row.values))
        raise ValueError(f"`values` must hold {channels} numbers, one for each channel, got {got}")
    if np.isinf(row.values).any():
        raise ValueError("`values` must be finite, got an infinite value; leave it out as missing (null)")
    if sequence is not None:
        if row.sequence == NONE:
            raise ValueError("`sequence` is missing (null), so the place of the row is not known")
        if row.sequence <= sequence:
            raise ValueError(_late("sequence", row.sequence, sequence))
    if row.seconds is not None:
        if not np.isfinite(row.seconds):
            raise ValueError("`time` is missing (null) or infinite, so it is not known when the sample was taken")
        if stream.time is not None and row.seconds <= stream.time:
            raise ValueError(_late("time", row.seconds, stream.time))


def _late(name: str, got: float, after: float) -> str:
    return f"`{name}` must rise from row to row of a stream, got {got} after {after}; the row came late, or twice"
