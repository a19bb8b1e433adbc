"""The recurrence in chunks of samples: matrix products within a chunk, a short carry between chunks.

With the chunk's samples u and the state s before it,  y = T u + W s  and  s' = A^Q s + V u  (tables.py). The products
run over blocks of channels and series small enough to stay in a core's cache; nothing of size L N is held.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from seqkit.kernels.ssm_scan.ends import final_state, final_state_backward, last_chunk, newest
from seqkit.kernels.ssm_scan.tables import (
    TableGradients,
    Tables,
    chunk_size,
    make_tables,
    pairs,
    tables_backward,
    unpair,
)
from seqkit.kernels.threads import share

__all__ = ["ssm_scan_backward", "ssm_scan_forward"]

LOOPS = find_spec("numba") is not None
if LOOPS:
    from seqkit.kernels.ssm_scan import loops
ROWS = 4096  # chunks per block: about a megabyte per temporary; smaller ones cost more in calls than they save


def blocks(n_channels: int, n_series: int, n_chunks: int) -> Iterator[tuple[slice, slice]]:
    """Yields slices over channels and over series."""
    series = max(1, min(n_series, ROWS // n_chunks))
    channels = max(1, ROWS // (n_chunks * series))
    for h in range(0, n_channels, channels):
        for b in range(0, n_series, series):
            yield slice(h, min(h + channels, n_channels)), slice(b, min(b + series, n_series))


def ssm_scan_forward(
    u: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor]:
    """Returns y (B, M, H, L) and the state after sample `lengths` (B, H, N) for even steps; A, B are complex128."""
    (n_series, n_channels, length), (n_outputs, _, n_pairs) = u.shape, C.shape
    size = chunk_size(n_pairs)
    n_chunks = -(-length // size)
    tables = make_tables(A, B, C, size, state.dtype.to_real())
    y = u.new_empty(n_series, n_outputs, n_channels, length)
    last = u.new_empty(n_channels, n_series, 2 * n_pairs, dtype=tables.into.dtype)  # states before the last chunks
    at = last_chunk(lengths, size)
    ends = same_ends(at)
    parts = list(blocks(n_channels, n_series, n_chunks))
    room = [Room(tables.into, parts, n_chunks, width) for width in (size + 2 * n_pairs, 2 * n_pairs, n_outputs * size)]
    for h, b in parts:
        rows = chunk_rows(u[b, h], size, tables, state[b, h], h, room[:2])
        out = room[2].take(h, b)
        torch.bmm(rows.flatten(1, 2), tables.out[h], out=out.flatten(1, 2))
        empty(y[b, :, h], out, size)
        last[h, b] = rows[:, *(ends or (torch.arange(rows.shape[1], device=u.device), at[b])), size:]
    return y, final_state(tables, newest(u, lengths, size), last, lengths - at * size)


def ssm_scan_backward(
    grad: Tensor, grad_state: Tensor, u: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor, lengths: Tensor
) -> tuple[Tensor, ...]:
    """Returns the gradients of u, A, B, C and state: the same chunks, once more forwards and then in reverse."""
    (n_series, n_channels, length), (n_outputs, _, n_pairs) = u.shape, C.shape
    size = chunk_size(n_pairs)
    wide, width = n_outputs * size, 2 * n_pairs
    n_chunks = -(-length // size)
    tables = make_tables(A, B, C, size, state.dtype.to_real())
    du, d_state = u.new_empty(u.shape), state.new_empty(state.shape)
    d_tables = TableGradients.zeros(tables)
    at = last_chunk(lengths, size)
    ends = same_ends(at)
    used = lengths - at * size
    last = u.new_empty(n_channels, n_series, width, dtype=tables.into.dtype)
    asked = bool(grad_state.any())  # training mostly leaves the final state alone
    injected = grad_state * tables.powers[..., used].permute(2, 0, 1).conj()
    towards = torch.cat([tables.out[:, :size].mT, tables.into], 1)  # from [output gradients, adjoint state] to du
    parts = list(blocks(n_channels, n_series, n_chunks))
    room = [Room(tables.into, parts, n_chunks, number) for number in (size + width, width, wide + width, size)]
    for h, b in parts:
        rows = chunk_rows(u[b, h], size, tables, state[b, h], h, room[:2])
        places = ends or (torch.arange(rows.shape[1], device=u.device), at[b])
        last[h, b] = rows[:, *places, size:]
        adjoint, back, out = (one.take(h, b) for one in room[1:])
        fill(back[..., :wide], grad[b, :, h], size)
        flat, flat_back = rows.flatten(1, 2), back.flatten(1, 2)
        torch.bmm(flat_back[..., :wide], tables.out[h, size:].mT, out=adjoint.flatten(1, 2))
        if asked:
            adjoint[:, *places] += pairs(injected[b, h].transpose(0, 1), -1)
        d_state[b, h], d_jump = carry_back(adjoint, tables.jump[h], rows, size, back)
        torch.bmm(flat_back, towards[h], out=out.flatten(1, 2))
        empty(du[b, None, h], out, size)
        d_tables.jump[h] += d_jump
        d_tables.out[h].baddbmm_(flat.mT, flat_back[..., :wide])
        d_tables.into[h].baddbmm_(flat_back[..., wide:].mT, flat[..., :size])
    if asked:
        final_state_backward(grad_state, tables, newest(u, lengths, size), last, used, lengths, du, d_tables)
    return du, *tables_backward(tables, B, C, d_tables), d_state


def same_ends(at: Tensor) -> tuple[slice, int] | None:
    """The index (all series, their last chunk) if that is one and the same; a slice costs a tenth of an index."""
    first = int(at[0]) if len(at) else 0
    return (slice(None), first) if bool((at == first).all()) else None


class Room:
    """Memory for one temporary of a block, kept for the next: fresh pages cost more than what is written to them."""

    def __init__(self, like: Tensor, parts: list[tuple[slice, slice]], n_chunks: int, width: int) -> None:
        most = max(((h.stop - h.start) * (b.stop - b.start) for h, b in parts), default=0)
        self.n_chunks, self.width = n_chunks, width
        self.memory = like.new_empty(most * n_chunks * width)

    def take(self, h: slice, b: slice) -> Tensor:
        """Returns it as (channels, series, chunks, width)."""
        shape = (h.stop - h.start, b.stop - b.start, self.n_chunks, self.width)
        return self.memory[: math.prod(shape)].view(shape)


def chunk_rows(u: Tensor, size: int, tables: Tables, state: Tensor, h: slice, room: list[Room]) -> Tensor:
    """Returns the samples of each chunk and the state before it, (channels, series, chunks, Q + 2N)."""
    series = slice(0, len(u))
    rows, inputs = (one.take(h, series) for one in room)
    fill(rows[..., :size], u.unsqueeze(1), size)
    torch.bmm(rows.flatten(1, 2)[..., :size], tables.into[h].mT, out=inputs.flatten(1, 2))
    carry(inputs, tables.jump[h], state, rows)
    return rows


def fill(rows: Tensor, values: Tensor, size: int) -> None:
    """Copies values (series, M, channels, L) into rows (channels, series, chunks, M * size), zero behind the end."""
    n_series, n_outputs, n_channels, length = values.shape
    whole = length // size
    target = rows.view(*rows.shape[:3], n_outputs, size)
    source = values[..., : whole * size].view(n_series, n_outputs, n_channels, whole, size)
    target[:, :, :whole] = source.permute(2, 0, 3, 1, 4)
    if whole < rows.shape[2]:
        target[:, :, whole] = 0
        target[:, :, whole, :, : length - whole * size] = values[..., whole * size :].permute(2, 0, 1, 3)


def empty(values: Tensor, rows: Tensor, size: int) -> None:
    """Copies rows (channels, series, chunks, M * size) back into values (series, M, channels, L)."""
    n_series, n_outputs, n_channels, length = values.shape
    whole = length // size
    source = rows.view(*rows.shape[:3], n_outputs, size).permute(1, 3, 0, 2, 4)
    target = values[..., : whole * size].view(n_series, n_outputs, n_channels, whole, size)
    target.copy_(source[..., :whole, :])
    if whole < rows.shape[2]:
        values[..., whole * size :] = source[..., whole, : length - whole * size]


def carry(inputs: Tensor, jump: Tensor, state: Tensor, rows: Tensor) -> None:
    """Writes the state before every chunk into the last columns of `rows`, all (channels, series, chunks, ..)."""
    n_channels, n_series, n_chunks, width = inputs.shape
    if LOOPS and inputs.device.type == "cpu":
        arrays: list[Any] = [value.numpy() for value in (inputs, jump, state, rows)]
        share(lambda start, stop: loops.carry(start, stop, *arrays), n_channels * n_series, 1 + 4096 // n_chunks)
        return
    steps = unpair(inputs, -1).to(jump.dtype)
    now = state.transpose(0, 1).to(jump.dtype)
    for chunk in range(n_chunks):
        rows[:, :, chunk, -width:] = pairs(now, -1)
        now = torch.addcmul(steps[:, :, chunk], jump.unsqueeze(1), now)


def carry_back(inputs: Tensor, jump: Tensor, rows: Tensor, first: int, back: Tensor) -> tuple[Tensor, Tensor]:
    """Carries the adjoint state backwards into the last columns of `back`.

    Returns the adjoint of the first state (series, channels, N) and the gradient of the jump (channels, N).
    """
    n_channels, n_series, n_chunks, width = inputs.shape
    if LOOPS and inputs.device.type == "cpu":
        d_state = jump.new_empty(n_series, n_channels, width // 2)
        d_jump = jump.new_empty(n_channels, n_series, width // 2)
        arrays: list[Any] = [value.numpy() for value in (inputs, jump, rows, back, d_state, d_jump)]
        share(
            lambda start, stop: loops.carry_back(start, stop, first, *arrays),
            n_channels * n_series,
            1 + 4096 // n_chunks,
        )
        return d_state, d_jump.sum(1)
    steps = unpair(inputs, -1).to(jump.dtype)
    now = torch.zeros_like(steps[:, :, 0])
    d_jump = torch.zeros_like(jump)
    for chunk in range(n_chunks - 1, -1, -1):
        back[:, :, chunk, -width:] = pairs(now, -1)
        d_jump += (now * unpair(rows[:, :, chunk, first : first + width], -1).conj()).sum(1)
        now = torch.addcmul(steps[:, :, chunk], jump.unsqueeze(1).conj(), now)
    return now.transpose(0, 1), d_jump
