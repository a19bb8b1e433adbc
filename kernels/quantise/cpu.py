"""The path for CPUs: the definition in torch."""

from __future__ import annotations

from torch import Tensor

from seqkit.kernels.quantise.reference import dequantise_reference, quantise_reference

__all__ = ["dequantise_rows", "quantise_rows"]


def quantise_rows(x: Tensor, seed: Tensor, bits: int, group: int, stochastic: bool, fit: bool) -> Tensor:
    """Returns the bytes (R, W) of rows x (R, n)."""
    return quantise_reference(x, seed, bits, group, stochastic, fit)


def dequantise_rows(data: Tensor, onto: Tensor, length: int, bits: int, group: int) -> Tensor:
    """Returns onto + q step, (R, n)."""
    return dequantise_reference(data, onto, length, bits, group)
