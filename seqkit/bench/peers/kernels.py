"""The usual forms of convolution kernels: every term held at once."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from seqkit.bench.available import unless_it_fits
from seqkit.bench.case import Form, Inputs, Setting, Task
from seqkit.bench.inputs import with_gradient
from seqkit.bench.peers import plain_form

__all__ = ["MATERIALISED", "NAIVE_CAUCHY", "POWER_DOUBLING", "cauchy_at_roots", "materialised", "power_doubling"]


def materialised(a: Tensor, weight: Tensor, length: int) -> Tensor:
    """All exponentials (H, N, L), then one sum over n: K = 2 Re(weight exp(l a)), (H, M, L).

    Example:
        >>> materialised(torch.zeros(1, 1) + 0j, torch.ones(1, 1, 1) + 0j, 3)
        tensor([[[2., 2., 2.]]])
    """
    steps = torch.arange(length, dtype=a.real.dtype, device=a.device)
    return 2 * torch.einsum("hmn,hnl->hml", weight, torch.exp(a[..., None] * steps)).real


def power_doubling(A: Tensor, B: Tensor, C: Tensor, length: int) -> Tensor:
    """All A^l B (H, N, L), by multiplying what exists with A, A^2, A^4, ..., then one product with C.

    Example:
        >>> power_doubling(torch.eye(1)[None], torch.ones(1, 1), torch.ones(1, 1, 1), 3)
        tensor([[[1., 1., 1.]]])
    """
    states, power = B.unsqueeze(-1), A
    while states.shape[-1] < length:
        states = torch.cat([states, power @ states], dim=-1)
        power = power @ power
    return C @ states[..., :length]


def cauchy_at_roots(Lambda: Tensor, P: Tensor, B: Tensor, C: Tensor, dt: Tensor, length: int) -> Tensor:
    """S4's kernel (H, 1, L) from Cauchy sums over the roots of unity, all terms held; `C` is already corrected.

    The nodes are rounded from float64; the published code computes them in complex64, which is less accurate.

    Example:
        >>> one = torch.ones(1, 1) + 0j
        >>> cauchy_at_roots(-one, 0 * one, one, one[None], torch.ones(1), 4).shape
        torch.Size([1, 1, 4])
    """
    angles = torch.arange(length // 2 + 1, dtype=torch.float64, device=dt.device) * (-2 * torch.pi / length)
    root = torch.polar(torch.ones_like(angles), angles)
    node = (2 * (1 - root) / (1 + root)).to(Lambda.dtype)
    left, right = torch.stack([C[:, 0], P.conj()], 1), torch.stack([B, P], 1)
    weight = (left[:, :, None] * right[:, None]) * dt[:, None, None, None]
    pole = (Lambda * dt[:, None])[:, None, None, :, None]
    terms = weight[..., None] / (node - pole) + weight.conj()[..., None] / (node - pole.conj())
    sums = terms.sum(3)
    closed = sums[:, 0, 0] - sums[:, 0, 1] * sums[:, 1, 0] / (1 + sums[:, 1, 1])
    kernel: Tensor = torch.fft.irfft(closed * (1 + node / 2), n=length).unsqueeze(1)
    return kernel


def corrected(Lambda: Tensor, P: Tensor, B: Tensor, C: Tensor, dt: Tensor, length: int) -> Tensor:
    """C (I - A_bar^L), one half of its conjugate pairs: with it, sums over roots of unity are truncated at L."""
    low_rank, full = torch.cat([P, P.conj()], -1), torch.cat([C, C.conj()], -1)
    A = torch.diag_embed(torch.cat([Lambda, Lambda.conj()], -1)) - low_rank[:, :, None] * low_rank.conj()[:, None]
    eye, half = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device), dt[:, None, None] / 2 * A
    power = torch.linalg.matrix_power(torch.linalg.solve(eye - half, eye + half), length)
    half_of_pairs: Tensor = (full - full @ power)[..., : C.shape[-1]]
    return half_of_pairs


def prepare_cauchy(inputs: Inputs, setting: Setting) -> Task:
    """Corrects C beforehand: the published layer trains the corrected C and pays for it once, at the start."""
    wide = {name: value.to(torch.complex128 if value.is_complex() else torch.float64) for name, value in inputs.items()}
    with torch.no_grad():
        C = corrected(**wide, length=setting["L"]).to(inputs["C"].dtype)
    given = {**inputs, "C": C.requires_grad_(inputs["C"].requires_grad)}
    return Task(partial(cauchy_at_roots, **given, length=setting["L"]), with_gradient(given))


def terms(setting: Setting, copies: tuple[float, float], backward: bool) -> float:
    """Bytes of `copies` arrays (H, N, L) of real numbers, one count for each pass."""
    return copies[backward] * setting["H"] * setting["N"] * setting["L"] * setting.itemsize


MATERIALISED = plain_form(
    "materialised exp + einsum",
    "S4D's kernel in plain torch, arXiv:2206.11893, listing 1",
    lambda inputs, setting: materialised(**inputs, length=setting["L"]),
    unless_it_fits(lambda setting, backward: terms(setting, (2, 5), backward)),
)
POWER_DOUBLING = plain_form(
    "power doubling",
    "the Krylov function of arXiv:2110.13985, section 4, in plain torch",
    lambda inputs, setting: power_doubling(**inputs, length=setting["L"]),
    unless_it_fits(lambda setting, backward: terms(setting, (4, 7), backward)),
)
NAIVE_CAUCHY = Form(
    "naive Cauchy sums",
    "S4's kernel in plain torch, arXiv:2111.00396, algorithm 1; C is corrected for truncation beforehand, uncounted",
    prepare_cauchy,
    unless_it_fits(lambda setting, backward: terms(setting, (6, 16), backward)),
)
