"""Many series at once, each with its own state, stepped together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar, cast

import numpy as np

from seqkit.checks import check_positive_int
from seqkit.streaming.engine import Array, Engine, Named
from seqkit.streaming.engines import as_engine
from seqkit.streaming.samples import as_table, checked_samples, seconds_of
from seqkit.streaming.snapshot import (
    Progress,
    kept_beside,
    pack,
    pack_all,
    read_snapshot,
    unpack,
    unpack_all,
    write_snapshot,
)
from seqkit.streaming.stream import answer, check_classes, first_step, scan_one, timing

__all__ = ["StreamId", "StreamPool"]

StreamId = str | int
"""Name of a stream in a pool."""

F = TypeVar("F", bound=Callable[..., Any])


def _alone(method: F) -> F:
    """Lets one thread at a time into a method of a pool."""

    @wraps(method)
    def locked(self: StreamPool, *args: Any, **options: Any) -> Any:
        with self._lock:
            return method(self, *args, **options)

    return cast("F", locked)


class StreamPool:
    """Streams by name, all of one model; a step of many costs far less than as many steps.

    A stream begins with its first sample. None of them sees anything of another. Several threads may use a pool: its
    methods take turns.

    Args:
        what: As for `Stream`.
        capacity: Streams that there is room for at the start; it doubles when they are more.
        sample_rate: As for `Stream`, for all of them.
        backend: As for `Stream`.
        dtype: As for `Stream`.
        device: As for `Stream`.
        n_channels: As for `Stream`.

    Raises:
        TypeError: something else to stream.
        ValueError: as `Stream`.

    Example:
        >>> from seqkit import S4D
        >>> pool = StreamPool(S4D(1, order=4))
        >>> pool.push(["a", "b"], [[1.0], [2.0]]).shape, pool.push(["b"], [[0.5]]).shape
        ((2, 1), (1, 1))
        >>> pool.ids(), pool.count("b")
        (['a', 'b'], 2)
    """

    def __init__(
        self,
        what: Any,
        *,
        capacity: int = 16,
        sample_rate: float | None = None,
        backend: str = "auto",
        dtype: str | None = None,
        device: str = "cpu",
        n_channels: int = 1,
    ) -> None:
        self.engine: Engine = as_engine(what, backend=backend, dtype=dtype, device=device, n_channels=n_channels)
        self.first_step = first_step(self.engine, sample_rate)
        self._states = self.engine.start(check_positive_int("capacity", capacity))
        self._capacity = capacity
        self._rows: dict[StreamId, int] = {}
        self._progress: dict[StreamId, Progress] = {}
        self._free = list(range(capacity - 1, -1, -1))
        self._lock = RLock()

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = RLock()

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, stream: object) -> bool:
        return stream in self._rows

    def __iter__(self) -> Iterator[StreamId]:
        return iter(self.ids())

    @_alone
    def ids(self) -> list[StreamId]:
        """Names of the streams, oldest first."""
        return list(self._rows)

    @_alone
    def push(self, streams: Sequence[StreamId], x: Any, times: Any = None) -> Array:
        """Takes one sample of each of some streams.

        Args:
            streams: Names, each once; a new one begins a stream.
            x: Samples, (n, C); NaN where a value is missing.
            times: When each was taken, n of them; None for none.

        Returns:
            Newest outputs, (n, ...).

        Raises:
            ValueError: a name twice, samples or times that do not fit; no stream is changed.

        Cost:
            One step of the model for all of them.
        """
        streams = _names(streams)
        table = as_table("x", x)
        if table.ndim != 2 or len(table) != len(streams):
            raise ValueError(
                f"`x` must be ({len(streams)}, {self.engine.n_channels}), a sample of each stream, got {table.shape}; "
                "a block of one stream goes to push_block"
            )
        if not streams:
            return np.zeros((0, *self.engine.output_shape))
        values, observed, _ = checked_samples("x", table, self.engine)
        steps, newest = self._timing(streams, times)
        with self._begun(streams) as rows:
            outputs = self.engine.step(self._states, rows, values, steps, observed)
        for stream, output, time in zip(streams, outputs, newest, strict=True):
            self._progress[stream].advance(1, output, time, timed=times is not None)
        return outputs.copy()

    @_alone
    def push_block(self, stream: StreamId, x: Any, times: Any = None) -> Array:
        """Takes a block of samples of one stream by the parallel form.

        Args:
            stream: Its name; a new one begins a stream.
            x: Block, (L, C); NaN where a value is missing.
            times: When each was taken, (L,); None for none.

        Returns:
            As `Stream.push` of a block.

        Raises:
            ValueError: samples or times that do not fit; the stream is as before.
        """
        [stream] = _names([stream])
        values, observed, single = checked_samples("x", x, self.engine)
        if single:
            raise ValueError(f"`x` must be a block (L, {self.engine.n_channels}), got {np.shape(x)}; call push")
        progress = self._progress.get(stream, Progress())
        steps, newest = timing(self.engine, progress, self.first_step, times, len(values))
        with self._begun([stream]) as rows:
            outputs = scan_one(self.engine, self._states, rows, values, steps, observed)
        last = outputs[-1] if self.engine.per_sample else outputs
        self._progress[stream].advance(len(values), last, newest, timed=times is not None)
        return outputs.copy()

    @_alone
    def open(self, stream: StreamId) -> None:
        """Begins a stream without a sample.

        Raises:
            ValueError: there is one of this name.
        """
        [stream] = _names([stream])
        if stream in self._rows:
            raise ValueError(f"there is a stream {stream!r} already; close it first, or go on with it")
        self._rows_of([stream])

    @_alone
    def close(self, stream: StreamId) -> None:
        """Forgets a stream.

        Raises:
            KeyError: no such stream.
        """
        row = self._row(stream)
        del self._rows[stream], self._progress[stream]
        self._free.append(row)

    @_alone
    def reset(self, streams: Iterable[StreamId] | None = None) -> None:
        """Begins new series in these streams; in all of them if None.

        Raises:
            KeyError: one of them does not exist; none is changed.
        """
        chosen = list(self._rows if streams is None else streams)
        rows = [self._row(stream) for stream in chosen]  # all of them are there before the first is reset
        for stream, row in zip(chosen, rows, strict=True):
            self.engine.reset(self._states, row)
            self._progress[stream] = Progress()

    @_alone
    def fork(self, stream: StreamId, new: StreamId) -> None:
        """Begins a stream `new` that goes on from where another is now.

        Raises:
            KeyError: no such stream.
            ValueError: there is one named `new`.
        """
        state = self.state_dict(stream)
        self.open(new)
        self.load_state_dict(new, state)

    @_alone
    def count(self, stream: StreamId) -> int:
        """Samples of a stream so far; 0 where there is no such stream."""
        return self._progress[stream].count if stream in self._progress else 0

    @_alone
    def time(self, stream: StreamId) -> float | None:
        """Time of a stream's last sample in seconds; None where samples have none."""
        self._row(stream)
        return self._progress[stream].time

    @_alone
    def output(self, stream: StreamId) -> Array:
        """The newest output of a stream.

        Raises:
            KeyError: no such stream.
            ValueError: no sample has come yet.
        """
        self._row(stream)
        newest = self._progress[stream].output
        if newest is None:
            raise ValueError(f"stream {stream!r} answers from its first sample on; push one first")
        return newest.copy()

    def predict(self, stream: StreamId) -> Any:
        """The answer for a stream so far: a label, a value, or an array where there are several."""
        return answer(self.engine, self.output(stream))

    def predict_proba(self, stream: StreamId) -> Array:
        """The probability of each class for a stream so far, in the order of `classes`."""
        check_classes(self.engine)
        return self.output(stream)

    @property
    def classes(self) -> Array | None:
        """Labels in the order of the probabilities; None where outputs are values."""
        return self.engine.classes

    @_alone
    def state_dict(self, stream: StreamId) -> Named:
        """All that a stream is, as named tensors; a `Stream` of the same model can go on from it, and the reverse."""
        return pack(self.engine, self.engine.read(self._states, self._row(stream)), self._progress[stream])

    @_alone
    def load_state_dict(self, stream: StreamId, tensors: Named) -> None:
        """Goes on from what `state_dict` gave, under whatever name.

        Raises:
            ValueError: the state of another model, of another format, or damaged. The pool is as before.
        """
        [stream] = _names([stream])
        state, progress = unpack(self.engine, tensors)
        [row] = self._rows_of([stream])
        self.engine.write(self._states, int(row), state)
        self._progress[stream] = progress

    @_alone
    def save(self, path: str | Path, beside: Named | None = None) -> None:
        """Writes all streams to a safetensors file, whole or not at all.

        Args:
            path: The file.
            beside: Further tensors that belong to these states, such as how much of an input they have seen.
        """
        write_snapshot(path, pack_all({stream: self.state_dict(stream) for stream in self._rows}, beside))

    @_alone
    def restore(self, path: str | Path) -> Named:
        """Goes on from what `save` wrote; streams that are here now are forgotten.

        Returns:
            What `save` was given beside the states.

        Raises:
            FileNotFoundError: no such file.
            ValueError: states of another model, of another format, or damaged. The pool is as before.
        """
        tensors = read_snapshot(path)
        # All of them must fit before the first is taken.
        states = {stream: unpack(self.engine, state) for stream, state in unpack_all(tensors).items()}
        names = _names(list(states))
        for stream in self.ids():
            self.close(stream)
        for row, (stream, (state, progress)) in zip(self._rows_of(names), states.items(), strict=True):
            self.engine.write(self._states, int(row), state)
            self._progress[stream] = progress
        return kept_beside(tensors)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.engine.kind}, {len(self)} streams)"

    def _row(self, stream: StreamId) -> int:
        if stream not in self._rows:
            raise KeyError(f"there is no stream {stream!r}")
        return self._rows[stream]

    def _rows_of(self, streams: Sequence[StreamId]) -> Array:
        """Rows of these streams; new ones get one that is fresh."""
        missing = [stream for stream in streams if stream not in self._rows]
        if len(missing) > len(self._free):
            new = max(2 * self._capacity, self._capacity + len(missing))
            self._states = self.engine.resized(self._states, new)
            self._free = [*range(new - 1, self._capacity - 1, -1), *self._free]
            self._capacity = new
        for stream in missing:
            row = self._free.pop()
            self.engine.reset(self._states, row)  # a closed stream's state lies there
            self._rows[stream], self._progress[stream] = row, Progress()
        return np.array([self._rows[stream] for stream in streams])

    @contextmanager
    def _begun(self, streams: Sequence[StreamId]) -> Iterator[Array]:
        """Rows of these streams; the new ones are forgotten again where their samples are not taken."""
        new = [stream for stream in streams if stream not in self._rows]
        rows = self._rows_of(streams)
        try:
            yield rows
        except BaseException:
            for stream in new:
                self.close(stream)
            raise

    def _timing(self, streams: Sequence[StreamId], times: Any) -> tuple[Array | None, list[float | None]]:
        """Steps of one sample of each stream, (n,) or None for 1, and their times."""
        given: list[Any] = [None] * len(streams) if times is None else list(seconds_of(times, len(streams)))
        steps, newest = [], []
        for stream, time in zip(streams, given, strict=True):
            progress = self._progress.get(stream, Progress())
            step, last = timing(self.engine, progress, self.first_step, time, 1)
            steps.append(1.0 if step is None else step[0])
            newest.append(last)
        even = times is None and self.first_step == 1
        return (None if even else np.array(steps)), newest


def _names(streams: Sequence[StreamId]) -> Sequence[StreamId]:
    """Refuses names that are none, or twice the same."""
    for stream in streams:
        if not isinstance(stream, (str, int)) or isinstance(stream, bool):
            raise ValueError(f"a stream's name must be a text or a whole number, got {stream!r}")
    if len(set(streams)) < len(streams):
        twice = next(stream for k, stream in enumerate(streams) if stream in streams[:k])
        raise ValueError(f"`streams` must name each stream once, got {twice!r} twice; push its samples one by one")
    return streams
