"""Lines from one file descriptor to another: bounded memory, signals, and snapshots between the lines."""

from __future__ import annotations

import math
import os
import select
import signal
import time
from pathlib import Path
from types import FrameType
from typing import NamedTuple, Self

from seqkit.streaming.line_pool import LinePool

__all__ = ["LIMIT", "Interruption", "LineReader", "Schedule", "run_pipe", "write_all"]

LIMIT = 1 << 20
"""Bytes of the longest line."""

_CHUNK = 1 << 18


class LineReader:
    r"""Lines out of a file descriptor, as they come; keeps one chunk and at most one line, whatever comes.

    Args:
        source: File descriptor.
        limit: Bytes of the longest line.

    Attributes:
        ended: Whether the input has ended.

    Example:
        >>> source, sink = os.pipe()
        >>> os.write(sink, b"one\ntwo")
        7
        >>> os.close(sink)
        >>> reader = LineReader(source)
        >>> reader.read(), reader.read(), reader.ended
        ([b'one'], [b'two'], True)
        >>> os.close(source)
    """

    def __init__(self, source: int, limit: int = LIMIT) -> None:
        self._source = source
        self._limit = limit
        self._kept = bytearray()
        self._too_long = False
        self.ended = False

    def read(self) -> list[bytes | None]:
        """The lines that the next chunk ends, without their ends; None for one that is too long."""
        try:
            data = os.read(self._source, _CHUNK)
        except BlockingIOError:  # whoever gave the descriptor does not let it wait
            return []
        if not data:
            self.ended = True
            return [self._line(b"")] if self._kept or self._too_long else []
        head, *others = data.split(b"\n")
        if not others:
            self._keep(head)
            return []
        *middle, last = others
        lines = [self._line(head), *(self._line(one) for one in middle)]
        self._keep(last)
        return lines

    def _keep(self, part: bytes) -> None:
        self._kept += part
        if len(self._kept) > self._limit:
            self._kept.clear()
            self._too_long = True

    def _line(self, rest: bytes) -> bytes | None:
        self._keep(rest)
        line = None if self._too_long else bytes(self._kept).removesuffix(b"\r")
        self._kept.clear()
        self._too_long = False
        return line


class Schedule(NamedTuple):
    """When to write snapshots: after so many lines, or so many seconds after the last one.

    Example:
        >>> Schedule.of("500"), Schedule.of("2.5s")
        (Schedule(lines=500, seconds=None), Schedule(lines=None, seconds=2.5))
    """

    lines: int | None = None
    seconds: float | None = None

    @classmethod
    def of(cls, text: str) -> Self:
        """Reads a number of lines, or of seconds with an s.

        Raises:
            ValueError: neither.
        """
        number = text.strip().removesuffix("s")
        try:
            if number != text.strip() and 0 < float(number) < 1e9:
                return cls(seconds=float(number))
            if number == text.strip() and int(number) > 0:
                return cls(lines=int(number))
        except ValueError:
            pass
        raise ValueError(f"`snapshot-every` must be a number of lines such as 500, or of seconds as 10s, got {text!r}")


EVERY_TEN_SECONDS = Schedule(seconds=10.0)


class Interruption:
    """Makes the first SIGINT or SIGTERM end the work between two answers, and a second one end it at once.

    Attributes:
        signal: Number of the signal that came; None if none has.

    Example:
        >>> with Interruption() as interruption:
        ...     os.kill(os.getpid(), signal.SIGTERM)
        ...     print(interruption.wait([], 10.0), interruption.signal == signal.SIGTERM)
        [] True
    """

    def __init__(self) -> None:
        self.signal: int | None = None

    def __enter__(self) -> Self:
        # A signal writes a byte here, so that no wait misses one that comes just before it begins.
        self._woken, self._alarm = os.pipe()
        os.set_blocking(self._alarm, False)
        self._wakeup = signal.set_wakeup_fd(self._alarm, warn_on_full_buffer=False)
        self._handlers = {number: signal.signal(number, self._take) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        os.close(self._woken)
        os.close(self._alarm)

    def came(self) -> bool:
        """Whether a signal has come."""
        return self.signal is not None

    def wait(self, sources: list[int], seconds: float | None) -> list[int]:
        """Those that can be read, as soon as there are any; none when time is up or a signal came."""
        ready = select.select([self._woken, *sources], [], [], seconds)[0]
        return [one for one in ready if one != self._woken]

    def _take(self, number: int, _: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt(number)
        self.signal = number


def run_pipe(
    lines: LinePool,
    source: int,
    sink: int,
    *,
    snapshot: Path | None = None,
    schedule: Schedule = EVERY_TEN_SECONDS,
    limit: int = LIMIT,
) -> int | None:
    """Answers lines until the input ends or a signal comes; nothing is read before what was read is answered.

    Args:
        lines: The streams.
        source: File descriptor of the input.
        sink: File descriptor for the answers.
        snapshot: File for the states, written by the schedule and at the end, always after the answers that it counts;
            None for none.
        schedule: When to write it.
        limit: Bytes of the longest line.

    Returns:
        Number of the signal that ended it, or None at the end of the input.

    Raises:
        BrokenPipeError: nobody reads the answers any more; the snapshot is the last one.
        KeyboardInterrupt: a second signal, its number, before the answers were written; the snapshot is the last one.
        ValueError: a table's header does not fit, or the input is shorter than what was to be skipped.
    """
    reader, saver = LineReader(source, limit), _Saver(lines, snapshot, schedule)
    with Interruption() as interruption:
        while not interruption.came() and not reader.ended:
            if interruption.wait([source], saver.patience()):
                for answers in lines.take(reader.read()):
                    write_all(sink, answers)
                    saver.save()
                    if interruption.came():
                        break
            else:
                saver.save()
        if reader.ended and not interruption.came():
            lines.finish()
        saver.save(at_end=True)
        return interruption.signal


class _Saver:
    """Writes snapshots when they are due; those by the clock take a tenth of the time at most."""

    def __init__(self, lines: LinePool, path: Path | None, schedule: Schedule) -> None:
        self._lines, self._path, self._schedule = lines, path, schedule
        self._put_off(0.0)

    def patience(self) -> float | None:
        """Seconds until the next one, where nothing else happens; None for ever."""
        if self._path is None or not self._lines.changed or self._due == math.inf:
            return None
        return max(0.0, self._due - time.monotonic())

    def save(self, *, at_end: bool = False) -> None:
        """Writes one if it is due, or if this is the end and there is something new."""
        if self._path is None or not self._lines.changed:
            return
        began = time.monotonic()
        if at_end or began >= self._due or self._lines.lines >= self._full:
            self._lines.save(self._path)
            self._put_off(time.monotonic() - began)

    def _put_off(self, spent: float) -> None:
        lines, seconds = self._schedule
        self._full = math.inf if lines is None else self._lines.lines + lines
        self._due = math.inf if seconds is None else time.monotonic() + max(seconds, 9 * spent)


def write_all(sink: int, data: bytes) -> None:
    r"""Writes all of it, and waits where nobody reads.

    Example:
        >>> source, sink = os.pipe()
        >>> write_all(sink, b"answer\n")
        >>> os.read(source, 100)
        b'answer\n'
        >>> os.close(source), os.close(sink)
        (None, None)
    """
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(sink, rest) :]
        except BlockingIOError:
            select.select([], [sink], [])
