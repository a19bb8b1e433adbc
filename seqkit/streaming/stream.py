"""One series as it comes in: a sample in, an up-to-date answer out, for ever."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np

from seqkit.checks import check_positive
from seqkit.streaming.engine import Array, Engine, Named
from seqkit.streaming.engines import as_engine
from seqkit.streaming.samples import checked_samples, seconds_of, steps_between
from seqkit.streaming.snapshot import Progress, pack, read_snapshot, unpack, write_snapshot

__all__ = ["Stream", "answer", "check_classes", "first_step", "scan_one", "timing"]


class Stream:
    """One series as it comes in; memory and time a sample do not grow with it.

    After any samples, however they were cut into pushes, the answer is the one that the parallel form gives for the
    series so far. One thread uses a stream at a time.

    Args:
        what: A `SequenceModel`, the path of a finished run, a mixer, a `HiPPOMemory`, or a fitted estimator.
        sample_rate: Samples per second where samples come without a time (Hz); None for that of the training data.
        backend: "auto" for the fastest that serves, "torch", "fused" (one compiled loop over all layers, CPU) or
            "graph" (a captured graph, CUDA).
        dtype: "float32" or "float64"; None for float64 for memories and float32 for all else.
        device: "cpu" or "cuda".
        n_channels: Channels of a sample for a memory, which has no number of its own.

    Raises:
        TypeError: something else to stream.
        ValueError: what cannot stream, a rate that is not positive or for a layer without a notion of it, or an unknown
            choice.

    Example:
        >>> import torch
        >>> from seqkit import S4D
        >>> layer, u = S4D(2, order=4), torch.randn(1, 9, 2)
        >>> stream = Stream(layer)
        >>> first, rest = stream.push(u[0, 0]), stream.push(u[0, 1:])
        >>> bool(np.allclose(rest[-1], layer(u)[0, -1].detach(), atol=1e-5)), stream.count
        (True, 9)
    """

    def __init__(
        self,
        what: Any,
        *,
        sample_rate: float | None = None,
        backend: str = "auto",
        dtype: str | None = None,
        device: str = "cpu",
        n_channels: int = 1,
    ) -> None:
        self.engine: Engine = as_engine(what, backend=backend, dtype=dtype, device=device, n_channels=n_channels)
        self.first_step = first_step(self.engine, sample_rate)
        self.reset()

    def reset(self) -> None:
        """Begins a new series."""
        self._states = self.engine.start(1)
        self._progress = Progress()

    @property
    def count(self) -> int:
        """Samples so far."""
        return self._progress.count

    def __len__(self) -> int:
        return self._progress.count

    @property
    def time(self) -> float | None:
        """Time of the last sample in seconds; None where samples have none."""
        return self._progress.time

    def push(self, x: Any, time: Any = None) -> Array:
        """Takes a sample or a block of samples.

        Args:
            x: One sample, (C,), or a number where there is one channel; or a block, (L, C). NaN where a value is
                missing.
            time: When it was taken: seconds, a date or a duration; for a block one for each sample. Either all samples
                of a series have a time or none. The very first sample counts as one training step.

        Returns:
            The newest output: probabilities of the classes, values, a mixer's channels or a memory's coefficients. A
            block has one for each of its samples where outputs are per sample, (L, ...), else one for all so far.

        Raises:
            ValueError: another number of channels, infinite values, a time that does not rise or is not allowed here.
                The stream is as before.

        Cost:
            One step; a block by the parallel form.
        """
        values, observed, single = checked_samples("x", x, self.engine)
        steps, newest = timing(self.engine, self._progress, self.first_step, time, len(values))
        if single:
            outputs = self.engine.step(self._states, None, values, steps, observed)[0]
        else:
            outputs = scan_one(self.engine, self._states, None, values, steps, observed)
        last = outputs[-1] if self.engine.per_sample and not single else outputs
        self._progress.advance(len(values), last, newest, timed=time is not None)
        return np.array(outputs)

    @property
    def output(self) -> Array:
        """The newest output, as `push` returned it.

        Raises:
            ValueError: no sample has come yet.
        """
        if self._progress.output is None:
            raise ValueError("a stream answers from its first sample on; push one first")
        return self._progress.output.copy()

    def predict(self) -> Any:
        """The answer for the series so far: a label, a value, or an array where there are several.

        Raises:
            ValueError: no sample has come yet.
        """
        return answer(self.engine, self.output)

    def predict_proba(self) -> Array:
        """The probability of each class for the series so far, (K,), in the order of `classes`.

        Raises:
            ValueError: no sample has come yet, or there are no classes.
        """
        check_classes(self.engine)
        return self.output

    @property
    def classes(self) -> Array | None:
        """Labels in the order of the probabilities; None where outputs are values."""
        return self.engine.classes

    def fork(self) -> Self:
        """A second stream that goes on from here by itself; both share the model."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._states = other.engine.start(1)
        other.load_state_dict(self.state_dict())
        return other

    def state_dict(self) -> Named:
        """All that the stream is, as named tensors on the CPU; safe to save with safetensors, and to send."""
        return pack(self.engine, self.engine.read(self._states, 0), self._progress)

    def load_state_dict(self, tensors: Named) -> None:
        """Goes on from what `state_dict` gave, on whatever machine or backend.

        Raises:
            ValueError: the state of another model, of another format, or damaged. The stream is as before.
        """
        state, progress = unpack(self.engine, tensors)
        self.engine.write(self._states, 0, state)
        self._progress = progress

    def save(self, path: str | Path) -> None:
        """Writes `state_dict` to a safetensors file, whole or not at all."""
        write_snapshot(path, self.state_dict())

    def restore(self, path: str | Path) -> None:
        """Goes on from what `save` wrote.

        Raises:
            FileNotFoundError: no such file.
            ValueError: as `load_state_dict`.
        """
        self.load_state_dict(read_snapshot(path))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.engine.kind}, {self.count} samples)"


def first_step(engine: Engine, sample_rate: float | None) -> float:
    """Step between samples without a time, in units of the training step.

    Raises:
        ValueError: a rate that is not positive, or other than the training one where the engine cannot use it.
    """
    if sample_rate is None:
        return 1.0
    step = (engine.sample_rate or 1.0) / check_positive("sample_rate", sample_rate)
    if step != 1 and not engine.uses_rate:
        raise ValueError(f"{engine.kind} has no notion of the sampling step; leave `sample_rate` out")
    return step


def timing(engine: Engine, progress: Progress, first: float, time: Any, n: int) -> tuple[Array | None, float | None]:
    """Steps of n further samples of one stream, (n,) or None for 1, and the time of the last of them.

    Raises:
        ValueError: times where the samples before had none, or none where they had, or that do not fit.
    """
    check_timed(engine, progress.timed, time is not None)
    if time is None:
        return (None if first == 1 else np.full(n, first)), None
    seconds = seconds_of(time, n)
    return steps_between(seconds, progress.time, first, engine.sample_rate or 1.0), float(seconds[-1])


def scan_one(
    engine: Engine, states: Any, rows: Array | None, x: Array, steps: Array | None, observed: Array | None
) -> Array:
    """`Engine.scan` of one stream, without the axis for streams."""
    masks = None if observed is None else observed[None]
    return np.asarray(engine.scan(states, rows, x[None], None if steps is None else steps[None], masks)[0])


def check_timed(engine: Engine, before: bool | None, now: bool) -> None:
    """Refuses times where there were none, none where there were, and any where they cannot be used."""
    if before is not None and before != now:
        raise ValueError("either all samples of a series have a time or none; call reset() to begin a new series")
    if now and not engine.uses_rate:
        raise ValueError(f"{engine.kind} has no notion of time; give samples without `time`")


def check_classes(engine: Engine) -> None:
    """Refuses to speak of probabilities where there are no classes."""
    if engine.classes is None:
        raise ValueError(f"{engine.kind} has no classes, so no probabilities; call predict()")


def answer(engine: Engine, output: Array) -> Any:
    """Label, value or values of one output, (*output_shape)."""
    if engine.classes is not None:
        return engine.classes[int(output.argmax())]
    return float(output[0]) if output.shape == (1,) else output
