"""What mean and standard deviation of a training part must be, for inputs and targets alike."""

from __future__ import annotations

from torch import Tensor

from seqkit.checks import check_finite, check_shape

__all__ = ["check_statistics"]


def check_statistics(mean: Tensor, std: Tensor, count: int) -> None:
    """Refuses statistics that would make a series or a target NaN.

    Args:
        mean: Means, (count,).
        std: Standard deviations, (count,).
        count: Number of channels or of target values.

    Raises:
        ValueError: wrong shape, a value that is not finite, or a standard deviation that is not above 0.

    Example:
        >>> import torch
        >>> check_statistics(torch.zeros(2), torch.ones(2), 2)
    """
    for name, value in (("mean", mean), ("std", std)):
        check_shape(name, value, (count,))
        check_finite(name, value, "compute it from finite samples")
    if not bool((std > 0).all()):
        raise ValueError(f"`std` must be above 0 everywhere, got {std.tolist()}; use 1 for what is constant")
