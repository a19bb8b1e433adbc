"""Steps whose result for a stream does not depend on which other streams were stepped with it, to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from seqkit.streaming.engine import Array, Engine, Named

__all__ = ["SIZES", "UniformEngine", "exact_sizes", "parts"]

SIZES = (1, 4, 16, 64)
"""Streams in one step that are tried; matrix products round differently from one number of rows to another."""

PREFERRED = (16, 64, 4)
TRIED_STEPS = 3


class UniformEngine(Engine):
    """An engine that steps streams in groups of a few fixed sizes only, filled up with streams of its own.

    Which samples arrive together is chance. A server that replays its log, or runs a second time, forms other groups,
    so for equal results, bit for bit, a row must not depend on its group. `exact_sizes` finds the sizes for which that
    holds on this machine with this engine; where none does, each stream is stepped by itself.

    Args:
        engine: The engine that does the work; its states of one stream are also this one's.
        sizes: Sizes of groups that give the same rows; None to find them.

    Example:
        >>> from seqkit import S4D
        >>> from seqkit.streaming import MixerEngine
        >>> engine = UniformEngine(MixerEngine(S4D(2, order=4)), sizes=(4,))
        >>> engine.step(engine.start(5), None, np.ones((5, 2), np.float32), None, None).shape
        (5, 2)
    """

    def __init__(self, engine: Engine, *, sizes: tuple[int, ...] | None = None) -> None:
        self.engine = engine
        self.sizes = exact_sizes(engine) if sizes is None else tuple(sorted(sizes))
        self.spare = self.sizes[-1]
        for name in ("kind", "n_channels", "output_shape", "per_sample", "classes", "uses_rate", "takes_missing"):
            setattr(self, name, getattr(engine, name))
        self.sample_rate, self.sample_dtype = engine.sample_rate, engine.sample_dtype

    @property
    def fingerprint(self) -> str:
        """That of the engine within."""
        return self.engine.fingerprint

    def start(self, n: int) -> Any:
        """States of n streams, behind those that fill up groups."""
        return self.engine.start(self.spare + n)

    def step(self, states: Any, rows: Array | None, x: Array, steps: Array | None, observed: Array | None) -> Array:
        """One sample of some streams, in groups of the fixed sizes."""
        places = (np.arange(len(x)) if rows is None else rows) + self.spare
        outputs, begin = [], 0
        for taken, size in parts(len(x), self.sizes):
            part = slice(begin, begin + taken)
            group = np.concatenate([places[part], np.arange(size - taken)])
            out = self.engine.step(
                states,
                group,
                _filled(x[part], size, 0),
                None if steps is None else _filled(steps[part], size, 1),
                None if observed is None else _filled(observed[part], size, True),
            )
            outputs.append(out[:taken])
            begin += taken
        return np.concatenate(outputs)

    def scan(self, states: Any, rows: Array | None, x: Array, steps: Array | None, observed: Array | None) -> Array:
        """A block of each of some streams, one stream after the other."""
        places = np.arange(len(x)) if rows is None else rows
        outputs = [
            self.engine.scan(
                states,
                places[k : k + 1] + self.spare,
                x[k : k + 1],
                None if steps is None else steps[k : k + 1],
                None if observed is None else observed[k : k + 1],
            )
            for k in range(len(x))
        ]
        return np.concatenate(outputs)

    def read(self, states: Any, row: int) -> Named:
        """As the engine within."""
        return self.engine.read(states, row + self.spare)

    def write(self, states: Any, row: int, state: Named) -> None:
        """As the engine within."""
        self.engine.write(states, row + self.spare, state)

    def resized(self, states: Any, n: int) -> Any:
        """As the engine within, with room for the streams that fill up groups."""
        return self.engine.resized(states, n + self.spare)

    def fresh(self) -> Named:
        """As the engine within."""
        return self.engine.fresh()

    def reset(self, states: Any, row: int) -> None:
        """As the engine within."""
        self.engine.reset(states, row + self.spare)


def parts(n: int, sizes: tuple[int, ...]) -> list[tuple[int, int]]:
    """How n streams are cut into groups: streams taken and the size of the group, which is at least as large.

    Example:
        >>> parts(21, (4, 16)), parts(3, (16,)), parts(18, (16,))
        ([(16, 16), (4, 4), (1, 4)], [(3, 16)], [(16, 16), (2, 16)])
        >>> parts(15, (4, 16))
        [(15, 16)]
    """
    cut = []
    while n:
        enough = next((size for size in sizes if size >= n), sizes[-1])
        below = max((size for size in sizes if size <= n), default=enough)
        # A group that would be less than half full is not worth its empty places.
        size = enough if 2 * n > enough or below == enough or enough < n else below
        taken = min(n, size)
        cut.append((taken, size))
        n -= taken
    return cut


def exact_sizes(engine: Engine, sizes: tuple[int, ...] = SIZES) -> tuple[int, ...]:
    """Sizes of groups for which each row is the same to the last bit wherever it lies and whatever lies beside it.

    Random samples, with and without times and gaps where the engine takes them, are stepped in groups of each size, in
    several orders; sizes that agree with a preferred one are kept, and single steps where no size does.

    Args:
        engine: The engine.
        sizes: Sizes to try.

    Example:
        >>> from seqkit import S4D
        >>> from seqkit.streaming import MixerEngine
        >>> len(exact_sizes(MixerEngine(S4D(16, order=8)))) > 0
        True
    """
    found: dict[int, list[Any]] = {}
    for size in sizes:
        rows = 16 if size == 1 else max(sizes)
        runs = [_run(engine, size, rows, order) for order in range(2 if size > 1 else 1)]
        if all(_same(runs[0], other, rows) for other in runs[1:]):
            found[size] = runs[0]
    for size in PREFERRED:
        if size in found:
            return tuple(other for other in found if _same(found[other], found[size], 16))
    return (1,)


def _run(engine: Engine, size: int, rows: int, order: int) -> list[Any]:
    """Outputs and states of the same streams, stepped in groups of one size in an order of its own."""
    samples = np.random.default_rng(0)
    shuffle = np.random.default_rng([order, size])
    kinds = [(timed, gaps) for timed in (False, True)[: 1 + engine.uses_rate] for gaps in (False, True)]
    results: list[Any] = []
    for timed, gaps in kinds:
        states = engine.start(rows)
        for _ in range(TRIED_STEPS):
            x = samples.standard_normal((max(SIZES), engine.n_channels)).astype(engine.sample_dtype)[:rows]
            steps = samples.uniform(0.5, 2.0, max(SIZES))[:rows]
            there = (samples.uniform(size=(max(SIZES), engine.n_channels)) > 0.3)[:rows]
            if gaps and engine.takes_missing:
                x = np.where(there, x, x.dtype.type(0))
            outputs = np.empty((rows, *engine.output_shape), dtype=np.float64)
            for group in shuffle.permutation(rows).reshape(-1, size):
                outputs[group] = engine.step(
                    states,
                    group,
                    x[group],
                    steps[group] if timed else None,
                    there[group] if gaps and engine.takes_missing else None,
                )
            results.append(outputs)
        results.append([engine.read(states, row) for row in range(rows)])
    return results


def _same(one: list[Any], other: list[Any], rows: int) -> bool:
    for a, b in zip(one, other, strict=True):
        if isinstance(a, np.ndarray):
            if not np.array_equal(a[:rows], b[:rows], equal_nan=True):
                return False
        elif not all(torch.equal(p[name], q[name]) for p, q in zip(a[:rows], b[:rows], strict=False) for name in p):
            return False
    return True


def _filled(values: Array, size: int, value: Any) -> Array:
    """Values with further rows of one value behind them."""
    if len(values) == size:
        return np.ascontiguousarray(values)
    rest = np.full((size - len(values), *values.shape[1:]), value, dtype=values.dtype)
    return np.concatenate([values, rest])
