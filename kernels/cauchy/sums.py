"""Cauchy sums over conjugate pairs: the definition, and a form in plain torch that holds one mode at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.kernels.backend import without_autocast

__all__ = ["cauchy_sums_backward", "cauchy_sums_forward", "cauchy_sums_reference", "from_real", "real_form"]


@without_autocast
def cauchy_sums_reference(v: Tensor, Lambda: Tensor, z: Tensor) -> Tensor:
    """Evaluates S[j] = sum_n v_n / (z_j - Lambda_n) + conj(v_n) / (z_j - conj(Lambda_n)).

    Args:
        v: Numerators, (H, O, N) complex.
        Lambda: Poles, (H, N) complex, one of each conjugate pair.
        z: Nodes, (J,) complex.

    Returns:
        S, (H, O, J) complex.

    Example:
        >>> one = torch.ones(1, 1, 1) + 0j
        >>> cauchy_sums_reference(one, -one[0], one[0, 0])
        tensor([[[1.+0.j]]])
    """
    poles = Lambda[:, None, :, None]
    return (v.unsqueeze(-1) / (z - poles) + v.conj().unsqueeze(-1) / (z - poles.conj())).sum(-2)


def real_form(v: Tensor, Lambda: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns a, b (H, O, N) and c1, c0 (H, N), real, of a pair's sum (z a - b) / (z^2 - c1 z + c0)."""
    product = v * Lambda.conj_physical().unsqueeze(1)  # while an op is traced, lazy conjugates go unseen
    squares = Lambda.real.square() + Lambda.imag.square()
    return 2 * v.real, 2 * product.real, 2 * Lambda.real, squares


def from_real(v: Tensor, Lambda: Tensor, d_a: Tensor, d_b: Tensor, d_c1: Tensor, d_c0: Tensor) -> tuple[Tensor, Tensor]:
    """Carries gradients of the real form back to v and Lambda."""
    d_v = 2 * (d_a + Lambda.unsqueeze(1) * d_b)
    return d_v, 2 * ((v * d_b).sum(1) + d_c1 + Lambda * d_c0)


def cauchy_sums_forward(v: Tensor, Lambda: Tensor, z: Tensor) -> Tensor:
    """Returns the sums of `cauchy_sums_reference`, adding up one mode after the other."""
    a, b, c1, c0 = real_form(v, Lambda)
    total = v.new_zeros(*v.shape[:2], len(z))
    for n in range(v.shape[-1]):
        inverse = 1 / (z * z - c1[:, None, n, None] * z + c0[:, None, n, None])
        total += (z * a[..., n, None] - b[..., n, None]) * inverse
    return total


def cauchy_sums_backward(grad: Tensor, v: Tensor, Lambda: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the gradients of v and Lambda."""
    a, b, c1, c0 = real_form(v, Lambda)
    d_a, d_b, d_c1, d_c0 = (torch.empty_like(value) for value in (a, b, c1, c0))
    weight = grad.conj_physical()
    for n in range(v.shape[-1]):
        inverse = 1 / (z * z - c1[:, n, None] * z + c0[:, n, None])
        d_a[..., n] = (weight * (z * inverse).unsqueeze(1)).real.sum(-1)
        d_b[..., n] = -(weight * inverse.unsqueeze(1)).real.sum(-1)
        change = (weight * (z * a[..., n, None] - b[..., n, None])).sum(1) * inverse.square()
        d_c1[..., n] = (change * z).real.sum(-1)
        d_c0[..., n] = -change.real.sum(-1)
    return from_real(v, Lambda, d_a, d_b, d_c1, d_c0)
