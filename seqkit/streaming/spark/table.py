"""A table of samples to a table of answers: the pool of streams as an operator of Spark Structured Streaming."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    DataType,
    DoubleType,
    LongType,
    NumericType,
    StringType,
    StructField,
    StructType,
)

from seqkit.checks import check_positive, check_positive_int
from seqkit.streaming.engine import Engine
from seqkit.streaming.spark.carried import carry, engine_of
from seqkit.streaming.spark.columns import (
    DATES,
    NAMES,
    ORDER,
    TIMES,
    as_order,
    as_seconds,
    check_new,
    column_type,
    label_type,
    nested,
    quoted,
    restored,
)
from seqkit.streaming.spark.processor import StreamProcessor
from seqkit.streaming.spark.session import STATE_STORE
from seqkit.streaming.stream import first_step

__all__ = ["stream_table"]

ANSWERS = ("count", "prediction", "probabilities", "error")


def stream_table(
    table: DataFrame,
    what: Any,
    *,
    stream: str = "stream",
    values: str | Sequence[str] = "values",
    time: str | None = None,
    sequence: str | None = None,
    every: int | str = 1,
    ttl: float | None = None,
    sample_rate: float | None = None,
    backend: str = "auto",
    dtype: str | None = None,
    n_channels: int = 1,
) -> DataFrame:
    """Answers the samples of many streams, a row each; states lie in Spark's store and are part of its checkpoint.

    A stream's samples are taken one by one in the order of `sequence`, or else of `time`: Spark keeps none. So the
    answers are those of `Stream.push` sample by sample, however the input was cut into micro-batches, and a query that
    is killed and started again from its checkpoint gives the answers of one left alone, each once where the sink is
    idempotent or transactional, as files are. A row that cannot be taken (no name, another number of channels, infinite
    values, late or twice) has its `error` in the answer, changes no stream, and the query goes on.

    Args:
        table: Samples; with `isStreaming`, or a table at rest, which is answered from fresh states.
        what: As for `Stream`; sent to the workers by value, so a run folder need only lie where the query is planned.
        stream: Column of texts or whole numbers that names the stream.
        values: Column with an array of C numbers, or the names of C columns of numbers; null or NaN where a value is
            missing.
        time: Column with the time of the sample, numbers of seconds or dates; None for samples evenly spaced.
        sequence: Column of whole numbers or dates that rise within a stream and order its rows.
        every: Answers the samples of a stream whose number is a multiple of this; "batch" for the newest of each
            micro-batch. Errors are always answered.
        ttl: Seconds, by the clock of the cluster, after whose passing without a sample a stream is forgotten; None for
            never.
        sample_rate: As for `Stream`, for all of them.
        backend: As for `Stream`; name one where machines differ, as "auto" looks at what each has.
        dtype: As for `Stream`.
        n_channels: As for `Stream`.

    Returns:
        Rows with the columns named by `stream`, `time` and `sequence`, as they were; `count`, the samples of the stream
        so far; `prediction`, a label, a number or an array of numbers; `probabilities` in the order of the classes,
        where there are classes; and `error`, null where there is none.

    Raises:
        TypeError: something else to stream.
        ValueError: a column that is missing or of another type, neither `time` nor `sequence`, a session without the
            RocksDB store, or arguments that `Stream` refuses.

    Example:
        >>> answers = stream_table(samples, "runs/pulse", values=["x", "y"], time="time")  # doctest: +SKIP
        >>> writer = answers.writeStream.option("checkpointLocation", "checkpoint")  # doctest: +SKIP
        >>> query = writer.format("parquet").start("answers")  # doctest: +SKIP
    """
    carried = carry(what, backend=backend, dtype=dtype, n_channels=n_channels)
    engine = engine_of(carried)
    first_step(engine, sample_rate)
    _check_store(table)
    if time is None and sequence is None:
        raise ValueError(
            "one of `time` and `sequence` must name a column, got neither; Spark keeps no order within a micro-batch"
        )
    if time is not None and not engine.uses_rate:
        raise ValueError(f"{engine.kind} has no notion of time; give the column {time!r} as `sequence` instead")
    kinds = {"stream": column_type(table, "stream", stream, NAMES, "texts or whole numbers")}
    names = {"stream": stream}
    columns = [quoted(stream).alias("stream"), _values(table, values, engine).alias("values")]
    if time is not None:
        names["time"], kinds["time"] = time, column_type(table, "time", time, TIMES, "numbers or dates")
        columns.append(as_seconds(time, kinds["time"]).alias("time"))
    if sequence is not None:
        names["sequence"] = sequence
        kinds["sequence"] = column_type(table, "sequence", sequence, ORDER, "whole numbers or dates")
        columns.append(as_order(sequence, kinds["sequence"]).alias("sequence"))
    for option, name in names.items():
        check_new(option, [name], ANSWERS)
    if len(set(names.values())) < len(names):
        raise ValueError(f"`stream`, `time` and `sequence` must be different columns, got {list(names.values())}")
    processor = StreamProcessor(
        carried,
        sample_rate=sample_rate,
        every=_every(every),
        ttl=None if ttl is None else max(1, round(1000 * check_positive("ttl", ttl))),
        dates=isinstance(kinds.get("time"), DATES),
    )
    grouped = table.select(*columns).groupBy("stream")
    mode = "none" if ttl is None else "processingTime"
    answers = grouped.transformWithStateInPandas(processor, _schema(engine, kinds), "append", mode)
    back = [quoted("stream").alias(stream)]
    back += [restored(inner, kinds[inner], name) for inner, name in names.items() if inner != "stream"]
    return answers.select(*back, *answers.columns[len(back) :])


def _check_store(table: DataFrame) -> None:
    """Refuses a session whose states would not lie in RocksDB, which Spark demands only when the query runs."""
    [(key, needed)] = STATE_STORE.items()
    found = table.sparkSession.conf.get(key, "")
    if "RocksDB" not in (found or ""):
        raise ValueError(
            f"the session keeps states by {found!r}, and streams need RocksDB; set {key} to {needed} (STATE_STORE)"
        )


def _every(every: int | str) -> int:
    if every == "batch":
        return 0
    if isinstance(every, str):
        raise ValueError(f'`every` must be a whole number of at least 1, or "batch", got {every!r}')
    return check_positive_int("every", every)


def _values(table: DataFrame, values: str | Sequence[str], engine: Engine) -> Column:
    """The samples as one array of numbers."""
    if isinstance(values, str):
        kind = column_type(table, "values", values, (ArrayType, NumericType), "arrays of numbers")
        if isinstance(kind, ArrayType):
            if not isinstance(kind.elementType, NumericType):
                got = f"{values!r} of {kind.simpleString()}"
                raise ValueError(f"`values` must name a column of arrays of numbers, got {got}; cast it")
            return quoted(values).cast(ArrayType(DoubleType()))
        values = [values]
    if len(values) != engine.n_channels:
        raise ValueError(
            f"`values` must name {engine.n_channels} columns, one for each channel, got {len(values)}: {list(values)}"
        )
    for name in values:
        column_type(table, "values", name, (NumericType,), "numbers")
    return F.array(*(quoted(name).cast("double") for name in values))


def _schema(engine: Engine, kinds: dict[str, DataType]) -> StructType:
    """What the operator yields."""
    fields: list[tuple[str, DataType]] = [("stream", kinds["stream"])]
    if "time" in kinds:
        fields.append(("time", LongType() if isinstance(kinds["time"], DATES) else DoubleType()))
    if "sequence" in kinds:
        fields.append(("sequence", LongType()))
    fields.append(("count", LongType()))
    if engine.classes is None:
        single = engine.output_shape == (1,)
        fields.append(("prediction", nested(DoubleType(), 0 if single else len(engine.output_shape))))
    else:
        fields.append(("prediction", label_type(engine.classes)))
        fields.append(("probabilities", nested(DoubleType(), 1)))
    fields.append(("error", StringType()))
    return StructType([StructField(name, kind) for name, kind in fields])
