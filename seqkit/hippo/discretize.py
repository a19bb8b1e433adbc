"""From x' = A x + B u to x_k = A-bar x_{k-1} + B-bar u_k, for dense and for diagonal A."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.checks import check_choice, check_positive, check_unit_interval

__all__ = ["METHODS", "discretize", "discretize_diagonal"]

METHODS = ("forward_euler", "backward_euler", "bilinear", "generalized_bilinear", "zero_order_hold")
"""The methods. Order of A-bar against exp(dt A): 1, 1, 2, 1 (2 at alpha = 1/2), exact."""

# The weight of the new state in the generalised bilinear rule of which these are cases.
_FIXED_ALPHA = {"forward_euler": 0.0, "backward_euler": 1.0, "bilinear": 0.5}

# dtype.to_real() says the same, but torch.compile cannot trace it.
_REAL_OF = {torch.complex64: torch.float32, torch.complex128: torch.float64}


def discretize(
    A: Tensor, B: Tensor, dt: Tensor | float, method: str = "bilinear", alpha: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Discretises a linear system with dense A.

        generalized_bilinear: A-bar = (I - α dt A)⁻¹ (I + (1 - α) dt A),  B-bar = (I - α dt A)⁻¹ dt B
        zero_order_hold:      A-bar = exp(dt A),                          B-bar = ∫_0^dt exp(s A) ds B

    forward_euler, bilinear and backward_euler are the generalised rule at α = 0, 1/2 and 1. For a HiPPO matrix in its
    orthonormal normalisation every α >= 1/2 and the zero-order hold are contractions at any dt; α < 1/2 is not. A is
    never eigendecomposed (the eigenvectors of LegS are useless beyond order 16), and a singular A is served. The result
    is differentiable in A, B and dt.

    Args:
        A: Transition matrices, (..., N, N), real or complex.
        B: Input vectors, (..., N), one input; for M inputs give the M columns as (M, N).
        dt: Step, a number above 0 or a tensor (...), in the unit of time of A.
        method: One of `METHODS`.
        alpha: Weight of the new state between 0 and 1, for generalized_bilinear alone.

    Returns:
        A-bar (..., N, N) and B-bar (..., N), where ... is what the leading dimensions of A, B and dt broadcast to.

    Raises:
        ValueError: shapes that do not fit, an unknown method, an alpha that the method does not use, a step that is
            a number not above 0. The values of a tensor dt are not read.

    Source: arXiv 2008.07669, appendix B.3; arXiv 2110.13985, section 2; Van Loan 1978 for the integral.
    Cost: N³ per leading index: one factorisation, or one exponential of order N + 1, in float64 for any type.

    Example:
        >>> A_bar, B_bar = discretize(torch.tensor([[-1.0]]), torch.tensor([1.0]), 2.0)
        >>> A_bar, B_bar
        (tensor([[0.]]), tensor([1.]))
    """
    alpha = _resolve_alpha(method, alpha)
    if A.dim() < 2 or A.shape[-1] != A.shape[-2]:
        raise ValueError(f"`A` must have shape (..., N, N), got {tuple(A.shape)}")
    _check_vector("B", B, A.shape[-1])
    step, dtype = _step(dt, A, B)
    batch = _broadcast(A=A.shape[:-2], B=B.shape[:-1], dt=step.shape)
    A, B = A.to(dtype), B.to(dtype).expand(*batch, -1)
    scaled_A = (step[..., None, None] * A).expand(*batch, -1, -1)
    scaled_B = (step[..., None] * B)[..., None]
    if method == "zero_order_hold":
        # In float32 the squarings of the exponential lose up to every digit (LegT of order 64 at dt = 10 windows).
        top = torch.cat([scaled_A, scaled_B], dim=-1).to(torch.promote_types(dtype, torch.float64))
        result = torch.linalg.matrix_exp(torch.cat([top, torch.zeros_like(top[..., :1, :])], dim=-2)).to(dtype)
        return result[..., :-1, :-1], result[..., :-1, -1]
    identity = torch.eye(A.shape[-1], dtype=dtype, device=A.device)
    forward = identity + (1 - alpha) * scaled_A
    if alpha == 0:
        return forward, scaled_B[..., 0]
    both = torch.linalg.solve(identity - alpha * scaled_A, torch.cat([forward, scaled_B], dim=-1))
    return both[..., :-1], both[..., -1]


def discretize_diagonal(
    Lambda: Tensor, B: Tensor, dt: Tensor | float, method: str = "bilinear", alpha: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Discretises a linear system with diagonal A, element by element.

        generalized_bilinear: A-bar = (1 + (1 - α) dt λ) / (1 - α dt λ),  B-bar = dt B / (1 - α dt λ)
        zero_order_hold:      A-bar = exp(dt λ),                          B-bar = (exp(dt λ) - 1) / λ B

    The quotient in the last line is summed as a series where dt λ is small, so that it and its gradient keep full
    precision in float32 and λ = 0 gives B-bar = dt B.

    Args:
        Lambda: Diagonal of A, (..., N), complex or real.
        B: Input vectors, (..., N).
        dt: Step, a number above 0 or a tensor (...) without the dimension N.
        method: One of `METHODS`.
        alpha: Weight of the new state between 0 and 1, for generalized_bilinear alone.

    Returns:
        A-bar and B-bar, (..., N) with all leading dimensions broadcast.

    Raises:
        ValueError: as in `discretize`.

    Source: arXiv 2206.11893, section 3.2.
    Cost: N per leading index.

    Example:
        >>> A_bar, B_bar = discretize_diagonal(torch.zeros(1), torch.ones(1), 0.5, "zero_order_hold")
        >>> A_bar, B_bar
        (tensor([1.]), tensor([0.5000]))
    """
    alpha = _resolve_alpha(method, alpha)
    if Lambda.dim() < 1:
        raise ValueError("`Lambda` must have shape (..., N), got ()")
    _check_vector("B", B, Lambda.shape[-1])
    step, dtype = _step(dt, Lambda, B)
    batch = _broadcast(Lambda=Lambda.shape[:-1], B=B.shape[:-1], dt=step.shape)
    z = (step[..., None] * Lambda.to(dtype)).expand(*batch, -1)
    scaled_B = step[..., None] * B.to(dtype)
    if method == "zero_order_hold":
        return torch.exp(z), _phi_1(z) * scaled_B
    denominator = 1 - alpha * z
    return (1 + (1 - alpha) * z) / denominator, scaled_B / denominator


def _phi_1(z: Tensor) -> Tensor:
    """Returns (exp(z) - 1) / z, with its limit 1 at z = 0."""
    small = z.abs() < 0.5
    # Each branch sees a harmless argument where the other one is taken, or its gradient would be 0 * inf.
    far = torch.where(small, torch.ones_like(z), z)
    near = torch.where(small, z, torch.zeros_like(z))
    series = torch.ones_like(z)
    # 0.5^16 / 17! is below half an ulp of float64, and 0.5^9 / 10! of float32, also in the derivative.
    for k in range(16 if torch.finfo(z.dtype).eps < 1e-10 else 9, 1, -1):
        series = 1 + near / k * series
    return torch.where(small, series, (torch.exp(far) - 1) / far)


def _resolve_alpha(method: str, alpha: float) -> float:
    check_choice("method", method, METHODS)
    if method == "generalized_bilinear":
        return check_unit_interval("alpha", alpha, open_end=False)
    if alpha != 0.5:
        raise ValueError(f"`alpha` is for the method generalized_bilinear, got {alpha!r} with {method}; leave it out")
    return _FIXED_ALPHA.get(method, 0.5)


def _check_vector(name: str, value: Tensor, order: int) -> None:
    if value.dim() < 1 or value.shape[-1] != order:
        raise ValueError(f"`{name}` must have shape (..., N) with N = {order}, got {tuple(value.shape)}")


def _step(dt: Tensor | float, A: Tensor, B: Tensor) -> tuple[Tensor, torch.dtype]:
    """Returns the step as a tensor of the result's precision, and the type of the result."""
    dtype = torch.promote_types(A.dtype, B.dtype)
    if not (dtype.is_floating_point or dtype.is_complex):
        raise ValueError(f"`A` and `B` must be floating point or complex, got {A.dtype} and {B.dtype}")
    if not isinstance(dt, Tensor):
        check_positive("dt", dt)
        return torch.tensor(dt, dtype=_REAL_OF.get(dtype, dtype), device=A.device), dtype
    if not dt.is_floating_point():
        raise ValueError(f"`dt` must be real floating point, got dtype {dt.dtype}")
    dtype = torch.promote_types(dtype, dt.dtype) if dt.dim() else dtype
    return dt.to(_REAL_OF.get(dtype, dtype)), dtype


def _broadcast(**leading: torch.Size) -> torch.Size:
    try:
        return torch.Size(torch.broadcast_shapes(*leading.values()))  # type: ignore[no-untyped-call]
    except RuntimeError:
        given = ", ".join(f"{name} {tuple(shape)}" for name, shape in leading.items())
        raise ValueError(f"the leading dimensions must broadcast together, got {given}") from None
