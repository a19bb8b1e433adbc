"""One sample through a whole model: encoder, state-space blocks, pooling and head in one compiled call."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.checks import check_finite, check_shape
from seqkit.kernels.backend import choose_backend
from seqkit.kernels.stack_step import cpu
from seqkit.kernels.stack_step.layout import Packed, load_rows, pack, rows_of
from seqkit.kernels.stack_step.stack import (
    Block,
    Dense,
    Diagonal,
    Levels,
    Linear,
    LowRank,
    Norm,
    Stack,
    StackState,
    fresh,
)

__all__ = [
    "Block",
    "Dense",
    "Diagonal",
    "Levels",
    "Linear",
    "LowRank",
    "Norm",
    "Packed",
    "Stack",
    "StackState",
    "fresh",
    "load_rows",
    "pack",
    "rows_of",
    "stack_step",
]

NO_TRITON = {"triton": "stack_step has no Triton kernels"}


@torch.no_grad()
def stack_step(
    x: Tensor,
    packed: Packed,
    states: Tensor,
    *,
    rows: Tensor | None = None,
    steps: Tensor | None = None,
    observed: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """Takes one sample of each of n streams through a whole model; their states change in place.

        standardise -> hold what is missing -> W x + b -> blocks -> norm -> pool -> W x + b -> scale, offset, softmax
        block: h + out(activation(mix(y))),   x' = A x + B u,   y = C x' + D u,   u = norm(h)

    Args:
        x: Samples, (n, C), in the model's dtype; of no meaning where a value is missing.
        packed: The model, from `pack`.
        states: A row for each stream, (N, packed.width), contiguous; `rows_of(packed, fresh(stack, N))` to begin with.
        rows: Which streams, (n,), int64, each once; None for all in their order.
        steps: Time since the sample before, (n,), float64, in units of the training step, which diagonal systems are
            discretised with; None for the rate that the model was packed for.
        observed: Which values are there, bool, (n, C); None for all.
        backend: "auto", "reference" (the equations in torch) or "cpu" (compiled loops, or torch where numba is
            missing).

    Returns:
        Outputs, (n, K).

    Raises:
        TypeError: another dtype than the model's.
        ValueError: shapes or rows that do not fit, values that are not finite or larger than 1e15 standard deviations,
            steps for systems that are given discrete, or a backend that cannot serve. The states are as before.

    Source:
        The recurrent form of Gu et al. 2021, LSSL (arXiv:2110.13985), section 3.1. In one loop: ours.

    Cost: one pass over the weights for some streams at a time and one over the states. No gradient is given.

    Example:
        >>> one, pair = torch.ones(1), torch.ones(1, 1) + 0j
        >>> norm, line = Norm("none", one, 0 * one, 0.0), Linear(one[None], 0 * one)
        >>> system = Diagonal(-pair, pair, pair[None], one, "backward_euler")
        >>> block = Block(norm, system, 0 * one[None], None, "none", "none", None)
        >>> model = pack(Stack(0 * one, one, line, (block,), norm, "none", line, one, 0 * one, False))
        >>> states = rows_of(model, fresh(model.stack, 1))
        >>> [stack_step(torch.tensor([[u]]), model, states, backend="reference").item() for u in (1.0, 0.0)]
        [2.0, 0.5]
    """
    check(x, packed, states, rows, steps, observed)
    path = choose_backend(backend, x, NO_TRITON)
    if len(x) == 0:
        return x.new_empty(0, len(packed.stack.head.bias))
    if path == "reference" or not cpu.HAS_NUMBA:
        return cpu.step_plainly(packed, states, rows, x, steps, observed)
    arrays = [None if value is None else value.contiguous().numpy() for value in (rows, x, steps, observed)]
    out = cpu.Stepper(packed)(states.numpy(), *arrays)  # type: ignore[arg-type]
    if out is None:
        raise ValueError("`x` must lie within 1e15 standard deviations, got a larger value; leave it out as missing")
    return torch.from_numpy(out)


def check(
    x: Tensor, packed: Packed, states: Tensor, rows: Tensor | None, steps: Tensor | None, observed: Tensor | None
) -> None:
    """Refuses what the loops, which look at nothing, could not take."""
    stack, dtype = packed.stack, packed.weights.dtype
    check_shape("x", x, ("n", len(stack.mean)), "a sample of each stream")
    check_shape("states", states, ("N", packed.width), "rows from `rows_of`")
    for name, value in (("x", x), ("states", states)):
        if value.dtype != dtype or not value.is_cpu:
            raise TypeError(f"`{name}` must be {dtype} on the CPU like the model, got {value.dtype} on {value.device}")
    if not states.is_contiguous():
        raise ValueError("`states` must be contiguous, since it changes in place; pass states.contiguous()")
    n = len(x)
    if rows is None:
        check_shape("x", x, (len(states), len(stack.mean)), "a sample for each row, or give `rows`")
    else:
        check_shape("rows", rows, (n,), "a row for each sample")
        found = set(rows.tolist())
        inside = not found or 0 <= min(found) <= max(found) < len(states)
        if rows.dtype != torch.int64 or len(found) < n or not inside:
            raise ValueError(f"`rows` must be different whole numbers (int64) from 0 to {len(states) - 1}")
    if steps is not None:
        check_shape("steps", steps, (n,), "a step for each sample")
        if not bool(((steps > 0) & steps.isfinite()).all()) or steps.dtype != torch.float64:
            raise ValueError("`steps` must be float64, finite and above 0")
        if not all(isinstance(block.system, Diagonal) for block in stack.blocks):
            raise ValueError("`steps` must be None for systems that are given discrete; pack them for another step")
    if observed is not None:
        check_shape("observed", observed, tuple(x.shape), "one entry for each value")
        if observed.dtype != torch.bool:
            raise ValueError(f"`observed` must be bool, got {observed.dtype}")
        x = torch.where(observed, x, x.new_zeros(()))
    check_finite("x", x)
