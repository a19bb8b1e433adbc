"""Which path of an operator runs, and the checks every operator shares."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

from seqkit.checks import check_choice

__all__ = ["BACKENDS", "check_dtypes", "check_leading", "choose_backend", "full_precision", "without_autocast"]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

BACKENDS = ("auto", "reference", "cpu")
VARIABLE = "SEQKIT_BACKEND"
WIDE = {torch.float32: torch.complex64, torch.float64: torch.complex128}


def choose_backend(backend: str) -> str:
    """Resolves `backend`, where "auto" follows the variable SEQKIT_BACKEND and then the fast path.

    "reference" is the plain definition, differentiable any number of times. "cpu" is the blocked torch path; it is
    plain torch and so also serves tensors on other devices. An argument other than "auto" wins over the variable.

    Args:
        backend: One of "auto", "reference", "cpu".

    Returns:
        "reference" or "cpu".

    Raises:
        ValueError: the argument or the variable names no backend.

    Example:
        >>> choose_backend("reference")
        'reference'
    """
    check_choice("backend", backend, BACKENDS)
    if backend == "auto":
        backend = check_choice(VARIABLE, os.environ.get(VARIABLE, "auto"), BACKENDS)
    return "cpu" if backend == "auto" else backend


def full_precision(value: Tensor) -> Tensor:
    """Lifts half precision to float32 under autocast: these operators lose their meaning with 8 bits of mantissa.

    Example:
        >>> with torch.autocast("cpu"):
        ...     full_precision(torch.zeros(1, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    halves = (torch.bfloat16, torch.float16)
    return value.float() if value.dtype in halves and torch.is_autocast_enabled(value.device.type) else value


def without_autocast(kernel: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Runs `kernel` with autocast off: autocast reaches the products inside an operator too, and would round them.

    Example:
        >>> with torch.autocast("cpu"):
        ...     without_autocast(torch.mm)(torch.ones(1, 1), torch.ones(1, 1)).dtype
        torch.float32
    """

    @functools.wraps(kernel)
    def exact(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        device = next(arg.device.type for arg in args if isinstance(arg, Tensor))
        with torch.autocast(device, enabled=False):
            return kernel(*args, **kwargs)

    return exact


def check_dtypes(real: Mapping[str, Tensor], cplx: Mapping[str, Tensor]) -> None:
    """Refuses dtypes other than float32 or float64 (complex64 or complex128), mixed widths and mixed devices.

    Args:
        real: Tensors that must be real, by the name the caller knows them under.
        cplx: Tensors that must be complex.

    Raises:
        TypeError: a dtype is not allowed, or differs in width from the first tensor's.
        ValueError: a tensor lies on another device than the first.

    Example:
        >>> check_dtypes({"u": torch.zeros(1)}, {"Lambda": torch.zeros(1, dtype=torch.complex64)})
    """
    named = [(name, value, False) for name, value in real.items()] + [
        (name, value, True) for name, value in cplx.items()
    ]
    first_name, first, first_is_complex = named[0]
    for name, value, is_complex in named:
        allowed = tuple(WIDE.values()) if is_complex else tuple(WIDE)
        if value.dtype not in allowed:
            words = " or ".join(str(dtype).removeprefix("torch.") for dtype in allowed)
            raise TypeError(f"`{name}` must be {words}, got {value.dtype}; convert it with .to({allowed[0]})")
        if value.device != first.device:
            raise ValueError(f"`{name}` must be on {first.device} like `{first_name}`, got {value.device}")
        width = value.dtype.itemsize // (2 if is_complex else 1)
        first_width = first.dtype.itemsize // (2 if first_is_complex else 1)
        if width != first_width:
            raise TypeError(
                f"`{name}` must have the precision of `{first_name}` ({first.dtype}), got {value.dtype}; "
                "convert one of them"
            )


def check_leading(leading: Mapping[str, torch.Size]) -> torch.Size:
    """Returns the common leading shape of the named tensors.

    Raises:
        ValueError: they do not broadcast.

    Example:
        >>> check_leading({"A": torch.Size([1]), "B": torch.Size([4])})
        torch.Size([4])
    """
    try:
        return torch.Size(torch.broadcast_shapes(*leading.values()))  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        given = ", ".join(f"`{name}` {tuple(shape)}" for name, shape in leading.items())
        raise ValueError(f"leading dimensions must broadcast, got {given}; make them equal or 1") from error
