"""Inputs of a measurement: rounded to a dtype, widened for the reference, ready to be differentiated by."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.bench.case import Inputs

__all__ = ["cast", "leaves_of", "widen", "with_gradient"]

WIDE = {True: torch.complex128, False: torch.float64}


def cast(inputs: Inputs, dtype: str, device: str = "cpu") -> Inputs:
    """Rounds inputs to a dtype, complex ones to the complex type that goes with it.

    Half precision is for signals, named `u`; what else there is stays in float32, as under autocast.

    Example:
        >>> cast({"u": torch.zeros(1, dtype=torch.float64)}, "bfloat16")["u"].dtype
        torch.bfloat16
    """
    wanted: torch.dtype = getattr(torch, dtype)
    single = torch.float32 if wanted.itemsize < 4 else wanted

    def one(name: str, value: Tensor) -> Tensor:
        if value.is_complex():
            return value.to(device, single.to_complex())
        if value.is_floating_point():
            return value.to(device, wanted if name == "u" else single)
        return value.to(device)

    return {name: one(name, value) for name, value in inputs.items()}


def widen(inputs: Inputs) -> Inputs:
    """The same numbers in float64 and complex128 on the CPU.

    Example:
        >>> widen({"u": torch.zeros(1)})["u"].dtype
        torch.float64
    """

    def one(value: Tensor) -> Tensor:
        exact = value.is_floating_point() or value.is_complex()
        return value.detach().cpu().to(WIDE[value.is_complex()]) if exact else value.cpu()

    return {name: one(value) for name, value in inputs.items()}


def with_gradient(inputs: Inputs) -> tuple[Tensor, ...]:
    """The inputs that ask for a gradient.

    Example:
        >>> with_gradient({"u": torch.zeros(1)})
        ()
    """
    return tuple(value for value in inputs.values() if value.requires_grad)


def leaves_of(inputs: Inputs) -> Inputs:
    """Inputs that a backward pass differentiates by: the same numbers, detached, with gradients asked for.

    Example:
        >>> leaves_of({"u": torch.zeros(1)})["u"].requires_grad
        True
    """
    return {
        name: value.detach().requires_grad_() if value.is_floating_point() or value.is_complex() else value
        for name, value in inputs.items()
    }
