"""Shapes of a step: what broadcasts against what, and where the row of each stream and head lies in every operand."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from seqkit.kernels.backend import check_leading

__all__ = ["Layout", "Shapes", "all_dense", "cached_shapes", "check_shapes", "find_layout", "place", "rows"]

WORTH = 1 << 17  # modes that are worth a thread of their own


class Layout(NamedTuple):
    """Rows in three nested loops, the middle one over streams, and the steps of each operand along them.

    Args:
        sizes: Numbers of rows along the three loops.
        n_outputs: Outputs M of a row.
        n_pairs: Modes N of a row.
        strides: For u, A, B, C, state and D the distance along each loop, in real numbers; 0 where it broadcasts.
        table: All of these as one int64 tensor, for compiled loops to read.
        address: Where its numbers lie.
        smallest: Streams that are worth a thread of their own.
    """

    sizes: tuple[int, int, int]
    n_outputs: int
    n_pairs: int
    strides: tuple[tuple[int, int, int], ...]
    table: Tensor
    address: int
    smallest: int


class Shapes(NamedTuple):
    """What the shapes of a call say.

    Args:
        leading: Common shape of streams and heads.
        n_outputs: Outputs M, or None where C has no dimension for them.
        layout: Where rows lie if all operands are dense; None where that takes more than three loops.
        outputs: Shape of y.
        state: Shape of the new state.
    """

    leading: torch.Size
    n_outputs: int | None
    layout: Layout | None
    outputs: torch.Size
    state: torch.Size


def check_shapes(
    u: torch.Size, A: torch.Size, B: torch.Size, C: torch.Size, state: torch.Size, D: torch.Size | None
) -> tuple[torch.Size, int | None]:
    """Returns the common leading shape and the number of outputs, None where C has no dimension for them.

    Raises:
        ValueError: the shapes do not fit together.
    """
    if len(u) < 1:
        raise ValueError(f"`u` must have shape (..., H), got {tuple(u)}; pass one input per head")
    if len(A) < 2:
        raise ValueError(f"`A` must have shape (..., H, N), got {tuple(A)}; pass one row of modes per head")
    n_pairs, several = A[-1], len(C) == len(A) + 1
    for name, shape in (("B", B), ("state", state)):
        if len(shape) < 1 or shape[-1] != n_pairs:
            raise ValueError(f"`{name}` must have shape (..., H, {n_pairs}) to fit `A`, got {tuple(shape)}")
    if len(C) not in (len(A), len(A) + 1) or C[-1] != n_pairs:
        raise ValueError(
            f"`C` must have shape (..., H, {n_pairs}) with as many dimensions as `A` {tuple(A)}, "
            f"or (..., H, M, {n_pairs}) with one more, got {tuple(C)}"
        )
    n_outputs = C[-2] if several else None
    leading = {"u": u, "A": A[:-1], "B": B[:-1], "C": C[:-2] if several else C[:-1], "state": state[:-1]}
    if D is not None:
        if several and (len(D) < 1 or D[-1] != n_outputs):
            raise ValueError(f"`D` must have shape (..., H, {n_outputs}) to fit `C`, got {tuple(D)}")
        leading["D"] = D[:-1] if several else D
    return check_leading(leading), n_outputs


@functools.lru_cache(maxsize=256)
def cached_shapes(
    u: torch.Size, A: torch.Size, B: torch.Size, C: torch.Size, state: torch.Size, D: torch.Size | None
) -> Shapes:
    """`check_shapes` and the layout of contiguous operands, remembered: a stream asks the same a million times."""
    leading, n_outputs = check_shapes(u, A, B, C, state, D)
    of_C = C[:-1] if n_outputs is None else C[:-2]
    of_D = torch.Size(()) if D is None else D if n_outputs is None else D[:-1]
    layout = place(leading, (u, A[:-1], B[:-1], of_C, state[:-1], of_D), n_outputs or 1, A[-1])
    outputs = leading if n_outputs is None else torch.Size((*leading, n_outputs))
    return Shapes(leading, n_outputs, layout if n_outputs != 0 else None, outputs, torch.Size((*leading, A[-1])))


def place(leading: torch.Size, rows: Sequence[torch.Size], n_outputs: int, n_pairs: int) -> Layout | None:
    """Merges neighbouring dimensions that every operand has, or lacks, alike; None when more than three are left.

    Example:
        >>> streams, heads = torch.Size((5, 3)), torch.Size((3,))
        >>> place(streams, [streams, heads, heads, heads, streams, torch.Size(())], 1, 2).strides
        ((0, 3, 1), (0, 0, 4), (0, 0, 4), (0, 0, 4), (0, 12, 4), (0, 0, 0))
    """
    sizes: list[int] = []
    patterns: list[tuple[bool, ...]] = []
    for dim, size in enumerate(leading):
        back = dim - len(leading)
        pattern = tuple(len(row) >= -back and row[back] != 1 for row in rows)
        if size == 1:
            continue
        if patterns and patterns[-1] == pattern:
            sizes[-1] *= size
        else:
            sizes.append(size)
            patterns.append(pattern)
    if len(sizes) > 3:
        return None
    if len(sizes) < 2:  # rows without sharing lie along the middle loop, which threads take parts of
        sizes, patterns = [*sizes, 1], [*patterns, (False,) * len(rows)]
    missing = 3 - len(sizes)
    sizes, patterns = [1] * missing + sizes, [(False,) * len(rows)] * missing + patterns
    blocks = (1, 2 * n_pairs, 2 * n_pairs, 2 * n_pairs * n_outputs, 2 * n_pairs, n_outputs)
    strides: list[tuple[int, int, int]] = []
    for operand, block in enumerate(blocks):
        has = [size if pattern[operand] else 1 for size, pattern in zip(sizes, patterns, strict=True)]
        steps = (block * has[1] * has[2], block * has[2], block)
        first, second, third = (step * pattern[operand] for step, pattern in zip(steps, patterns, strict=True))
        strides.append((first, second, third))
    numbers = [*sizes, n_outputs, n_pairs, *(step for three in strides for step in three)]
    table = torch.tensor(numbers, dtype=torch.int64, device="cpu")
    smallest = max(1, WORTH // max(1, sizes[0] * sizes[2] * n_pairs))
    n0, n1, n2 = sizes
    return Layout((n0, n1, n2), n_outputs, n_pairs, tuple(strides), table, table.data_ptr(), smallest)


def dense(value: Tensor) -> bool:
    """Whether the memory of `value` can be read as it lies: contiguous, nothing left to conjugate or negate."""
    return value.is_contiguous() and not value.is_conj() and not value.is_neg()


def all_dense(operands: Sequence[Tensor], D: Tensor | None) -> bool:
    """Whether u, A, B, C, state and, if given, D are dense; the same as asking `dense` of each, in half the time."""
    u, A, B, C, state = operands
    return not (
        not u.is_contiguous()
        or u.is_neg()
        or not A.is_contiguous()
        or A.is_conj()
        or not B.is_contiguous()
        or B.is_conj()
        or not C.is_contiguous()
        or C.is_conj()
        or not state.is_contiguous()
        or state.is_conj()
        or (D is not None and not dense(D))
    )


def packed(value: Tensor, rows: int) -> Tensor:
    """A dense tensor with the values of `value`; leading dimensions that were only expanded shrink to 1 again."""
    if dense(value):
        return value
    for dim in range(rows):
        if value.stride(dim) == 0 and value.shape[dim] > 1:
            value = value.narrow(dim, 0, 1)
    return value.resolve_conj().resolve_neg().contiguous()


def find_layout(
    leading: torch.Size, operands: Sequence[Tensor], *, shrink: bool = True
) -> tuple[Layout, tuple[Tensor, ...]]:
    """Returns a layout and dense operands for it: u (...), A, B (..., N), C (..., M, N), state (..., N), D (..., M).

    Args:
        leading: Common shape of streams and heads.
        operands: The six.
        shrink: Whether expanded dimensions may shrink; not where a gradient of the operand's own shape is asked for.
    """
    n_outputs, n_pairs = operands[3].shape[-2:]
    inner = (0, 1, 1, 2, 1, 1)

    def rows(values: Sequence[Tensor]) -> list[torch.Size]:
        return [value.shape[: value.dim() - many] for value, many in zip(values, inner, strict=True)]

    ready = tuple(
        packed(value, value.dim() - many if shrink else 0) for value, many in zip(operands, inner, strict=True)
    )
    layout = place(leading, rows(ready), n_outputs, n_pairs)
    if layout is None:
        ready = tuple(
            value.expand(*leading, *value.shape[value.dim() - many :]).contiguous()
            for value, many in zip(ready, inner, strict=True)
        )
        layout = place(leading, rows(ready), n_outputs, n_pairs)
    assert layout is not None
    return layout, ready


def rows(layout: Layout, operand: int, value: Tensor) -> Tensor:
    """A view of a dense operand with the three loops in front, of size 1 where it broadcasts."""
    block = ((), (layout.n_pairs,), (layout.n_pairs,), (layout.n_outputs, layout.n_pairs), (layout.n_pairs,))
    inner = (*block, (layout.n_outputs,))[operand]
    sizes = (size if step else 1 for size, step in zip(layout.sizes, layout.strides[operand], strict=True))
    return value.view(*sizes, *inner)
