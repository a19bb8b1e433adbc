"""Triton kernels: one channel in chunks on matrix units, and a parallel scan where every sample has its own step.

Chunks: a program holds the tables of one channel, goes along the chunks of up to 16 series with their states in
registers, and does three products a chunk. The way back is the same kernel on the reversed chunks with the transposed
tables; a second one sums the gradients of the tables.

The layouts of tables.py hold: complex numbers as real parts, then imaginary parts, along one dimension of 2N.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["sweep_chunks", "table_sums"]


@triton.jit
def ssm_scan_fwd_kernel(
    x_ptr, t_ptr, w_ptr, v_ptr, jump_ptr, start_ptr, inject_ptr, at_ptr, y_ptr, kept_ptr, end_ptr,
    n_series, n_channels, length, n_chunks, n_pairs,
    x_series, x_output, x_channel, y_series, y_output, y_channel, w_output, v_output,
    REVERSE: tl.constexpr, KEEP: tl.constexpr, WRITE: tl.constexpr,
    Q: tl.constexpr, N: tl.constexpr, ROWS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Does y = T x + W s and s' = J s + V x chunk by chunk, columns being series; see `sweep_chunks`."""
    h, m = tl.program_id(0).to(tl.int64), tl.program_id(2).to(tl.int64)
    b = (tl.program_id(1) * ROWS + tl.arange(0, ROWS)).to(tl.int64)
    n, q = tl.arange(0, N), tl.arange(0, Q)
    real, there = n < n_pairs, b < n_series
    both = real[:, None] & there[None, :]
    n_outputs = tl.num_programs(2)
    t = tl.load(t_ptr + ((h * n_outputs + m) * Q + q[:, None]) * Q + q[None, :])
    w_at = (
        w_ptr + (h * w_output + tl.minimum(m, w_output - 1)) * Q * 2 * n_pairs + q[:, None] * 2 * n_pairs + n[None, :]
    )
    w_re = tl.load(w_at, mask=real[None, :], other=0.0)
    w_im = tl.load(w_at + n_pairs, mask=real[None, :], other=0.0)
    v_at = v_ptr + (h * v_output + tl.minimum(m, v_output - 1)) * Q * 2 * n_pairs + n[:, None] * Q + q[None, :]
    v_re = tl.load(v_at, mask=real[:, None], other=0.0)
    v_im = tl.load(v_at + n_pairs * Q, mask=real[:, None], other=0.0)
    jump_at = jump_ptr + h * 4 * n_pairs + n[:, None]
    j_re = tl.load(jump_at, mask=real[:, None], other=0.0)
    j_im = tl.load(jump_at + n_pairs, mask=real[:, None], other=0.0)
    rest_re = tl.load(jump_at + 2 * n_pairs, mask=real[:, None], other=0.0)
    rest_im = tl.load(jump_at + 3 * n_pairs, mask=real[:, None], other=0.0)
    state_at = (h * n_series + b[None, :]) * 2 * n_pairs + n[:, None]
    at = tl.load(at_ptr + b, mask=there, other=-1)
    if REVERSE:
        s_re = tl.zeros([N, ROWS], tl.float32)
        s_im = tl.zeros([N, ROWS], tl.float32)
        first = both & (m == 0)
        inject_re = tl.load(inject_ptr + state_at, mask=first, other=0.0)
        inject_im = tl.load(inject_ptr + state_at + n_pairs, mask=first, other=0.0)
    else:
        s_re = tl.load(start_ptr + state_at, mask=both, other=0.0)
        s_im = tl.load(start_ptr + state_at + n_pairs, mask=both, other=0.0)
    x_at = x_ptr + b[None, :] * x_series + m * x_output + h * x_channel + q[:, None]
    y_at = y_ptr + b[None, :] * y_series + m * y_output + h * y_channel + q[:, None]
    kept_at = kept_ptr + (((m * n_channels + h) * n_series + b[None, :]) * n_chunks) * 2 * n_pairs + n[:, None]
    for step in range(0, n_chunks):
        c = step
        if REVERSE:
            c = n_chunks - 1 - step
        inside = there[None, :] & (c * Q + q < length)[:, None]
        offset = tl.cast(c, tl.int64) * Q
        x = tl.load(x_at + offset, mask=inside, other=0.0).to(tl.float32)
        if KEEP:
            tl.store(kept_at + c * 2 * n_pairs, s_re, mask=both)
            tl.store(kept_at + c * 2 * n_pairs + n_pairs, s_im, mask=both)
        if WRITE:
            y = tl.dot(t, x, input_precision=PRECISION)
            y = tl.dot(w_re, s_re, y, input_precision=PRECISION)
            y = tl.dot(w_im, s_im, y, input_precision=PRECISION)
            tl.store(y_at + offset, y.to(y_ptr.dtype.element_ty), mask=inside)
        here = (at == c)[None, :]
        if not REVERSE:
            first = both & here & (m == 0)
            tl.store(end_ptr + state_at, s_re, mask=first)
            tl.store(end_ptr + state_at + n_pairs, s_im, mask=first)
        # The jump as a sum of two float32 numbers: its rounding would repeat in every chunk.
        add_re = tl.dot(v_re, x, rest_re * s_re - rest_im * s_im, input_precision=PRECISION)
        add_im = tl.dot(v_im, x, rest_re * s_im + rest_im * s_re, input_precision=PRECISION)
        next_re = j_re * s_re - j_im * s_im + add_re
        s_im = j_re * s_im + j_im * s_re + add_im
        s_re = next_re
        if REVERSE:
            s_re += tl.where(here, inject_re, 0.0)
            s_im += tl.where(here, inject_im, 0.0)
    if REVERSE:
        end_at = end_ptr + m * n_channels * n_series * 2 * n_pairs + state_at
        tl.store(end_at, s_re, mask=both)
        tl.store(end_at + n_pairs, s_im, mask=both)


@triton.jit
def ssm_scan_bwd_kernel(
    u_ptr, grad_ptr, states_ptr, adjoints_ptr, dt_ptr, dw_ptr, dv_ptr, jump_ptr,
    n_series, n_channels, length, n_chunks, n_pairs, per_split,
    Q: tl.constexpr, N: tl.constexpr, ROWS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Sums over chunks and series: dT = g u', dW = g s', dV = z u', dJ = z conj(s), z the adjoint after the chunk."""
    h, m, split = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64), tl.program_id(2)
    n_outputs = tl.num_programs(1)
    n, q = tl.arange(0, N), tl.arange(0, Q)
    real = n < n_pairs
    dt = tl.zeros([Q, Q], tl.float32)
    dw_re, dw_im = tl.zeros([Q, N], tl.float32), tl.zeros([Q, N], tl.float32)
    dv_re, dv_im = tl.zeros([N, Q], tl.float32), tl.zeros([N, Q], tl.float32)
    dj_re, dj_im = tl.zeros([N], tl.float32), tl.zeros([N], tl.float32)
    for tile in range(0, per_split):
        row = ((split * per_split + tile) * ROWS + tl.arange(0, ROWS)).to(tl.int64)
        there = row < n_series * n_chunks
        b, c = row // n_chunks, row % n_chunks
        u_at = u_ptr + ((b * n_channels + h) * length + c * Q)[:, None] + q[None, :]
        u = tl.load(u_at, mask=there[:, None] & ((c * Q)[:, None] + q[None, :] < length), other=0.0).to(tl.float32)
        grad_at = grad_ptr + (((b * n_outputs + m) * n_channels + h) * length + c * Q)[None, :] + q[:, None]
        inside = there[None, :] & ((c * Q)[None, :] + q[:, None] < length)
        g = tl.load(grad_at, mask=inside, other=0.0).to(tl.float32)
        line = h * n_series * n_chunks + row
        s_at = states_ptr + line[:, None] * 2 * n_pairs + n[None, :]
        s_mask = there[:, None] & real[None, :]
        s_re, s_im = tl.load(s_at, mask=s_mask, other=0.0), tl.load(s_at + n_pairs, mask=s_mask, other=0.0)
        dt = tl.dot(g, u, dt, input_precision=PRECISION)
        dw_re = tl.dot(g, s_re, dw_re, input_precision=PRECISION)
        dw_im = tl.dot(g, s_im, dw_im, input_precision=PRECISION)
        # The states once more, in the orientation of the adjoints: a product never reads a transposed register tile.
        z_line = (m * n_channels * n_series * n_chunks + line)[None, :] * 2 * n_pairs + n[:, None]
        z_mask = there[None, :] & real[:, None]
        z_re = tl.load(adjoints_ptr + z_line, mask=z_mask, other=0.0)
        z_im = tl.load(adjoints_ptr + z_line + n_pairs, mask=z_mask, other=0.0)
        r_at = states_ptr + line[None, :] * 2 * n_pairs + n[:, None]
        r_re, r_im = tl.load(r_at, mask=z_mask, other=0.0), tl.load(r_at + n_pairs, mask=z_mask, other=0.0)
        dv_re = tl.dot(z_re, u, dv_re, input_precision=PRECISION)
        dv_im = tl.dot(z_im, u, dv_im, input_precision=PRECISION)
        dj_re += tl.sum(z_re * r_re + z_im * r_im, 1)
        dj_im += tl.sum(z_im * r_re - z_re * r_im, 1)
    place = (split.to(tl.int64) * n_channels + h) * n_outputs + m
    tl.store(dt_ptr + (place * Q + q[:, None]) * Q + q[None, :], dt)
    dw_at = dw_ptr + (place * Q + q[:, None]) * 2 * n_pairs + n[None, :]
    tl.store(dw_at, dw_re, mask=real[None, :])
    tl.store(dw_at + n_pairs, dw_im, mask=real[None, :])
    dv_at = dv_ptr + (place * 2 * n_pairs + n[:, None]) * Q + q[None, :]
    tl.store(dv_at, dv_re, mask=real[:, None])
    tl.store(dv_at + n_pairs * Q, dv_im, mask=real[:, None])
    tl.store(jump_ptr + place * 2 * n_pairs + n, dj_re, mask=real)
    tl.store(jump_ptr + place * 2 * n_pairs + n_pairs + n, dj_im, mask=real)


def padded_pairs(n_pairs: int) -> int:
    """The pairs a kernel holds: a power of two that a matrix product accepts."""
    return max(16, int(triton.next_power_of_2(n_pairs)))


def sweep_chunks(
    x: Tensor,
    t: Tensor,
    w: Tensor,
    v: Tensor,
    jump: Tensor,
    start: Tensor,
    at: Tensor,
    *,
    reverse: bool = False,
    write: bool = True,
    keep: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Takes every series from chunk to chunk, with its channel's tables.

        y = T x + W s,   s' = J s + V x

    Args:
        x: Samples, (B, M, H, L), or (B, 1, H, L) for the same in each of M outputs.
        t: (H, M, Q, Q).
        w: (H, M, Q, 2N), or (H, 1, Q, 2N) for all outputs.
        v: (H, M, 2N, Q), or (H, 1, 2N, Q).
        jump: J, (H, N) complex128.
        start: State before the first chunk, (H, B, 2N); when reversed, what is added to the one after chunk `at`.
        at: A chunk of each series, (B,).
        reverse: Whether to go from the last chunk to the first, from a state of zeros.
        write: Whether y is wanted.
        keep: Whether the state before each chunk is wanted (when reversed, the one that meets the chunk first).

    Returns:
        y (B, M, H, L); the states that met each chunk, (M, H, B, chunks, 2N); and the one before chunk `at`,
        (H, B, 2N), or when reversed the one at the end for each output, (M, H, B, 2N).
    """
    n_series, _, n_channels, length = x.shape
    n_outputs, size, n_pairs = t.shape[1], t.shape[2], jump.shape[1]
    n_chunks = -(-length // size)
    y = x.new_empty(n_series, n_outputs if write else 0, n_channels, length)
    kept = start.new_empty(n_outputs if keep else 0, n_channels, n_series, n_chunks, 2 * n_pairs)
    end = start.new_empty(*([n_outputs] if reverse else []), n_channels, n_series, 2 * n_pairs)
    parts = torch.stack([jump.real, jump.imag], 1)
    high = parts.to(torch.float32)
    jumps = torch.cat([high, (parts - high).to(torch.float32)], 1)
    outputs = 0 if x.shape[1] == 1 else x.stride(1)
    ssm_scan_fwd_kernel[(n_channels, triton.cdiv(n_series, 16), n_outputs)](
        x, t, w, v, jumps, start, start, at, y, kept, end,
        n_series, n_channels, length, n_chunks, n_pairs,
        x.stride(0), outputs, x.stride(2), y.stride(0), y.stride(1), y.stride(2), w.shape[1], v.shape[1],
        REVERSE=reverse, KEEP=keep, WRITE=write, Q=size, N=padded_pairs(n_pairs), ROWS=16,
        PRECISION="tf32x3" if x.dtype == torch.float32 else "tf32",
        num_warps=fwd_warps(n_pairs, x.dtype),
    )  # fmt: skip
    return y, kept, end


def fwd_warps(n_pairs: int, dtype: torch.dtype) -> int:
    """Warps of a program; with 16 pairs eight read past shared memory on Hopper, as Triton 3.6 lays tf32x3 out."""
    return 8 if n_pairs > 32 or (dtype == torch.float32 and n_pairs > 16) else 4


def table_sums(
    u: Tensor, grad: Tensor, states: Tensor, adjoints: Tensor, size: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns the gradients of T (H, M, Q, Q), W (H, M, Q, 2N), V (H, M, 2N, Q) and J (H, M, 2N), summed over series.

    u (B, H, L), grad (B, M, H, L), states (H, B, chunks, 2N), adjoints (M, H, B, chunks, 2N), all contiguous.
    """
    n_series, n_outputs, n_channels, length = grad.shape
    n_chunks, width = states.shape[2], states.shape[3]
    # Three products of halves of float32 numbers need registers for both halves; 32 rows would spill.
    n_rows = 32 if u.dtype != torch.float32 and width <= 64 else 16
    n_tiles = triton.cdiv(n_series * n_chunks, n_rows)
    # Enough programs for a large GPU, each with enough tiles to be worth its sums.
    n_splits = max(1, min(triton.cdiv(264, n_channels * n_outputs), n_tiles // 8))
    lead = (n_splits, n_channels, n_outputs)
    dt = states.new_empty(*lead, size, size)
    dw = states.new_empty(*lead, size, width)
    dv = states.new_empty(*lead, width, size)
    dj = states.new_empty(*lead, width)
    ssm_scan_bwd_kernel[(n_channels, n_outputs, n_splits)](
        u, grad, states, adjoints, dt, dw, dv, dj,
        n_series, n_channels, length, n_chunks, width // 2, triton.cdiv(n_tiles, n_splits),
        Q=size, N=padded_pairs(width // 2), ROWS=n_rows,
        PRECISION="tf32x3" if u.dtype == torch.float32 else "tf32", num_warps=8,
    )  # fmt: skip
    return dt.sum(0), dw.sum(0), dv.sum(0), dj.sum(0)
