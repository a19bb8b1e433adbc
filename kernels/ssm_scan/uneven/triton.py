"""Triton kernels where every sample has its own step: a parallel scan over a tile of time, one tile after the other.

A program holds one channel of one series: N states, which it carries from tile to tile in registers. A step is the map
x -> G x + X of complex numbers, and maps compose. Exponents are taken in float64, because their turns may be many.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from seqkit.kernels.ssm_scan.reference import RULES
from seqkit.kernels.ssm_scan.tables import pairs, unpair

__all__ = ["ssm_scan_steps_backward", "ssm_scan_steps_forward"]


@triton.jit
def compose(g_re, g_im, x_re, x_im, h_re, h_im, y_re, y_im):
    """The map (h, y) after the map (g, x)."""
    return (
        h_re * g_re - h_im * g_im,
        h_re * g_im + h_im * g_re,
        h_re * x_re - h_im * x_im + y_re,
        h_re * x_im + h_im * x_re + y_im,
    )


@triton.jit
def small_expm1(x):
    """Returns e^x - 1 without cancellation, in float32."""
    near = tl.abs(x) < 0.5
    y = tl.where(near, x, 0.0)
    series = y * (1 + y / 2 * (1 + y / 3 * (1 + y / 4 * (1 + y / 5 * (1 + y / 6 * (1 + y / 7 * (1 + y / 8)))))))
    return tl.where(near, series, tl.exp(x) - 1)


@triton.jit
def sine_cosine(x):
    """Returns sin x and cos x for |x| <= pi / 2, as series; Triton's own spill, to serve large angles."""
    y = x * x
    sine, cosine = tl.zeros_like(x) + 1, tl.zeros_like(x) + 1
    for back in tl.static_range(0, 7):
        order = 14 - 2 * back
        sine = 1 - y / (order * (order + 1)) * sine
        cosine = 1 - y / (order * (order - 1)) * cosine
    return x * sine, cosine


@triton.jit
def held(r, a_re, a_im, RULE: tl.constexpr):
    """Returns P = r phi(r lambda) in float32 for steps r (T, 1) and lambda (1, N) in float64."""
    z_re, z_im = r * a_re, r * a_im
    if RULE == 0:
        turns = z_im * 0.15915494309189535
        s, c = sine_cosine((3.141592653589793 * (turns - tl.floor(turns + 0.5))).to(tl.float32))
        decay = small_expm1(z_re.to(tl.float32))  # e^z - 1 by the half angle, without cancellation
        m_re = (decay * (1 - 2 * s * s) - 2 * s * s).to(tl.float64)
        m_im = ((decay + 1) * (2 * s * c)).to(tl.float64)
        size = a_re * a_re + a_im * a_im
        zero = size < 1e-200
        safe = tl.where(zero, 1.0, size)
        p_re = tl.where(zero, r, (m_re * a_re + m_im * a_im) / safe)
        p_im = tl.where(zero, 0.0, (m_im * a_re - m_re * a_im) / safe)
    else:
        weight = 0.5 if RULE == 1 else 1.0
        d_re, d_im = 1 - weight * z_re, -weight * z_im
        factor = r / (d_re * d_re + d_im * d_im)
        p_re, p_im = factor * d_re, -factor * d_im
    return p_re.to(tl.float32), p_im.to(tl.float32)


@triton.jit
def slope(r, a_re, a_im, p_re, p_im, RULE: tl.constexpr):
    """Returns dP / dlambda in float32: P^2 / 2, P^2, or r P + (r - P) / lambda."""
    if RULE == 0:
        z_re, z_im = (r * a_re).to(tl.float32), (r * a_im).to(tl.float32)
        step = r.to(tl.float32)
        square = z_re * z_re + z_im * z_im
        near = square < 0.25  # the difference has lost digits: -r^2 (1/2 + z/6 + z^2/24 ..)
        s_re, s_im = tl.zeros_like(z_re) + 1, tl.zeros_like(z_re)
        x, y = tl.where(near, z_re, 0.0), tl.where(near, z_im, 0.0)
        for back in tl.static_range(0, 8):
            term = 1.0 / (10 - back)
            t_re = 1 + (x * s_re - y * s_im) * term
            s_im = (x * s_im + y * s_re) * term
            s_re = t_re
        # (r - P) / lambda = r (r - P) / z
        safe = tl.where(near, 1.0, square)
        d_re, d_im = step - p_re, -p_im
        far_re, far_im = step * (d_re * z_re + d_im * z_im) / safe, step * (d_im * z_re - d_re * z_im) / safe
        rest_re = tl.where(near, -0.5 * step * step * s_re, far_re)
        rest_im = tl.where(near, -0.5 * step * step * s_im, far_im)
        q_re, q_im = step * p_re + rest_re, step * p_im + rest_im
    else:
        weight = 0.5 if RULE == 1 else 1.0
        q_re, q_im = weight * (p_re * p_re - p_im * p_im), 2 * weight * p_re * p_im
    return q_re, q_im


@triton.jit
def ssm_scan_steps_fwd_kernel(
    u_ptr, steps_ptr, a_ptr, b_ptr, c_ptr, start_ptr, ends_ptr, y_ptr, kept_ptr, final_ptr,
    n_channels, length, n_outputs, n_pairs, n_tiles,
    KEEP: tl.constexpr, RULE: tl.constexpr, T: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    """Writes y and the final state; or, to go back later, the state before every tile."""
    s, h = tl.program_id(1).to(tl.int64), tl.program_id(0).to(tl.int64)
    t, n = tl.arange(0, T), tl.arange(0, N)
    real = n < n_pairs
    pair_at = h * n_pairs + n
    a_re = tl.load(a_ptr + 2 * pair_at, mask=real, other=0.0)[None, :]
    a_im = tl.load(a_ptr + 2 * pair_at + 1, mask=real, other=0.0)[None, :]
    b_re = tl.load(b_ptr + 2 * pair_at, mask=real, other=0.0).to(tl.float32)[None, :]
    b_im = tl.load(b_ptr + 2 * pair_at + 1, mask=real, other=0.0).to(tl.float32)[None, :]
    low_re, low_im = a_re.to(tl.float32), a_im.to(tl.float32)
    state_at = (s * n_channels + h) * 2 * n_pairs + n
    x_re = tl.load(start_ptr + state_at, mask=real, other=0.0)
    x_im = tl.load(start_ptr + state_at + n_pairs, mask=real, other=0.0)
    end = tl.load(ends_ptr + s)
    final_re, final_im = tl.zeros([N], tl.float32), tl.zeros([N], tl.float32)
    for tile in range(0, n_tiles):
        k = tile * T + t
        inside = k < length
        if KEEP:
            kept_at = kept_ptr + ((s * n_channels + h) * n_tiles + tile) * 2 * n_pairs + n
            tl.store(kept_at, x_re, mask=real)
            tl.store(kept_at + n_pairs, x_im, mask=real)
        # A step of 0 changes nothing, so the samples past the end do not count.
        r = tl.load(steps_ptr + s * length + k, mask=inside, other=0.0).to(tl.float64)[:, None]
        u = tl.load(u_ptr + (s * n_channels + h) * length + k, mask=inside, other=0.0).to(tl.float32)[:, None]
        p_re, p_im = held(r, a_re, a_im, RULE)
        g_re, g_im = 1 + p_re * low_re - p_im * low_im, p_re * low_im + p_im * low_re
        d_re, d_im = (p_re * b_re - p_im * b_im) * u, (p_re * b_im + p_im * b_re) * u
        g_re, g_im, d_re, d_im = tl.associative_scan((g_re, g_im, d_re, d_im), 0, compose)
        all_re = g_re * x_re[None, :] - g_im * x_im[None, :] + d_re
        all_im = g_re * x_im[None, :] + g_im * x_re[None, :] + d_im
        newest = (t == T - 1)[:, None]
        x_re, x_im = tl.sum(tl.where(newest, all_re, 0.0), 0), tl.sum(tl.where(newest, all_im, 0.0), 0)
        if not KEEP:
            asked = (k == end - 1)[:, None]
            final_re += tl.sum(tl.where(asked, all_re, 0.0), 0)
            final_im += tl.sum(tl.where(asked, all_im, 0.0), 0)
            for m in range(0, n_outputs):
                c_at = c_ptr + 2 * ((m * n_channels + h) * n_pairs + n)
                c_re = tl.load(c_at, mask=real, other=0.0)[None, :]
                c_im = tl.load(c_at + 1, mask=real, other=0.0)[None, :]
                y = 2 * tl.sum(c_re * all_re - c_im * all_im, 1)
                y_at = y_ptr + ((s * n_outputs + m) * n_channels + h) * length + k
                tl.store(y_at, y.to(y_ptr.dtype.element_ty), mask=inside)
    if not KEEP:
        tl.store(final_ptr + state_at, final_re, mask=real)
        tl.store(final_ptr + state_at + n_pairs, final_im, mask=real)


@triton.jit
def ssm_scan_steps_bwd_kernel(
    grad_ptr, grad_final_ptr, u_ptr, steps_ptr, a_ptr, b_ptr, c_ptr, ends_ptr, kept_ptr,
    du_ptr, da_ptr, db_ptr, dc_ptr, dstate_ptr,
    n_channels, length, n_outputs, n_pairs, n_tiles,
    RULE: tl.constexpr, T: tl.constexpr, N: tl.constexpr, M: tl.constexpr,
):  # fmt: skip
    """Takes the tiles in reverse, each with its states made again, and carries the adjoint."""
    s, h = tl.program_id(1).to(tl.int64), tl.program_id(0).to(tl.int64)
    t, n, outputs = tl.arange(0, T), tl.arange(0, N), tl.arange(0, M)
    real = n < n_pairs
    pair_at = h * n_pairs + n
    a_re = tl.load(a_ptr + 2 * pair_at, mask=real, other=0.0)[None, :]
    a_im = tl.load(a_ptr + 2 * pair_at + 1, mask=real, other=0.0)[None, :]
    b_re = tl.load(b_ptr + 2 * pair_at, mask=real, other=0.0).to(tl.float32)[None, :]
    b_im = tl.load(b_ptr + 2 * pair_at + 1, mask=real, other=0.0).to(tl.float32)[None, :]
    low_re, low_im = a_re.to(tl.float32), a_im.to(tl.float32)
    state_at = (s * n_channels + h) * 2 * n_pairs + n
    end = tl.load(ends_ptr + s)
    last_re = tl.load(grad_final_ptr + state_at, mask=real, other=0.0)[None, :]
    last_im = tl.load(grad_final_ptr + state_at + n_pairs, mask=real, other=0.0)[None, :]
    l_re, l_im = tl.zeros([N], tl.float32), tl.zeros([N], tl.float32)
    da_re, da_im = tl.zeros([N], tl.float32), tl.zeros([N], tl.float32)
    db_re, db_im = tl.zeros([N], tl.float32), tl.zeros([N], tl.float32)
    dc_re, dc_im = tl.zeros([M, N], tl.float32), tl.zeros([M, N], tl.float32)
    for step in range(0, n_tiles):
        tile = n_tiles - 1 - step
        k = tile * T + t
        inside = k < length
        line = (s * n_channels + h) * length + k
        kept_at = kept_ptr + ((s * n_channels + h) * n_tiles + tile) * 2 * n_pairs + n
        first_re = tl.load(kept_at, mask=real, other=0.0)[None, :]
        first_im = tl.load(kept_at + n_pairs, mask=real, other=0.0)[None, :]
        # The states before each sample: the scan of the steps one sample earlier, which start with none.
        behind = (t > 0) & (k - 1 < length)
        r = tl.load(steps_ptr + s * length + k - 1, mask=behind, other=0.0).to(tl.float64)[:, None]
        v = tl.load(u_ptr + line - 1, mask=behind, other=0.0).to(tl.float32)[:, None]
        p_re, p_im = held(r, a_re, a_im, RULE)
        g_re, g_im = 1 + p_re * low_re - p_im * low_im, p_re * low_im + p_im * low_re
        d_re, d_im = (p_re * b_re - p_im * b_im) * v, (p_re * b_im + p_im * b_re) * v
        g_re, g_im, d_re, d_im = tl.associative_scan((g_re, g_im, d_re, d_im), 0, compose)
        x_re = g_re * first_re - g_im * first_im + d_re
        x_im = g_re * first_im + g_im * first_re + d_im
        r = tl.load(steps_ptr + s * length + k, mask=inside, other=0.0).to(tl.float64)[:, None]
        u = tl.load(u_ptr + line, mask=inside, other=0.0).to(tl.float32)[:, None]
        p_re, p_im = held(r, a_re, a_im, RULE)
        w_re = low_re * x_re - low_im * x_im + b_re * u
        w_im = low_re * x_im + low_im * x_re + b_im * u
        new_re, new_im = x_re + p_re * w_re - p_im * w_im, x_im + p_re * w_im + p_im * w_re
        # What outputs and the final state give to each state.
        asked = (k == end - 1)[:, None]
        e_re, e_im = tl.where(asked, last_re, 0.0), tl.where(asked, last_im, 0.0)
        for m in range(0, n_outputs):
            c_at = c_ptr + 2 * ((m * n_channels + h) * n_pairs + n)
            c_re = tl.load(c_at, mask=real, other=0.0)[None, :]
            c_im = tl.load(c_at + 1, mask=real, other=0.0)[None, :]
            grad_at = grad_ptr + ((s * n_outputs + m) * n_channels + h) * length + k
            g = 2 * tl.load(grad_at, mask=inside, other=0.0).to(tl.float32)[:, None]
            e_re += g * c_re
            e_im -= g * c_im
            chosen = (outputs == m)[:, None]
            dc_re += tl.where(chosen, tl.sum(g * new_re, 0)[None, :], 0.0)
            dc_im -= tl.where(chosen, tl.sum(g * new_im, 0)[None, :], 0.0)
        # The adjoint of a state is that of the next one, through the next step, and its own part.
        r_next = tl.load(steps_ptr + s * length + k + 1, mask=k + 1 < length, other=0.0).to(tl.float64)[:, None]
        q_re, q_im = held(r_next, a_re, a_im, RULE)
        g_re, g_im = 1 + q_re * low_re - q_im * low_im, -(q_re * low_im + q_im * low_re)
        g_re, g_im, e_re, e_im = tl.associative_scan((g_re, g_im, e_re, e_im), 0, compose, reverse=True)
        adj_re = g_re * l_re[None, :] - g_im * l_im[None, :] + e_re
        adj_im = g_re * l_im[None, :] + g_im * l_re[None, :] + e_im
        oldest = (t == 0)[:, None]
        l_re, l_im = tl.sum(tl.where(oldest, adj_re, 0.0), 0), tl.sum(tl.where(oldest, adj_im, 0.0), 0)
        dw_re, dw_im = p_re * adj_re + p_im * adj_im, p_re * adj_im - p_im * adj_re
        du = tl.sum(dw_re * b_re + dw_im * b_im, 1)
        tl.store(du_ptr + line, du.to(du_ptr.dtype.element_ty), mask=inside)
        dp_re, dp_im = adj_re * w_re + adj_im * w_im, adj_im * w_re - adj_re * w_im
        q_re, q_im = slope(r, a_re, a_im, p_re, p_im, RULE)
        da_re += tl.sum(dw_re * x_re + dw_im * x_im + dp_re * q_re + dp_im * q_im, 0)
        da_im += tl.sum(dw_im * x_re - dw_re * x_im + dp_im * q_re - dp_re * q_im, 0)
        db_re += tl.sum(dw_re * u, 0)
        db_im += tl.sum(dw_im * u, 0)
    # The adjoint before the first sample, through its step.
    r = tl.load(steps_ptr + s * length).to(tl.float64)
    p_re, p_im = held(r, a_re, a_im, RULE)
    g_re, g_im = 1 + p_re * low_re - p_im * low_im, p_re * low_im + p_im * low_re
    out_re, out_im = g_re * l_re[None, :] + g_im * l_im[None, :], g_re * l_im[None, :] - g_im * l_re[None, :]
    row = (s * n_channels + h) * 2 * n_pairs + n[None, :]
    tl.store(dstate_ptr + row, out_re, mask=real[None, :])
    tl.store(dstate_ptr + row + n_pairs, out_im, mask=real[None, :])
    tl.store(da_ptr + state_at, da_re, mask=real)
    tl.store(da_ptr + state_at + n_pairs, da_im, mask=real)
    tl.store(db_ptr + state_at, db_re, mask=real)
    tl.store(db_ptr + state_at + n_pairs, db_im, mask=real)
    c_row = ((s * n_outputs + outputs[:, None]) * n_channels + h) * 2 * n_pairs + n[None, :]
    c_mask = (outputs < n_outputs)[:, None] & real[None, :]
    tl.store(dc_ptr + c_row, dc_re, mask=c_mask)
    tl.store(dc_ptr + c_row + n_pairs, dc_im, mask=c_mask)


def tile_size(n_pairs: int, length: int) -> int:
    """Samples per tile: 1024 complex numbers fit the registers of 128 threads, and more than L are not needed."""
    fitting = max(8, min(64, 1024 // int(triton.next_power_of_2(n_pairs))))
    return min(fitting, max(2, int(triton.next_power_of_2(length))))


def real_parts(values: Tensor) -> Tensor:
    """Complex numbers as the kernels read them."""
    return torch.view_as_real(values.resolve_conj().contiguous())


def ssm_scan_steps_forward(
    u: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor, steps: Tensor, lengths: Tensor, rule: str
) -> tuple[Tensor, Tensor]:
    """Returns y (B, M, H, L) and the state after sample `lengths`; A, B are complex128, in units of a step of 1."""
    y = u.new_empty(u.shape[0], C.shape[0], u.shape[1], u.shape[2])
    if u.numel() == 0:
        return y, state.clone()
    final = march(u, A, B, C, state, steps, lengths, rule, y)
    return y, unpair(final, -1)


def march(
    u: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    state: Tensor,
    steps: Tensor,
    lengths: Tensor,
    rule: str,
    y: Tensor | None = None,
) -> Tensor:
    """Fills `y` and returns the final states (B, H, 2N); without a `y`, returns those before each tile instead."""
    (n_series, n_channels, length), (n_outputs, _, n_pairs) = u.shape, C.shape
    tile = tile_size(n_pairs, length)
    n_tiles = triton.cdiv(length, tile)
    start = pairs(state, -1)
    found = start.new_empty(n_series, n_channels, *([] if y is not None else [n_tiles]), 2 * n_pairs)
    ssm_scan_steps_fwd_kernel[(n_channels, n_series)](
        u.contiguous(), steps.contiguous(), real_parts(A), real_parts(B), real_parts(C), start, lengths.contiguous(),
        u if y is None else y, found, found, n_channels, length, n_outputs, n_pairs, n_tiles,
        KEEP=y is None, RULE=RULES.index(rule), T=tile, N=triton.next_power_of_2(n_pairs), num_warps=4,
    )  # fmt: skip
    return found


def ssm_scan_steps_backward(
    grad: Tensor,
    grad_final: Tensor,
    u: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    state: Tensor,
    steps: Tensor,
    lengths: Tensor,
    rule: str,
) -> tuple[Tensor, ...]:
    """Returns the gradients of u, A, B, C and state."""
    if u.numel() == 0:
        return tuple(torch.zeros_like(value) for value in (u, A, B, C, state))
    (n_series, n_channels, length), (n_outputs, _, n_pairs) = u.shape, C.shape
    tile = tile_size(n_pairs, length)
    kept = march(u, A, B, C, state, steps, lengths, rule)
    du = torch.empty_like(u, memory_format=torch.contiguous_format)
    d_A, d_B, d_state = (kept.new_empty(n_series, n_channels, 2 * n_pairs) for _ in range(3))
    d_C = kept.new_empty(n_series, n_outputs, n_channels, 2 * n_pairs)
    ssm_scan_steps_bwd_kernel[(n_channels, n_series)](
        grad.contiguous(), pairs(grad_final, -1), u.contiguous(), steps.contiguous(), real_parts(A), real_parts(B),
        real_parts(C), lengths.contiguous(), kept, du, d_A, d_B, d_C, d_state,
        n_channels, length, n_outputs, n_pairs, triton.cdiv(length, tile),
        RULE=RULES.index(rule), T=tile, N=triton.next_power_of_2(n_pairs), M=triton.next_power_of_2(n_outputs),
        num_warps=4,
    )  # fmt: skip
    sums = (unpair(value.sum(0), -1) for value in (d_A, d_B, d_C))
    d_a, d_b, d_c = sums
    return du, d_a.to(A.dtype), d_b.to(B.dtype), d_c, unpair(d_state, -1)
