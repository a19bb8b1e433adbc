"""A step on the CPU: one pass of compiled loops over the state where numba is there, and torch otherwise."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqkit.kernels.ssm_step import plain
from seqkit.kernels.ssm_step.layout import Layout
from seqkit.kernels.threads import share

__all__ = ["HAS_NUMBA", "advance", "differentiate"]

HAS_NUMBA = find_spec("numba") is not None
REAL = {torch.complex64: (torch.float32, np.float32(1), 4), torch.complex128: (torch.float64, np.float64(1), 8)}
CHUNK = 256  # streams whose gradients are added one by one: beyond, the rounding of a long sum would show


def advance(layout: Layout, operands: Sequence[Tensor], D: Tensor | None, y: Tensor, new: Tensor) -> bool:
    """Writes outputs and new state; `new` may be the state itself.

    Args:
        layout: Where the rows lie.
        operands: u, A, B, C and state, dense.
        D: The skip, dense, or None.
        y: Outputs, contiguous, in u's dtype.
        new: New state, contiguous.

    Returns:
        Whether the outputs on a CPU are free of NaN and infinity; if not because of u, and `new` is the state itself,
        nothing has been written to it. True on other devices, where nothing is looked at.
    """
    u, A, B, C, state = operands
    if not HAS_NUMBA or not u.is_cpu:
        return plain.advance(layout, operands, D, y, new)
    real, one, size = REAL[A.dtype]
    if u.dtype is not real:
        wide = y.new_empty(y.shape, dtype=real)
        finite = advance(layout, (u.to(real), A, B, C, state), D, wide, new)
        y.copy_(wide)
        return finite
    given = (
        *(layout.address, size, u.data_ptr(), A.data_ptr(), B.data_ptr(), C.data_ptr()),
        *(0 if D is None else D.data_ptr(), state.data_ptr(), y.data_ptr(), new.data_ptr()),
    )
    n_streams, smallest = layout.sizes[1], layout.smallest
    if n_streams < 2 * smallest or torch.get_num_threads() == 1:
        total: float = loops().advance_rows(*given, 0, n_streams, one)
        return total - total == 0
    if new is state and not bool(u.isfinite().all()):
        return False
    return all(total - total == 0 for total in advance_in_parts(given, n_streams, smallest, one))


def advance_in_parts(given: tuple[int, ...], n_streams: int, smallest: int, one: Any) -> list[float]:
    """Steps the streams on several threads; returns the sum of the outputs of each."""
    totals: list[float] = []
    advance_rows = loops().advance_rows
    share(lambda start, stop: totals.append(advance_rows(*given, start, stop, one)), n_streams, smallest)
    return totals


@functools.cache
def loops() -> Any:
    """The compiled loops: importing numba takes a second, so not before they are used."""
    return importlib.import_module("seqkit.kernels.ssm_step.loops")


def differentiate(
    layout: Layout, operands: Sequence[Tensor], grad_y: Tensor, grad_new: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Returns the gradients of u (a row each), A, B, C (of their own shapes) and the state (a row each).

    With G = g_x + 2 sum_m g_m conj(C_m):  d_u = Re sum conj(B) G,  d_A = G conj(x),  d_B = G u,  d_C = 2 g conj(x'),
    d_x = G conj(A). What many streams share is added up over a chunk of them, then over chunks.
    """
    if not HAS_NUMBA or grad_y.device.type != "cpu":
        return plain.differentiate(layout, operands, grad_y, grad_new)
    n1 = layout.sizes[1]
    n_chunks = max(1, -(-n1 // CHUNK))
    shared = [layout.strides[index][1] == 0 for index in (1, 2, 3)]
    sums = [
        value.new_zeros(n_chunks if common else 1, *value.shape)
        for value, common in zip(operands[1:4], shared, strict=True)
    ]
    d_u = grad_y.new_empty(layout.sizes)
    d_x = grad_new.new_empty(*layout.sizes, layout.n_pairs)
    arrays = [value.detach().flatten().numpy() for value in (grad_y, grad_new, *operands, d_u, *sums, d_x)]
    numbers = layout.table.numpy()

    each = [value.numel() if common else 0 for value, common in zip(operands[1:4], shared, strict=True)]

    def work(start: int, stop: int) -> None:
        for chunk in range(start, stop):
            edges = chunk * n1 // n_chunks, (chunk + 1) * n1 // n_chunks
            loops().differentiate_rows(numbers, chunk * np.array(each), *arrays, *edges)

    share(work, n_chunks)
    return d_u, *(total.sum(0) for total in sums), d_x  # type: ignore[return-value]
