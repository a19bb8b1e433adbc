"""A line of text in, a sample out; an answer in, a line of text out. Here: JSON."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np

from seqkit.checks import check_keys
from seqkit.streaming.engine import Engine

__all__ = ["Fields", "JsonLines", "LineFormat", "Sample", "in_range", "seconds", "shown"]

# Numbers beyond the year 5138 as seconds are Unix times in a finer unit, as in tables.
_FINER = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
_KEYS = frozenset(("stream", "values", "time"))


class Sample(NamedTuple):
    """What a line says.

    Args:
        stream: Name of its stream; None for the one without a name.
        rows: Samples, L lists of C numbers; NaN where a value is missing.
        times: Times of the samples in seconds; None for none.
        block: Whether it was given as a block.
    """

    stream: str | int | None
    rows: list[list[float]]
    times: list[float] | None
    block: bool


@dataclass(frozen=True)
class Fields:
    """What a model takes and gives, as far as lines show it.

    Args:
        n_channels: Channels C of a sample.
        largest: Largest number that its samples can hold.
        channels: Names of the channels; empty where they have none.
        labels: Labels in the order of the probabilities; empty where it gives values.
        values: Names of the values that it gives; empty where it gives labels.
        timeless: What to call a model without a notion of time, which takes no times; empty where it has one.

    Example:
        >>> from seqkit import HiPPOMemory
        >>> from seqkit.streaming import MemoryEngine
        >>> Fields.of(MemoryEngine(HiPPOMemory(2))).values
        ('0', '1')
    """

    n_channels: int
    largest: float
    channels: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    timeless: str = ""

    @classmethod
    def of(cls, engine: Engine, channels: Sequence[str] = (), targets: Sequence[str] = ()) -> Fields:
        """The fields of an engine, with names where they are known."""
        labels = () if engine.classes is None else tuple(str(label) for label in engine.classes.tolist())
        numbers = () if labels else tuple(str(k) for k in range(math.prod(engine.output_shape)))
        largest = float(np.finfo(engine.sample_dtype).max)
        timeless = "" if engine.uses_rate else engine.kind
        return cls(engine.n_channels, largest, tuple(channels), labels, tuple(targets) or numbers, timeless)


class LineFormat(ABC):
    """Reads lines of one kind and writes answers of the same kind.

    Args:
        fields: What the model takes and gives.

    Attributes:
        header: Line that the answers begin with, if any.
    """

    header: str | None = None

    def __init__(self, fields: Fields) -> None:
        self.fields = fields

    @abstractmethod
    def sample(self, line: str) -> Sample:
        """What a line says.

        Raises:
            ValueError: it is not such a line.
        """

    @abstractmethod
    def answer(self, stream: str | int | None, prediction: Any, probabilities: Sequence[float]) -> str:
        """The line of an answer, its end included; probabilities in the order of the labels."""

    @abstractmethod
    def error(self, number: int, words: str) -> str:
        """The line that says what is wrong with line `number`, its end included."""


class JsonLines(LineFormat):
    r"""One JSON object a line: `{"stream": id, "values": [1.5, null], "time": t}`; `stream` and `time` may be left out.

    `values` may be a block of samples, a list of such lists; then `time` is a list too. Times are seconds or dates.

    Example:
        >>> form = JsonLines(Fields(2, 1e38, labels=("a", "b")))
        >>> form.sample('{"stream": 7, "values": [1, null]}')
        Sample(stream=7, rows=[[1.0, nan]], times=None, block=False)
        >>> form.answer(7, "b", [0.25, 0.75])
        '{"stream": 7, "prediction": "b", "probabilities": {"a": 0.25, "b": 0.75}}\n'
    """

    def sample(self, line: str) -> Sample:
        """What an object says."""
        given = _decoded(line)
        if not given.keys() <= _KEYS:
            check_keys("the line", given, sorted(_KEYS))
        if "values" not in given:
            raise ValueError("the line has no `values`; write the sample as a list of numbers, one for each channel")
        values, block = given["values"], False
        if isinstance(values, list):
            block = bool(values) and isinstance(values[0], list)
        elif isinstance(values, (int, float)):
            values = [values]
        if not isinstance(values, list):
            raise ValueError(f"`values` must be a list of numbers, one for each channel, got {shown(values)}")
        rows = [self._row(row) for row in values] if block else [self._row(values)]
        return Sample(_named(given.get("stream")), rows, _times(given.get("time"), len(rows), block), block)

    def answer(self, stream: str | int | None, prediction: Any, probabilities: Sequence[float]) -> str:
        """An object with the stream, if it has a name, the prediction and the probabilities, if there are labels."""
        given: dict[str, Any] = {} if stream is None else {"stream": stream}
        given["prediction"] = prediction
        if self.fields.labels:
            given["probabilities"] = dict(zip(self.fields.labels, probabilities, strict=True))
        return _ENCODER.encode(given) + "\n"

    def error(self, number: int, words: str) -> str:
        """An object with the number of the line and what is wrong."""
        return _ENCODER.encode({"line": number, "error": words}) + "\n"

    def _row(self, given: Any) -> list[float]:
        if not isinstance(given, list):
            raise ValueError(f"`values` must be all lists, as a block, or all numbers, got {shown(given)} among lists")
        if len(given) != self.fields.n_channels:
            raise ValueError(
                f"`values` must hold {self.fields.n_channels} numbers, one for each channel, got {len(given)}"
            )
        return in_range([one if type(one) is float else _number(one) for one in given], self.fields.largest)


def in_range(row: list[float], largest: float) -> list[float]:
    """The numbers, where none is infinite or too large.

    Raises:
        ValueError: one is.

    Example:
        >>> in_range([1.0, float("nan")], 1e38)
        [1.0, nan]
    """
    for one in row:
        if not -largest <= one <= largest and one == one:  # NaN stands for a missing value
            raise ValueError(f"`values` must be finite and at most {largest:.3g}, got {one}; leave it out as missing")
    return row


def seconds(given: Any) -> float:
    """Seconds of a time: a number as it is, a date in ISO 8601 since 1970, in UTC where it names no zone.

    Numbers from 1e11 on are milliseconds since 1970, from 1e14 on microseconds, from 1e17 on nanoseconds.

    Raises:
        ValueError: it is no time.

    Example:
        >>> seconds(1.5), seconds("1970-01-01T01:00:00+01:00"), seconds(1_700_000_000_000)
        (1.5, 0.0, 1700000000.0)
    """
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        size = abs(given)
        if size < 1e300:  # neither infinite, nor NaN, nor too large to become a float
            return given / next((unit for least, unit in _FINER if size >= least), 1.0)
    elif isinstance(given, str):
        try:
            date = datetime.fromisoformat(given.strip())
            return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            pass
    raise ValueError(f"`time` must be seconds or a date such as 2026-03-01T12:00:00, got {shown(given)}")


def shown(given: Any) -> str:
    """What was given, in a few letters.

    Example:
        >>> shown("a" * 1000)
        '"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...'
    """
    if isinstance(given, int) and not isinstance(given, bool) and abs(given) > 1 << 64:
        return "a number of more than 19 digits"
    text = json.dumps(given[:60] if isinstance(given, (str, list)) else given)
    return text if len(text) <= 40 else text[:39] + "..."


def _decoded(line: str) -> dict[str, Any]:
    if not line or line.isspace():
        raise ValueError('the line is empty; write an object such as {"values": [1.5, 2.0]}')
    try:
        given = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"this is no JSON: {error.msg} at character {error.pos + 1}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError("this is no JSON that can be read: numbers are too long, or lists too deep") from error
    if not isinstance(given, dict):
        raise ValueError(f'the line must be an object such as {{"values": [1.5, 2.0]}}, got {shown(given)}')
    return given


def _named(given: Any) -> str | int | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, (str, int)) or given == "":
        raise ValueError(f"`stream` must be a text or a whole number, got {shown(given)}")
    if isinstance(given, str) and any("\ud800" <= letter <= "\udfff" for letter in given):
        raise ValueError("`stream` holds half of a character; write it in valid Unicode")
    return given


def _number(given: Any) -> float:
    if given is None:
        return math.nan
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        try:
            return float(given)
        except OverflowError:
            return math.inf  # in_range says it
    raise ValueError(f"`values` must be numbers, or null where one is missing, got {shown(given)}")


def _times(given: Any, n: int, block: bool) -> list[float] | None:
    if given is None:
        return None
    if not block:
        return [seconds(given)]
    if not isinstance(given, list) or len(given) != n:
        got = f"{len(given)}" if isinstance(given, list) else shown(given)
        raise ValueError(f"`time` of a block must be a list of {n} times, one for each sample, got {got}")
    return [seconds(one) for one in given]
