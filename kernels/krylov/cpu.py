"""The Krylov function in baby and giant steps: two short blocks of powers and one matrix product.

With l = i m + j, C A^l B = (C A^{im}) (A^j B). The baby block X = [B, AB, ..., A^{m-1} B] and the giant block
Y = [C; C A^m; C A^{2m}; ...] are both filled by doubling, so nothing of size (H, N, L) exists.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["krylov_backward", "krylov_forward"]

GIANT_DOUBLINGS = 3  # beyond 8 rows a further squaring (N^3) costs more than stepping through the rows it would save


def split(length: int, n_outputs: int) -> tuple[int, int]:
    """Returns log2 of the baby block m, about half of sqrt(M L), and the number of giant steps.

    A baby column costs N^2, a giant row M N^2, and a doubling of m one squaring, N^3.
    """
    exponent = max(0, round(math.log2(max(1.0, math.sqrt(length * n_outputs)))) - 1)
    return exponent, -(-length // (1 << exponent))


def squares(A: Tensor, count: int) -> list[Tensor]:
    """Returns A, A^2, A^4, ..., `count` of them."""
    powers = [A]
    while len(powers) < count:
        powers.append(powers[-1] @ powers[-1])
    return powers


def giant_steps(n_giant: int) -> list[tuple[int, int, int]]:
    """Plans the giant block: (first new row, number of rows, exponent of A^m to use), each row from a finished one."""
    steps, filled = [], 1
    while filled < n_giant:
        level = min(filled.bit_length() - 1, GIANT_DOUBLINGS)
        rows = min(1 << level, n_giant - filled)
        steps.append((filled, rows, level))
        filled += rows
    return steps


def build(A: Tensor, B: Tensor, C: Tensor, length: int) -> tuple[list[Tensor], Tensor, Tensor]:
    """Returns the squares of A, the baby block (H, N, m) and the giant block (H, n, M, N)."""
    exponent, n_giant = split(length, C.shape[-2])
    steps = giant_steps(n_giant)
    levels = 1 + max(level for _, _, level in steps) if steps else 0
    powers = squares(A, max(1, exponent + levels))
    baby = B.unsqueeze(-1)
    for power in powers[:exponent]:
        baby = torch.cat([baby, power @ baby], dim=-1)
    giant = C.new_empty(C.shape[0], n_giant, *C.shape[1:])
    giant[:, 0] = C
    for first, rows, level in steps:
        source = giant[:, first - (1 << level) : first - (1 << level) + rows]
        giant[:, first : first + rows] = (source.flatten(1, 2) @ powers[exponent + level]).view_as(source)
    return powers, baby, giant


def krylov_forward(A: Tensor, B: Tensor, C: Tensor, length: int) -> Tensor:
    """Returns K (H, M, length) for A (H or 1, N, N), B (H, N), C (H, M, N)."""
    _, baby, giant = build(A, B, C, length)
    n_giant, n_outputs = giant.shape[1:3]
    out = (giant.flatten(1, 2) @ baby).view(len(C), n_giant, n_outputs, -1)
    return out.transpose(1, 2).flatten(2)[..., :length].contiguous()


def krylov_backward(grad: Tensor, A: Tensor, B: Tensor, C: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of A, B and C; both blocks are computed again, not kept."""
    powers, baby, giant = build(A, B, C, length)
    n_giant, n_outputs = giant.shape[1:3]
    exponent = baby.shape[-1].bit_length() - 1
    padded = grad.new_zeros(*grad.shape[:2], n_giant * baby.shape[-1])
    padded[..., :length] = grad
    blocks = padded.view(len(C), n_outputs, n_giant, -1).transpose(1, 2).flatten(1, 2)
    d_giant = (blocks @ baby.mH).view_as(giant)
    d_baby = giant.flatten(1, 2).mH @ blocks
    d_powers: list[Tensor | None] = [None] * len(powers)

    for first, rows, level in reversed(giant_steps(n_giant)):
        start = first - (1 << level)
        source, change = giant[:, start : start + rows].flatten(1, 2), d_giant[:, first : first + rows].flatten(1, 2)
        add(d_powers, exponent + level, source.mH @ change)
        d_giant[:, start : start + rows] += (change @ powers[exponent + level].mH).view(len(C), rows, n_outputs, -1)
    for level in reversed(range(exponent)):
        half = 1 << level
        change = d_baby[..., half:]
        add(d_powers, level, change @ baby[..., :half].mH)
        d_baby = d_baby[..., :half] + powers[level].mH @ change
    return through_squares(d_powers, powers, A), d_baby[..., 0].contiguous(), d_giant[:, 0].contiguous()


def add(totals: list[Tensor | None], index: int, value: Tensor) -> None:
    """Adds `value` to a total that may not exist yet."""
    total = totals[index]
    totals[index] = value if total is None else total.add_(value)


def through_squares(d_powers: list[Tensor | None], powers: list[Tensor], A: Tensor) -> Tensor:
    """Carries the gradients of A^2, A^4, ... back to A; of A's own shape, also where one A serves all H."""
    total: Tensor | None = None
    for power, own in zip(reversed(powers), reversed(d_powers), strict=True):
        change = None if own is None else own.sum_to_size(A.shape)
        if total is not None:
            carried = total @ power.mH + power.mH @ total
            change = carried if change is None else change + carried
        total = change
    return A.new_zeros(A.shape) if total is None else total
