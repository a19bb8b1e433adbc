"""Causality by windows: each output is computed from the past alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seqkit.checks import check_positive_int

__all__ = ["CausalStack", "windows"]


def windows(x: Tensor, length: int) -> Tensor:
    """For each sample the `length` samples that end with it, zeros before the start: (B, C, T) to (B T, C, length).

    Example:
        >>> windows(torch.tensor([[[1.0, 2.0, 3.0]]]), 2)[:, 0].tolist()
        [[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]]
    """
    past = nn.functional.pad(x, (length - 1, 0)).unfold(-1, length, 1)
    return past.transpose(1, 2).flatten(0, 1)


class CausalStack(nn.Module):
    """Makes any map of series causal: it sees each sample's past as a window, and its last output is kept.

        y[t] = module(x[t - length + 1 .. t])[last]

    An operation K diag(L w) M with learned K, L or M mixes all places, so that its outputs depend on the future even
    where it started as a causal convolution. Windows are the exact remedy, at `length` times the cost.

    Args:
        module: Maps (B, C, length) to (B, C', any length of at least 1).
        length: Samples of a window, the present one included.

    Raises:
        ValueError: a length that is not a whole number of at least 1, or an input that is not (B, C, T).

    Source: Roberts et al. 2021, XD-operations (arXiv:2103.15798), as in the published code for sequences.

    Cost: T evaluations of the module for T samples.

    Example:
        >>> mean = CausalStack(nn.AvgPool1d(4), length=4)
        >>> mean(torch.arange(4.0).view(1, 1, 4)).tolist()
        [[[0.0, 0.25, 0.75, 1.5]]]
    """

    def __init__(self, module: nn.Module, length: int) -> None:
        super().__init__()
        self.module = module
        self.length = check_positive_int("length", length)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, T) to (B, C', T)."""
        if x.dim() != 3:
            raise ValueError(f"`x` must have shape (B, C, T), got {tuple(x.shape)}; add the axes that are missing")
        y = self.module(windows(x, self.length))[..., -1]
        return torch.unflatten(y, 0, (len(x), x.shape[-1])).transpose(1, 2)

    def extra_repr(self) -> str:
        """Sizes, as `print` shows them."""
        return f"length={self.length}"
