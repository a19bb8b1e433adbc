"""How the Triton kernels factor the FFT: sizes, tables, and the order in which a spectrum comes out.

With n = n0 n1 n2, samples l = (j0 n1 + j1) n2 + j2 and frequencies f = k0 + n0 (k1 + n1 k2), the FFT is products with
DFT matrices of n0, n1 and n2 points along j0, j1 and j2, and twiddles between them. Nothing is transposed if the
spectrum is left as (k0, k1, k2); so the kernel's spectrum is brought into that order, once for the whole batch.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import torch
from torch import Tensor

from seqkit.kernels.long_conv.blocks import kernel_spectra

__all__ = [
    "LARGEST",
    "Plan",
    "Tables",
    "kernel_gradient",
    "make_plan",
    "make_tables",
    "permuted_spectra",
    "size_refusal",
    "slower_with_triton",
]

NARROWEST = 16  # the narrowest product of Triton
LARGEST = 1 << 17  # samples of the circle; longer ones are left to the FFT library
ON_CHIP = 1 << 12  # points that two passes keep in registers and shared memory
SLICE = 1 << 11  # points of the two inner passes where there are three


class Plan(NamedTuple):
    """The three factors of an FFT; `outer` is 1 where two passes are enough."""

    outer: int
    rows: int
    columns: int

    @property
    def size(self) -> int:
        """Points of the FFT."""
        return self.outer * self.rows * self.columns


class Tables(NamedTuple):
    """DFT matrices and twiddles, real over imaginary parts, float32."""

    outer: Tensor  # (2, n0, n0)
    outer_twiddles: Tensor  # (2, n0, n1 n2)
    rows: Tensor  # (2, n1, n1)
    columns: Tensor  # (2, n2, n2)
    twiddles: Tensor  # (2, n1, n2)


def size_refusal(at_least: int) -> str | None:
    """Says why the Triton kernels cannot serve a circle of so many samples, or None.

    Example:
        >>> size_refusal(1 << 20)
        'its kernels hold up to 131072 samples of series and kernel together, and these have 1048576'
    """
    if at_least <= LARGEST:
        return None
    return f"its kernels hold up to {LARGEST} samples of series and kernel together, and these have {at_least}"


def slower_with_triton(at_least: int) -> str | None:
    """Says that torch's FFT is faster on a circle of so many samples, or None: measured in benchmarks/results/h100."""
    if at_least <= ON_CHIP:
        return None
    return f"torch's FFT is faster than Triton's kernels above {ON_CHIP} samples of series and kernel together"


def make_plan(at_least: int) -> Plan:
    """Factors the smallest power of two that is at least `at_least`.

    Example:
        >>> make_plan(2000), make_plan(20000)
        (Plan(outer=1, rows=64, columns=32), Plan(outer=16, rows=64, columns=32))
    """
    size = 1 << max(8, (at_least - 1).bit_length())
    outer = 1 if size <= ON_CHIP else max(NARROWEST, size // SLICE)
    columns = NARROWEST if size // outer <= 1024 else 2 * NARROWEST  # wider ones would not fit the registers
    return Plan(outer, size // outer // columns, columns)


@functools.lru_cache(maxsize=16)
def make_tables(plan: Plan, device: torch.device) -> Tables:
    """Computes the tables of a plan in float64, rounded once; kept, because every call of one shape reads the same."""
    inner = plan.rows * plan.columns
    return Tables(
        roots(plan.outer, plan.outer, plan.outer, device),
        roots(plan.outer, inner, plan.size, device),
        roots(plan.rows, plan.rows, plan.rows, device),
        roots(plan.columns, plan.columns, plan.columns, device),
        roots(plan.rows, plan.columns, inner, device),
    )


def roots(height: int, width: int, size: int, device: torch.device) -> Tensor:
    """Returns exp(-2 pi i a b / size), (2, height, width), real over imaginary part."""
    products = torch.outer(torch.arange(height), torch.arange(width)) % size
    angles = products.double() * (-2 * math.pi / size)
    return torch.stack([angles.cos(), angles.sin()]).float().to(device)


def permuted_spectra(k: Tensor, center: int, plan: Plan) -> Tensor:
    """Returns spectra of k (M, H, taps) over n in the kernels' order, (2, M, H, n0, n1, n2), real over imaginary."""
    half = kernel_spectra(k, center, plan.size) / plan.size
    full = torch.cat([half, half[..., 1:-1].flip(-1).conj()], dim=-1)  # the series are complex: two real ones in each
    turned = full.view(*k.shape[:2], plan.columns, plan.rows, plan.outer).transpose(-1, -3)
    return torch.stack([turned.real, turned.imag])


def kernel_gradient(products: Tensor, taps: int, center: int, plan: Plan) -> Tensor:
    """Returns the gradient of k (M, H, taps) from sums of spectra, (2, M, H, n0, n1, n2).

    Two series in one complex number correlate into a complex series whose real part is the sum of both correlations.
    """
    total = torch.complex(products[0], products[1]).transpose(-1, -3).flatten(-3)
    shares = torch.fft.ifft(total).real
    return torch.cat([shares[..., plan.size - center :], shares[..., : taps - center]], dim=-1)
