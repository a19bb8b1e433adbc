"""Triton kernels of Cauchy sums over conjugate pairs, one real reciprocal a pair and node, in float64.

A pair's sum is (z a - b) / (z^2 - c1 z + c0) with real a, b, c1, c0. Everything is in float64: near a pole the
denominator loses log10 L digits, and closing the low-rank loop up to five more (HiPPO-LegS, N = 64). On cards for
computing float64 costs twice float32; nothing but the sums is written.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from seqkit.kernels.cauchy.sums import from_real, real_form

__all__ = ["cauchy_sums_backward", "cauchy_sums_forward"]

NODES = 128  # nodes a program of the forward kernel; backward goes through them in halves of it
MODES = 8  # modes a program of the backward kernel: each value of the gradient read serves so many


@triton.jit
def reciprocal(real, imag, c1, c0):
    """1 / (z^2 - c1 z + c0)."""
    den_real = real * real - imag * imag - c1 * real + c0
    den_imag = 2 * real * imag - c1 * imag
    scale = 1 / (den_real * den_real + den_imag * den_imag)
    return den_real * scale, -den_imag * scale


@triton.jit
def cauchy_sums_fwd_kernel(z, a, b, c1, c0, out, n_sums, n_pairs, n_nodes, J: tl.constexpr):
    """J nodes of up to four sums over the modes of one channel; they share the reciprocals."""
    channel = tl.program_id(1).to(tl.int64)
    first = tl.program_id(2) * 4
    j = tl.program_id(0) * J + tl.arange(0, J)
    inside = j < n_nodes
    z_real, z_imag = tl.load(z + 2 * j, inside, 1.0), tl.load(z + 2 * j + 1, inside, 0.0)
    a += (channel * n_sums + first) * n_pairs
    b += (channel * n_sums + first) * n_pairs
    real_0 = tl.zeros((J,), dtype=tl.float64)
    real_1, real_2, real_3 = real_0, real_0, real_0
    imag_0, imag_1, imag_2, imag_3 = real_0, real_0, real_0, real_0
    for n in range(0, n_pairs):
        i_real, i_imag = reciprocal(
            z_real, z_imag, tl.load(c1 + channel * n_pairs + n), tl.load(c0 + channel * n_pairs + n)
        )
        t_real, t_imag = z_real * i_real - z_imag * i_imag, z_real * i_imag + z_imag * i_real
        a_0, b_0 = tl.load(a + n), tl.load(b + n)
        a_1 = tl.load(a + n_pairs + n, first + 1 < n_sums, 0.0)
        b_1 = tl.load(b + n_pairs + n, first + 1 < n_sums, 0.0)
        a_2 = tl.load(a + 2 * n_pairs + n, first + 2 < n_sums, 0.0)
        b_2 = tl.load(b + 2 * n_pairs + n, first + 2 < n_sums, 0.0)
        a_3 = tl.load(a + 3 * n_pairs + n, first + 3 < n_sums, 0.0)
        b_3 = tl.load(b + 3 * n_pairs + n, first + 3 < n_sums, 0.0)
        real_0, imag_0 = real_0 + (t_real * a_0 - i_real * b_0), imag_0 + (t_imag * a_0 - i_imag * b_0)
        real_1, imag_1 = real_1 + (t_real * a_1 - i_real * b_1), imag_1 + (t_imag * a_1 - i_imag * b_1)
        real_2, imag_2 = real_2 + (t_real * a_2 - i_real * b_2), imag_2 + (t_imag * a_2 - i_imag * b_2)
        real_3, imag_3 = real_3 + (t_real * a_3 - i_real * b_3), imag_3 + (t_imag * a_3 - i_imag * b_3)
    place = out + 2 * ((channel * n_sums + first) * n_nodes + j)
    tl.store(place, real_0, inside)
    tl.store(place + 1, imag_0, inside)
    tl.store(place + 2 * n_nodes, real_1, inside & (first + 1 < n_sums))
    tl.store(place + 2 * n_nodes + 1, imag_1, inside & (first + 1 < n_sums))
    tl.store(place + 4 * n_nodes, real_2, inside & (first + 2 < n_sums))
    tl.store(place + 4 * n_nodes + 1, imag_2, inside & (first + 2 < n_sums))
    tl.store(place + 6 * n_nodes, real_3, inside & (first + 3 < n_sums))
    tl.store(place + 6 * n_nodes + 1, imag_3, inside & (first + 3 < n_sums))


@triton.jit
def cauchy_sums_bwd_kernel(
    grad, z, a, b, c1, c0, d_a, d_b, d_c1, d_c0, n_sums, n_pairs, n_nodes, J: tl.constexpr, N: tl.constexpr
):
    """Gradients of N modes of one channel: of a and b for one sum, and its share of those of c1 and c0."""
    channel = tl.program_id(1).to(tl.int64)
    row = channel * n_sums + tl.program_id(2)
    n = tl.program_id(0) * N + tl.arange(0, N)
    here = n < n_pairs
    c1_n, c0_n = tl.load(c1 + channel * n_pairs + n, here, 0.0), tl.load(c0 + channel * n_pairs + n, here, 1.0)
    a_n, b_n = tl.load(a + row * n_pairs + n, here, 0.0)[:, None], tl.load(b + row * n_pairs + n, here, 0.0)[:, None]
    grad += 2 * row * n_nodes
    by_a = tl.zeros((N, J), dtype=tl.float64)
    by_b, by_c1, by_c0 = by_a, by_a, by_a
    for start in range(0, n_nodes, J):
        j = start + tl.arange(0, J)
        inside = j < n_nodes
        z_real, z_imag = tl.load(z + 2 * j, inside, 1.0)[None, :], tl.load(z + 2 * j + 1, inside, 0.0)[None, :]
        g_real, g_imag = tl.load(grad + 2 * j, inside, 0.0)[None, :], tl.load(grad + 2 * j + 1, inside, 0.0)[None, :]
        i_real, i_imag = reciprocal(z_real, z_imag, c1_n[:, None], c0_n[:, None])
        # x = conj(g) / den and y = z x carry every gradient.
        x_real, x_imag = g_real * i_real + g_imag * i_imag, g_real * i_imag - g_imag * i_real
        y_real, y_imag = z_real * x_real - z_imag * x_imag, z_real * x_imag + z_imag * x_real
        by_a += y_real
        by_b -= x_real
        q_real, q_imag = y_real * a_n - x_real * b_n, y_imag * a_n - x_imag * b_n
        q_real, q_imag = q_real * i_real - q_imag * i_imag, q_real * i_imag + q_imag * i_real
        by_c0 -= q_real
        by_c1 += z_real * q_real - z_imag * q_imag
    place = row * n_pairs + n
    tl.store(d_a + place, tl.sum(by_a, 1), here)
    tl.store(d_b + place, tl.sum(by_b, 1), here)
    tl.store(d_c1 + place, tl.sum(by_c1, 1), here)
    tl.store(d_c0 + place, tl.sum(by_c0, 1), here)


def cauchy_sums_forward(v: Tensor, Lambda: Tensor, z: Tensor) -> Tensor:
    """Returns S (H, O, J) for v (H, O, N), Lambda (H, N), z (J,), complex128."""
    n_channels, n_sums, n_pairs = v.shape
    out = v.new_empty(n_channels, n_sums, len(z))
    if out.numel():
        numbers = [value.contiguous() for value in real_form(v, Lambda)]
        grid = (triton.cdiv(len(z), NODES), n_channels, triton.cdiv(n_sums, 4))
        cauchy_sums_fwd_kernel[grid](parts(z), *numbers, parts(out), n_sums, n_pairs, len(z), NODES)
    return out


def cauchy_sums_backward(grad: Tensor, v: Tensor, Lambda: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the gradients of v and Lambda."""
    n_channels, n_sums, n_pairs = v.shape
    numbers = [value.contiguous() for value in real_form(v, Lambda)]
    found = [torch.zeros_like(numbers[0]) for _ in range(4)]
    if v.numel():
        grid = (triton.cdiv(n_pairs, MODES), n_channels, n_sums)
        sizes = (n_sums, n_pairs, len(z), NODES // 2, MODES)
        cauchy_sums_bwd_kernel[grid](parts(grad), parts(z), *numbers, *found, *sizes)
    return from_real(v, Lambda, found[0], found[1], found[2].sum(1), found[3].sum(1))


def parts(value: Tensor) -> Tensor:
    """Real parts beside imaginary ones, as a kernel reads and writes them; a view where `value` allows one."""
    return torch.view_as_real(value.resolve_conj().contiguous())
