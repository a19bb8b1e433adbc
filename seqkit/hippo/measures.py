"""The measures by name, and the transition matrices that follow from them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from seqkit.checks import check_choice, check_positive_int
from seqkit.hippo.fourier import Fourier
from seqkit.hippo.laguerre import LagT
from seqkit.hippo.legendre import LegS, LegT
from seqkit.hippo.measure import Measure

__all__ = ["MEASURES", "Fourier", "LagT", "LegS", "LegT", "Measure", "as_measure", "transition"]

LARGEST_ORDER = 16384

MEASURES: dict[str, type[LegS] | type[LegT] | type[LagT] | type[Fourier]] = {
    kind.name: kind for kind in (LegS, LegT, LagT, Fourier)
}
"""The measures by name."""


def as_measure(measure: str | Measure, normalization: str | None = None) -> Measure:
    """Returns the measure of a name, or the given measure, in the asked normalisation.

    Args:
        measure: "legs", "legt", "lagt" or "fourier" for the default of each, or a measure.
        normalization: One of the measure's `normalizations`, or None to leave it.

    Raises:
        ValueError: the name is unknown, or the measure has no such normalisation.
        TypeError: `measure` is neither a name nor a measure.

    Example:
        >>> as_measure("legt", "lmu")
        LegT(window=1.0, normalization='lmu')
    """
    if isinstance(measure, str):
        chosen: Measure = MEASURES[check_choice("measure", measure, MEASURES)]()
    elif isinstance(measure, Measure):
        chosen = measure
    else:
        raise TypeError(f"`measure` must be one of {', '.join(MEASURES)} or a Measure, got {measure!r}")
    if normalization is None:
        return chosen
    check_choice(f"normalization of {chosen.name}", normalization, chosen.normalizations)
    return replace(chosen, normalization=normalization) if isinstance(chosen, LegT) else chosen


def transition(
    measure: str | Measure, order: int, dtype: torch.dtype = torch.float64, *, normalization: str | None = None
) -> tuple[Tensor, Tensor]:
    """Returns the transition matrices of a HiPPO memory.

        x'(t) = A x(t) + B u(t)

    A has a symmetric part that is nowhere positive in the orthonormal normalisation (LagT: with alpha 0). For LegS this
    is the system without the factor 1 / t. A window or decay of 1 makes dt the fraction of the memory that one step
    covers.

    Args:
        measure: "legs", "legt", "lagt", "fourier", or a measure with its own window or exponents.
        order: Number of coefficients N, at least 1; even for fourier.
        dtype: Real type of the result; the entries are computed in float64.
        normalization: Scaling of the coefficients, "orthonormal" (the default) or, for legt, "lmu".

    Returns:
        A of shape (N, N) and B of shape (N,).

    Raises:
        ValueError: an unknown measure or normalisation, an order below 1 or above 16384, a type that is not a real
            float.

    Source: arXiv 2008.07669, theorems 1 and 2 and appendix D, with the sign of arXiv 2110.13985.
    Cost: N² numbers.

    Example:
        >>> A, B = transition("legs", 4)
        >>> torch.allclose(A[:, 0], -B)
        True
    """
    if check_positive_int("order", order) > LARGEST_ORDER:
        raise ValueError(
            f"`order` must be at most {LARGEST_ORDER}, got {order}; the matrix of more coefficients takes over 2 GiB"
        )
    if not dtype.is_floating_point:
        raise ValueError(f"`dtype` must be a real floating type, got {dtype}; the matrices are real")
    A, B = as_measure(measure, normalization).transition(order)
    return A.to(dtype), B.to(dtype)
