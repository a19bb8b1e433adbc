"""Products stage by stage for any order: features before rows, one digit of the place changed in each stage."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["apply_stages", "stage_shapes"]


def stage_shapes(digits_in: Sequence[int], digits_out: Sequence[int], rank: int = 1) -> list[tuple[int, int, int]]:
    """Shapes of the stages in the order of their application: (other digits, new digit, old digit).

    Stage t = p .. 1 has a matrix c_t by a_t for each value of the digits a_1 .. a_(t-1) not yet changed and
    c_p .. c_(t+1) already changed, in this order.

    Args:
        digits_in: a_1 .. a_p.
        digits_out: c_1 .. c_p.
        rank: Rank of the slices, for two stages.

    Example:
        >>> stage_shapes((4, 3), (5, 2)), stage_shapes((2, 2, 2), (2, 2, 2))
        ([(4, 2, 3), (2, 5, 4)], [(4, 2, 2), (4, 2, 2), (4, 2, 2)])
    """
    shapes = []
    for t in reversed(range(len(digits_in))):
        others = math.prod(digits_in[:t]) * math.prod(digits_out[t + 1 :])
        last = t == len(digits_in) - 1
        shapes.append((others, digits_out[t] * (rank if last else 1), digits_in[t] * (1 if last else rank)))
    return shapes


def apply_stages(x: Tensor, stages: Sequence[Tensor], digits_in: Sequence[int], digits_out: Sequence[int]) -> Tensor:
    """Returns rows (B, prod c) of rows x (B, prod a).

    Numbers lie as (a_1 .. a_(t-1), c_p .. c_(t+1), B), a_t taken out: each stage is one batched product with rows last.

    Args:
        x: Rows.
        stages: Matrices of the stages, shapes as from `stage_shapes`.
        digits_in: a_1 .. a_p.
        digits_out: c_1 .. c_p.

    Example:
        >>> ones = [torch.ones(4, 2, 2)] * 3
        >>> apply_stages(torch.ones(1, 8), ones, (2, 2, 2), (2, 2, 2))
        tensor([[8., 8., 8., 8., 8., 8., 8., 8.]])
    """
    n_rows = x.shape[0]  # not len(x), which would tie an exported program to one number of rows
    y = x.t()
    for t, weight in zip(reversed(range(len(digits_in))), stages, strict=True):
        others, _, old = weight.shape
        before = math.prod(digits_in[:t])
        changed = others // before
        y = y.reshape(before, old, changed, n_rows).transpose(1, 2)
        y = y[0] if before == 1 else y[:, 0] if changed == 1 else y.contiguous().flatten(0, 1)
        y = torch.bmm(weight, y)  # (a_1 .. a_(t-1), c_p .. c_(t+1)), c_t, B
    order = len(digits_out)
    return (
        y.reshape(*reversed(digits_out), n_rows)
        .permute(*reversed(range(order + 1)))
        .reshape(n_rows, math.prod(digits_out))
    )
