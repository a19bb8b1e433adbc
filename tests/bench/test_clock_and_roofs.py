"""Timing in turns with a clock of the test's own, and floors from roofs."""

import pytest

from seqkit.bench.case import Work
from seqkit.bench.clock import time_in_turns
from seqkit.bench.roofs import CACHED, Roofs, floor_seconds, measure_roofs


class Clock:
    """Time that only passes where a function says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def __call__(self) -> float:
        return self.now

    def function(self, name, seconds):
        durations = iter(seconds)

        def call() -> None:
            self.calls.append(name)
            self.now += next(durations)

        return call


def test_functions_take_turns_and_medians_count():
    clock = Clock()
    slow = clock.function("slow", [9.0, 1.0, 50.0, 2.0, 3.0, 4.0])  # the first call is a trial
    fast = clock.function("fast", [9.0, 0.1, 0.2, 0.3, 0.4, 7.0])
    timings = time_in_turns([slow, fast], repeats=5, clock=clock)
    assert clock.calls == ["slow", "fast"] * 6
    assert [timing.median for timing in timings] == pytest.approx([3.0, 0.3])
    assert [(timing.low, timing.high) for timing in timings] == [pytest.approx((2.0, 4.0)), pytest.approx((0.2, 0.4))]
    assert [timing.samples for timing in timings] == [5, 5]


def test_a_short_function_is_called_many_times_a_sample():
    clock = Clock()
    call = clock.function("short", [1.0, 3e-3] + [1e-4] * 1000)  # compiles, then is not quite warm
    call()
    (timing,) = time_in_turns([call], repeats=2, clock=clock)
    assert timing.median == pytest.approx(1e-4)
    assert 90 <= len(clock.calls) <= 115  # 5 ms a sample


def test_one_repeat_is_its_own_median():
    clock = Clock()
    (timing,) = time_in_turns([clock.function("once", [2.0, 3.0])], repeats=1, clock=clock)
    assert (timing.low, timing.median, timing.high) == (3.0, 3.0, 3.0)


def test_floor_is_the_slower_of_operations_and_traffic():
    roofs = Roofs(products=100.0, fft=10.0, memory=1000.0, cache=4000.0)
    assert floor_seconds(Work(products=200, fft=30), roofs) == 5.0
    assert floor_seconds(Work(products=1, traffic=2.0 * CACHED), roofs) == 2.0 * CACHED / 1000
    assert floor_seconds(Work(traffic=400.0), roofs) == 0.1  # fits the cache


def test_roofs_are_rates_of_this_machine():
    roofs = measure_roofs(seconds=0.02)
    assert all(1e7 < rate < 1e15 for rate in roofs)
    assert roofs.cache >= roofs.memory
