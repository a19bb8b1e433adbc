"""A step on the CPU: compiled loops where numba is there, shared among threads, and torch otherwise."""

from __future__ import annotations

import functools
import importlib
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seqkit.kernels.stack_step.layout import Packed, load_rows, rows_of
from seqkit.kernels.stack_step.reference import stack_step_reference
from seqkit.kernels.stack_step.stack import Diagonal
from seqkit.kernels.threads import share

__all__ = ["HAS_NUMBA", "Stepper", "step_plainly"]

HAS_NUMBA = find_spec("numba") is not None
STREAMS = 64  # streams that are worth a thread
Array = npt.NDArray[Any]


@functools.cache
def loops() -> Any:
    """The compiled loops: importing numba takes a second, so not before they are used."""
    return importlib.import_module("seqkit.kernels.stack_step.loops")


class Stepper:
    """A packed model as the loops take it: what does not change from call to call is looked up once.

    Args:
        packed: From `pack`.
    """

    def __init__(self, packed: Packed) -> None:
        self.packed = packed
        self.fixed = packed.table.numpy(), packed.weights.numpy()
        self.dtype = self.fixed[1].dtype
        self.n_outputs = len(packed.stack.head.bias)
        self.follows_steps = all(isinstance(block.system, Diagonal) for block in packed.stack.blocks)
        self.rows = np.arange(0)
        self.no_steps, self.no_mask = np.empty(0), np.empty((0, 0), dtype=np.bool_)
        self.step_rows = loops().step_rows

    def __reduce__(self) -> tuple[Any, ...]:
        """Travels as the packed model alone; what is looked up is looked up again."""
        return Stepper, (self.packed,)

    def __call__(
        self, states: Array, rows: Array | None, x: Array, steps: Array | None = None, observed: Array | None = None
    ) -> Array | None:
        """Takes a sample of each of n streams; arguments as in `stack_step`, as arrays that were looked at.

        Returns:
            Outputs (n, K), or None, with nothing changed, where a value is too large for the arithmetic.
        """
        n = len(x)
        out = np.empty((n, self.n_outputs), self.dtype)
        if rows is None:
            rows = self.rows
            if len(rows) != n:
                rows = self.rows = np.arange(n)
        steps = self.no_steps if steps is None else plain(steps)
        observed = self.no_mask if observed is None else plain(observed)
        x = plain(x)
        if n < 2 * STREAMS or torch.get_num_threads() == 1:
            return out if self.step_rows(*self.fixed, states, plain(rows), x, steps, observed, out) else None
        return self.in_parts(states, plain(rows), x, steps, observed, out)

    def in_parts(self, states: Array, rows: Array, x: Array, steps: Array, observed: Array, out: Array) -> Array | None:
        """The same on several threads."""
        if not loops().fits(*self.fixed, x, observed):
            return None

        def work(start: int, stop: int) -> None:
            part = slice(start, stop)
            self.step_rows(*self.fixed, states, rows[part], x[part], steps[part], observed[part], out[part])

        share(work, len(x), STREAMS)
        return out

    def fits(self, x: Array, observed: Array | None = None) -> bool:
        """Whether no value is too large for the arithmetic."""
        return bool(loops().fits(*self.fixed, plain(x), self.no_mask if observed is None else plain(observed)))

    def at(self, rate: float) -> Stepper:
        """The same model with its diagonal systems discretised for another step, as the loops do it themselves."""
        weights = self.packed.weights.clone()
        loops().rediscretise_all(self.fixed[0], weights.numpy(), weights.numpy().dtype.type(rate))
        return Stepper(self.packed._replace(weights=weights, rate=rate))


def plain(array: Array) -> Array:
    """An array in the one form that the loops are compiled for: dense and its own."""
    return array if array.flags.carray else array.copy()


def step_plainly(
    packed: Packed, states: Tensor, rows: Tensor | None, x: Tensor, steps: Tensor | None, observed: Tensor | None
) -> Tensor:
    """The reference on rows; they change in place."""
    before = states if rows is None else states[rows]
    if steps is None and packed.rate != 1:
        steps = torch.full((len(x),), packed.rate, dtype=torch.float64)
    out, new = stack_step_reference(x, packed.stack, load_rows(packed, before), steps, observed)
    if rows is None:
        states.copy_(rows_of(packed, new))
    else:
        states[rows] = rows_of(packed, new)
    return out
