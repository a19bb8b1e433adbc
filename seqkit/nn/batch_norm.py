"""Normalisation by the statistics of a batch, for features that have no time any more."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqkit.checks import check_positive_int

__all__ = ["BatchNorm"]


class BatchNorm(nn.Module):
    """Brings each feature to mean 0 and variance 1 over the batch, then scales and shifts it by trained numbers.

        y = weight (x - mean) / sqrt(var + eps) + bias

    In training `mean` and `var` are those of the batch; running averages of them are kept, `m <- 0.9 m + 0.1 m_batch`,
    and take their place in evaluation, where a series' output does not depend on what else is in its batch. A batch of
    a single row has no variance and is normalised by the running averages in training too.

    For one row a series only: samples of one series must not see each other, so no mixer's block has it.

    Args:
        d_model: Features D.

    Raises:
        ValueError: `d_model` below 1.

    Source:
        Ioffe and Szegedy 2015 (arXiv:1502.03167).

    Example:
        >>> norm = BatchNorm(1)
        >>> norm(torch.tensor([[1.0], [3.0]])).round(decimals=3).flatten()
        tensor([-1.,  1.], grad_fn=<ViewBackward0>)
    """

    MOMENTUM, EPS = 0.1, 1e-5

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(check_positive_int("d_model", d_model)))
        self.bias = nn.Parameter(torch.zeros(d_model))
        self.register_buffer("mean", torch.zeros(d_model))
        self.register_buffer("var", torch.ones(d_model))
        self.mean: Tensor
        self.var: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Maps features (..., D) to the same shape; all dimensions but the last count as the batch."""
        rows = x.reshape(-1, x.shape[-1])
        own = self.training and rows.shape[0] > 1
        y = F.batch_norm(rows, self.mean, self.var, self.weight, self.bias, own, self.MOMENTUM, self.EPS)
        return y.reshape(x.shape)

    def extra_repr(self) -> str:
        """Number of features."""
        return f"d_model={len(self.weight)}"
