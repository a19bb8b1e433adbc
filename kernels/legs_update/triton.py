"""The LegS memory on a GPU: a program holds the coefficients of a tile of series and walks through time.

Along n the bilinear solve is g_{n+1} = a_n g_n + b_n with a_n = (tau - n) / (tau + n + 1), |a_n| <= 1, an associative
scan. The step needs g_n, the value before n, and a_n may be 0, so that g_n cannot be found from g_{n+1}: the scan
carries the composition of all steps up to n and the one that leaves out n itself.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

__all__ = ["legs_update_backward", "legs_update_forward"]

PER_WARP = 256  # coefficients that one warp holds in registers


@triton.jit
def compose(a, b, a_before, b_before, c, d, c_before, d_before):
    """Composes two stretches of x -> a x + b; those marked `before` leave out their last step."""
    return c * a, c * b + d, c_before * a, c_before * b + d_before


@triton.jit
def legs_update_fwd_kernel(
    u,
    tau,
    state,
    rows,
    n_series,
    length,
    every,
    n_rows,
    tau_stride,
    order: tl.constexpr,
    BN: tl.constexpr,
    BS: tl.constexpr,
):
    """Walks forward; w_n = s_n c_n, and g_n = u - sum of p_k, k < n, with p the mean of the old and the new w."""
    n = tl.arange(0, BN)[None, :]
    series = (tl.program_id(0) * BS + tl.arange(0, BS)).to(tl.int64)[:, None]
    inside = series < n_series
    both = inside & (n < order)
    n_1 = (n + 1).to(tl.float32)
    scale = tl.sqrt(2 * n_1 - 1)
    w = tl.load(state + series * order + n, mask=both, other=0.0) * scale
    sample = tl.load(u + series * length, mask=inside, other=0.0)
    step = tl.load(tau + series * tau_stride, mask=inside, other=1.0)
    one, zero = tl.full((BS, BN), 1.0, tl.float32), tl.zeros((BS, BN), tl.float32)
    for k in range(0, length):
        more = inside & (k + 1 < length)
        next_sample = tl.load(u + series * length + k + 1, mask=more, other=0.0)
        next_step = tl.load(tau + series * tau_stride + k + 1, mask=more, other=1.0)
        R = 1 / (step + n_1)
        a = (step - n_1 + 1) * R
        b = -step * R * w
        _, _, a_before, b_before = tl.associative_scan((a, b, one, zero), 1, compose)
        g = a_before * sample + b_before
        w += 2 * R * ((2 * n_1 - 1) * g - n_1 * w)
        if (k + 1) % every == 0:
            tl.store(rows + (series * n_rows + k // every) * order + n, w / scale, mask=both)
        sample = next_sample
        step = next_step


@triton.jit
def legs_update_bwd_kernel(
    grad,
    tau,
    d_u,
    d_state,
    n_series,
    length,
    every,
    n_rows,
    tau_stride,
    order: tl.constexpr,
    BN: tl.constexpr,
    BS: tl.constexpr,
):
    """Walks back with the transposed steps: the same scan with n falling, starting at 0."""
    lane = tl.arange(0, BN)[None, :]
    n = tl.maximum(order - 1 - lane, 0)
    series = (tl.program_id(0) * BS + tl.arange(0, BS)).to(tl.int64)[:, None]
    inside = series < n_series
    both = inside & (lane < order)
    n_1 = (n + 1).to(tl.float32)
    scale = tl.sqrt(2 * n_1 - 1)
    one, zero = tl.full((BS, BN), 1.0, tl.float32), tl.zeros((BS, BN), tl.float32)
    v = zero
    step = tl.load(tau + series * tau_stride + length - 1, mask=inside, other=1.0)
    for back in range(0, length):
        k = length - 1 - back
        next_step = tl.load(tau + series * tau_stride + k - 1, mask=inside & (k > 0), other=1.0)
        if (k + 1) % every == 0:
            v += tl.load(grad + (series * n_rows + k // every) * order + n, mask=both, other=0.0) * scale
        R = 1 / (step + n_1)
        a = (step - n_1 + 1) * R
        b = 2 * step * R * v
        _, _, _, g = tl.associative_scan((a, b, one, zero), 1, compose)
        q = R * (2 * step * v - (2 * n_1 - 1) * g)
        v = q - v
        total = tl.sum(tl.where(both, q, 0.0), axis=1)[:, None]
        tl.store(d_u + series * length + k, total / step, mask=inside)
        step = next_step
    tl.store(d_state + series * order + n, v / scale, mask=both)


def blocks(n_series: int, order: int) -> dict[str, int]:
    """Sizes of a program's tile: all coefficients of one series, and more series where the order is small."""
    width = triton.next_power_of_2(max(order, 2))
    height = min(max(1, PER_WARP // width), triton.next_power_of_2(n_series))
    return {"BN": width, "BS": height, "num_warps": max(1, width * height // PER_WARP)}


def legs_update_forward(u: Tensor, tau: Tensor, state: Tensor, every: int) -> Tensor:
    """Returns the rows (S, L // every, N) for u (S, L), tau (S or 1, L) and state (S, N)."""
    (n_series, length), order = u.shape, state.shape[1]
    rows = state.new_empty(n_series, length // every, order)
    if n_series:
        tile = blocks(n_series, order)
        legs_update_fwd_kernel[(triton.cdiv(n_series, tile["BS"]),)](
            u.contiguous(), tau.contiguous(), state.contiguous(), rows, n_series, length, every, rows.shape[1],
            length if len(tau) > 1 else 0, order=order, **tile,
        )  # fmt: skip
    return rows


def legs_update_backward(grad: Tensor, u: Tensor, tau: Tensor, state: Tensor, every: int) -> tuple[Tensor, Tensor]:
    """Returns the gradients of u and state."""
    (n_series, length), order = u.shape, state.shape[1]
    d_u, d_state = u.new_empty(u.shape), state.new_empty(state.shape)
    if n_series:
        tile = blocks(n_series, order)
        legs_update_bwd_kernel[(triton.cdiv(n_series, tile["BS"]),)](
            grad.contiguous(), tau.contiguous(), d_u, d_state, n_series, length, every, grad.shape[1],
            length if len(tau) > 1 else 0, order=order, **tile,
        )  # fmt: skip
    return d_u, d_state
