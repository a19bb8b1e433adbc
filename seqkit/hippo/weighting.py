"""How much each moment of the past counts."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.checks import check_positive
from seqkit.hippo.measures import Measure, as_measure

__all__ = ["density"]


def density(measure: str | Measure, lags: Tensor, *, elapsed: float | None = None) -> Tensor:
    """Evaluates the weight that a measure puts on the past, the error's weight in the projection.

        legs 1/t    legt, fourier 1/θ within the window    lagt τ^α exp(-τ) / Γ(1 + α)

    Args:
        measure: Name of a measure, or a measure.
        lags: Lags τ before now, (...), real; where there is no past, before 0 or before the start, the weight is 0.
        elapsed: For legs, the time t since the start of the series. None for the time-invariant system of state-space
            layers, whose weight is exp(-τ).

    Returns:
        Weights w(τ), (...), in the type of `lags`; they integrate to 1.

    Raises:
        ValueError: an `elapsed` for a measure that does not stretch with time.

    Source: arXiv 2008.07669, section 2.3 and appendix D; the basis is orthonormal under it, for lagt where β is 1.
    Cost: one operation a lag.

    Example:
        >>> density("legt", torch.tensor([0.5, 1.5])), density("legs", torch.tensor([1.0, 5.0]), elapsed=4.0)
        (tensor([1., 0.]), tensor([0.2500, 0.0000]))
    """
    chosen = as_measure(measure)
    if elapsed is None:
        return torch.where(lags >= 0, chosen.density(lags.clamp(min=0)), 0.0)
    if not chosen.time_varying:
        raise ValueError(f"`elapsed` is for the measure legs alone, got {elapsed!r} with {chosen.name}; leave it out")
    inside = (lags >= 0) & (lags <= check_positive("elapsed", elapsed))
    return torch.where(inside, torch.full_like(lags, 1 / elapsed), 0.0)
