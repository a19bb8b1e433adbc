"""Steps whose result for a stream does not depend on which other streams were stepped with it, to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from seqkit.streaming.engine import Array, Engine, Named

__all__ = ["SIZES", "UniformEngine", "exact_groups", "parts"]

SIZES = (1, 4, 16, 32)
"""Rows of one step that are tried; matrix products round differently from one number of rows to another."""

PREFERRED = (16, 32, 4)
TRIED_ROWS, TRIED_STEPS = 32, 2


class UniformEngine(Engine):
    """An engine that steps streams in groups of a few fixed sizes only, filled up with streams of its own.

    Which samples arrive together is chance. A server that replays its log, or runs a second time, forms other groups,
    so for equal results, bit for bit, a row must not depend on its group. `exact_groups` finds the sizes for which that
    holds on this machine with this engine; where none does, each stream is stepped by itself.

    Some memories compute differently where all streams of a group have the same age. Two guards of different age, in
    each group, see to it that this is never so.

    Args:
        engine: The engine that does the work; its states of one stream are also this one's.
        sizes: Sizes of groups that give the same rows; None to find them.
        guards: Whether each group holds two rows of different age; found too where `sizes` is None.

    Example:
        >>> from seqkit import S4D
        >>> from seqkit.streaming import MixerEngine
        >>> engine = UniformEngine(MixerEngine(S4D(2, order=4)), sizes=(4,))
        >>> engine.step(engine.start(5), None, np.ones((5, 2), np.float32), None, None).shape
        (5, 2)
    """

    def __init__(self, engine: Engine, *, sizes: tuple[int, ...] | None = None, guards: bool = False) -> None:
        self.engine = engine
        if sizes is None:
            sizes, guards = exact_groups(engine)
        self.sizes, self.guards = tuple(sorted(sizes)), 2 if guards else 0
        self.spare = self.sizes[-1]
        for name in ("kind", "n_channels", "output_shape", "per_sample", "classes", "uses_rate", "takes_missing"):
            setattr(self, name, getattr(engine, name))
        self.sample_rate, self.sample_dtype, self.largest = engine.sample_rate, engine.sample_dtype, engine.largest

    @property
    def fingerprint(self) -> str:
        """That of the engine within."""
        return self.engine.fingerprint

    def start(self, n: int) -> Any:
        """States of n streams, behind those that fill up groups."""
        states = self.engine.start(self.spare + n)
        if self.guards:  # both go on together, so that their ages differ for ever
            zeros = np.zeros((1, self.n_channels), dtype=self.sample_dtype)
            self.engine.step(states, np.array([1]), zeros, None, None)
        return states

    def step(self, states: Any, rows: Array | None, x: Array, steps: Array | None, observed: Array | None) -> Array:
        """One sample of some streams, in groups of the fixed sizes."""
        places = (np.arange(len(x)) if rows is None else rows) + self.spare
        outputs, begin, guards = [], 0, self.guards
        for taken, room in parts(len(x), tuple(size - guards for size in self.sizes)):
            part, filling = slice(begin, begin + taken), guards + room - taken
            out = self.engine.step(
                states,
                np.concatenate([np.arange(filling), places[part]]),
                _filled(x[part], filling, 0),
                None if steps is None else _filled(steps[part], filling, 1),
                None if observed is None else _filled(observed[part], filling, True),
            )
            outputs.append(out[filling:])
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


def exact_groups(engine: Engine, sizes: tuple[int, ...] = SIZES) -> tuple[tuple[int, ...], bool]:
    """Sizes of groups for which each row is the same to the last bit wherever it lies and whatever lies beside it.

    Samples of streams of one age and of several, with and without times and gaps where the engine takes them, are
    stepped in groups of each size, among their like and shuffled. Sizes that agree with a preferred one are kept.

    Args:
        engine: The engine.
        sizes: Sizes to try.

    Returns:
        The sizes, (1,) where no other serves, and whether they need guards.

    Example:
        >>> from seqkit import S4D
        >>> from seqkit.streaming import MixerEngine
        >>> exact_groups(MixerEngine(S4D(16, order=8)), sizes=(1,))
        ((1,), False)
    """
    for guards in (False, True):
        found = {}
        for size in sizes:
            if size == 1:
                found[size] = [] if guards else [_run(engine, 1, False, shuffled=False)]
                continue
            found[size] = [_run(engine, size, guards, shuffled=shuffled) for shuffled in (False, True)]
        for size in PREFERRED:
            if size in found and _same(*found[size]):
                agree = [n for n, runs in found.items() if runs and all(_same(found[size][0], run) for run in runs)]
                return tuple(agree), guards
    return (1,), False


def _run(engine: Engine, size: int, guards: bool, *, shuffled: bool) -> list[dict[int, Any]]:
    """Outputs and states of the same streams, stepped in groups of one size.

    The first half of the streams have the same age and step and miss the same channel; the others are mixed.
    """
    uniform, n, half = UniformEngine(engine, sizes=(size,), guards=guards), 2 * TRIED_ROWS, TRIED_ROWS
    samples, order = np.random.default_rng(0), np.random.default_rng(size)
    tried = np.concatenate([np.arange(4), half + np.arange(8)]) if size == 1 else np.arange(n)  # each costs a step
    ages = np.where(np.arange(n) < half, 2, samples.integers(0, 4, n))
    results: list[dict[int, Any]] = []
    for timed, gaps in [(timed, gaps) for timed in (False, True) for gaps in (False, True)]:
        if (timed and not engine.uses_rate) or (gaps and not engine.takes_missing):
            continue
        states = uniform.start(n)
        for age in range(3):  # the same calls whatever is tried, so that all begin with the same bits
            older = np.flatnonzero(ages > age) + uniform.spare
            engine.step(states, older, np.ones((len(older), engine.n_channels), engine.sample_dtype), None, None)
        for _ in range(TRIED_STEPS):
            x = samples.standard_normal((n, engine.n_channels)).astype(engine.sample_dtype)
            steps = np.where(np.arange(n) < half, 0.5, samples.uniform(0.5, 2.0, n))
            there = samples.uniform(size=x.shape) > 0.3
            there[:half] = np.arange(engine.n_channels) > 0
            if gaps:
                x = np.where(there, x, x.dtype.type(0))
            outputs = np.zeros((n, *engine.output_shape))
            rows = order.permutation(tried) if shuffled else tried
            taken = size - uniform.guards
            for begin in range(0, len(rows), taken):
                group = rows[begin : begin + taken]
                outputs[group] = uniform.step(
                    states, group, x[group], steps[group] if timed else None, there[group] if gaps else None
                )
            results += [{row: torch.from_numpy(outputs[row]) for row in tried.tolist()}]
        ends = {row: uniform.read(states, row) for row in tried.tolist()}
        results += [{row: end[name] for row, end in ends.items()} for name in engine.fresh()]
    return results


def _same(one: list[dict[int, Any]], other: list[dict[int, Any]]) -> bool:
    """Whether two runs agree in all streams that both have stepped."""
    return all(torch.equal(a[row], b[row]) for a, b in zip(one, other, strict=True) for row in a.keys() & b.keys())


def _filled(values: Array, n: int, value: Any) -> Array:
    """Values with n rows of one value before them."""
    rest = np.full((n, *values.shape[1:]), value, dtype=values.dtype)
    return np.concatenate([rest, values])
