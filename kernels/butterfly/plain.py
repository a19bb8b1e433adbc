"""A butterfly in torch alone, level by level, on any device, with its gradients written out."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.kernels.butterfly.reference import levels_in_order

__all__ = ["butterfly_backward", "butterfly_forward"]


def advance(y: Tensor, factors: Tensor, stride: int) -> Tensor:
    """One level of y (S, n, B), rows of the batch last, by factors (S, n/2, 2, 2)."""
    n_stacks, n, batch = y.shape
    pairs = y.view(n_stacks, n // (2 * stride), 2, stride, batch)
    blocks = factors.view(n_stacks, n // (2 * stride), stride, 2, 2).movedim(2, -1).unsqueeze(-1)
    return (blocks * pairs.unsqueeze(2)).sum(3).view(n_stacks, n, batch)


def forward_steps(x: Tensor, twiddle: Tensor, increasing: bool) -> list[Tensor]:
    """What enters each level, and the result: tensors (S, n, B)."""
    steps = [x.mT.expand(len(twiddle), -1, -1).contiguous()]
    for block, index in levels_in_order(twiddle.shape[1], twiddle.shape[2], increasing):
        steps.append(advance(steps[-1], twiddle[:, block, index], 1 << index))
    return steps


def butterfly_forward(x: Tensor, twiddle: Tensor, increasing: bool) -> Tensor:
    """Returns y (B, S, n) for x (B, n) and twiddle (S, K, m, n/2, 2, 2)."""
    y = x.mT.expand(len(twiddle), -1, -1).contiguous()
    for block, index in levels_in_order(twiddle.shape[1], twiddle.shape[2], increasing):
        y = advance(y, twiddle[:, block, index], 1 << index)
    return y.permute(2, 0, 1).contiguous()


def butterfly_backward(grad: Tensor, x: Tensor, twiddle: Tensor, increasing: bool) -> tuple[Tensor, Tensor]:
    """Returns the gradients of x and twiddle; what enters each level is computed again and kept."""
    n_stacks, n_blocks, n_levels, n_pairs = twiddle.shape[:4]
    steps = forward_steps(x, twiddle, increasing)
    g, d_twiddle = grad.permute(1, 2, 0).contiguous(), torch.empty_like(twiddle)
    order = levels_in_order(n_blocks, n_levels, increasing)
    for place in range(len(order) - 1, -1, -1):
        (block, index), stride = order[place], 1 << order[place][1]
        shape = (n_stacks, n_pairs // stride, 2, stride, grad.shape[0])
        outer, inner = g.view(shape), steps[place].view(shape).conj()
        products = (outer.unsqueeze(3) * inner.unsqueeze(2)).sum(-1)  # (S, groups, i, j, stride)
        d_twiddle[:, block, index] = products.movedim(-1, 2).reshape(n_stacks, n_pairs, 2, 2)
        g = advance(g, twiddle[:, block, index].mH, stride)
    return g.sum(0).mT.contiguous(), d_twiddle
