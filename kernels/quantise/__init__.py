"""Numbers in a few bits each: `quantise` to packed bytes, `dequantise` back, the same on every device."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.checks import check_positive_int, check_shape
from seqkit.kernels.backend import check_values, choose_backend
from seqkit.kernels.quantise.layout import code_bytes, largest_code, n_groups, row_bytes
from seqkit.kernels.quantise.op import dequantise_op, quantise_op

__all__ = ["code_bytes", "dequantise", "largest_code", "n_groups", "quantise", "row_bytes"]


def quantise(
    x: Tensor,
    bits: int,
    group: int = 64,
    *,
    seed: Tensor | None = None,
    scale: str = "absmax",
    backend: str = "auto",
) -> Tensor:
    """Writes each number of a row as a whole number q of steps, in `bits` bits, a step for each group of numbers.

        step = max |x| / L, rounded up to bfloat16,   L = 2^(bits-1) - 1,   q = round(x / step) in -L .. L

    Nothing lies beyond L, zeros stay zeros, and q step is exact in float32, so that m + q step has the same bits on
    every device and with or without fused multiply-add. With 1 bit q is -1 or 1 and the step the mean of |x|.

    Args:
        x: Rows, (R, n), float32.
        bits: Bits b of a number, 1 to 8.
        group: Numbers that share a step, a multiple of 8; the last group of a row may be shorter.
        seed: Left out, q is the nearest. A whole number, int64 without dimensions: q is one of the two neighbours at
            random, so that the mean of q step is x (1 bit: -1 or 1, and the step is max |x|).
        scale: "absmax" as above. "minimax", of use without a seed: step = max |x| / (L + 1/2), so that no number is
            further than half a step from its code, and |x - q step| <= max |x| / (2 L + 1), the least that can be.
        backend: "auto", "reference", "cpu" or "triton".

    Returns:
        Bytes, (R, 2 ceil(n / group) + ceil(n b / 8)), uint8: the steps, then the codes q + L as one string of bits,
        each byte filled from its lowest bit.

    Raises:
        TypeError: `x` is not float32.
        ValueError: shapes or options are out of range, a value is not finite, or the backend cannot serve.

    Source:
        The use is that of Wang et al. 2022, AC-SGD (arXiv:2206.01299). Differs from its code: the grid is symmetric, so
        the largest value is met; steps are rounded up; groups lie along a row.

    Cost and backends: two passes over x, b / 8 bytes a number. No gradient is given.

    Example:
        >>> import torch
        >>> data = quantise(torch.tensor([[1.0, -7.0, 3.4]]), 4, 8)
        >>> dequantise(data, 3, 4, 8)
        tensor([[ 1., -7.,  3.]])
    """
    check_options(bits, group)
    check_shape("x", x, ("R", "n"), "give a row for each message")
    if x.dtype != torch.float32:
        raise TypeError(f"`x` must be float32, got {x.dtype}; convert it with .float()")
    if scale not in ("absmax", "minimax"):
        raise ValueError(f"`scale` must be one of absmax, minimax, got {scale!r}")
    if scale == "minimax" and seed is not None:
        raise ValueError('`scale` must be "absmax" with a seed, got "minimax"; cut numbers would have a bias')
    check_values({"x": x})
    x = x.detach().contiguous()
    number = torch.zeros((), dtype=torch.int64, device=x.device) if seed is None else seed.to(x.device)
    path = choose_backend(backend, x)
    found: Tensor = quantise_op(x, number, bits, group, seed is not None, scale == "minimax", path)
    return found


def dequantise(
    data: Tensor, length: int, bits: int, group: int = 64, *, onto: Tensor | None = None, backend: str = "auto"
) -> Tensor:
    """Reads what `quantise` wrote and adds it to `onto`: onto + q step, the same bits on every path.

    Args:
        data: Bytes, (R, W), uint8.
        length: Numbers n of a row.
        bits: Bits of a number, as given to `quantise`.
        group: Numbers that share a step, as given to `quantise`.
        onto: Rows to add to, (R, n), float32; left out, zeros.
        backend: "auto", "reference", "cpu" or "triton".

    Returns:
        Rows, (R, n), float32.

    Raises:
        TypeError: a dtype is another.
        ValueError: shapes or options do not fit, or the backend cannot serve.

    Source: see `quantise`.

    Cost: one pass. No gradient is given.

    Example:
        >>> import torch
        >>> data = quantise(torch.ones(1, 3), 2, 8)
        >>> dequantise(data, 3, 2, 8, onto=torch.ones(1, 3))
        tensor([[2., 2., 2.]])
    """
    check_options(bits, group)
    check_positive_int("length", length)
    if data.dtype != torch.uint8:
        raise TypeError(f"`data` must be uint8, got {data.dtype}; give what `quantise` returned")
    width = row_bytes(length, bits, group)
    check_shape("data", data, ("R", width), f"{length} numbers of {bits} bits in groups of {group} are {width} bytes")
    base = torch.empty(0, length, device=data.device) if onto is None else onto.detach()
    if base.dtype != torch.float32:
        raise TypeError(f"`onto` must be float32, got {base.dtype}; convert it with .float()")
    if onto is not None:
        check_shape("onto", base, (len(data), length))
    path = choose_backend(backend, base)
    found: Tensor = dequantise_op(data.contiguous(), base.contiguous(), length, bits, group, path)
    return found


def check_options(bits: int, group: int) -> None:
    """Refuses bits beyond 1 to 8 and groups that are no multiple of 8."""
    if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= 8:
        raise ValueError(f"`bits` must be a whole number from 1 to 8, got {bits!r}")
    if isinstance(group, bool) or not isinstance(group, int) or group < 8 or group % 8:
        raise ValueError(f"`group` must be a multiple of 8, got {group!r}")
