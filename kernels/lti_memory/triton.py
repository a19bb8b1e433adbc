"""The memory of a linear time-invariant system on a GPU: a program walks a tile of series of one system through time.

It goes from chunk to chunk with c <- A^m c + V u, both products on the tensor cores, tile by tile of the coefficients,
so that any order fits; the states between chunks pass through memory, which one program's threads alone read. A stretch
from row to row starts with a shorter chunk, for which the last columns of V serve and a power of its own. The way back
walks with the transposed matrices, and torch makes the gradients of the tables from the states' at the ends of chunks.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from seqkit.kernels.lti_memory.scan import split
from seqkit.kernels.lti_memory.tables import Chain

__all__ = ["lti_memory_backward", "lti_memory_forward"]

COLUMNS = 32  # samples a product with V


@triton.jit
def stretch(index, n_chunks, every, first, chunk):
    """Row, first sample and number of samples of a chunk, and which of the two transitions it has."""
    row = index // n_chunks
    i = index % n_chunks
    begin = row * every + tl.where(i == 0, 0, first + (i - 1) * chunk)
    return row, begin, tl.where(i == 0, first, chunk), tl.where(i == 0, 0, 1)


@triton.jit
def lti_memory_fwd_kernel(
    u, powers, inputs, work, rows, n_series, length, n_rows, every, n_chunks, first, chunk, n_slots, order,
    BS: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Writes a row a stretch. `work` (H, S, n_slots, N) holds the first state, and takes the one after each chunk.

    `powers` (H, 2, N, N) holds the transposed transition of the first chunk and that of the others, `inputs` (H, m, N)
    the transposed V.
    """
    system = tl.program_id(1).to(tl.int64)
    s = tl.program_id(0) * BS + tl.arange(0, BS)
    inside = (s < n_series)[:, None]
    series = (system * n_series + s)[:, None]
    tile, column = tl.arange(0, BN), tl.arange(0, BK)
    inputs += system * chunk * order
    for index in range(0, n_rows * n_chunks):
        row, begin, size, which = stretch(index, n_chunks, every, first, chunk)
        table = powers + (system * 2 + which) * order * order
        old = work + (series * n_slots + index % n_slots) * order
        new = work + (series * n_slots + (index + 1) % n_slots) * order
        for lowest in range(0, order, BN):
            n = (lowest + tile)[None, :]
            c = tl.zeros((BS, BN), tl.float32)
            for known in range(0, order, BN):
                k = known + tile
                left = tl.load(old + k[None, :], mask=inside & (k < order)[None, :], other=0.0)
                P = tl.load(table + k[:, None] * order + n, mask=(k < order)[:, None] & (n < order), other=0.0)
                c = tl.dot(left, P, c, input_precision="tf32x3")
            for start in range(0, size, BK):
                t = start + column
                samples = tl.load(
                    u + series * length + (begin + t)[None, :], mask=inside & (t < size)[None, :], other=0.0
                )
                V = tl.load(
                    inputs + (chunk - size + t)[:, None] * order + n, mask=(t < size)[:, None] & (n < order), other=0.0
                )
                c = tl.dot(samples, V, c, input_precision="tf32x3")
            tl.store(new + n, c, mask=inside & (n < order))
            if index % n_chunks == n_chunks - 1:
                tl.store(rows + (series * n_rows + row) * order + n, c, mask=inside & (n < order))
        tl.debug_barrier()


@triton.jit
def lti_memory_bwd_kernel(
    grad, powers, inputs, d_u, work, n_series, length, n_rows, every, n_chunks, first, chunk, n_slots, order,
    BS: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Writes the gradients of the samples. `work` (H, S, chunks + 1, N) holds the last state's and takes the others.

    `powers` (H, 2, N, N) and `inputs` (H, N, m) are not transposed here.
    """
    system = tl.program_id(1).to(tl.int64)
    s = tl.program_id(0) * BS + tl.arange(0, BS)
    inside = (s < n_series)[:, None]
    series = (system * n_series + s)[:, None]
    tile, column = tl.arange(0, BN), tl.arange(0, BK)
    inputs += system * chunk * order
    for back in range(0, n_rows * n_chunks):
        index = n_rows * n_chunks - 1 - back
        row, begin, size, which = stretch(index, n_chunks, every, first, chunk)
        table = powers + (system * 2 + which) * order * order
        new = work + (series * n_slots + index) * order
        old = new + order
        for start in range(0, size, BK):
            t = (start + column)[None, :]
            found = tl.zeros((BS, BK), tl.float32)
            for known in range(0, order, BN):
                k = known + tile
                left = tl.load(old + k[None, :], mask=inside & (k < order)[None, :], other=0.0)
                V = tl.load(
                    inputs + k[:, None] * chunk + (chunk - size + t), mask=(k < order)[:, None] & (t < size), other=0.0
                )
                found = tl.dot(left, V, found, input_precision="tf32x3")
            tl.store(d_u + series * length + begin + t, found, mask=inside & (t < size))
        due = (index % n_chunks == 0) & (row > 0)
        for lowest in range(0, order, BN):
            n = (lowest + tile)[None, :]
            own = inside & (n < order)
            d = tl.load(grad + (series * n_rows + row - 1) * order + n, mask=own & due, other=0.0)
            for known in range(0, order, BN):
                k = known + tile
                left = tl.load(old + k[None, :], mask=inside & (k < order)[None, :], other=0.0)
                P = tl.load(table + k[:, None] * order + n, mask=(k < order)[:, None] & (n < order), other=0.0)
                d = tl.dot(left, P, d, input_precision="tf32x3")
            tl.store(new + n, d, mask=own)
        tl.debug_barrier()


class Plan(NamedTuple):
    """How a call is cut into chunks, and their tables.

    Args:
        chunk: The chain of a chunk.
        first: The chain of a stretch's first chunk.
        sizes: Arguments of the kernels, from n_series to chunk.
        tile: Block sizes.
    """

    chunk: Chain
    first: Chain
    sizes: tuple[int, ...]
    tile: dict[str, int]

    def powers(self) -> Tensor:
        """The transitions of a stretch's first chunk and of the others, (H, 2, N, N)."""
        return torch.stack([self.first.power, self.chunk.power], dim=1)


def plan(u: Tensor, A: Tensor, B: Tensor, every: int) -> Plan:
    """Chunks of at least N samples, so that N^2 for the state is not more than N for each sample."""
    (_, n_series, length), order = u.shape, A.shape[-1]
    size = min(every, max(2 * COLUMNS, order))
    n_chunks = -(-every // size)
    first = every - (n_chunks - 1) * size
    return Plan(
        Chain(A, B, size),
        Chain(A, None, first),
        (n_series, length, length // every, every, n_chunks, first, size),
        {
            "BS": min(32, max(16, triton.next_power_of_2(n_series))),
            "BN": min(32, max(16, triton.next_power_of_2(order))),
            "BK": COLUMNS,
        },
    )


def forward(u: Tensor, state: Tensor, carry: bool, cut: Plan, keep: bool) -> tuple[Tensor, Tensor]:
    """Returns the rows, and with `keep` the states before and after all chunks (H, S, chunks + 1, N)."""
    (n_systems, n_series, order), n_rows, n_chunks = state.shape, cut.sizes[2], cut.sizes[4]
    rows = state.new_empty(n_systems, n_series, n_rows, order)
    work = state.new_empty(n_systems, n_series, n_rows * n_chunks + 1 if keep else 2, order)
    work[:, :, 0] = state if carry else 0
    lti_memory_fwd_kernel[triton.cdiv(n_series, cut.tile["BS"]), n_systems](
        u.contiguous(), cut.powers().mT.contiguous(), cut.chunk.inputs.mT.contiguous(), work, rows,
        *cut.sizes, work.shape[2], order, **cut.tile,
    )  # fmt: skip
    return rows, work


def lti_memory_forward(u: Tensor, A_bar: Tensor, B_bar: Tensor, state: Tensor, carry: bool, every: int) -> Tensor:
    """Returns the rows (H, S, L // every, N) for u (H, S, L), A_bar (H, N, N), B_bar (H, N) and state (H, S, N)."""
    if not u.shape[-1] // every or not u.numel():
        return state.new_zeros(*state.shape[:2], u.shape[-1] // every, state.shape[-1])
    return forward(u, state, carry, plan(u, A_bar, B_bar, every), keep=False)[0]


def lti_memory_backward(
    grad: Tensor, u: Tensor, A_bar: Tensor, B_bar: Tensor, state: Tensor, carry: bool, every: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns the gradients of u, A_bar, B_bar and state; the states between chunks are computed again."""
    d_u, d_state = u.new_zeros(u.shape), state.new_zeros(state.shape)
    if not u.shape[-1] // every or not u.numel():
        return d_u, A_bar.new_zeros(A_bar.shape), B_bar.new_zeros(B_bar.shape), d_state
    cut = plan(u, A_bar, B_bar, every)
    n_rows, n_chunks, first, size = cut.sizes[2], *cut.sizes[4:]
    before = forward(u, state, carry, cut, keep=True)[1]
    after = torch.empty_like(before)
    after[:, :, -1] = grad[:, :, -1]
    lti_memory_bwd_kernel[triton.cdiv(u.shape[1], cut.tile["BS"]), len(u)](
        grad.contiguous(), cut.powers(), cut.chunk.inputs.contiguous(), d_u, after,
        *cut.sizes, after.shape[2], state.shape[2], **cut.tile,
    )  # fmt: skip
    d_state = after[:, :, 0].clone() if carry else d_state
    before, after = (split(value, 2, (n_rows, n_chunks)) for value in (before[:, :, :-1], after[:, :, 1:]))
    parts = split(u[..., : n_rows * every], -1, (n_rows, every)).flatten(1, 2)
    body = split(parts[..., first:], -1, (-1, size)).flatten(1, 2) if every > first else None
    ends, starts = after[..., 0, :].flatten(1, 2), before[..., 0, :].flatten(1, 2)
    d_A_first = cut.first.backward(ends.mT @ starts)[0]
    d_V = torch.zeros_like(cut.chunk.inputs)
    d_V[..., -first:] = ends.mT @ parts[..., :first]
    d_power = None
    if body is not None:
        ends, starts = after[..., 1:, :].flatten(1, 3), before[..., 1:, :].flatten(1, 3)
        d_power = ends.mT @ starts
        d_V += ends.mT @ body
    d_A, d_B = cut.chunk.backward(d_power, d_V)
    assert d_B is not None
    return d_u, (d_A + d_A_first).to(A_bar.dtype), d_B.to(B_bar.dtype), d_state
