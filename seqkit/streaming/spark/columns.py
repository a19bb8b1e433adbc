"""Columns of tables: looked at when a query is planned, turned into what workers take, and back."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    ByteType,
    DataType,
    DoubleType,
    IntegerType,
    LongType,
    NumericType,
    ShortType,
    StringType,
    TimestampNTZType,
    TimestampType,
)

from seqkit.checks import nearest
from seqkit.streaming.engine import Array

__all__ = [
    "DATES",
    "NAMES",
    "NONE",
    "ORDER",
    "TIMES",
    "WHOLE",
    "as_order",
    "as_seconds",
    "check_new",
    "column_type",
    "label_type",
    "nested",
    "quoted",
    "restored",
]

WHOLE = ByteType, ShortType, IntegerType, LongType
NAMES = StringType, *WHOLE
DATES = TimestampType, TimestampNTZType
ORDER = *WHOLE, *DATES
TIMES = NumericType, *DATES

NONE = -(2**63)
"""Stands for null in a column of whole numbers, which pandas would turn into floats; as a date it is numpy's NaT."""


def column_type(table: DataFrame, option: str, name: str, allowed: tuple[type[DataType], ...], words: str) -> DataType:
    """The type of a column.

    Args:
        table: The table.
        option: Name of the argument, for messages.
        name: Name of the column.
        allowed: Types that it may have.
        words: What these are called.

    Raises:
        ValueError: the table has no such column, or it has another type.
    """
    if not isinstance(name, str) or name not in table.columns:
        raise ValueError(
            f"`{option}` must name a column of the table, got {name!r}; {nearest(str(name), table.columns)}"
        )
    found = table.schema[name].dataType
    if not isinstance(found, allowed):
        raise ValueError(f"`{option}` must name a column of {words}, got {name!r} of {found.simpleString()}; cast it")
    return found


def check_new(option: str, kept: Sequence[str], made: Sequence[str]) -> None:
    """Refuses columns that the answers have too."""
    for name in kept:
        if name in made:
            raise ValueError(f"`{option}` has the column {name!r}, which the answers have too; rename it in the table")


def quoted(name: str) -> Column:
    """The column of this very name, dots and all."""
    return F.col("`" + name.replace("`", "``") + "`")


def as_order(name: str, kind: DataType) -> Column:
    """Whole numbers, or the microseconds of dates since 1970, without nulls."""
    column = quoted(name)
    if isinstance(kind, TimestampType):
        column = F.unix_micros(column)
    elif isinstance(kind, TimestampNTZType):
        column = F.timestamp_diff("MICROSECOND", _epoch(), column)
    return F.coalesce(column.cast("long"), F.lit(NONE))


def as_seconds(name: str, kind: DataType) -> Column:
    """Seconds, or the microseconds of dates since 1970."""
    return as_order(name, kind) if isinstance(kind, DATES) else quoted(name).cast("double")


def restored(inner: str, kind: DataType, name: str) -> Column:
    """The reverse of the two above, under the name that the column had."""
    column = quoted(inner)
    if isinstance(kind, (*DATES, *WHOLE)):
        column = F.when(column != NONE, column)
    if isinstance(kind, TimestampType):
        column = F.timestamp_micros(column)
    elif isinstance(kind, TimestampNTZType):
        column = F.timestamp_add("MICROSECOND", column, _epoch())
    return column.cast(kind).alias(name)


def _epoch() -> Column:
    return F.lit("1970-01-01 00:00:00").cast("timestamp_ntz")


def label_type(classes: Array) -> DataType:
    """The type of a column of labels."""
    return {"i": LongType(), "u": LongType(), "f": DoubleType(), "b": BooleanType()}.get(
        classes.dtype.kind, StringType()
    )


def nested(kind: DataType, depth: int) -> DataType:
    """A type in arrays of arrays, so deep."""
    for _ in range(depth):
        kind = ArrayType(kind)
    return kind
