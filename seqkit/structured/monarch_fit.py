"""The Monarch matrix nearest to a dense one: truncated singular value decompositions of its slices."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["fit_monarch"]


def fit_monarch(matrix: Tensor, digits_in: Sequence[int], digits_out: Sequence[int], rank: int = 1) -> list[Tensor]:
    """Returns the stages of the Monarch matrix for a dense one, which it cuts out of its corner.

    With digits a1 = k, a' of the input's place and c1 = s, c' of the output's, each slice over (c1, a') for fixed
    (a1, c') has at most rank r, and nothing else ties the slices together. So the best is each slice's r largest
    singular values, and the squared error is the sum of the squares of the others. The right factors are one matrix
    (c', a') for each a1, each of one order less: of order 1 they are free, else the same is done again to them.

    Where something is left to do, singular values go with the right factors, whose errors then count as they do in the
    whole; norms are shared between neighbouring stages afterwards.

    Args:
        matrix: Dense matrix, (out, in), double precision.
        digits_in: a_1 .. a_p, their product at least `in`.
        digits_out: c_1 .. c_p, their product at least `out`.
        rank: Rank r of the slices, for p = 2.

    Returns:
        Stages in the order of their application, shaped as by `stage_shapes`.

    Source: Dao et al. 2022, Monarch (arXiv:2204.00595), theorem 1 and algorithm 1. Differs: padded rows and columns are
        zeros, which change neither singular values nor the nearest member.

    Example:
        >>> w2, w1 = fit_monarch(torch.eye(4, dtype=torch.float64), (2, 2), (2, 2))
        >>> w2.shape, w1.shape
        (torch.Size([2, 2, 2]), torch.Size([2, 2, 2]))
    """
    n_out, n_in = math.prod(digits_out), math.prod(digits_in)
    padded = matrix.new_zeros(n_out, n_in)
    padded[: matrix.shape[0], : matrix.shape[1]] = matrix
    stages = take_off(padded.unsqueeze(0), digits_in, digits_out, rank)
    sizes = torch.stack([stage.norm() for stage in stages])
    if bool((sizes > 0).all()):  # all stages of one norm; pairs of them are so in each row already
        stages = [stage * scale for stage, scale in zip(stages, sizes.log().mean().exp() / sizes, strict=True)]
    return stages


def take_off(matrices: Tensor, digits_in: Sequence[int], digits_out: Sequence[int], rank: int) -> list[Tensor]:
    """Stages of N matrices (N, out, in) at once, each shaped (N other, c, a)."""
    n_matrices, order = len(matrices), len(digits_in)
    if order == 1:
        return [matrices]
    (k, *rest_in), (s, *rest_out) = digits_in, digits_out
    inner_in, inner_out = math.prod(rest_in), math.prod(rest_out)
    slices = matrices.view(n_matrices, s, inner_out, k, inner_in).permute(0, 3, 2, 1, 4)  # N, k, c', c1, a'
    u, sigma, vh = torch.linalg.svd(slices, full_matrices=False)
    u, sigma, vh = u[..., :rank], sigma[..., :rank], vh[..., :rank, :]
    left_power = 0.5 if order == 2 else 0.0
    left = u * sigma.pow(left_power).unsqueeze(-2)  # N, k, c', c1, r
    right = vh * sigma.pow(1 - left_power).unsqueeze(-1)  # N, k, c', r, a'
    if order == 2:
        w_right = right.permute(0, 1, 3, 2, 4).reshape(n_matrices * k, rank * inner_out, inner_in)
        w_left = left.permute(0, 2, 3, 1, 4).reshape(n_matrices * inner_out, s, k * rank)
        return [w_right, w_left]
    deeper = take_off(right.reshape(n_matrices * k, inner_out, inner_in), rest_in, rest_out, 1)
    # Its last stage has rows for (c_p .. c_3, c_2); the place c' is (c_2 .. c_p). Turn this stage's to that order.
    end = 2 + len(rest_out)
    turned = left.reshape(n_matrices, k, *rest_out, s).permute(0, *reversed(range(2, end)), end, 1)
    w_left = turned.reshape(n_matrices * inner_out, s, k)
    return [*deeper[:-1], *share_norms(deeper[-1], w_left, n_matrices, k)]


def share_norms(inner: Tensor, outer: Tensor, n_matrices: int, k: int) -> tuple[Tensor, Tensor]:
    """Gives a row of the inner stage and the column of the outer one that multiplies it the same norm.

    The inner stage is (N k c_p .. c_3, c_2, a_2), the outer (N c_p .. c_2, c_1, k).
    """
    c2 = inner.shape[1]
    rows = torch.linalg.vector_norm(inner, dim=-1).view(n_matrices, k, -1, c2)  # N, k, c_p .. c_3, c_2
    columns = torch.linalg.vector_norm(outer, dim=-2)  # N c_p .. c_2, k
    columns = columns.view(n_matrices, -1, c2, k).permute(0, 3, 1, 2)
    live = (rows > 0) & (columns > 0)
    scale = torch.where(live, (columns / rows.where(live, 1)).sqrt(), 1)
    inner = inner * scale.reshape(*inner.shape[:2], 1)
    outer = outer / scale.where(live, 1).permute(0, 2, 3, 1).reshape(outer.shape[0], 1, k)
    return inner, outer
