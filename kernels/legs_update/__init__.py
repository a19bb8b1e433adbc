"""The HiPPO-LegS memory of whole series."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.checks import check_positive_int
from seqkit.kernels.backend import check_dtypes, check_leading, check_values, choose_backend, full_precision
from seqkit.kernels.legs_update.op import legs_update_op
from seqkit.kernels.legs_update.reference import legs_update_reference
from seqkit.kernels.legs_update.times import check_times, steps

__all__ = ["legs_update"]

WIDEST = 2048  # coefficients that a Triton program holds


def legs_update(
    u: Tensor,
    order: int,
    state: Tensor | None = None,
    *,
    seen: int | float | Tensor = 0,
    timestamps: Tensor | None = None,
    rule: str = "midpoint",
    every: int | None = None,
    backend: str = "auto",
) -> Tensor:
    """Remembers series as the coefficients of their whole past in Legendre polynomials (HiPPO-LegS), online.

        (1 + δ/2 A) c_k = (1 - δ/2 A) c_{k-1} + δ B u_k,   c_0 = (u_0, 0, ..., 0)
        A_nn = n + 1,  A_nm = s_n s_m (n > m),  B_n = s_n,  s_n = sqrt(2n + 1)

    A series held constant between samples is about sum_n c_n s_n P_n(2x/t - 1), 0 <= x <= t. A constant series has
    c = (value, 0, ...) exactly, and under the midpoint rule c_0 is the mean over time. The coefficients do not depend
    on the unit of time.

    Args:
        u: Samples, (..., L), float32 or float64, each held for the stretch of time that it ends.
        order: Number of coefficients N.
        state: Coefficients to carry on from, (..., N); leave out at the start of the series.
        seen: What lies behind `state`: a number of samples, or with `timestamps` the time of the last one; a tensor
            (...) where series differ. A series with 0 starts here, and its state, having lasted no time, is not read.
        timestamps: End of each sample's stretch, (L,) or (..., L), float32 or float64, in any unit, counted from the
            start of the series: rising, and above `seen`. No gradient is given. Left out, samples are evenly spaced.
        rule: "midpoint", δ = 1/(k + 1/2), or 2 (t1 - t0)/(t1 + t0) with timestamps, of second order in the step; or
            "reciprocal", δ = 1/k, or (t1 - t0)/t1, of first order, as published runs have it.
        every: Return the coefficients after samples m, 2m, ... of this call; left out, those after the last.
        backend: "auto", "reference" (a dense solve a sample), "cpu" or "triton".

    Returns:
        Coefficients (..., N), or (..., L // every, N), of the dtype of `u`, leading dimensions broadcast. Carrying on
        from them gives what one call would have given.

    Raises:
        TypeError: the dtypes are neither float32 nor float64, or differ.
        ValueError: the shapes do not fit together, a value is not finite, times do not rise, `seen` lacks its state or
            a state its `seen`, or the backend is unknown or cannot serve.

    Source:
        Gu, Dao, Ermon, Rudra, Ré 2020, HiPPO: recurrent memory with optimal polynomial projections (arXiv:2008.07669),
        theorem 2 and appendix D. Differs: the midpoint rule, whose step is that of log t to second order.

    Cost: 4 N operations a sample, forward and backward, no (L, N) intermediate. float64 is worth its price above about
    10^7 samples, where the steps fall below the rounding of float32. Backends: reference; cpu, in loops compiled by
    numba where it is installed; triton, up to order 2048.

    Example:
        >>> legs_update(torch.tensor([1.0, 3.0]), 2)
        tensor([2.0000, 1.0392])
    """
    check_positive_int("order", order)
    u = full_precision(u)
    state = None if state is None else full_precision(state)
    check_dtypes({"u": u} if state is None else {"u": u, "state": state}, {})
    if u.dim() < 1:
        raise ValueError("`u` must have shape (..., L), got (); pass the samples of a series along the last dimension")
    length = u.shape[-1]
    if length < 1:
        raise ValueError(f"`u` must have at least 1 sample, got shape {tuple(u.shape)}")
    if every is not None:
        check_positive_int("every", every)
    if state is not None and (state.dim() < 1 or state.shape[-1] != order):
        raise ValueError(f"`state` must have shape (..., {order}), got {tuple(state.shape)}; it holds `order` numbers")
    shared = check_times(u, seen, timestamps, rule)
    starts = not isinstance(seen, Tensor) and seen == 0
    if starts != (state is None):
        raise ValueError(
            f"`state` must come with `seen`, the samples or the time behind it, got {'no' if state is None else 'a'} "
            f"state and seen {'of a tensor' if isinstance(seen, Tensor) else seen!r}; give both, or none at the start"
        )
    leading = shared if state is None else check_leading({"u": shared, "state": state.shape[:-1]})
    check_values({"u": u} if state is None else {"u": u, "state": state})
    path = choose_backend(backend, u, refusals(order))

    tau = steps(u, seen, timestamps, rule)
    flat_tau = tau.reshape(1, length) if tau.numel() == length else tau.expand(*leading, length).reshape(-1, length)
    series = u.expand(*leading, length)
    if state is None:
        state = started(series, order)
    elif isinstance(seen, Tensor):
        state = torch.where((seen == 0).to(u.device).unsqueeze(-1), started(series, order), state)
    n_series = leading.numel()
    flat = (
        series.reshape(n_series, length),
        flat_tau,
        state.expand(*leading, order).reshape(n_series, order),
        length if every is None else every,
    )
    rows: Tensor = legs_update_reference(*flat) if path == "reference" else legs_update_op(*flat, path)
    return rows.reshape(*leading, order) if every is None else rows.reshape(*leading, length // every, order)


def started(series: Tensor, order: int) -> Tensor:
    """The coefficients (..., N) of the first sample alone; the step that takes it in again leaves them as they are."""
    return torch.nn.functional.pad(series[..., :1], (0, order - 1))


def refusals(order: int) -> dict[str, str]:
    """Why a path cannot serve, whatever the tensors are."""
    if order <= WIDEST:
        return {}
    return {"triton": f"its kernels hold up to {WIDEST} coefficients, and the order is {order}"}
