"""Triton kernels of a butterfly: all levels of a block on vectors that stay in registers.

A program holds R rows of n numbers. A level parts them into the two halves of its blocks, which is a permutation of
axes, applies the 2x2 factors, each read once for all R rows, and joins them again. The backward writes what enters each
level into a scratch that its program uses over and over, and adds its rows' gradients of the factors up.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["butterfly_backward", "butterfly_forward"]

TILE = 4096  # numbers of all rows of a program, where vectors are shorter
PROGRAMS = 256  # most programs of a backward: each has a scratch and its own sums


@triton.jit
def parted(x, R: tl.constexpr, N: tl.constexpr, STRIDE: tl.constexpr):
    """The elements that a level pairs, two (R, N / 2), in the order of its factors."""
    x = tl.permute(tl.reshape(x, (R, N // (2 * STRIDE), 2, STRIDE)), (0, 1, 3, 2))
    a, b = tl.split(x)
    return tl.reshape(a, (R, N // 2)), tl.reshape(b, (R, N // 2))


@triton.jit
def united(a, b, R: tl.constexpr, N: tl.constexpr, STRIDE: tl.constexpr):
    """Inverse of `parted`."""
    x = tl.reshape(tl.join(a, b), (R, N // (2 * STRIDE), STRIDE, 2))
    return tl.reshape(tl.permute(x, (0, 1, 3, 2)), (R, N))


@triton.jit
def factors(t, N: tl.constexpr):
    """The four entries of the 2x2 matrices of a level, each (1, N / 2)."""
    at = 4 * tl.arange(0, N // 2)[None, :]
    return tl.load(t + at), tl.load(t + at + 1), tl.load(t + at + 2), tl.load(t + at + 3)


@triton.jit
def advance(value, t, R: tl.constexpr, N: tl.constexpr, LEVEL: tl.constexpr):
    """One level of (R, N), by the factors of its block."""
    p, q, r, s = factors(t + LEVEL * 2 * N, N)
    a, b = parted(value, R, N, 1 << LEVEL)
    return united(p * a + q * b, r * a + s * b, R, N, 1 << LEVEL)


@triton.jit
def retreat(grad, value, t, d_t, R: tl.constexpr, N: tl.constexpr, LEVEL: tl.constexpr):
    """The gradient of what entered a level, `value`; that of the factors is added to d_t."""
    a, b = parted(value, R, N, 1 << LEVEL)
    e, f = parted(grad, R, N, 1 << LEVEL)
    to = d_t + LEVEL * 2 * N + 4 * tl.arange(0, N // 2)
    tl.store(to, tl.load(to) + tl.sum(e * a, 0))
    tl.store(to + 1, tl.load(to + 1) + tl.sum(e * b, 0))
    tl.store(to + 2, tl.load(to + 2) + tl.sum(f * a, 0))
    tl.store(to + 3, tl.load(to + 3) + tl.sum(f * b, 0))
    p, q, r, s = factors(t + LEVEL * 2 * N, N)
    return united(p * e + r * f, q * e + s * f, R, N, 1 << LEVEL)


@triton.jit
def butterfly_fwd_kernel(
    x, t, y, batch, x_row, x_stack, t_stack, y_row, y_stack,
    UP: tl.constexpr, LEVELS: tl.constexpr, R: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    """One block for R rows of one stack."""
    rows = tl.program_id(0).to(tl.int64) * R + tl.arange(0, R)[:, None]
    stack, n = tl.program_id(1).to(tl.int64), tl.arange(0, N)[None, :]
    here = rows < batch
    value = tl.load(x + rows * x_row + stack * x_stack + n, here, 0.0)
    for i in tl.static_range(LEVELS):
        value = advance(value, t + stack * t_stack, R, N, i if UP else LEVELS - 1 - i)
    tl.store(y + rows * y_row + stack * y_stack + n, value, here)


@triton.jit
def butterfly_bwd_kernel(
    g, x, t, scratch, d_x, d_t, batch, x_row, x_stack, t_stack, y_row, y_stack,
    UP: tl.constexpr, LEVELS: tl.constexpr, R: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    """Gradients of one block of one stack: d_x may be g; d_t has a part for each program."""
    program, stack = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    place = program * tl.num_programs(1) + stack
    n, half = tl.arange(0, N)[None, :], 4 * tl.arange(0, N // 2)
    local = tl.arange(0, R)[:, None]
    scratch += place * LEVELS * R * N
    d_t += place * LEVELS * 2 * N
    for i in tl.static_range(LEVELS):
        for entry in tl.static_range(4):
            tl.store(d_t + i * 2 * N + half + entry, tl.zeros((N // 2,), tl.float32))
    tl.debug_barrier()
    for first in range(program * R, batch, tl.num_programs(0) * R):
        rows = first + local
        here = rows < batch
        value = tl.load(x + rows * x_row + stack * x_stack + n, here, 0.0)
        for i in tl.static_range(LEVELS):
            tl.store(scratch + i * R * N + local * N + n, value)
            value = advance(value, t + stack * t_stack, R, N, i if UP else LEVELS - 1 - i)
        tl.debug_barrier()
        grad = tl.load(g + rows * y_row + stack * y_stack + n, here, 0.0)
        for j in tl.static_range(LEVELS):
            value = tl.load(scratch + (LEVELS - 1 - j) * R * N + local * N + n)
            grad = retreat(grad, value, t + stack * t_stack, d_t, R, N, LEVELS - 1 - j if UP else j)
        tl.store(d_x + rows * y_row + stack * y_stack + n, grad, here)
        tl.debug_barrier()


def tile(batch: int, n: int) -> dict[str, int]:
    """Rows of a program, and its warps: 16 numbers a thread."""
    rows = max(1, min(TILE // n, triton.next_power_of_2(batch)))
    return {"R": rows, "N": n, "LEVELS": n.bit_length() - 1, "num_warps": max(1, min(16, rows * n // 512))}


def strides(value: Tensor) -> tuple[int, int]:
    """Steps from row to row and from stack to stack of (B, n), which all stacks share, or of (B, S, n)."""
    return (value.stride(0), 0) if value.dim() == 2 else (value.stride(0), value.stride(1))


def block_inputs(x: Tensor, twiddle: Tensor, increasing: bool, n_blocks: int) -> list[Tensor]:
    """What enters each of the first blocks, and what leaves the last one."""
    (batch, n), n_stacks = x.shape, len(twiddle)
    values, size = [x], tile(batch, n)
    for block in range(n_blocks):
        y = x.new_empty(batch, n_stacks, n)
        butterfly_fwd_kernel[(triton.cdiv(batch, size["R"]), n_stacks)](
            *(values[-1], twiddle[:, block], y, batch, *strides(values[-1]), twiddle.stride(0), *strides(y)),
            UP=increasing == (block % 2 == 0),
            **size,
        )
        values.append(y)
    return values


def butterfly_forward(x: Tensor, twiddle: Tensor, increasing: bool) -> Tensor:
    """Returns y (B, S, n) for x (B, n) and twiddle (S, K, m, n/2, 2, 2), float32."""
    if not x.numel():
        return x.new_empty(x.shape[0], len(twiddle), x.shape[1])
    return block_inputs(x.contiguous(), twiddle.contiguous(), increasing, twiddle.shape[1])[-1]


def butterfly_backward(grad: Tensor, x: Tensor, twiddle: Tensor, increasing: bool) -> tuple[Tensor, Tensor]:
    """Returns the gradients of x and twiddle; what enters each block is computed again."""
    if not x.numel():
        return torch.zeros_like(x), torch.zeros_like(twiddle)
    x, twiddle = x.contiguous(), twiddle.contiguous()
    (batch, n), (n_stacks, n_blocks) = x.shape, twiddle.shape[:2]
    size = tile(batch, n)
    programs = min(triton.cdiv(batch, size["R"]), max(1, PROGRAMS // n_stacks))
    inputs = block_inputs(x, twiddle, increasing, n_blocks - 1)
    d_x, d_twiddle = grad.clone(memory_format=torch.contiguous_format), torch.empty_like(twiddle)
    scratch = x.new_empty(programs, n_stacks, size["LEVELS"], size["R"], n)
    sums = x.new_empty(programs, n_stacks, size["LEVELS"], n // 2, 2, 2)
    for block in range(n_blocks - 1, -1, -1):
        butterfly_bwd_kernel[(programs, n_stacks)](
            *(d_x, inputs[block], twiddle[:, block], scratch, d_x, sums, batch),
            *(*strides(inputs[block]), twiddle.stride(0), *strides(d_x)),
            UP=increasing == (block % 2 == 0),
            **size,
        )
        d_twiddle[:, block] = sums.sum(0)
    return d_x.sum(1), d_twiddle
