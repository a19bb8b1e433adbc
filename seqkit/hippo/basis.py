"""Reading a memory: basis functions over the past, the past from coefficients, and what an impulse leaves behind."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.checks import check_positive, check_positive_int
from seqkit.hippo.measures import Measure, as_measure

__all__ = ["evaluate_basis", "impulse_response", "reconstruct"]


def evaluate_basis(measure: str | Measure, order: int, lags: Tensor, *, elapsed: float | None = None) -> Tensor:
    """Evaluates the basis functions of a measure at lags before now.

        u(t - τ) ≈ Σ_n x_n g_n(τ)

    Args:
        measure: Name of a measure, or a measure.
        order: Number of functions N.
        lags: Lags τ, (...), real, at least 0; within the window for legt and fourier.
        elapsed: For legs, the time t since the start of the series: g_n(τ) = sqrt(2n + 1) P_n(1 - 2τ/t). None for the
            time-invariant system of state-space layers: g_n(τ) = sqrt(2n + 1) P_n(2 exp(-τ) - 1).

    Returns:
        Values g_n(τ), (..., N), in the type of `lags`.

    Raises:
        ValueError: a lag outside the memory, an `elapsed` for a measure that does not stretch with time.

    Source: arXiv 2008.07669, appendix D.
    Cost: N per lag.

    Example:
        >>> evaluate_basis("legt", 3, torch.tensor([0.0, 1.0]))
        tensor([[ 1.0000,  1.7321,  2.2361],
                [ 1.0000, -1.7321,  2.2361]])
    """
    check_positive_int("order", order)
    chosen = as_measure(measure)
    _check_lags(lags)
    if elapsed is not None:
        if not chosen.time_varying:
            raise ValueError(
                f"`elapsed` is for the measure legs alone, got {elapsed!r} with {chosen.name}; leave it out"
            )
        _check_reach("elapsed", lags, check_positive("elapsed", elapsed))
        # LegS is time-invariant in log time: a lag τ out of t is the lag log(t / (t - τ)) there.
        lags = -torch.log1p(-lags / elapsed)
    window = getattr(chosen, "window", None)
    if window is not None:
        _check_reach("window", lags, window)
    return chosen.basis(order, lags)


def reconstruct(measure: str | Measure, coefficients: Tensor, lags: Tensor, *, elapsed: float | None = None) -> Tensor:
    """Reads the past back from the coefficients of a memory.

        u(t - τ_i) ≈ Σ_n x_n g_n(τ_i)

    To compare with a signal that is held between samples, ask for the middle of each hold, not for its ends.

    Args:
        measure: Name of a measure, or a measure.
        coefficients: State x, (..., N), real.
        lags: Lags τ_i, (L,), as in `evaluate_basis`.
        elapsed: As in `evaluate_basis`.

    Returns:
        Values at the lags, (..., L), in the type of `coefficients`.

    Raises:
        ValueError: as in `evaluate_basis`, or coefficients that are no real floating-point (..., N).

    Source: arXiv 2008.07669, appendix D.
    Cost: N L per state.

    Example:
        >>> reconstruct("legs", torch.tensor([2.0, 0.0]), torch.tensor([0.1, 0.9]), elapsed=1.0)
        tensor([2., 2.])
    """
    if coefficients.dim() < 1 or not coefficients.is_floating_point():
        raise ValueError(
            f"`coefficients` must be real floating point of shape (..., N), got {tuple(coefficients.shape)} of dtype "
            f"{coefficients.dtype}"
        )
    if lags.dim() != 1:
        raise ValueError(f"`lags` must have shape (L,), got {tuple(lags.shape)}")
    return coefficients @ evaluate_basis(measure, coefficients.shape[-1], lags, elapsed=elapsed).to(coefficients).mT


def impulse_response(measure: str | Measure, order: int, lags: Tensor) -> Tensor:
    """Evaluates the functions that project the past on each coefficient, the impulse response of the system.

        x_n(t) = ∫ k_n(τ) u(t - τ) dτ,  k(τ) = exp(τ A) B

    Exact for legs (in its time-invariant form) and lagt. For legt and fourier it is the ideal of a sharp window, from
    which the system of finite order differs by a ripple that shrinks with the order.

    Args:
        measure: Name of a measure, or a measure.
        order: Number of coefficients N.
        lags: Lags τ, (...), real, at least 0.

    Returns:
        Values k_n(τ), (..., N), in the type of `lags`.

    Raises:
        ValueError: a negative lag or an order below 1.

    Source: arXiv 2008.07669, appendix D.
    Cost: N per lag.

    Example:
        >>> impulse_response("lagt", 2, torch.tensor([0.0, 1.0]))
        tensor([[1.0000, 1.0000],
                [0.6065, 0.0000]])
    """
    check_positive_int("order", order)
    _check_lags(lags)
    return as_measure(measure).kernel(order, lags)


def _check_lags(lags: Tensor) -> None:
    if not lags.is_floating_point():
        raise ValueError(f"`lags` must be real floating point, got dtype {lags.dtype}")
    if bool((~(lags >= 0)).any()):
        raise ValueError(
            "`lags` must be at least 0, the time before now, got a negative or NaN lag; pass t - x for time x"
        )


def _check_reach(name: str, lags: Tensor, reach: float) -> None:
    longest = float(lags.max()) if lags.numel() else 0.0
    if longest > reach * (1 + 4 * torch.finfo(lags.dtype).eps):
        raise ValueError(
            f"`lags` must not exceed `{name}` = {reach:g}, got {longest:g}; the memory does not reach there"
        )
