"""Many streams fed by lines of text: those that wait are taken together, and answered in their order."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seqkit.checks import check_choice, check_positive_int
from seqkit.streaming.csv_lines import COLUMNS, CsvLines
from seqkit.streaming.engine import Array
from seqkit.streaming.lines import Fields, JsonLines, LineFormat, Sample
from seqkit.streaming.pool import StreamId, StreamPool
from seqkit.streaming.stream import answer

__all__ = ["FORMATS", "LinePool"]

FORMATS = ("auto", "json", "csv")

_UNNAMED = ""  # no line can name it so
_BOM = b"\xef\xbb\xbf"


class LinePool:
    """Answers lines: JSON with JSON, CSV with CSV, each line with one line.

    A line that is wrong is answered with what is wrong with it, changes no stream, and the others go on.

    Args:
        pool: The streams.
        form: "json" or "csv"; "auto" for JSON where the first line begins with a brace or a bracket, or is empty, else
            CSV.
        every: Only the samples of a stream whose number is a multiple of this are answered; wrong lines always are.
        streams: Streams kept at most; of more, the one whose last sample is oldest is forgotten.
        channels: Names of the channels, where they have names.
        targets: Names of the predicted values, where they have names.
        columns: What columns of a table are by name: "stream", "time" or "unread".
        on_forget: Called with the name of a stream that is forgotten; None for the one without a name.

    Attributes:
        lines: Lines of the input that have been taken, a header included.
        written: Lines that have been answered to them, a header included.
        changed: Whether lines have been taken since the last `save` or `restore`.

    Raises:
        ValueError: an unknown format, or a number below 1.

    Example:
        >>> from seqkit import S4D
        >>> lines = LinePool(StreamPool(S4D(1, order=4)))
        >>> answers = b"".join(lines.take([b'{"values": [1.0]}', b'{"values": [1.0, 2.0]}'])).splitlines()
        >>> answers[0][:14], answers[1]
        (b'{"prediction":', b'{"line": 2, "error": "`values` must hold 1 numbers, one for each channel, got 2"}')
    """

    def __init__(
        self,
        pool: StreamPool,
        *,
        form: str = "auto",
        every: int = 1,
        streams: int = 10_000,
        channels: tuple[str, ...] = (),
        targets: tuple[str, ...] = (),
        columns: Mapping[str, str] = COLUMNS,
        on_forget: Callable[[StreamId | None], object] | None = None,
    ) -> None:
        self.pool = pool
        self.fields = Fields.of(pool.engine, channels, targets)
        self.lines = self.written = 0
        self.changed = False
        self._form = check_choice("format", form, FORMATS)
        self._format: LineFormat | None = None
        self._every = check_positive_int("every", every)
        self._streams = check_positive_int("streams", streams)
        self._columns = columns
        self._on_forget = on_forget
        self._recent: dict[StreamId, None] = {}  # the one whose last sample is oldest comes first
        self._skip = 0
        self._pending: list[Sample | str] = []  # samples to take, and what is wrong with lines among them
        self._waiting: set[StreamId] = set()  # streams of these samples

    def take(self, lines: Iterable[bytes | None]) -> Iterator[bytes]:
        """Takes lines that are there already.

        Args:
            lines: Lines without their ends; None for one that was too long to be kept.

        Yields:
            Answers, one or more whole lines, as soon as they are known; between them `lines`, `written` and the streams
            agree, so that `save` may be called.

        Raises:
            ValueError: the header of a table does not fit.
        """
        for line in lines:
            if self._format is None:
                line = None if line is None else line.removeprefix(_BOM)
                self._format, text = self._begin(line)
                if text is not None:
                    self.lines += 1
                    if not self._skip:
                        self.written, self.changed = 1, True
                        yield text.encode()
                    continue
            if self.lines < self._skip:
                self.lines += 1
                continue
            try:
                sample = self._format.sample(_text(line))
                if self._cannot_join(sample):
                    yield self._flush(self._format)
                self._check(sample)
            except ValueError as error:
                self._pending.append(str(error))
                continue
            self._admit(_key(sample))
            self._pending.append(sample)
            if sample.block:
                yield self._flush(self._format)
        if self._pending and self._format is not None:
            yield self._flush(self._format)

    def finish(self) -> None:
        """Looks at the end of the input.

        Raises:
            ValueError: it was to be skipped further.
        """
        if self.lines < self._skip:
            raise ValueError(
                f"the input ended after {self.lines} lines, and the snapshot was made after {self._skip}; give the "
                "same input again, or leave out --resume-input"
            )

    def save(self, path: str | Path) -> None:
        """Writes all streams, and how many lines have been taken, to a file, whole or not at all."""
        order = json.dumps(list(self._recent)).encode()
        counts = torch.tensor([self.lines, self.written])
        self.pool.save(path, {"lines": counts, "recent": torch.frombuffer(bytearray(order), dtype=torch.uint8)})
        self.changed = False

    def restore(self, path: str | Path, *, resume_input: bool = False) -> tuple[int, int]:
        """Goes on from what `save` wrote.

        Args:
            path: The file.
            resume_input: Whether the same input comes again from its first line: what was taken is skipped, and a
                header is not answered again.

        Returns:
            Lines taken and lines answered when it was written.

        Raises:
            FileNotFoundError: no such file.
            ValueError: states of another model, of another format, or damaged.
        """
        kept = self.pool.restore(path)
        if "lines" not in kept or "recent" not in kept:
            raise ValueError(f"{path} holds streams but no count of lines; give what `seqkit stream --snapshot` wrote")
        self._recent = dict.fromkeys(json.loads(bytes(kept["recent"].tolist())))
        for oldest in list(self._recent)[: max(0, len(self._recent) - self._streams)]:
            self._forget(oldest)
        lines, written = kept["lines"].tolist()
        if resume_input:
            self._skip, self.written = lines, written
        return lines, written

    def _begin(self, first: bytes | None) -> tuple[LineFormat, str | None]:
        """The format, and the header of the answers where the line was one."""
        start = (first or b"").lstrip()[:1]
        if self._form == "json" or (self._form == "auto" and start in (b"", b"{", b"[")):
            return JsonLines(self.fields), None
        table = CsvLines(_text(first), self.fields, self._columns)
        return table, table.header

    def _cannot_join(self, sample: Sample) -> bool:
        """Whether what is pending must be taken before this sample is looked at."""
        if not self._waiting:
            return False
        key = _key(sample)
        if sample.block or key in self._waiting:
            return True
        before = next(one for one in self._pending if isinstance(one, Sample))
        if (before.times is None) != (sample.times is None):
            return True
        return self._is_one_too_many(key) and next(iter(self._recent)) in self._waiting

    def _check(self, sample: Sample) -> None:
        """Refuses what its stream cannot take, before anything is changed for its sake."""
        engine, key = self.pool.engine, _key(sample)
        if not engine.takes_missing and any(one != one for row in sample.rows for one in row):
            raise ValueError(f"a value is missing, and {engine.kind} has no notion of missing values; fill it first")
        if sample.times is not None and not engine.uses_rate:
            raise ValueError(f"{engine.kind} has no notion of time; leave `time` out")
        known = self.pool.count(key) > 0
        last = self.pool.time(key) if known else None
        if known and (last is None) != (sample.times is None):
            raise ValueError("either all samples of a stream have a time or none; begin another stream")
        for time in sample.times or ():
            if last is not None and not time > last:
                raise ValueError(f"`time` must rise from sample to sample of a stream, got {time} after {last}")
            last = time

    def _is_one_too_many(self, key: StreamId) -> bool:
        return key not in self._recent and len(self._recent) >= self._streams

    def _admit(self, key: StreamId) -> None:
        """Makes room for a stream, and makes it the last to be forgotten."""
        if self._is_one_too_many(key):
            oldest = next(iter(self._recent))
            self._forget(oldest)
            if self._on_forget is not None:
                self._on_forget(None if oldest == _UNNAMED else oldest)
        self._recent.pop(key, None)
        self._recent[key] = None
        self._waiting.add(key)

    def _forget(self, key: StreamId) -> None:
        self._recent.pop(key, None)
        if key in self.pool:
            self.pool.close(key)

    def _flush(self, form: LineFormat) -> bytes:
        """Takes what is pending and answers it."""
        pending, self._pending, self._waiting = self._pending, [], set()
        results = iter(self._pushed([one for one in pending if isinstance(one, Sample)]))
        answers = []
        for number, one in enumerate(pending, self.lines + 1):
            result = one if isinstance(one, str) else self._result(one, next(results))
            if isinstance(result, str):
                answers.append(form.error(number, result))
            elif result is not None and isinstance(one, Sample):
                answers.append(form.answer(one.stream, *self._worded(result)))
        self.lines += len(pending)
        self.written += len(answers)
        self.changed = True
        return "".join(answers).encode()

    def _pushed(self, samples: list[Sample]) -> list[Array | str]:
        """The newest output for each sample, or why there is none."""
        if not samples:
            return []
        first = samples[0]
        try:
            if first.block:
                outputs = self.pool.push_block(_key(first), first.rows, first.times)
                return [outputs[-1] if self.pool.engine.per_sample else outputs]
            times = None if first.times is None else [one.times[0] for one in samples if one.times]
            return list(self.pool.push([_key(one) for one in samples], [one.rows[0] for one in samples], times))
        except ValueError as error:  # an engine may refuse more than was looked at
            if len(samples) > 1:
                return [self._pushed([one])[0] for one in samples]
            if _key(first) not in self.pool:
                self._forget(_key(first))
            return [str(error)]

    def _result(self, sample: Sample, output: Array | str) -> Array | str | None:
        """The output to show, what is wrong with it, or None where none was asked for."""
        if isinstance(output, str):
            return output
        key = _key(sample)
        if not np.isfinite(output).all():
            self._forget(key)
            return "the model answers with NaN or an infinite value, as its samples are extreme; the stream begins anew"
        count = self.pool.count(key)
        return output if count // self._every > (count - len(sample.rows)) // self._every else None

    def _worded(self, output: Array) -> tuple[Any, list[float]]:
        """Prediction and probabilities in types that JSON knows."""
        shares: list[float] = []
        if self.fields.labels:
            shares = np.round(output.astype(np.float64), 6).tolist()
        prediction = answer(self.pool.engine, output)
        return prediction.tolist() if isinstance(prediction, (np.ndarray, np.generic)) else prediction, shares


def _key(sample: Sample) -> StreamId:
    return _UNNAMED if sample.stream is None else sample.stream


def _text(line: bytes | None) -> str:
    if line is None:
        raise ValueError("the line is too long to be read; write one sample, or a shorter block, on a line")
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"the line is not UTF-8: byte {error.start + 1} is 0x{line[error.start]:02x}") from error
