"""The two blocks of powers that a Krylov function is joined from, and the way their gradients go back to the system.

With l = i m + j, C A^l B = (C A^{im}) (A^j B). The baby block holds the rows (A^j B)^T, the giant block the rows
C A^{im}; both are filled by doubling, so nothing of size (H, N, L) exists. Both lie as rows, because products with few
rows are several times faster than those with few columns.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

__all__ = [
    "Blocks",
    "build",
    "fill_giant",
    "giant_levels",
    "split",
    "squares",
    "through_blocks",
    "through_giant",
    "through_squares",
]

MANY_ROWS = 128  # from here one squaring more (N^3) is cheaper than the short steps it saves


class Blocks(NamedTuple):
    """The powers of a system.

    Args:
        powers: A, A^2, A^4, ..., each (H or 1, N, N).
        baby: Rows (A^j B)^T, (H, m, N).
        giant: Rows C A^{im}, (H, n, M, N).
    """

    powers: list[Tensor]
    baby: Tensor
    giant: Tensor


def split(length: int, n_outputs: int) -> tuple[int, int]:
    """Returns log2 of the baby block m, about half of sqrt(M L), and the number of giant steps.

    A baby row costs N^2, a giant row M N^2, and a doubling of m one squaring, N^3.

    Example:
        >>> split(4096, 1)
        (5, 128)
    """
    exponent = max(0, round(math.log2(max(1.0, math.sqrt(length * n_outputs)))) - 1)
    return exponent, -(-length // (1 << exponent))


def giant_steps(n_giant: int) -> list[tuple[int, int, int]]:
    """Plans the giant block: (first new row, number of rows, exponent of A^m to use), each row from a finished one."""
    highest = 4 if n_giant > MANY_ROWS else 3
    steps, filled = [], 1
    while filled < n_giant:
        level = min(filled.bit_length() - 1, highest)
        rows = min(1 << level, n_giant - filled)
        steps.append((filled, rows, level))
        filled += rows
    return steps


def squares(A: Tensor, count: int) -> list[Tensor]:
    """Returns A, A^2, A^4, ..., `count` of them."""
    powers = [A]
    while len(powers) < count:
        powers.append(powers[-1] @ powers[-1])
    return powers


def build(A: Tensor, B: Tensor, C: Tensor, length: int) -> Blocks:
    """Fills the blocks of A (H or 1, N, N), B (H, N), C (H, M, N)."""
    exponent, n_giant = split(length, C.shape[-2])
    powers = squares(A, max(1, exponent + giant_levels(n_giant)))
    baby = B.new_empty(len(B), 1 << exponent, B.shape[-1])
    baby[:, 0] = B
    for level, power in enumerate(powers[:exponent]):
        half = 1 << level
        baby[:, half : 2 * half] = baby[:, :half] @ power.mT
    return Blocks(powers, baby, fill_giant(powers[exponent:], C, n_giant))


def giant_levels(n_giant: int) -> int:
    """Returns how many of A^m, A^2m, A^4m, ... the giant block needs."""
    steps = giant_steps(n_giant)
    return 1 + steps[-1][2] if steps else 0


def fill_giant(powers: list[Tensor], C: Tensor, n_giant: int) -> Tensor:
    """Returns the rows C A^{im}, (H, n, M, N), from A^m, A^2m, A^4m, ...."""
    giant = C.new_empty(C.shape[0], n_giant, *C.shape[1:])
    giant[:, 0] = C
    for first, rows, level in giant_steps(n_giant):
        source = giant[:, first - (1 << level) : first - (1 << level) + rows]
        giant[:, first : first + rows] = (source.flatten(1, 2) @ powers[level]).view_as(source)
    return giant


def through_blocks(blocks: Blocks, d_baby: Tensor, d_giant: Tensor, A: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Carries the gradients of the baby and giant block, which it overwrites, to A, B and C."""
    powers, baby, giant = blocks
    exponent = baby.shape[1].bit_length() - 1
    for level in reversed(range(exponent)):
        half = 1 << level
        d_baby[:, :half] += d_baby[:, half : 2 * half] @ powers[level].conj()
    d_powers = []
    for level in range(exponent):
        half = 1 << level
        d_powers.append(gram(d_baby[:, half : 2 * half], baby[:, :half].conj(), A))
    d_powers += through_giant(powers[exponent:], giant, d_giant, A)
    return through_squares(d_powers, powers), d_baby[:, 0].clone(), d_giant[:, 0].clone()


def through_giant(powers: list[Tensor], giant: Tensor, d_giant: Tensor, A: Tensor) -> list[Tensor]:
    """Carries the gradient of the giant block to its first row, in place, and returns those of A^m, A^2m, ....

    The gradient of a power is a sum over all steps that used it. A level's steps read rows that lie together, so each
    level needs one product, once every row has its whole gradient.
    """
    steps = giant_steps(giant.shape[1])
    for first, rows, level in reversed(steps):
        change = d_giant[:, first : first + rows]
        start = first - (1 << level)
        d_giant[:, start : start + rows] += (change.flatten(1, 2) @ powers[level].mH).view_as(change)
    d_powers = []
    for level in range(len(powers)):
        own = [step for step in steps if step[2] == level]
        first, last = (own[0][0], sum(own[-1][:2])) if own else (0, 0)
        source = giant[:, first - (1 << level) : last - (1 << level)] if own else giant[:, :0]
        d_powers.append(gram(source.flatten(1, 2).conj(), d_giant[:, first:last].flatten(1, 2), A))
    return d_powers


def gram(left: Tensor, right: Tensor, A: Tensor) -> Tensor:
    """Returns left^T right per system, (H, rows, N) each, or its sum over the systems where one A serves them all."""
    if len(A) != 1 or len(left) == 1:
        return left.mT @ right
    return (left.flatten(0, 1).mT @ right.flatten(0, 1)).unsqueeze(0)


def through_squares(d_powers: list[Tensor], powers: list[Tensor]) -> Tensor:
    """Carries the gradients of A^2, A^4, ..., which it overwrites, back to A."""
    total = d_powers[-1]
    for power, own in zip(reversed(powers[:-1]), reversed(d_powers[:-1]), strict=True):
        total = own.baddbmm_(total, power.mH).baddbmm_(power.mH, total)
    return total
