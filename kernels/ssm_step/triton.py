"""Triton kernels of a step: a program treats a block of heads for several streams, and reads what they share once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from seqkit.kernels.ssm_step.layout import Layout

__all__ = ["advance", "differentiate"]

TILE = 1024  # modes a program holds at a time
STREAMS = 8  # streams a program treats one after the other


@triton.jit
def load_modes(pointer, place, step, heads, n_heads, n_pairs, HEADS: tl.constexpr, PAIRS: tl.constexpr):
    """Real and imaginary parts (HEADS, PAIRS) of rows that lie `step` apart from `place` on."""
    lanes = tl.arange(0, 2 * PAIRS)
    inside = (heads < n_heads)[:, None] & (lanes < 2 * n_pairs)[None, :]
    flat = tl.load(pointer + place + heads[:, None] * step + lanes[None, :], inside, 0.0)
    return tl.split(tl.reshape(flat, (HEADS, PAIRS, 2)))


@triton.jit
def store_modes(pointer, place, step, heads, n_heads, n_pairs, real, imag, HEADS: tl.constexpr, PAIRS: tl.constexpr):
    """Writes what `load_modes` reads."""
    lanes = tl.arange(0, 2 * PAIRS)
    inside = (heads < n_heads)[:, None] & (lanes < 2 * n_pairs)[None, :]
    flat = tl.reshape(tl.join(real, imag), (HEADS, 2 * PAIRS))
    tl.store(pointer + place + heads[:, None] * step + lanes[None, :], flat, inside)


@triton.jit
def ssm_step_fwd_kernel(
    u, A, B, C, D, x, y, new, n1, n2, n_outputs, n_pairs,
    u0, u1, u2, A0, A1, A2, B0, B1, B2, C0, C1, C2, x0, x1, x2, D0, D1, D2,
    HAS_D: tl.constexpr, SHARED: tl.constexpr, ONE: tl.constexpr,
    STREAMS: tl.constexpr, HEADS: tl.constexpr, PAIRS: tl.constexpr,
):  # fmt: skip
    """Rows (i, j, k) for one i, STREAMS values of j and HEADS of k; steps count real numbers.

    With SHARED, A, B and (of ONE output) C are the same for all j. `new` may be x: a row is read before it is written.
    """
    program = tl.program_id(0).to(tl.int64)
    blocks, parts = tl.cdiv(n2, HEADS), tl.cdiv(n1, STREAMS)
    k = (program % blocks) * HEADS + tl.arange(0, HEADS)
    first, i = (program // blocks) % parts * STREAMS, program // (blocks * parts)
    here = k < n2
    if SHARED:
        a_real, a_imag = load_modes(A, i * A0, A2, k, n2, n_pairs, HEADS, PAIRS)
        b_real, b_imag = load_modes(B, i * B0, B2, k, n2, n_pairs, HEADS, PAIRS)
        if ONE:
            c_real, c_imag = load_modes(C, i * C0, C2, k, n2, n_pairs, HEADS, PAIRS)
    for j in range(first, tl.minimum(first + STREAMS, n1)):
        if not SHARED:
            a_real, a_imag = load_modes(A, i * A0 + j * A1, A2, k, n2, n_pairs, HEADS, PAIRS)
            b_real, b_imag = load_modes(B, i * B0 + j * B1, B2, k, n2, n_pairs, HEADS, PAIRS)
        old_real, old_imag = load_modes(x, i * x0 + j * x1, x2, k, n2, n_pairs, HEADS, PAIRS)
        v = tl.load(u + i * u0 + j * u1 + k * u2, here, 0.0).to(tl.float32)
        real = a_real * old_real - a_imag * old_imag + v[:, None] * b_real
        imag = a_real * old_imag + a_imag * old_real + v[:, None] * b_imag
        row = (i * n1 + j) * n2
        store_modes(new, row * 2 * n_pairs, 2 * n_pairs, k, n2, n_pairs, real, imag, HEADS, PAIRS)
        for m in range(n_outputs):
            if not (SHARED and ONE):
                c_real, c_imag = load_modes(C, i * C0 + j * C1 + m * 2 * n_pairs, C2, k, n2, n_pairs, HEADS, PAIRS)
            value = 2 * tl.sum(c_real * real - c_imag * imag, 1)
            if HAS_D:
                value += tl.load(D + i * D0 + j * D1 + k * D2 + m, here, 0.0) * v
            tl.store(y + (row + k) * n_outputs + m, value, here)


@triton.jit
def ssm_step_bwd_kernel(
    grad_y, grad_new, u, A, B, C, x, d_u, d_A, d_B, d_C, d_x, n1, n2, n_outputs, n_pairs,
    u0, u1, u2, A0, A1, A2, B0, B1, B2, C0, C1, C2, x0, x1, x2,
    SUM_A: tl.constexpr, SUM_B: tl.constexpr, SUM_C: tl.constexpr,
    STREAMS: tl.constexpr, HEADS: tl.constexpr, PAIRS: tl.constexpr,
):  # fmt: skip
    """Gradients of the same rows: a row each, or their sum over this program's streams for what these share.

    With G = g_x + 2 sum_m g_m conj(C_m):  d_u = Re sum conj(B) G,  d_A = G conj(x),  d_B = G u,  d_C = 2 g conj(x').
    """
    program = tl.program_id(0).to(tl.int64)
    blocks, parts = tl.cdiv(n2, HEADS), tl.cdiv(n1, STREAMS)
    k = (program % blocks) * HEADS + tl.arange(0, HEADS)
    part, i = (program // blocks) % parts, program // (blocks * parts)
    first, here, width = part * STREAMS, k < n2, 2 * n_pairs
    last = tl.minimum(first + STREAMS, n1)
    of_part = (i * parts + part) * n2  # row of this program's sums
    A_real = tl.zeros((HEADS, PAIRS), tl.float32)
    A_imag, B_real, B_imag = A_real, A_real, A_real
    for j in range(first, last):
        row = (i * n1 + j) * n2
        real, imag = load_modes(grad_new, row * width, width, k, n2, n_pairs, HEADS, PAIRS)
        for m in range(n_outputs):
            c_real, c_imag = load_modes(C, i * C0 + j * C1 + m * width, C2, k, n2, n_pairs, HEADS, PAIRS)
            g = 2 * tl.load(grad_y + (row + k) * n_outputs + m, here, 0.0)[:, None]
            real += g * c_real
            imag -= g * c_imag
        v = tl.load(u + i * u0 + j * u1 + k * u2, here, 0.0)[:, None]
        a_real, a_imag = load_modes(A, i * A0 + j * A1, A2, k, n2, n_pairs, HEADS, PAIRS)
        in_real, in_imag = real * a_real + imag * a_imag, imag * a_real - real * a_imag
        store_modes(d_x, row * width, width, k, n2, n_pairs, in_real, in_imag, HEADS, PAIRS)
        b_real, b_imag = load_modes(B, i * B0 + j * B1, B2, k, n2, n_pairs, HEADS, PAIRS)
        tl.store(d_u + row + k, tl.sum(b_real * real + b_imag * imag, 1), here)
        old_real, old_imag = load_modes(x, i * x0 + j * x1, x2, k, n2, n_pairs, HEADS, PAIRS)
        in_real, in_imag = real * old_real + imag * old_imag, imag * old_real - real * old_imag
        if SUM_A:
            A_real += in_real
            A_imag += in_imag
        else:
            store_modes(d_A, row * width, width, k, n2, n_pairs, in_real, in_imag, HEADS, PAIRS)
        if SUM_B:
            B_real += real * v
            B_imag += imag * v
        else:
            store_modes(d_B, row * width, width, k, n2, n_pairs, real * v, imag * v, HEADS, PAIRS)
    if SUM_A:
        store_modes(d_A, of_part * width, width, k, n2, n_pairs, A_real, A_imag, HEADS, PAIRS)
    if SUM_B:
        store_modes(d_B, of_part * width, width, k, n2, n_pairs, B_real, B_imag, HEADS, PAIRS)
    for m in range(n_outputs):
        C_real = tl.zeros((HEADS, PAIRS), tl.float32)
        C_imag = C_real
        for j in range(first, last):
            row = (i * n1 + j) * n2
            v = tl.load(u + i * u0 + j * u1 + k * u2, here, 0.0)[:, None]
            g = 2 * tl.load(grad_y + (row + k) * n_outputs + m, here, 0.0)[:, None]
            a_real, a_imag = load_modes(A, i * A0 + j * A1, A2, k, n2, n_pairs, HEADS, PAIRS)
            b_real, b_imag = load_modes(B, i * B0 + j * B1, B2, k, n2, n_pairs, HEADS, PAIRS)
            old_real, old_imag = load_modes(x, i * x0 + j * x1, x2, k, n2, n_pairs, HEADS, PAIRS)
            real = g * (a_real * old_real - a_imag * old_imag + v * b_real)
            imag = -g * (a_real * old_imag + a_imag * old_real + v * b_imag)
            if SUM_C:
                C_real += real
                C_imag += imag
            else:
                place = (row * n_outputs + m) * width
                store_modes(d_C, place, n_outputs * width, k, n2, n_pairs, real, imag, HEADS, PAIRS)
        if SUM_C:
            place = (of_part * n_outputs + m) * width
            store_modes(d_C, place, n_outputs * width, k, n2, n_pairs, C_real, C_imag, HEADS, PAIRS)


def loops(layout: Layout) -> tuple[list[int], list[tuple[int, ...]]]:
    """Sizes and steps of the three loops, with rows that share nothing along the innermost one."""
    n0, n1, n2 = layout.sizes
    steps: list[tuple[int, ...]] = list(layout.strides)
    if n2 == 1:
        return [n0, 1, n1], [(first, 0, second) for first, second, _ in steps]
    return [n0, n1, n2], steps


def blocks(n_heads: int, n_pairs: int) -> dict[str, int]:
    """Sizes of a program's tile, powers of two, so that few kernels are compiled."""
    pairs = triton.next_power_of_2(max(1, n_pairs))
    heads = min(triton.next_power_of_2(n_heads), max(1, TILE // pairs))
    return {"STREAMS": STREAMS, "HEADS": heads, "PAIRS": pairs, "num_warps": max(1, min(8, heads * pairs // 256))}


def numbers(value: Tensor) -> Tensor:
    """A complex tensor as a kernel reads it."""
    return torch.view_as_real(value) if value.is_complex() else value


def advance(layout: Layout, operands: Sequence[Tensor], D: Tensor | None, y: Tensor, new: Tensor) -> bool:
    """Writes outputs and new state, as `cpu.advance` does; u and y may be of half precision."""
    (n0, n1, n2), steps = loops(layout)
    on_cpu = y.device.type == "cpu"
    if not n0 * n1 * n2:
        return True
    if on_cpu and new is operands[4] and not bool(operands[0].isfinite().all()):
        return False
    tile = blocks(n2, layout.n_pairs)
    grid = (n0 * triton.cdiv(n1, STREAMS) * triton.cdiv(n2, tile["HEADS"]),)
    u, A, B, C, state = (numbers(value) for value in operands)
    one = layout.n_outputs == 1
    shared = all(steps[index][1] == 0 for index in ((1, 2, 3) if one else (1, 2)))
    ssm_step_fwd_kernel[grid](
        *(u, A, B, C, u if D is None else D, state, y, numbers(new), n1, n2, layout.n_outputs, layout.n_pairs),
        *(step for three in steps for step in three),
        HAS_D=D is not None,
        SHARED=shared,
        ONE=one,
        **tile,
    )
    return not on_cpu or bool(y.isfinite().all())


def differentiate(
    layout: Layout, operands: Sequence[Tensor], grad_y: Tensor, grad_new: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Returns the gradients of u (a row each), A, B, C (of their own shapes) and the state (a row each)."""
    (n0, n1, n2), steps = loops(layout)
    n_outputs, n_pairs = layout.n_outputs, layout.n_pairs
    if not grad_new.numel():
        zeros = [torch.zeros_like(value) for value in operands[1:4]]
        return grad_y.new_zeros(n0, n1, n2), *zeros, torch.zeros_like(grad_new)  # type: ignore[return-value]
    d_u, d_x = grad_y.new_empty(n0, n1, n2), grad_new.new_empty(n0, n1, n2, n_pairs)
    tile = blocks(n2, n_pairs)
    parts = triton.cdiv(n1, STREAMS)
    sums = [steps[index][1] == 0 for index in (1, 2, 3)]
    inner = ((n_pairs,), (n_pairs,), (n_outputs, n_pairs))
    found = [grad_new.new_empty(n0, parts if add else n1, n2, *block) for add, block in zip(sums, inner, strict=True)]
    ssm_step_bwd_kernel[(n0 * parts * triton.cdiv(n2, tile["HEADS"]),)](
        *(numbers(value) for value in (grad_y, grad_new, *operands, d_u, *found, d_x)),
        *(n1, n2, n_outputs, n_pairs),
        *(step for three in steps[:5] for step in three),
        *sums,
        **tile,
    )
    folded = []
    for total, three, like in zip(found, steps[1:4], operands[1:4], strict=True):
        absent = [dim for dim in range(3) if not three[dim]]
        folded.append((total.sum(absent) if absent else total).view(like.shape))
    return d_u, *folded, d_x  # type: ignore[return-value]
