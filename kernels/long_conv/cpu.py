"""The path for CPUs: compiled FFTs of many series at once where numba is installed and they pay, else torch's."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from seqkit.kernels.long_conv import blocks
from seqkit.kernels.long_conv.blocks import circular_size
from seqkit.kernels.threads import share

HAS_NUMBA = find_spec("numba") is not None
if HAS_NUMBA:
    from seqkit.kernels.long_conv import loops

__all__ = ["long_conv_backward", "long_conv_forward"]

LONGEST = 1 << 21  # points up to which scratch memory is affordable: 128 MiB an array in float32, two to four of them
SMALLEST = 1 << 17  # numbers of input from which on the loops soon save more than compiling costs a machine once
WASTE = 2.0  # lanes paid for each series, up to which the loops are not slower than torch


def lane_size(at_least: int) -> int:
    """Returns the smallest 2^a or 3 2^a, a at least 1, that is at least `at_least`.

    Example:
        >>> [lane_size(n) for n in (1, 5, 1500, 1600)]
        [2, 6, 1536, 2048]
    """
    power = 1 << max(1, (at_least - 1).bit_length())
    return power // 4 * 3 if power >= 8 and power // 4 * 3 >= at_least else power


def in_lanes(u: Tensor, k: Tensor, center: int) -> bool:
    """Whether the compiled loops serve these tensors, and faster than torch."""
    if not HAS_NUMBA or u.device.type != "cpu" or u.dtype != k.dtype:
        return False
    batch_size, n_channels, length = u.shape
    paid = groups(n_channels) * loops.LANES * (batch_size + batch_size % 2)
    short = lane_size(circular_size(length, k.shape[-1], center)) <= LONGEST
    return short and u.numel() >= SMALLEST and paid <= WASTE * batch_size * n_channels


def groups(n_channels: int) -> int:
    """Number of groups of channels, one in each lane."""
    return -(-n_channels // loops.LANES)


def arrays(like: Tensor, k: Tensor, gate: Tensor, lengths: Tensor, center: int) -> tuple[Any, ...]:
    """The arguments of the loops from the kernel on, as arrays; `like` (B, M, H, L) stands in for an absent gate."""
    gated = gate.numel() > 0
    ends = lengths if len(lengths) else torch.full((len(like),), like.shape[-1])
    w = loops.roots(lane_size(circular_size(like.shape[-1], k.shape[-1], center)), k.detach()[:0].numpy().dtype)
    return array(k), array(gate if gated else like), gated, array(ends), center, w


def array(value: Tensor) -> Any:
    """The memory of a tensor."""
    return value.detach().contiguous().numpy()


def long_conv_forward(u: Tensor, k: Tensor, gate: Tensor, lengths: Tensor, center: int) -> Tensor:
    """Returns y (B, M, H, L); arguments as in `long_conv_reference`."""
    if not in_lanes(u, k, center):
        return blocks.long_conv_forward(u, k, gate, lengths, center)
    y = u.new_empty(u.shape[0], k.shape[0], u.shape[1], u.shape[2])
    signal, rest, out = array(u), arrays(y, k, gate, lengths, center), array(y)
    share(lambda start, stop: loops.convolve(signal, *rest, start, stop, out), groups(u.shape[1]))
    return y


def long_conv_backward(
    grad: Tensor, u: Tensor, k: Tensor, gate: Tensor, lengths: Tensor, center: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of u, k and the gate; the spectra, and the output before the gate, are computed again."""
    if not in_lanes(u, k, center):
        return blocks.long_conv_backward(grad, u, k, gate, lengths, center)
    du, dk, dgate = u.new_empty(u.shape), k.new_empty(k.shape), gate.new_empty(gate.shape)
    outer, signal, rest = array(grad), array(u), arrays(grad, k, gate, lengths, center)
    found = array(du), array(dk), array(dgate) if gate.numel() else outer
    share(lambda start, stop: loops.correlate(outer, signal, *rest, start, stop, *found), groups(u.shape[1]))
    return du, dk, dgate
