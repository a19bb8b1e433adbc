"""Timing functions in turns: processor time on a CPU, events with a flushed cache on a CUDA device."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

__all__ = ["Timing", "cpu_clock", "time_in_turns"]

SHORTEST = 0.005  # seconds: shorter calls are repeated within one sample, so that reading the clock does not count
TRIALS = 4  # further calls of a short function before its samples
CUDA_SECONDS, CUDA_SAMPLES = 0.020, 20
PATIENCE = 10.0  # seconds for all samples of one measurement on a device, where one function is very slow
FLUSHED = 256 << 20  # bytes written before each sample: more than any level-2 cache holds


class Timing(NamedTuple):
    """Times of one function, in seconds a call.

    Args:
        median: Of all samples.
        low: Lower quartile.
        high: Upper quartile.
        samples: How many samples were taken.
    """

    median: float
    low: float
    high: float
    samples: int


def time_in_turns(
    calls: Sequence[Callable[[], object]],
    repeats: int,
    device: str = "cpu",
    *,
    clock: Callable[[], float] | None = None,
) -> list[Timing]:
    """Times functions side by side: every round takes one sample of each, so that a busy spell meets all of them.

    Args:
        calls: Functions without arguments.
        repeats: Number of rounds. On a CUDA device at least 20 and enough for 20 ms of each, unless one is very slow.
        device: "cpu" or "cuda".
        clock: Seconds on the CPU: the process's processor time, or wall time where torch has several threads.

    Returns:
        One timing for each function.

    Example:
        >>> [timing.samples for timing in time_in_turns([lambda: sum(range(9))], repeats=3)]
        [3]
    """
    if device == "cuda" and calls:
        return [summary(samples) for samples in cuda_samples(calls, repeats)]
    return [summary(samples) for samples in cpu_samples(calls, repeats, clock or cpu_clock())]


def cpu_clock() -> Callable[[], float]:
    """Processor time, which other processes do not lengthen; with several threads it would add theirs up."""
    return time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def cpu_samples(calls: Sequence[Callable[[], object]], repeats: int, clock: Callable[[], float]) -> list[list[float]]:
    """Seconds a call, `repeats` of them for each function."""

    def sample(call: Callable[[], object], count: int) -> float:
        start = clock()
        for _ in range(count):
            call()
        return (clock() - start) / count

    def estimate(call: Callable[[], object]) -> float:
        """Seconds a call when warm: what was compiled a moment ago is still far from that in its second call."""
        found = sample(call, 1)
        return found if found >= SHORTEST else min([found, *(sample(call, 1) for _ in range(TRIALS))])

    counts = [max(1, min(1000, int(SHORTEST / max(estimate(call), 1e-7)))) for call in calls]
    rounds = [[sample(call, count) for call, count in zip(calls, counts, strict=True)] for _ in range(repeats)]
    return [list(column) for column in zip(*rounds, strict=True)]


def cuda_samples(calls: Sequence[Callable[[], object]], repeats: int) -> list[list[float]]:
    """Seconds a call by events on the device, each after the level-2 cache was overwritten."""
    flush = torch.empty(FLUSHED, dtype=torch.uint8, device="cuda")

    def record(call: Callable[[], object]) -> tuple[torch.cuda.Event, torch.cuda.Event]:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        flush.zero_()
        start.record()
        call()
        end.record()
        return start, end

    def seconds(pair: tuple[torch.cuda.Event, torch.cuda.Event]) -> float:
        pair[1].synchronize()
        return float(pair[0].elapsed_time(pair[1])) / 1e3

    estimates = [seconds(record(call)) for call in calls]
    wanted = max(CUDA_SAMPLES, min(500, int(CUDA_SECONDS / max(min(estimates), 1e-6))))
    rounds = max(repeats, min(wanted, int(PATIENCE / max(sum(estimates), 1e-6))))
    events = [[record(call) for call in calls] for _ in range(rounds)]
    return [[seconds(pair) for pair in column] for column in zip(*events, strict=True)]


def summary(samples: Sequence[float]) -> Timing:
    """Median and quartiles."""
    low, median, high = statistics.quantiles(samples, n=4, method="inclusive") if len(samples) > 1 else [*samples] * 3
    return Timing(median, low, high, len(samples))
