"""A table of whole series to a table of predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    DataType,
    DoubleType,
    NumericType,
    StringType,
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from seqkit.batch import DataInfo
from seqkit.checks import check_choice, check_positive, check_positive_int
from seqkit.models import SequenceModel
from seqkit.streaming.spark.batches import Predictor
from seqkit.streaming.spark.carried import carry, model_of
from seqkit.streaming.spark.columns import check_new, column_type, nested, quoted

__all__ = ["predict_table"]

LAYOUTS = ("samples", "channels")


def predict_table(
    table: DataFrame,
    run: SequenceModel | str | Path,
    *,
    values: str | Sequence[str] = "values",
    layout: str = "samples",
    time: str | None = None,
    sample_rate: float | None = None,
    batch_size: int = 32,
) -> DataFrame:
    """Predicts for a table with one series in each row; the numbers are those of `seqkit predict`.

    Other columns come through as they are. The rows of a partition go through the model in batches, in their order. A
    series that cannot be read (null, empty, other channels, infinite values, times that do not rise) has its `error`,
    and the others go on.

    Args:
        table: Series, in a table at rest or a stream of them.
        run: Folder of a finished run, or a model; sent to the workers by value.
        values: Column with arrays of numbers for one channel, or arrays of arrays; or the names of C columns with
            arrays of numbers, one for each channel. Null or NaN where a value is missing.
        layout: What the inner arrays of arrays of arrays are: "samples", L arrays of C numbers, or "channels", C arrays
            of L numbers.
        time: Column with arrays of L seconds or dates for series that are not evenly spaced.
        sample_rate: Samples per second of the series (Hz); None for that of the training data.
        batch_size: Series that go through the model at once.

    Returns:
        The other columns, and `prediction`: a label, a number, or an array of numbers where there are several values;
        `probabilities` in the order of the classes, where there are classes; arrays of these, one for each sample, with
        sequence targets; and `error`, null where there is none.

    Raises:
        FileNotFoundError: there is no such run.
        TypeError: neither a run nor a model.
        ValueError: a column that is missing or of another type, another number of channels, or a rate or times for a
            model that has no notion of them.

    Example:
        >>> answers = predict_table(spark.read.parquet("walks"), "runs/walks", values="arm")  # doctest: +SKIP
        >>> answers.select("person", "prediction").show()  # doctest: +SKIP
    """
    if not isinstance(run, (SequenceModel, str, Path)):
        raise TypeError(
            f"`run` must be a run folder or a SequenceModel, got {type(run).__name__}; give what was trained"
        )
    carried = carry(run)
    model = model_of(carried)
    check_positive_int("batch_size", batch_size)
    check_choice("layout", layout, LAYOUTS)
    rate = None if sample_rate is None else check_positive("sample_rate", sample_rate)
    if not model.uses_rate and (time is not None or rate not in (None, model.info.sample_rate or 1.0)):
        name = "sample_rate" if time is None else "time"
        raise ValueError(f"{model.config.name} has no notion of the sampling step; leave `{name}` out")
    if time is not None and rate is not None:
        raise ValueError("`time` says when each sample was taken, so there is no `sample_rate`; leave one of them out")
    series, used = _series(table, values, model.info)
    kept = [name for name in table.columns if name not in {*used, time}]
    made = _fields(model)
    check_new("table", kept, [field.name for field in made])
    given = [*series, *([] if time is None else [_seconds(table, time)])]
    inner = [column.alias(f"seqkit{k}") for k, column in enumerate(given)]
    check_new("table", kept, [f"seqkit{k}" for k in range(len(given))])
    predictor = Predictor(
        carried,
        kept=len(kept),
        channels=len(series),
        by_channel=layout == "channels",
        timed=time is not None,
        sample_rate=rate,
        batch_size=batch_size,
    )

    def predict(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return map(predictor, batches)

    ready = table.select(*(quoted(name) for name in kept), *inner)
    return ready.mapInArrow(predict, StructType([*ready.schema.fields[: len(kept)], *made]))


def _series(table: DataFrame, values: str | Sequence[str], info: DataInfo) -> tuple[list[Column], list[str]]:
    """Columns with series, and those of the table that they come from."""
    words = "arrays of numbers"
    if not isinstance(values, str):
        if len(values) != info.n_channels:
            raise ValueError(
                f"`values` must name {info.n_channels} columns, one for each channel, got {len(values)}: {list(values)}"
            )
        for name in values:
            _check_array(table, "values", name, 1, words)
        return [quoted(name).cast(nested(DoubleType(), 1)) for name in values], list(values)
    kind = column_type(table, "values", values, (ArrayType,), words)
    assert isinstance(kind, ArrayType)
    deep = 2 if isinstance(kind.elementType, ArrayType) else 1
    _check_array(table, "values", values, deep, words)
    if deep == 1 and info.n_channels != 1:
        raise ValueError(
            f"`values` must hold {info.n_channels} channels, got {values!r} with one; give arrays of arrays, or the "
            f"names of {info.n_channels} columns"
        )
    return [quoted(values).cast(nested(DoubleType(), deep))], [values]


def _check_array(table: DataFrame, option: str, name: str, deep: int, words: str) -> DataType:
    """The type of what an array holds, which must be numbers."""
    whole = kind = column_type(table, option, name, (ArrayType,), words)
    for _ in range(deep):
        kind = kind.elementType if isinstance(kind, ArrayType) else kind
    allowed = (NumericType, TimestampType, TimestampNTZType) if option == "time" else (NumericType,)
    if not isinstance(kind, allowed):
        raise ValueError(f"`{option}` must name a column of {words}, got {name!r} of {whole.simpleString()}; cast it")
    return kind


def _seconds(table: DataFrame, time: str) -> Column:
    """Times of samples as arrays of seconds since the first, which float32 can tell apart."""
    kind = _check_array(table, "time", time, 1, "arrays of seconds or dates")
    column = quoted(time)
    if isinstance(kind, NumericType):
        column = column.cast(nested(DoubleType(), 1))
        return F.transform(column, lambda one: one - column[0])
    return F.transform(column, lambda one: F.timestamp_diff("MICROSECOND", column[0], one) / 1e6)


def _fields(model: SequenceModel) -> list[StructField]:
    """The columns that predictions have."""
    info, number = model.info, DoubleType()
    deep = 1 if model.pool is None else 0
    fields: list[tuple[str, DataType]]
    if info.classes:
        fields = [("prediction", nested(StringType(), deep)), ("probabilities", nested(number, deep + 1))]
    else:
        fields = [("prediction", nested(number, deep + (info.n_targets > 1)))]
    return [StructField(name, kind) for name, kind in [*fields, ("error", StringType())]]
