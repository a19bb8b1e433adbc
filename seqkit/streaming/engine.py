"""What can be streamed: a map from samples to outputs whose state has a fixed size."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Array", "Engine", "Named"]

Array: TypeAlias = NDArray[Any]

Named: TypeAlias = dict[str, Tensor]
"""State of one stream: tensors by name, without an axis for streams. Engines of one model read what others wrote."""

SAFE = 1e35  # length of a sample that float32 holds


class Engine(ABC):
    """Runs many streams of one map, one sample or one block of samples at a time.

    Where the states lie and in which form is the engine's own affair; `read` and `write` hand them out and take them
    in by name. An engine has no stream of its own: `Stream` and `StreamPool` keep states, times and the newest outputs,
    and have checked what they pass on.

    Attributes:
        kind: Name of what is streamed, for messages.
        n_channels: Channels C of a sample.
        output_shape: Shape of an output, without an axis for streams.
        per_sample: Whether a block has an output for each sample; else one for all samples so far.
        classes: Labels in the order of an output's probabilities; None where outputs are values.
        uses_rate: Whether steps other than the training one can be used.
        takes_missing: Whether values may be missing.
        sample_rate: Samples per second of the training data; None where time is counted in samples.
        sample_dtype: Dtype of the samples that `step` and `scan` are given.
        largest: Largest magnitude of a value, one for each channel, (C,); None for all that are finite.

    Example:
        >>> from seqkit import HiPPOMemory
        >>> from seqkit.streaming import MemoryEngine
        >>> engine = MemoryEngine(HiPPOMemory(2), n_channels=1)
        >>> states = engine.start(3)
        >>> engine.step(states, None, np.ones((3, 1)), None, None).shape
        (3, 1, 2)
    """

    kind: str
    n_channels: int
    output_shape: tuple[int, ...]
    per_sample: bool = True
    classes: Array | None = None
    uses_rate: bool = True
    takes_missing: bool = False
    sample_rate: float | None = None
    sample_dtype: np.dtype[Any] = np.dtype(np.float32)
    largest: Array | None = None

    @cached_property
    def safe_length(self) -> float:
        """Length below which a sample is taken whatever its channels hold."""
        return SAFE if self.largest is None else min(SAFE, float(self.largest.min()))

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """32 hexadecimal digits that tell this map from any other: a state fits the map that it was made by."""

    @abstractmethod
    def start(self, n: int) -> Any:
        """States of n streams before their first sample."""

    @abstractmethod
    def step(self, states: Any, rows: Array | None, x: Array, steps: Array | None, observed: Array | None) -> Array:
        """Takes one sample of some streams; their states change in place.

        Args:
            states: What `start` returned.
            rows: Which streams, (n,), int64, each once; None for all in their order.
            x: Samples, (n, C); 0 where a value is missing.
            steps: Time since the sample before in units of the training step, (n,), float64; None for 1.
            observed: Which values are there, bool, (n, C); None for all.

        Returns:
            Outputs, (n, *output_shape).
        """

    @abstractmethod
    def scan(self, states: Any, rows: Array | None, x: Array, steps: Array | None, observed: Array | None) -> Array:
        """Takes a block of samples of some streams by the parallel form; their states change in place.

        Args:
            states: What `start` returned.
            rows: As in `step`.
            x: Samples, (n, L, C).
            steps: As in `step`, (n, L).
            observed: As in `step`, (n, L, C).

        Returns:
            Outputs, (n, L, *output_shape), or (n, *output_shape) where they are not per sample.
        """

    @abstractmethod
    def read(self, states: Any, row: int) -> Named:
        """A copy of one stream's state."""

    @abstractmethod
    def write(self, states: Any, row: int, state: Named) -> None:
        """Puts a state that `read` gave; names, shapes and dtypes are those of a fresh one."""

    @abstractmethod
    def resized(self, states: Any, n: int) -> Any:
        """The states with room for n streams; rows beyond the old ones are fresh."""

    def fresh(self) -> Named:
        """State of one stream before its first sample."""
        return self.read(self.start(1), 0)

    def reset(self, states: Any, row: int) -> None:
        """Puts a stream back before its first sample."""
        self.write(states, row, self.fresh())
