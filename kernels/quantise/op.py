"""`seqkit::quantise` and `seqkit::dequantise` for torch's dispatcher: paths and output shapes; no gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from seqkit.kernels.quantise.layout import row_bytes
from seqkit.kernels.quantise.reference import dequantise_reference, quantise_reference

__all__ = ["dequantise_op", "quantise_op"]


def path(backend: str) -> Any:
    """The module of a path; Triton and numba are imported when they are first needed."""
    if backend == "triton":
        from seqkit.kernels.quantise import triton

        return triton
    from seqkit.kernels.quantise import cpu

    return cpu


@torch.library.custom_op("seqkit::quantise", mutates_args=())
def quantise_op(
    x: Tensor, seed: Tensor, bits: int, group: int, stochastic: bool, minimax: bool, backend: str
) -> Tensor:
    """Bytes (R, W) of rows (R, n)."""
    if backend == "reference":
        return quantise_reference(x, seed, bits, group, stochastic, minimax)
    found: Tensor = path(backend).quantise_rows(x, seed, bits, group, stochastic, minimax)
    return found


@quantise_op.register_fake
def _(x: Tensor, seed: Tensor, bits: int, group: int, stochastic: bool, minimax: bool, backend: str) -> Tensor:
    return x.new_empty(len(x), row_bytes(x.shape[1], bits, group), dtype=torch.uint8)


@torch.library.custom_op("seqkit::dequantise", mutates_args=())
def dequantise_op(data: Tensor, onto: Tensor, length: int, bits: int, group: int, backend: str) -> Tensor:
    """Rows (R, n) of bytes (R, W)."""
    if backend == "reference":
        return dequantise_reference(data, onto, length, bits, group)
    found: Tensor = path(backend).dequantise_rows(data, onto, length, bits, group)
    return found


@dequantise_op.register_fake
def _(data: Tensor, onto: Tensor, length: int, bits: int, group: int, backend: str) -> Tensor:
    return onto.new_empty(len(data), length)
