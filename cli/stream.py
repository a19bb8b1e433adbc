"""`seqkit stream`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seqkit.cli.options import Dtype, Import, StreamDevice, Streamed, Trust
from seqkit.cli.show import count, note
from seqkit.cli.streamed import columns_of, loaded

if TYPE_CHECKING:
    from seqkit.streaming.line_pool import LinePool

__all__ = ["stream"]

_BROKEN_PIPE = 141  # as a shell reports a program that SIGPIPE has ended


def stream(
    run: Streamed,
    form: Annotated[
        str, typer.Option("--format", help="json or csv; answers are of the same kind. auto looks at the first line.")
    ] = "auto",
    every: Annotated[int, typer.Option(help="Answer only every Nth sample of each stream.")] = 1,
    snapshot: Annotated[
        Path | None, typer.Option(help="File for the states, read at the start if it is there, and written.")
    ] = None,
    snapshot_every: Annotated[
        str, typer.Option(help="How often to write it: after so many lines (500), or seconds (10s).")
    ] = "10s",
    resume_input: Annotated[
        bool, typer.Option("--resume-input", help="The same input comes again: skip the lines before the snapshot.")
    ] = False,
    streams: Annotated[
        int, typer.Option(help="Streams kept in memory; of more, the one silent for longest is forgotten.")
    ] = 10_000,
    sample_rate: Annotated[
        float | None, typer.Option(help="Samples per second (Hz) of samples without a time.")
    ] = None,
    backend: Annotated[str, typer.Option(help="auto, torch, fused (compiled, CPU) or graph (CUDA).")] = "auto",
    dtype: Dtype = None,
    device: StreamDevice = "cpu",
    import_: Import = None,
    trust: Trust = False,
) -> None:
    """Answer samples on standard input, each line with one line, at once.

    A line is {"values": [1.5, null]}, with "stream": id and "time": t where there are such, or a row of CSV.
    A wrong line is answered with its number and what is wrong.
    """
    from seqkit.streaming.line_pool import LinePool
    from seqkit.streaming.pipe import Schedule

    schedule = Schedule.of(snapshot_every)
    if resume_input and snapshot is None:
        raise ValueError("--resume-input needs --snapshot FILE, which knows how many lines were taken")
    pool, names = _opened(run, trust, sample_rate=sample_rate, backend=backend, dtype=dtype, device=device)
    lines = LinePool(pool, form=form, every=every, streams=streams, on_forget=_Forgotten(streams), **names)
    if snapshot is not None:
        _take_up(lines, snapshot, resume_input)
    raise typer.Exit(_answer(lines, snapshot, schedule))


def _opened(run: Path, trust: bool, **options: Any) -> tuple[Any, dict[str, Any]]:
    """The pool for a run or an estimator, and the names of channels and targets where they are known."""
    from seqkit.models import SequenceModel
    from seqkit.streaming import StreamPool

    what = loaded(run, trust)
    pool, info = StreamPool(what, **options), what.info if isinstance(what, SequenceModel) else None
    names = {} if info is None else {"channels": info.channels, "targets": info.targets}
    known = columns_of(run)
    return pool, {**names, **({"columns": known} if known else {})}


def _take_up(lines: LinePool, snapshot: Path, resume_input: bool) -> None:
    """Goes on from the snapshot, or sees that one can be written."""
    if snapshot.is_dir():
        raise IsADirectoryError(f"{snapshot} is a folder; name a file for the states")
    if not snapshot.exists():
        lines.save(snapshot)
        return
    taken, answered = lines.restore(snapshot, resume_input=resume_input)
    held = f"{snapshot} holds {count(len(lines.pool), 'stream')} after {count(taken, 'line')}"
    if resume_input:
        note(
            f"{held}, which are skipped; the first {count(answered, 'line')} of earlier answers stand, later ones recur"
        )
    else:
        note(held)


def _answer(lines: LinePool, snapshot: Path | None, schedule: Any) -> int:
    """Answers until the end; returns the exit status."""
    import torch

    from seqkit.streaming.pipe import run_pipe

    torch.set_num_threads(1)  # a step is too small to be shared
    try:
        signal = run_pipe(lines, 0, 1, snapshot=snapshot, schedule=schedule)
    except BrokenPipeError:
        return _BROKEN_PIPE
    except KeyboardInterrupt as error:
        note("ended by a second signal" + ("" if snapshot is None else f"; {snapshot} is as it was before the first"))
        return 128 + int(error.args[0])
    if signal is None:
        return 0
    if snapshot is not None:
        note(f"{snapshot} holds {count(len(lines.pool), 'stream')} after {count(lines.lines, 'line')}")
    return 128 + signal


class _Forgotten:
    """Says that streams are forgotten: the first, then the second, fourth, eighth and so on, to spare the terminal."""

    def __init__(self, streams: int) -> None:
        self._streams, self._count = streams, 0

    def __call__(self, stream: str | int | None) -> None:
        self._count += 1
        if self._count & (self._count - 1) == 0:
            name = "the stream without a name" if stream is None else f"stream {stream!r}"
            note(
                f"there are more than {self._streams} streams, so {name} was forgotten ({self._count} so far); its "
                "next sample begins it anew, and --streams keeps more"
            )
