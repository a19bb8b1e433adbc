"""The path for CPUs: compiled loops where numba is installed, shared among threads by groups; torch otherwise."""

from __future__ import annotations

import functools
import importlib
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from seqkit.kernels.quantise.layout import divisor, largest_code, n_groups, row_bytes
from seqkit.kernels.quantise.noise import key_of
from seqkit.kernels.quantise.reference import dequantise_reference, quantise_reference
from seqkit.kernels.threads import share

__all__ = ["dequantise_rows", "quantise_rows"]

HAS_NUMBA = find_spec("numba") is not None
SMALLEST = 1 << 16  # numbers that are worth a thread


@functools.cache
def loops() -> Any:
    """The compiled loops: importing numba takes a second, so not before they are used."""
    return importlib.import_module("seqkit.kernels.quantise.loops")


def quantise_rows(x: Tensor, seed: Tensor, bits: int, group: int, stochastic: bool, minimax: bool) -> Tensor:
    """Returns the bytes (R, W) of rows x (R, n)."""
    if not HAS_NUMBA or x.device.type != "cpu" or x.numel() == 0:
        return quantise_reference(x, seed, bits, group, stochastic, minimax)
    loop, (n_rows, length) = loops(), x.shape
    out = torch.empty(n_rows, row_bytes(length, bits, group), dtype=torch.uint8)
    key = int(key_of(seed))
    given = (x.numpy(), out.numpy(), bits, largest_code(bits), divisor(bits, minimax), group, stochastic, key)
    share(lambda start, stop: loop.quantise(start, stop, *given), n_rows * n_groups(length, group), SMALLEST // group)
    return out


def dequantise_rows(data: Tensor, onto: Tensor, length: int, bits: int, group: int) -> Tensor:
    """Returns onto + q step, (R, n)."""
    if not HAS_NUMBA or data.device.type != "cpu" or data.numel() == 0:
        return dequantise_reference(data, onto, length, bits, group)
    loop = loops()
    out = torch.empty(len(data), length)
    given = (data.numpy(), onto.numpy(), len(onto) > 0, out.numpy(), bits, largest_code(bits), group)
    share(
        lambda start, stop: loop.dequantise(start, stop, *given), len(data) * n_groups(length, group), SMALLEST // group
    )
    return out
