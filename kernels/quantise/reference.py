"""The definition: a step for each group, a whole number of steps for each value, packed as a string of bits."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from seqkit.kernels.backend import without_autocast
from seqkit.kernels.quantise.layout import code_bytes, divisor, largest_code, n_groups, row_bytes
from seqkit.kernels.quantise.noise import uniform

__all__ = ["dequantise_reference", "quantise_reference"]

SMALLEST = 2.0**-126  # below, bfloat16 and float32 lose digits, and devices differ
LARGEST = 0x7F7F  # the largest bfloat16


@without_autocast
def quantise_reference(x: Tensor, seed: Tensor, bits: int, group: int, stochastic: bool, minimax: bool) -> Tensor:
    """Returns the bytes (R, W) of rows x (R, n), float32: bfloat16 steps of the groups, then the codes."""
    n_rows, length = x.shape
    if n_rows == 0:
        return x.new_empty(0, row_bytes(length, bits, group), dtype=torch.uint8)
    parts = grouped(x, group)
    steps = steps_of(parts, length, bits, stochastic, minimax)
    top, step = largest_code(bits), steps.float().unsqueeze(-1)
    scaled = parts * torch.where(step > 0, 1 / step, 0)
    if stochastic:
        noise = grouped(uniform(seed, n_rows, length), group)
        # With 1 bit the two values are -1 and 1, so the distance between neighbours is 2.
        q = ((scaled / 2 + 0.5 + noise).floor() * 2 - 1) if bits == 1 else (scaled + noise).floor()
    else:
        q = torch.where(scaled < 0, -1, 1) if bits == 1 else scaled.round()
    q = q.clamp(-top, top).long()
    codes = ((q + top) // 2 if bits == 1 else q + top).flatten(1)[:, :length]
    return torch.cat([bytes_of(steps), pack(codes, bits)], 1)


@without_autocast
def dequantise_reference(data: Tensor, onto: Tensor, length: int, bits: int, group: int) -> Tensor:
    """Returns onto + q step, (R, n) float32, of bytes (R, W); `onto` is (R, n), or (0, n) for zeros."""
    n_rows, n_steps = len(data), n_groups(length, group)
    two = data[:, : 2 * n_steps].long().view(n_rows, n_steps, 2)
    steps = ((two[..., 1] << 24) | (two[..., 0] << 16)).int().view(torch.float32)
    codes, top = unpack(data[:, 2 * n_steps :], length, bits), largest_code(bits)
    q = (2 * codes - 1 if bits == 1 else codes - top).float()
    change = (grouped(q, group) * steps.unsqueeze(-1)).flatten(1)[:, :length]
    return onto + change if len(onto) else change.contiguous()


def grouped(x: Tensor, group: int) -> Tensor:
    """Rows (R, n) as (R, groups, group), zeros at the end."""
    return F.pad(x, (0, -x.shape[1] % group)).view(len(x), n_groups(x.shape[1], group), group)


def steps_of(parts: Tensor, length: int, bits: int, stochastic: bool, minimax: bool) -> Tensor:
    """The step of each group, rounded up to bfloat16: nothing lies beyond the largest code but what minimax cuts.

    One bit, rounded to nearest, takes the mean, which is nearest to the group in squares; it is a sum of float64, so
    that its order hardly matters.
    """
    size = parts.abs()
    if bits == 1 and not stochastic:
        counts = torch.full(parts.shape[1:2], float(parts.shape[2]), dtype=torch.float64, device=parts.device)
        if length % parts.shape[2]:
            counts[-1] = length % parts.shape[2]
        step = (size.double().sum(-1) / counts).float()
    else:
        step = size.amax(-1) / divisor(bits, minimax)
    step = torch.where(step > 0, step.clamp(min=SMALLEST), step)
    up = ((step.view(torch.int32) + 0xFFFF) >> 16).clamp(max=LARGEST)
    return (up << 16).view(torch.float32).bfloat16()


def bytes_of(steps: Tensor) -> Tensor:
    """The bytes of steps (R, groups), the low one first: (R, 2 groups)."""
    return steps.contiguous().view(torch.uint8).view(len(steps), 2 * steps.shape[1])


def pack(codes: Tensor, bits: int) -> Tensor:
    """Codes (R, n), int64, as a string of bits, the lowest first; eight codes are `bits` whole bytes."""
    length = codes.shape[1]
    eights = grouped(codes, 8) << (bits * torch.arange(8, device=codes.device))
    words = eights.sum(-1)  # no two of them share a bit
    data = (words.unsqueeze(-1) >> (8 * torch.arange(bits, device=codes.device))) & 255
    return data.to(torch.uint8).flatten(1)[:, : code_bytes(length, bits)]


def unpack(data: Tensor, length: int, bits: int) -> Tensor:
    """Codes (R, n), int64, of their bytes."""
    eights = grouped(data.long(), bits) << (8 * torch.arange(bits, device=data.device))
    words = eights.sum(-1)
    codes = (words.unsqueeze(-1) >> (bits * torch.arange(8, device=data.device))) & ((1 << bits) - 1)
    return codes.flatten(1)[:, :length]
