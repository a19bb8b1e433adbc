"""What a client may ask for, read out of JSON, and the answer to it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn, TypeAlias

import numpy as np

from seqkit.streaming.engine import Array, Engine
from seqkit.streaming.lines import seconds, shown
from seqkit.streaming.samples import checked_samples

__all__ = ["LONGEST_NAME", "Answer", "Job", "Key", "RefusedError", "checked_name", "parsed_json", "push_job"]

LONGEST_NAME = 200

Key: TypeAlias = tuple[str, str]
"""A client and the name of one of its streams."""

FIELDS = ("values", "time", "count", "stream")


class Answer(NamedTuple):
    """Status as in HTTP, and what to say.

    Args:
        status: 2xx where the job was done.
        body: A dictionary for JSON, or a snapshot.
    """

    status: int
    body: dict[str, Any] | bytes


class RefusedError(Exception):
    """A request that is not taken, with its status and one sentence.

    Args:
        status: As in HTTP.
        words: Why, and what to do.
        retry_after: Seconds after which it may be tried again.
    """

    def __init__(self, status: int, words: str, retry_after: float | None = None) -> None:
        super().__init__(words)
        self.status = status
        self.retry_after = retry_after

    def answer(self) -> Answer:
        """The refusal as an answer."""
        later = {} if self.retry_after is None else {"retry_after": round(self.retry_after, 3)}
        return Answer(self.status, {"error": str(self), **later})


@dataclass(slots=True)
class Job:
    """One thing to do with one stream.

    Args:
        op: "open", "push", "predict", "close", "snapshot" or "restore".
        key: Which stream.
        values: A sample (C,) or a block (L, C) in the engine's dtype, NaN where one is missing.
        times: Times of the samples in seconds; None for none.
        count: Samples that the stream must have before a push; None for any number.
        data: Snapshot to restore.
        replace: Whether it may take the place of a stream.

    Example:
        >>> Job("push", ("ward 3", "bed 7"), np.zeros((5, 2), np.float32)).samples
        5
    """

    op: str
    key: Key
    values: Array | None = None
    times: Array | None = None
    count: int | None = None
    data: bytes | None = None
    replace: bool = False

    @property
    def samples(self) -> int:
        """Samples to take."""
        return 0 if self.values is None else 1 if self.values.ndim == 1 else len(self.values)


def parsed_json(text: str | bytes) -> Any:
    """What a JSON text says.

    Raises:
        RefusedError: 400: no JSON, or with NaN, which JSON does not have.

    Example:
        >>> parsed_json('{"values": [1, null]}')
        {'values': [1, None]}
    """
    try:
        return _DECODER.decode(text if isinstance(text, str) else text.decode())
    except UnicodeDecodeError as error:
        raise RefusedError(400, f"the text is not UTF-8 ({error.reason} at byte {error.start}); send JSON") from error
    except json.JSONDecodeError as error:
        words = f"the text is not JSON: {error.msg} at character {error.pos}; send one object"
        raise RefusedError(400, words) from error
    except RecursionError as error:
        raise RefusedError(400, "the JSON is nested too deeply; send one object with a list of numbers") from error
    except ValueError as error:  # a whole number of thousands of digits
        raise RefusedError(400, f"the JSON holds a number that cannot be read ({error}); send usual numbers") from error


def _refuse_constant(name: str) -> NoReturn:
    raise RefusedError(400, f"JSON has no {name}; write null where a value is missing")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)  # json.loads would make one each time


def checked_name(given: Any) -> str:
    """Name of a stream: a text, or a whole number, which is taken as text.

    Raises:
        RefusedError: 422: something else.

    Example:
        >>> checked_name("pump 7"), checked_name(7)
        ('pump 7', '7')
    """
    name = str(given) if isinstance(given, int) and not isinstance(given, bool) else given
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or "/" in name:
        raise RefusedError(
            422,
            f"`stream` must be a text of 1 to {LONGEST_NAME} printable characters without '/', got {shown(given)}",
        )
    return name


def push_job(client: str, message: Any, engine: Engine, name: Any = None) -> Job:
    """The push that a message asks for.

    Args:
        client: Who asks.
        message: `{"stream": name, "values": [..] or [[..], ..], "time": t or [..], "count": n}`, the last two optional.
        engine: What takes the samples.
        name: The stream where the message does not name it.

    Raises:
        RefusedError: 422: something that does not fit, in one sentence.

    Example:
        >>> from seqkit import S4D
        >>> from seqkit.streaming import MixerEngine
        >>> push_job("", {"stream": "a", "values": [1, 2]}, MixerEngine(S4D(2, order=4))).values
        array([1., 2.], dtype=float32)
    """
    if not isinstance(message, dict):
        raise RefusedError(422, f"a push must be an object with `values`, got {shown(message)}")
    unknown = [field for field in message if field not in (*FIELDS, "op", "id")]
    if unknown:
        raise RefusedError(422, f"a push takes {', '.join(FIELDS)}; it has no field {shown(unknown[0])}")
    if "values" not in message:
        raise RefusedError(
            422, "a push needs `values`: a list of numbers, one for each channel, or a list of such lists"
        )
    values = _values(message["values"], engine)
    n = 1 if values.ndim == 1 else len(values)
    if values.ndim == 2 and n == 1:
        values = values[0]  # stepped together with those of other streams
    return Job(
        "push",
        (client, checked_name(message.get("stream") if name is None else name)),
        values,
        None if message.get("time") is None else _times(message["time"], n),
        None if message.get("count") is None else _count(message["count"]),
    )


_NUMBERS = {int, float}
_SAFE = 1e30
"""Values below this are finite in float32 too."""


def _values(given: Any, engine: Engine) -> Array:
    """Samples as the engine takes them, NaN where one is missing."""
    usual = isinstance(given, list) and len(given) == engine.n_channels and {type(one) for one in given} <= _NUMBERS
    if usual and all(-_SAFE < one < _SAFE for one in given):  # a quick way through
        return np.array(given, dtype=engine.sample_dtype)
    if isinstance(given, (int, float)) and engine.n_channels == 1:
        given = [given]
    try:
        table = np.array(given)
        if table.dtype == object:  # null among numbers
            table = np.array(given, dtype=np.float64) if _plain(given) else table
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise RefusedError(
            422, f"`values` must be a list of {engine.n_channels} numbers, or a list of such lists of equal length"
        ) from error
    try:
        checked_samples("values", table, engine)
    except ValueError as error:
        raise RefusedError(422, str(error)) from error
    with np.errstate(over="ignore"):
        return table.astype(engine.sample_dtype)


def _plain(given: Any) -> bool:
    """Whether it holds numbers and None only."""
    if isinstance(given, list):
        return all(_plain(one) for one in given)
    return given is None or (isinstance(given, (int, float)) and not isinstance(given, bool))


def _times(given: Any, n: int) -> Array:
    several = given if isinstance(given, list) else [given]
    if len(several) != n:
        raise RefusedError(422, f"`time` must hold one time for each of {n} samples, got {len(several)}")
    try:
        return np.array([seconds(one) for one in several])
    except ValueError as error:
        raise RefusedError(422, str(error)) from error


def _count(given: Any) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or not 0 <= given < 2**62:
        raise RefusedError(
            422, f"`count` must be the whole number of samples that the stream has before, got {shown(given)}"
        )
    return given
