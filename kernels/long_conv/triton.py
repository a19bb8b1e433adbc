"""The convolution as an FFT on matrix units: transform, multiply, transform back in one kernel, series on chip.

A program takes two rows of the batch as the real and the imaginary part of one complex series: the kernel is real, so
the parts of the result are the two outputs. Factors and order of the spectrum: `spectra.py`. Up to 4096 points stay in
registers and shared memory; above, the outermost pass goes through scratch memory, in the device's cache if short.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from seqkit.kernels.long_conv.blocks import circular_size
from seqkit.kernels.long_conv.passes.triton import (
    ends_of,
    grid_of,
    outer_pass,
    outer_pass_back,
    transform,
    transform_back,
)
from seqkit.kernels.long_conv.spectra import Plan, kernel_gradient, make_plan, make_tables, permuted_spectra

__all__ = ["long_conv_backward", "long_conv_forward"]

ENOUGH = 264  # programs that fill a Hopper GPU, two for each multiprocessor
PROGRAMS = 256  # how many are launched at a time, because each has 4 n numbers of scratch memory
WIDTH = 32  # columns of the outermost pass that are on chip at a time


@triton.jit
def long_conv_fwd_kernel(
    x, y, x_factor, y_factor, lengths, spectrum, rows, columns, twiddles,
    batch_size, n_channels, length, n_summed, n_outputs, half, zero, sign,
    x_factor_batch, x_factor_plane, x_factor_channel, y_factor_batch, y_factor_plane, y_factor_channel,
    HELD: tl.constexpr, N1: tl.constexpr, N2: tl.constexpr,
    HAS_X_FACTOR: tl.constexpr, HAS_Y_FACTOR: tl.constexpr, HAS_LENGTHS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One pair of rows of one output: y = factor sum over planes of (factor x) convolved with the plane's kernel.

    `zero` is 0: tables are addressed by it in loops, so that they are read again instead of kept in registers.
    """
    n_pairs = (batch_size + 1) // 2
    pair, channel = tl.program_id(0).to(tl.int64) % n_pairs, tl.program_id(0).to(tl.int64) // n_pairs
    output = tl.program_id(1).to(tl.int64)
    first, second = ends_of(lengths, pair, batch_size, length, HAS_LENGTHS)
    places = grid_of(N1, N2, N2)
    zr, zi = tl.zeros((N1, N2), tl.float32), tl.zeros((N1, N2), tl.float32)
    for plane in range(n_summed):
        here = x + ((2 * pair * n_summed + plane) * n_channels + channel) * length
        factor = x_factor + 2 * pair * x_factor_batch + plane * x_factor_plane + channel * x_factor_channel
        at = plane * zero
        ur, ui = transform(
            here, here + n_summed * n_channels * length, factor, factor + x_factor_batch, first, second, True,
            rows + at, columns + at, twiddles + at, HELD, N1, N2, HAS_X_FACTOR, PRECISION,
        )  # fmt: skip
        kernel = spectrum + ((output + plane) * n_channels + channel) * (N1 * N2)
        sr, si = tl.load(kernel + places), sign * tl.load(kernel + half + places)
        zr += ur * sr - ui * si
        zi += ur * si + ui * sr
    here = y + ((2 * pair * n_outputs + output) * n_channels + channel) * length
    factor = y_factor + 2 * pair * y_factor_batch + output * y_factor_plane + channel * y_factor_channel
    transform_back(
        zr, zi, here, here + n_outputs * n_channels * length, factor, factor + y_factor_batch, first, second,
        length, tl.where(2 * pair + 1 < batch_size, length, 0),
        rows, columns, twiddles, HELD, N1, N2, HAS_Y_FACTOR, PRECISION,
    )  # fmt: skip


@triton.jit
def long_conv_bwd_kernel(
    x, grad, gate, lengths, products, rows, columns, twiddles,
    batch_size, n_channels, length, n_outputs, half, zero, gate_batch, gate_plane, gate_channel,
    HELD: tl.constexpr, N1: tl.constexpr, N2: tl.constexpr,
    HAS_GATE: tl.constexpr, HAS_LENGTHS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Sums conj(spectrum of x) times the spectrum of (gate grad) over every n-th pair of rows, for one kernel.

    Both are transformed by the same lines of the program, in turns: together, their operands do not fit the registers.
    """
    channel, part, output = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64), tl.program_id(2).to(tl.int64)
    n_parts = tl.num_programs(1)
    tr, ti = tl.zeros((N1, N2), tl.float32), tl.zeros((N1, N2), tl.float32)
    ur, ui = tl.zeros((N1, N2), tl.float32), tl.zeros((N1, N2), tl.float32)
    for turn in range((batch_size + 2 * n_parts - 1) // (2 * n_parts) * 2):
        pair, odd = part + turn // 2 * n_parts, turn % 2
        first, second = ends_of(lengths, pair, batch_size, length, HAS_LENGTHS)
        n_planes = 1 + odd * (n_outputs - 1)
        here = tl.where(odd == 1, grad, x) + ((2 * pair * n_planes + odd * output) * n_channels + channel) * length
        factor = gate + 2 * pair * gate_batch + output * gate_plane + channel * gate_channel
        at = turn * zero
        gr, gi = transform(
            here, here + n_planes * n_channels * length, factor, factor + gate_batch, first, second, odd == 1,
            rows + at, columns + at, twiddles + at, HELD, N1, N2, HAS_GATE, PRECISION,
        )  # fmt: skip
        tr += odd * (ur * gr + ui * gi)
        ti += odd * (ur * gi - ui * gr)
        ur, ui = gr, gi
    places = grid_of(N1, N2, N2)
    total = products + ((part * n_outputs + output) * n_channels + channel) * (N1 * N2)
    tl.store(total + places, tr)
    tl.store(total + half + places, ti)


@triton.jit
def long_conv_staged_fwd_kernel(
    x, y, x_factor, y_factor, lengths, spectrum, rows, columns, twiddles, outer, outer_twiddles, scratch, start,
    batch_size, n_channels, length, n_summed, n_outputs, half, zero, sign,
    x_factor_batch, x_factor_plane, x_factor_channel, y_factor_batch, y_factor_plane, y_factor_channel,
    N0: tl.constexpr, N1: tl.constexpr, N2: tl.constexpr, WIDTH: tl.constexpr,
    HAS_X_FACTOR: tl.constexpr, HAS_Y_FACTOR: tl.constexpr, HAS_LENGTHS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """`long_conv_fwd_kernel` in three passes; a program owns a part of the scratch memory, (2, 2, N0, N1, N2)."""
    INNER: tl.constexpr = N1 * N2
    SIZE: tl.constexpr = N0 * INNER
    n_pairs = (batch_size + 1) // 2
    work = start + tl.program_id(0).to(tl.int64)
    pair, channel, output = work % n_pairs, work // n_pairs % n_channels, work // n_pairs // n_channels
    first, second = ends_of(lengths, pair, batch_size, length, HAS_LENGTHS)
    area = scratch + tl.program_id(0).to(tl.int64) * (4 * SIZE)
    slab = area + 2 * SIZE
    for plane in range(n_summed):
        here = x + ((2 * pair * n_summed + plane) * n_channels + channel) * length
        factor = x_factor + 2 * pair * x_factor_batch + plane * x_factor_plane + channel * x_factor_channel
        outer_pass(
            here, factor, here + n_summed * n_channels * length, factor + x_factor_batch, first, second,
            outer, outer_twiddles, area, N0, INNER, WIDTH, HAS_X_FACTOR, PRECISION,
        )  # fmt: skip
        tl.debug_barrier()  # the slices below are read by other threads than wrote them
        kernel = spectrum + ((output + plane) * n_channels + channel) * SIZE
        for k0 in range(N0):
            piece, at = area + k0 * INNER, k0 * zero
            ur, ui = transform(
                piece, piece + SIZE, piece, piece, INNER, INNER, True, rows + at, columns + at, twiddles + at,
                N1, N1, N2, False, PRECISION,
            )  # fmt: skip
            places = k0 * INNER + grid_of(N1, N2, N2)
            sr, si = tl.load(kernel + places), sign * tl.load(kernel + half + places)
            later = (places >= 0) & (plane > 0)
            zr = tl.load(slab + places, mask=later, other=0.0) + ur * sr - ui * si
            zi = tl.load(slab + SIZE + places, mask=later, other=0.0) + ur * si + ui * sr
            tl.store(slab + places, zr)
            tl.store(slab + SIZE + places, zi)
        tl.debug_barrier()
    for k0 in range(N0):
        piece, at = area + k0 * INNER, k0 * zero
        places = k0 * INNER + grid_of(N1, N2, N2)
        transform_back(
            tl.load(slab + places), tl.load(slab + SIZE + places), piece, piece + SIZE, piece, piece,
            INNER, INNER, INNER, INNER, rows + at, columns + at, twiddles + at, N1, N1, N2, False, PRECISION,
        )  # fmt: skip
    tl.debug_barrier()
    here = y + ((2 * pair * n_outputs + output) * n_channels + channel) * length
    factor = y_factor + 2 * pair * y_factor_batch + output * y_factor_plane + channel * y_factor_channel
    outer_pass_back(
        area, here, factor, here + n_outputs * n_channels * length, factor + y_factor_batch, first, second,
        length, tl.where(2 * pair + 1 < batch_size, length, 0),
        outer, outer_twiddles, N0, INNER, WIDTH, HAS_Y_FACTOR, PRECISION,
    )  # fmt: skip


@triton.jit
def long_conv_staged_bwd_kernel(
    x, grad, gate, lengths, products, rows, columns, twiddles, outer, outer_twiddles, scratch, start,
    batch_size, n_channels, length, n_outputs, n_parts, half, zero, gate_batch, gate_plane, gate_channel,
    N0: tl.constexpr, N1: tl.constexpr, N2: tl.constexpr, WIDTH: tl.constexpr,
    HAS_GATE: tl.constexpr, HAS_LENGTHS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """`long_conv_bwd_kernel` in three passes; a program owns a part of the scratch memory, (2, 2, N0, N1, N2)."""
    INNER: tl.constexpr = N1 * N2
    SIZE: tl.constexpr = N0 * INNER
    work = start + tl.program_id(0).to(tl.int64)
    channel, output, part = work % n_channels, work // n_channels % n_outputs, work // n_channels // n_outputs
    area = scratch + tl.program_id(0).to(tl.int64) * (4 * SIZE)
    total = products + ((part * n_outputs + output) * n_channels + channel) * SIZE
    for turn in range((batch_size + 2 * n_parts - 1) // (2 * n_parts)):
        pair = part + turn * n_parts
        first, second = ends_of(lengths, pair, batch_size, length, HAS_LENGTHS)
        here = x + (2 * pair * n_channels + channel) * length
        after = here + n_channels * length
        outer_pass(
            here, here, after, after, first, second,
            outer, outer_twiddles, area, N0, INNER, WIDTH, False, PRECISION,
        )  # fmt: skip
        here = grad + ((2 * pair * n_outputs + output) * n_channels + channel) * length
        factor = gate + 2 * pair * gate_batch + output * gate_plane + channel * gate_channel
        outer_pass(
            here, factor, here + n_outputs * n_channels * length, factor + gate_batch, first, second,
            outer, outer_twiddles, area + 2 * SIZE, N0, INNER, WIDTH, HAS_GATE, PRECISION,
        )  # fmt: skip
        tl.debug_barrier()  # the slices below are read by other threads than wrote them
        ur, ui = tl.zeros((N1, N2), tl.float32), tl.zeros((N1, N2), tl.float32)
        for step in range(2 * N0):  # slices of x and of the gradient in turns
            k0, odd, at = step // 2, step % 2, step * zero
            piece = area + odd * 2 * SIZE + k0 * INNER
            gr, gi = transform(
                piece, piece + SIZE, piece, piece, INNER, INNER, True, rows + at, columns + at, twiddles + at,
                N1, N1, N2, False, PRECISION,
            )  # fmt: skip
            places = k0 * INNER + grid_of(N1, N2, N2)
            paired = (places >= 0) & (odd == 1)
            later = paired & (turn > 0)
            tr = tl.load(total + places, mask=later, other=0.0) + ur * gr + ui * gi
            ti = tl.load(total + half + places, mask=later, other=0.0) + ur * gi - ui * gr
            tl.store(total + places, tr, mask=paired)
            tl.store(total + half + places, ti, mask=paired)
            ur, ui = gr, gi
        tl.debug_barrier()


def long_conv_forward(u: Tensor, k: Tensor, gate: Tensor, lengths: Tensor, center: int) -> Tensor:
    """Returns y (B, M, H, L); arguments as in `long_conv_reference`."""
    plan = make_plan(circular_size(u.shape[-1], k.shape[-1], center))
    spectra = permuted_spectra(k, center, plan)
    return convolve(u.unsqueeze(1), spectra, lengths, plan, y_factor=gate)


def long_conv_backward(
    grad: Tensor, u: Tensor, k: Tensor, gate: Tensor, lengths: Tensor, center: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of u, k and the gate; what was there before the gate is computed again."""
    plan = make_plan(circular_size(u.shape[-1], k.shape[-1], center))
    spectra = permuted_spectra(k, center, plan)
    du = convolve(grad, spectra, lengths, plan, x_factor=gate, sign=-1).squeeze(1)
    dgate = convolve(u.unsqueeze(1), spectra, lengths, plan, y_factor=grad) if gate.numel() else gate.new_empty(0)
    dk = kernel_gradient(correlate(u, grad, gate, lengths, plan), k.shape[-1], center, plan)
    return du, dk, dgate.view(gate.shape)


def convolve(
    x: Tensor,
    spectra: Tensor,
    lengths: Tensor,
    plan: Plan,
    x_factor: Tensor | None = None,
    y_factor: Tensor | None = None,
    sign: int = 1,
) -> Tensor:
    """Returns y_factor sum_P (x_factor x) * kernels, (B, M, H, L), for x (B, P, H, L) and P M kernels; P or M is 1.

    `sign` -1 correlates instead. A factor (B, P, H, L) or (B, M, H, L) that is None or empty is not there.
    """
    x = x.contiguous()
    batch_size, n_summed, n_channels, length = x.shape
    n_outputs = spectra.shape[1] // n_summed
    y = x.new_empty(batch_size, n_outputs, n_channels, length)
    if y.numel() == 0:
        return y
    (before, has_before), (after, has_after) = present(x_factor, x), present(y_factor, x)
    tables = make_tables(plan, x.device)
    given = (x, y, before, after, lengths, spectra, tables.rows, tables.columns, tables.twiddles)
    sizes = (batch_size, n_channels, length, n_summed, n_outputs, spectra[0].numel(), 0, float(sign))
    strides = (*before.stride()[:3], *after.stride()[:3])
    options = {
        "N1": plan.rows,
        "N2": plan.columns,
        "HAS_X_FACTOR": has_before,
        "HAS_Y_FACTOR": has_after,
        **common(x, lengths, plan),
    }
    n_pairs = -(-batch_size // 2)
    with torch.cuda.device_of(x):
        if plan.outer == 1:
            grid = (n_pairs * n_channels, n_outputs)
            long_conv_fwd_kernel[grid](*given, *sizes, *strides, HELD=held(length, plan), **options)
        else:
            staged = (tables.outer, tables.outer_twiddles)
            for scratch, start, count in shares(n_pairs * n_channels * n_outputs, plan, x):
                long_conv_staged_fwd_kernel[(count,)](
                    *given, *staged, scratch, start, *sizes, *strides, N0=plan.outer, WIDTH=WIDTH, **options
                )
    return y


def correlate(x: Tensor, grad: Tensor, gate: Tensor, lengths: Tensor, plan: Plan) -> Tensor:
    """Returns sums over the batch of conj(spectrum of x) times spectrum of (gate grad), (2, M, H, n0, n1, n2)."""
    x, grad = x.contiguous(), grad.contiguous()
    batch_size, n_outputs, n_channels, length = grad.shape
    n_pairs = -(-batch_size // 2)
    n_parts = max(1, min(n_pairs, ENOUGH // max(1, n_outputs * n_channels)))
    products = torch.empty(2, n_parts, n_outputs, n_channels, *plan, device=x.device)
    if products.numel() == 0:
        return products.sum(1)
    factor, has_factor = present(gate, grad)
    tables = make_tables(plan, x.device)
    given = (x, grad, factor, lengths, products, tables.rows, tables.columns, tables.twiddles)
    # The kernel's gradient is float32 whatever the series are.
    options = {**common(x, lengths, plan), "N1": plan.rows, "N2": plan.columns, "HAS_GATE": has_factor}
    options["PRECISION"] = "tf32x3"
    sizes, half = (batch_size, n_channels, length, n_outputs), products[0].numel()
    strides = factor.stride()[:3]
    with torch.cuda.device_of(x):
        if plan.outer == 1:
            grid = (n_channels, n_parts, n_outputs)
            long_conv_bwd_kernel[grid](*given, *sizes, half, 0, *strides, HELD=held(length, plan), **options)
        else:
            staged = (tables.outer, tables.outer_twiddles)
            for scratch, start, count in shares(n_channels * n_outputs * n_parts, plan, x):
                long_conv_staged_bwd_kernel[(count,)](
                    *given, *staged, scratch, start, *sizes, n_parts, half, 0, *strides,
                    N0=plan.outer, WIDTH=WIDTH, **options,
                )  # fmt: skip
    return products.sum(1)


def present(factor: Tensor | None, stand_in: Tensor) -> tuple[Tensor, bool]:
    """Returns a factor with contiguous rows and True, or something to point at and False."""
    if factor is None or factor.numel() == 0:
        return stand_in, False
    return factor if factor.stride(-1) == 1 else factor.contiguous(), True


def held(length: int, plan: Plan) -> int:
    """Rows of (n1, n2) that can hold samples: a power of two, so that few kernels are compiled."""
    needed = -(-length // plan.columns)
    return min(plan.rows, 1 << max(4, (needed - 1).bit_length()))


def common(x: Tensor, lengths: Tensor, plan: Plan) -> dict[str, Any]:
    """Options that every kernel takes. Products in TF32 are more exact than bfloat16, and less than float16."""
    return {
        "HAS_LENGTHS": lengths.numel() > 0,
        "PRECISION": "tf32" if x.dtype == torch.bfloat16 else "tf32x3",
        "num_warps": warps(plan.rows * plan.columns),
        "num_stages": 1,
    }


def warps(points: int) -> int:
    """Warps of a program that holds so many points: enough registers, and no result held by two of them."""
    if points <= 256:
        return 2
    return 4 if points <= 2048 else 8


def shares(work: int, plan: Plan, like: Tensor) -> Iterator[tuple[Tensor, int, int]]:
    """Yields scratch memory, first item and number of items of launches that cover all work."""
    scratch = torch.empty(min(work, PROGRAMS), 4, plan.size, device=like.device)
    return ((scratch, start, min(PROGRAMS, work - start)) for start in range(0, work, PROGRAMS))
