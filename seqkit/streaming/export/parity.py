"""Whether an exported program computes what the toolkit's own stream does."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from seqkit.streaming.engine import Array
from seqkit.streaming.engines import ModelEngine
from seqkit.streaming.export.chunks import CHUNK
from seqkit.streaming.export.formats import Run

__all__ = ["LIMIT", "largest_error", "relative_error"]

LIMIT = 1e-4
"""Largest relative error in float32 with which a program is let out."""

SIZES = ((1, 1), (2, CHUNK), (3, 2 * CHUNK + 7))
"""Numbers of streams and of samples of a block."""


def largest_error(engine: ModelEngine, step: Run, block: Run, *, fixed: float, told_steps: bool) -> float:
    """Largest relative error of outputs and states against the toolkit's own stream.

    Random samples, some of them missing, go in one by one, then as a block, then one by one again, each time from the
    states that the call before gave; where a step can be told, steps are random too.

    Args:
        engine: The toolkit's own stream, float32.
        step: The exported step.
        block: The exported block.
        fixed: Step of evenly spaced samples in units of the training step.
        told_steps: Whether `step` is told its steps.

    Returns:
        The largest `RMS(difference) / RMS(reference)`; infinite where counts differ.
    """
    random = np.random.default_rng(0)
    norm = engine.model.input_norm
    mean, std = norm.mean.numpy(), norm.std.numpy()
    worst = 0.0

    def compare(found: list[Array], output: Array, states: dict[str, Any]) -> list[Array]:
        nonlocal worst
        pairs = [(found[0], output), *zip(found[1:], (t.numpy() for t in states.values()), strict=True)]
        worst = max(worst, *(relative_error(mine, theirs) for mine, theirs in pairs))
        return found[1:]

    for batch, length in SIZES:
        theirs = engine.start(batch)
        mine = [tensor.numpy().copy() for tensor in theirs.values()]
        for block_of in (None, None, length, None):
            shape = (batch, engine.n_channels) if block_of is None else (batch, block_of, engine.n_channels)
            x = (mean + std * random.standard_normal(shape)).astype(np.float32)
            observed = random.random(shape) < 0.8
            steps = None if fixed == 1 else np.full(shape[:-1], fixed)
            given = [np.where(observed, x, np.float32(np.nan)), observed]
            if block_of is None:
                if told_steps:
                    steps = random.uniform(0.3, 3.0, batch)
                    given.append(steps)
                output = engine.step(theirs, None, np.where(observed, x, 0), steps, observed)
                mine = compare(step([*given, *mine]), output, theirs)
            else:
                output = engine.scan(theirs, None, np.where(observed, x, 0), steps, observed)
                mine = compare(block([*given, *mine]), output, theirs)
    return worst


def relative_error(found: Array, wanted: Array) -> float:
    """`RMS(difference) / RMS(reference)`; whole numbers must be equal.

    Example:
        >>> relative_error(np.array([1.0, 2.0]), np.array([1.0, 2.0])), relative_error(np.array([1]), np.array([2]))
        (0.0, inf)
    """
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        return math.inf
    if wanted.dtype.kind != "f":
        return 0.0 if np.array_equal(found, wanted) else math.inf
    size = float(np.sqrt(np.square(wanted, dtype=np.float64).mean()))
    off = float(np.sqrt(np.square(found - wanted, dtype=np.float64).mean()))
    if not math.isfinite(off):
        return math.inf
    return off / size if size else off
