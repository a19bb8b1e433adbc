"""The short tables of the chunked form, and the gradients that come back through them.

With powers P[j] = A^j, a chunk of Q samples u that starts in state s gives

    y = T u + 2 Re C P[1..Q] s,     T[q, p] = K[q - p],  K[j] = 2 Re C P[j] B
    next s = P[Q] s + sum_q P[Q-1-q] B u[q]

Powers come from repeated products: no logarithm of an A that may be 0, no division by a decay that may underflow. They
are made in complex128, because an error of P[Q] is repeated in every chunk.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["TableGradients", "Tables", "chunk_size", "make_tables", "pairs", "tables_backward", "unpair"]

COMPLEX = {torch.float32: torch.complex64, torch.float64: torch.complex128}


class Tables(NamedTuple):
    """What a chunk is multiplied by; complex numbers lie as their real parts, then their imaginary parts.

    Args:
        powers: A^j, j = 0 .. Q, (H, N, Q + 1) complex, in the precision of the products.
        jump: A^Q, (H, N) complex128.
        into: From samples to the chunk's contribution to the state, (H, 2N, Q).
        out: From [samples, state] to outputs, (H, Q + 2N, M Q), transposed.
    """

    powers: Tensor
    jump: Tensor
    into: Tensor
    out: Tensor


class TableGradients(NamedTuple):
    """Gradients of the tables, summed while blocks go by."""

    powers: Tensor
    jump: Tensor
    into: Tensor
    out: Tensor

    @classmethod
    def zeros(cls, tables: Tables) -> TableGradients:
        """Starts the sums."""
        return cls(*(torch.zeros_like(table) for table in tables))


def chunk_size(n_pairs: int) -> int:
    """Samples per chunk: the Toeplitz part costs Q a sample and the state part 4N, and short products are slow."""
    return 32 if n_pairs <= 48 else 64


def pairs(values: Tensor, dim: int) -> Tensor:
    """Lays complex numbers out as real parts, then imaginary parts, along `dim`."""
    return torch.cat([values.real, values.imag], dim=dim)


def unpair(values: Tensor, dim: int) -> Tensor:
    """The complex numbers of `pairs`."""
    real, imag = values.chunk(2, dim=dim)
    return torch.complex(real.contiguous(), imag.contiguous())


def make_powers(A: Tensor, count: int) -> Tensor:
    """Returns A^j, j = 0 .. count (a power of two), (H, N, count + 1), by doubling."""
    table = A.new_empty(*A.shape, count + 1)
    table[..., 0] = 1
    table[..., 1] = A
    have = 1
    while have < count:
        torch.mul(table[..., 1 : have + 1], table[..., have, None], out=table[..., have + 1 : 2 * have + 1])
        have *= 2
    return table


def make_tables(A: Tensor, B: Tensor, C: Tensor, size: int, dtype: torch.dtype) -> Tables:
    """Makes the tables for A, B (H, N) complex128, C (M, H, N) and chunks of `size` samples, in the real `dtype`."""
    (n_channels, n_pairs), n_outputs = A.shape, C.shape[0]
    wide = make_powers(A, size)
    powers = wide.to(COMPLEX[dtype])
    b, c = B.to(powers.dtype), C.to(powers.dtype).transpose(0, 1)
    into = pairs(powers[..., :size].flip(-1) * b.unsqueeze(-1), 1)
    out = into.new_zeros(n_channels, size + 2 * n_pairs, n_outputs, size)
    response = (2 * c.mT).unsqueeze(-1) * powers[..., None, 1:]  # (H, N, M, Q)
    out[:, size : size + n_pairs] = response.real
    torch.neg(response.imag, out=out[:, size + n_pairs :])
    # K[0 .. Q-1] = 2 Re C B P, as one real product.
    weight = 2 * c * b.unsqueeze(1)
    kernel = torch.cat([weight.real, -weight.imag], -1) @ pairs(powers[..., :size], 1)
    # Row p of T transposed holds K[q - p] at q: the windows of a kernel with zeros before it, last one first.
    windows = torch.nn.functional.pad(kernel, (size - 1, 0)).unfold(-1, size, 1)
    out[:, :size] = windows.flip(2).transpose(1, 2)
    return Tables(powers, wide[..., size].contiguous(), into, out.flatten(2))


def tables_backward(tables: Tables, B: Tensor, C: Tensor, gradients: TableGradients) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of A, B (complex128) and C from those of the tables.

    Adds to the gradients of the powers in place.
    """
    d_powers, d_jump, d_into, d_out = gradients
    powers = tables.powers
    (n_channels, n_pairs), size, n_outputs = B.shape, powers.shape[-1] - 1, C.shape[0]
    b, c = B.to(powers.dtype), C.to(powers.dtype).transpose(0, 1)
    # The steps towards the state: P[Q-1-q] B.
    d_newest = unpair(d_into, 1).flip(-1)
    d_powers[..., :size] += d_newest * b.conj().unsqueeze(-1)
    d_b = (d_newest * powers[..., :size].conj()).sum(-1)
    # The steps from the state: 2 C P[q+1].
    d_out = d_out.view(n_channels, size + 2 * n_pairs, n_outputs, size)
    d_response = 2 * torch.complex(d_out[:, size : size + n_pairs], -d_out[:, size + n_pairs :])
    d_powers[..., 1:] += (d_response * c.conj().mT.unsqueeze(-1)).sum(2)
    d_c = (d_response * powers[..., None, 1:].conj()).sum(-1).mT
    # The Toeplitz part: the diagonals of dT are sums that belong to one lag each.
    # With every row one longer, the same memory read in rows of the old length has the diagonals as columns.
    turned = torch.nn.functional.pad(d_out[:, :size].transpose(1, 2).flip(2), (0, size))
    rows = turned.flatten(2)[..., : size * (2 * size - 1)].view(n_channels, n_outputs, size, 2 * size - 1)
    d_kernel = rows.sum(2)[..., size - 1 :]
    d_weight = 2 * (d_kernel.to(powers.dtype) @ powers[..., :size].mT.conj())
    d_b = d_b + (d_weight * c.conj()).sum(1)
    d_c = d_c + d_weight * b.conj().unsqueeze(1)
    weight = (c * b.unsqueeze(1)).conj()
    d_powers[..., :size] += 2 * (weight.mT @ d_kernel.to(powers.dtype))
    # A^j has the derivative j A^(j-1).
    d_powers[..., size] += d_jump
    exponents = torch.arange(1, size + 1, dtype=d_out.dtype, device=d_out.device)
    d_a = (d_powers[..., 1:] * (powers[..., :size].conj() * exponents)).sum(-1)
    return d_a.to(B.dtype), d_b.to(B.dtype), d_c.transpose(0, 1).to(C.dtype).contiguous()
