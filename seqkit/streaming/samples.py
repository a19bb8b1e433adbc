"""What a stream takes: samples and times, looked at where they enter."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from seqkit.streaming.engine import Array, Engine

__all__ = ["as_table", "checked_samples", "in_seconds", "seconds_of", "steps_between"]

LONGEST_STEP = 1e30  # in training steps: times the fastest rate of a layer, float32 still holds it


def checked_samples(name: str, given: Any, engine: Engine) -> tuple[Array, Array | None, bool]:
    """A sample or a block as numbers.

    Args:
        name: Name of the argument, for messages.
        given: One sample, (C,), or a number where there is one channel; or a block, (L, C).
        engine: What takes it.

    Returns:
        Block (L, C) in the engine's dtype, with 0 where a value is missing; which values are there, or None for all;
        and whether it was one sample.

    Raises:
        ValueError: another number of channels, an empty block, values that are no numbers, infinite or too large for
            the engine, or missing where it has no notion of it.

    Example:
        >>> from seqkit import HiPPOMemory
        >>> from seqkit.streaming import MemoryEngine
        >>> checked_samples("x", 3.0, MemoryEngine(HiPPOMemory(2)))
        (array([[3.]]), None, True)
    """
    channels = engine.n_channels
    values = as_table(name, given)
    if values.shape == (channels,) and values.dtype.kind == "f" and math.hypot(*values.tolist()) < engine.safe_length:
        # The usual case, in a fifth of the time: the length tells of NaN, infinity and what is too large.
        return values.astype(engine.sample_dtype, copy=False)[None], None, True
    single = values.ndim < 2
    if values.ndim == 0:
        values = values[None]
    if values.dtype.kind not in "fiub" or values.ndim > 2 or values.shape[-1] != channels:
        raise ValueError(
            f"`{name}` must be one sample of {channels} numbers, one for each channel, or a block (L, {channels}), "
            f"got shape {np.asarray(given).shape} of {values.dtype}"
        )
    if single:
        values = values[None]
    elif len(values) == 0:
        raise ValueError(f"`{name}` must hold at least one sample, got an empty block; leave it out")
    if values.dtype != engine.sample_dtype:
        with np.errstate(over="ignore"):  # what overflows is infinite and refused below
            values = values.astype(engine.sample_dtype)
    # One sum tells of NaN and infinity without a mask; where it overflows, the values are looked at one by one.
    if math.isfinite(values.sum(dtype=np.float64)):
        _check_size(name, values, engine)
        return values, None, single
    if np.isinf(values).any():
        raise ValueError(f"`{name}` must be finite, got an infinite value; leave it out as missing (NaN)")
    _check_size(name, values, engine)
    there = ~np.isnan(values)
    if there.all():
        return values, None, single
    if not engine.takes_missing:
        raise ValueError(f"`{name}` holds NaN, and {engine.kind} has no notion of missing values; fill them first")
    return np.where(there, values, values.dtype.type(0)), there, single


def _check_size(name: str, values: Array, engine: Engine) -> None:
    """Refuses values, (L, C), after which the engine's answers would be NaN."""
    if engine.largest is None:
        return
    bad = np.argwhere(np.abs(values) > engine.largest)  # false where one is missing
    if len(bad):
        k, c = bad[0].tolist()
        raise ValueError(
            f"`{name}` must be within {engine.largest[c]:g} in channel {c} for {engine.kind}, got {values[k, c]:g}, "
            "from which its numbers would overflow; leave the value out"
        )


def as_table(name: str, given: Any) -> Array:
    """What was given as an array.

    Raises:
        ValueError: rows of different lengths.

    Example:
        >>> as_table("x", [[1.0], [2.0]]).shape
        (2, 1)
    """
    try:
        return np.asarray(given)
    except ValueError as error:
        raise ValueError(f"`{name}` must hold rows of one length, got rows of several; push them one by one") from error


def steps_between(seconds: Array, before: float | None, first: float, unit: float) -> Array:
    """Time since the sample before of each sample, in units of the training step.

    Args:
        seconds: Times of the samples, (L,).
        before: Time of the sample before the block; None where there is none.
        first: Step of the very first sample, in units of the training step.
        unit: Training samples per second.

    Raises:
        ValueError: times that do not rise, or that float32 could not tell from infinity.

    Example:
        >>> steps_between(np.array([2.0, 3.0]), 1.5, 1.0, 10.0)
        array([ 5., 10.])
    """
    differences = np.diff(seconds, prepend=np.nan if before is None else before)
    steps = differences * unit
    if before is None:
        steps[0] = first
    bad = np.flatnonzero(~((steps > 0) & np.isfinite(steps)))
    if len(bad):
        k = int(bad[0])
        earlier = before if k == 0 else float(seconds[k - 1])
        raise ValueError(
            f"`time` must rise from sample to sample, got {seconds[k]!s} after {earlier!s}; sort the samples, or reset "
            "the stream to begin a new series"
        )
    if len(steps) and steps.max() > LONGEST_STEP:
        raise ValueError(
            f"`time` must be within {LONGEST_STEP:g} training steps of the sample before, got {steps.max():g}; give "
            "seconds, or reset the stream to begin a new series"
        )
    return np.asarray(steps, dtype=np.float64)


def seconds_of(given: Any, n: int) -> Array:
    """Times of n samples in seconds, (n,).

    Args:
        given: One time, or n of them: seconds, dates or durations.
        n: Number of samples.

    Raises:
        ValueError: another number of times, or one that is no time.

    Example:
        >>> seconds_of([np.datetime64("1970-01-01T00:00:02")], 1)
        array([2.])
    """
    several = isinstance(given, (list, tuple)) or (hasattr(given, "__len__") and not isinstance(given, str))
    times = list(given) if several and np.ndim(given) > 0 else [given]
    if len(times) != n:
        raise ValueError(f"`time` must hold one time for each of {n} samples, got {len(times)}")
    return np.array([in_seconds(one) for one in times])


def in_seconds(time: Any) -> float:
    """Seconds of a number, a date or a duration.

    Raises:
        ValueError: none of these, or not finite.

    Example:
        >>> in_seconds(np.timedelta64(1500, "ms"))
        1.5
    """
    if isinstance(time, np.datetime64) and not np.isnat(time):
        return int(time.astype("datetime64[ns]").astype(np.int64)) / 10**9  # of whole numbers, so rounded once
    if isinstance(time, np.timedelta64):
        time = float("nan") if np.isnat(time) else float(time / np.timedelta64(1, "ns")) / 1e9
    if isinstance(time, (float, int, np.integer, np.floating)) and not isinstance(time, bool) and np.isfinite(time):
        return float(time)
    for method in ("timestamp", "total_seconds"):
        if hasattr(time, method):
            seconds = float(getattr(time, method)())
            if np.isfinite(seconds):
                return seconds
    raise ValueError(f"`time` must be seconds, a date or a duration, got {time!r}")
