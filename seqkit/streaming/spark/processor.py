"""The operator that runs on the workers: the state of a stream out of Spark's store, its new rows, the state back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pyspark.sql.streaming.stateful_processor import StatefulProcessor, StatefulProcessorHandle

from seqkit.streaming.engine import Array
from seqkit.streaming.snapshot import from_bytes, to_bytes
from seqkit.streaming.spark.carried import Carried, engine_of
from seqkit.streaming.spark.columns import NONE
from seqkit.streaming.spark.rows import Row, check_row, in_order
from seqkit.streaming.stream import Stream, answer

if TYPE_CHECKING:
    from pyspark.sql.streaming.stateful_processor import TimerValues

__all__ = ["StreamProcessor"]

STATE = "state binary, sequence long"
"""What Spark keeps of a stream: the bytes of its `state_dict`, and the place of its newest row."""

NOT_FINITE = "the model answers with NaN or an infinite value, as its samples are extreme; the stream begins anew"


class StreamProcessor(StatefulProcessor):
    """Takes the rows of one stream after the other; Spark calls it with the rows of a micro-batch.

    A row that cannot be taken is answered with what is wrong with it and changes nothing. Samples go in one by one, so
    the answers do not depend on how Spark cut the input into micro-batches.

    Args:
        carried: What is streamed.
        sample_rate: As for `Stream`.
        every: Which samples are answered: those whose number is a multiple of this; 0 for the newest of a micro-batch.
        ttl: Milliseconds after which an idle stream is forgotten; None for never.
        dates: Whether times are microseconds since 1970; else they are seconds, where rows have any.
    """

    def __init__(
        self, carried: Carried, *, sample_rate: float | None, every: int, ttl: int | None, dates: bool
    ) -> None:
        self._carried = carried
        self._sample_rate = sample_rate
        self._every = every
        self._ttl = ttl
        self._dates = dates

    def init(self, handle: StatefulProcessorHandle) -> None:
        """Names the state; Spark calls it on the driver too, so the model is not loaded here."""
        self._kept = handle.getValueState("stream", STATE, self._ttl)

    def handleInputRows(  # noqa: N802 - Spark's name
        self, key: Any, rows: Iterator[Any], timerValues: TimerValues
    ) -> Iterator[pd.DataFrame]:
        """Takes the rows of one stream and yields its answers."""
        parts = list(rows)
        frame = parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)
        stream = Stream(engine_of(self._carried), sample_rate=self._sample_rate)
        kept = self._kept.get()
        newest: int | None = NONE if "sequence" in frame else None
        if kept is not None:
            stream.load_state_dict(from_bytes(bytes(kept[0])))
            newest = None if newest is None else int(kept[1])
        answers = Answers(key[0], stream, self._every)
        taken = False
        for row in in_order(frame, dates=self._dates):
            try:
                check_row(row, key[0], stream, newest)
                output = stream.push(row.values, row.seconds)
            except ValueError as error:
                answers.refuse(row, str(error))
                continue
            taken, newest = True, None if newest is None else row.sequence
            if np.isfinite(output).all():
                answers.add(row, output)
            else:
                stream.reset()
                answers.refuse(row, NOT_FINITE)
        if taken:
            self._kept.update((to_bytes(stream.state_dict()), NONE if newest is None else newest))
        if answers:
            yield answers.frame(timed="time" in frame, sequenced="sequence" in frame)

    def close(self) -> None:
        """Has nothing to give back."""


class Answers:
    """Rows of the result for one stream.

    Args:
        key: Name of the stream.
        stream: The stream.
        every: As in `StreamProcessor`.
    """

    def __init__(self, key: Any, stream: Stream, every: int) -> None:
        self._key = key
        self._stream = stream
        self._every = every
        self._rows: list[tuple[Row, int, Array | None, str | None]] = []
        self._newest: tuple[Row, int, Array | None, str | None] | None = None

    def __bool__(self) -> bool:
        return bool(self._rows) or self._newest is not None

    def add(self, row: Row, output: Array) -> None:
        """Notes what a sample is answered with, where it is."""
        count = self._stream.count
        if self._every == 0:
            self._newest = (row, count, output, None)
        elif count % self._every == 0:
            self._rows.append((row, count, output, None))

    def refuse(self, row: Row, words: str) -> None:
        """Notes what is wrong with a row."""
        self._rows.append((row, self._stream.count, None, words))

    def frame(self, *, timed: bool, sequenced: bool) -> pd.DataFrame:
        """The rows as Spark takes them."""
        engine = self._stream.engine
        found = self._rows if self._newest is None else [*self._rows, self._newest]
        names = ["stream", *["time"] * timed, *["sequence"] * sequenced, "count", "prediction"]
        names += [*["probabilities"] * (engine.classes is not None), "error"]
        table = []
        for row, count, output, words in found:
            prediction = None if output is None else _plain(answer(engine, output))
            line = [self._key, *[row.stamp] * timed, *[row.sequence] * sequenced, count, prediction]
            if engine.classes is not None:
                line.append(None if output is None else output.tolist())
            table.append([*line, words])
        # As objects: pandas would turn whole numbers beside nulls into floats, and one block is made much faster.
        return pd.DataFrame(table, columns=names, dtype=object)


def _plain(value: Any) -> Any:
    """An answer in Python's own types."""
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    return value if isinstance(value, (bool, int, float, str, list)) else str(value)
