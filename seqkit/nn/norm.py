"""Normalisation over channels, and of raw inputs by the statistics of the training data."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seqkit.checks import check_choice, check_positive_int
from seqkit.nn.statistics import check_statistics

__all__ = ["InputNorm", "build_norm", "norm_names"]


class InputNorm(nn.Module):
    """Standardises each channel, `(x - mean) / std`, with statistics that are saved with the model.

    They are part of the model, so that a file or a stream goes in as recorded and nothing has to be remembered
    beside the weights. Before `set_statistics` the map is the identity.

    Args:
        n_channels: Channels C of the raw series.

    Example:
        >>> norm = InputNorm(1)
        >>> norm.set_statistics(torch.tensor([2.0]), torch.tensor([4.0]))
        >>> norm(torch.tensor([[[10.0]]])).item()
        2.0
    """

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        check_positive_int("n_channels", n_channels)
        self.register_buffer("mean", torch.zeros(n_channels))
        self.register_buffer("std", torch.ones(n_channels))
        self.mean: Tensor
        self.std: Tensor

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Takes mean and standard deviation of the training samples, (C,) each.

        Raises:
            ValueError: wrong number of channels, one that is not finite, or a standard deviation that is not above 0.
        """
        check_statistics(mean, std, len(self.mean))
        self.mean.copy_(mean)
        self.std.copy_(std)

    def forward(self, x: Tensor) -> Tensor:
        """Standardises samples (..., C) of any real dtype; the result has the dtype of the statistics."""
        return ((x - self.mean) / self.std).to(self.mean.dtype)

    def extra_repr(self) -> str:
        """Number of channels."""
        return f"n_channels={len(self.mean)}"


_NORMS = {"layer": nn.LayerNorm, "rms": nn.RMSNorm, "none": None}


def norm_names() -> list[str]:
    """Names that `build_norm` takes.

    Example:
        >>> norm_names()
        ['layer', 'rms', 'none']
    """
    return list(_NORMS)


def build_norm(name: str, d_model: int) -> nn.Module:
    """Normalisation over the channels of one sample; it looks at no other sample, so it streams.

    Args:
        name: "layer", "rms" or "none".
        d_model: Channels D.

    Raises:
        ValueError: no such normalisation.

    Example:
        >>> type(build_norm("rms", 4)).__name__
        'RMSNorm'
    """
    norm = _NORMS[check_choice("norm", name, _NORMS)]
    return nn.Identity() if norm is None else norm(d_model)
