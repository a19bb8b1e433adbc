"""The kernel of a diagonal system from two short tables of exponentials and one real matrix product.

With l = i m + j, exp(l a) = exp(i m a) exp(j a): the tables hold about 2 N sqrt(L) exponentials instead of N L. Modes
lie last, so that a complex table (n, N) read as real numbers is the matrix (n, 2N) the product needs, without a copy.
"""

from __future__ import annotations

import math
from importlib.util import find_spec

import torch
from torch import Tensor

from seqkit.kernels.threads import share

HAS_NUMBA = find_spec("numba") is not None
if HAS_NUMBA:
    from seqkit.kernels.vandermonde import loops

SMALLEST = 1 << 14  # powers that are worth a thread

__all__ = ["vandermonde_backward", "vandermonde_forward"]


def split(length: int, n_outputs: int) -> tuple[int, int]:
    """Returns the numbers of fine steps m and of coarse steps; a coarse row is paid per output, a fine one once."""
    fine = 1 << max(0, round(math.log2(max(1.0, math.sqrt(length * n_outputs)))))
    return fine, -(-length // fine)


def exponentials(a: Tensor, count: int, stride: int) -> Tensor:
    """Returns exp(stride l a), l = 0 .. count-1, (H, count, N) for a (H, N)."""
    n_channels, n_pairs = a.shape
    if not HAS_NUMBA or a.device.type != "cpu":
        return exponentials_of_tables(a, count, stride)
    table = a.new_empty(n_channels, count, n_pairs)
    given = torch.view_as_real(a.detach().resolve_conj().contiguous()).numpy()
    found = torch.view_as_real(table).numpy()
    share(
        lambda start, stop: loops.powers(start, stop, given, stride, found),
        n_channels,
        SMALLEST // max(1, count * n_pairs),
    )
    return table


def exponentials_of_tables(a: Tensor, count: int, stride: int) -> Tensor:
    """What `exponentials` returns, in torch.

    The table is itself a product of two short ones, because a multiplication is several times cheaper than an
    exponential with its sine and cosine.
    """
    inner = 1 << ((count - 1).bit_length() // 2)
    outer = -(-count // inner)
    steps = torch.arange(inner, dtype=torch.float64, device=a.device)
    jumps = torch.arange(outer, dtype=torch.float64, device=a.device) * inner
    table = exponential(a, stride * torch.cat([steps, jumps]))
    product = table[:, inner:].unsqueeze(2) * table[:, :inner].unsqueeze(1)
    return product.flatten(1, 2)[:, :count]


def exponential(a: Tensor, steps: Tensor) -> Tensor:
    """Returns exp(l a) for `steps` l in float64, (H, n, N).

    Phases are reduced to one turn in float64: l Im(a) reaches 1e5 radians, of which float32 keeps 2 digits.
    """
    wide = a.to(torch.complex128).unsqueeze(1)
    turns = wide.imag * (steps.unsqueeze(-1) / (2 * torch.pi))
    phase = ((turns - turns.round()) * (2 * torch.pi)).to(a.real.dtype)
    return torch.polar((wide.real * steps.unsqueeze(-1)).to(a.real.dtype).exp(), phase)


def as_real(table: Tensor) -> Tensor:
    """Reads a complex (..., n, N) as real numbers (..., n, 2N)."""
    return torch.view_as_real(table).flatten(-2)


def vandermonde_forward(a: Tensor, weight: Tensor, length: int) -> Tensor:
    """Returns K (H, M, length) for a (H, N), weight (H, M, N): 2 Re(Y X) as one real product."""
    n_channels, n_outputs, _ = weight.shape
    fine, n_coarse = split(length, n_outputs)
    near = exponentials(a, fine, 1)
    # Conjugates are written out: while an op is traced, lazy ones are taken for plain numbers.
    far = exponentials(a.conj_physical(), n_coarse, fine).unsqueeze(1) * (2 * weight.conj_physical()).unsqueeze(2)
    out = as_real(far).flatten(1, 2) @ as_real(near).mT
    return out.view(n_channels, n_outputs, n_coarse * fine)[..., :length].contiguous()


def vandermonde_backward(grad: Tensor, a: Tensor, weight: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Returns the gradients of a and weight.

    Both follow from T0 = sum_l g_l exp(l a) and T1 = sum_l g_l l exp(l a):  2 conj(T0) and 2 conj(sum_M weight T1).
    """
    n_channels, n_outputs, n_pairs = weight.shape
    fine, n_coarse = split(length, n_outputs)
    if length < n_coarse * fine:
        padded = grad.new_zeros(n_channels, n_outputs, n_coarse * fine)
        padded[..., :length] = grad
        grad = padded
    rows = grad.view(n_channels, n_outputs * n_coarse, fine)
    near = as_real(exponentials(a, fine, 1))
    steps = torch.arange(n_coarse * fine, dtype=near.dtype, device=a.device).view(n_coarse, fine)
    inner = (rows @ near).view(n_channels, n_outputs, n_coarse, 2 * n_pairs)
    by_step = (rows @ (near * steps[0].unsqueeze(-1))).view_as(inner).addcmul_(inner, steps[:, :1])
    far = exponentials(a, n_coarse, fine).unsqueeze(1)
    total, total_by_step = (
        (torch.view_as_complex(value.view(*value.shape[:-1], n_pairs, 2)) * far).sum(2) for value in (inner, by_step)
    )
    return 2 * (weight * total_by_step).sum(1).conj_physical(), 2 * total.conj_physical()
