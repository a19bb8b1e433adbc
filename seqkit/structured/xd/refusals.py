"""What no XD-operation can stand for or take, refused in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from seqkit.checks import check_positive_int

if TYPE_CHECKING:
    from seqkit.structured.xd.layer import XDConv

__all__ = ["Depth", "check_convolution", "check_depth", "check_input", "check_room"]

Depth = int | tuple[int, int, int]


def check_depth(depth: Depth) -> tuple[int, int, int]:
    """One depth for K, L and M each."""
    if isinstance(depth, tuple | list):
        if len(depth) != 3:
            raise ValueError(f"`depth` must be one number or three, for K, L and M, got {len(depth)} numbers")
        k, latent, m = (check_positive_int("depth", one) for one in depth)
        return k, latent, m
    one = check_positive_int("depth", depth)
    return one, one, one


def check_convolution(conv: Any, kind: type[nn.Module]) -> None:
    """Refuses what no operation here equals."""
    if not isinstance(conv, kind):
        raise ValueError(
            f"`conv` must be a {kind.__name__}, got {type(conv).__name__}; operations K diag(L w) M replace "
            "convolutions, not transposed ones, pooling, or layers that depend on their input otherwise"
        )
    weight = conv.weight
    if isinstance(weight, nn.UninitializedParameter):
        raise ValueError("`conv` must know its number of channels, got a lazy layer; run it once before")
    if weight.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"`conv` must have weights of float32 or float64, got {weight.dtype}; convert it with .to")
    if "weight" not in conv._parameters and not nn.utils.parametrize.is_parametrized(conv, "weight"):
        raise ValueError(
            "`conv` must have its weight as a parameter or parametrized, got one that a hook computes before each "
            "call; use torch.nn.utils.parametrizations"
        )


def check_room(layer: XDConv) -> None:
    """Refuses inputs too short for the kernel, and windows that hold no single last output."""
    for axis, one in zip(layer.axes, layer.size, strict=True):
        if axis.outputs(axis.size) < 1:
            raise ValueError(
                f"`size` must hold the kernel, which spans {axis.dilation * (axis.kernel - 1) + 1} samples, got {one} "
                f"with {axis.left} and {axis.right} added; take a longer input or more padding"
            )
    if layer.causal == "stack":
        axis = layer.axes[0]
        if axis.stride != 1 or layer.conv.padding_mode != "zeros":
            raise ValueError(
                f"`conv` must have stride 1 and padding of zeros for causal='stack', got stride {axis.stride} and "
                f"{layer.conv.padding_mode}; take causal='none'"
            )
        if axis.dilation * (axis.kernel - 1) + 1 > axis.size:
            raise ValueError(
                f"`length` must be at least the {axis.dilation * (axis.kernel - 1) + 1} samples that the kernel spans "
                f"for causal='stack', got {axis.size}"
            )


def check_input(layer: XDConv, x: Tensor) -> None:
    """Refuses inputs that the convolution would refuse, and sizes other than the operation's."""
    conv = layer.conv
    if x.dim() != layer.n_axes + 2 or x.shape[1] != conv.in_channels or not x.is_floating_point():
        sizes = ", ".join(str(one) for one in layer.size)
        raise ValueError(
            f"`x` must have shape (B, {conv.in_channels}, {sizes}) and floating numbers, got {tuple(x.shape)} and "
            f"{x.dtype}; give it the channels and axes of the convolution"
        )
    if layer.causal == "stack":
        axis = layer.axes[0]
        if axis.outputs(x.shape[-1]) < 1:
            raise ValueError(f"`x` must hold the kernel's {axis.kernel} taps, got {tuple(x.shape)}; take a longer one")
        return
    for axis, one, given in zip(layer.axes, layer.size, x.shape[2:], strict=True):
        shorter = conv.padding_mode == "zeros" and given < one and axis.outputs(given) >= 1
        if given != one and not shorter:
            raise ValueError(
                f"`x` must have the size {layer.size} that its operation was made for, got {tuple(x.shape[2:])}; "
                "pad or cut it, or make the operation for this size"
            )
