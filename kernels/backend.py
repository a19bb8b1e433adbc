"""Which path of an operator runs, why, and the checks every operator shares."""

from __future__ import annotations

import cmath
import functools
import os
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import NamedTuple, ParamSpec, TypeVar

import torch
from torch import Tensor

from seqkit.checks import check_choice, check_finite

__all__ = [
    "BACKENDS",
    "Choice",
    "Chosen",
    "Question",
    "check_dtypes",
    "check_leading",
    "check_values",
    "choose_backend",
    "full_precision",
    "transformed",
    "triton_refusal",
    "without_autocast",
]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

PATHS = ("reference", "cpu", "triton")
BACKENDS = ("auto", *PATHS)
VARIABLE = "SEQKIT_BACKEND"
WIDE = {torch.float32: torch.complex64, torch.float64: torch.complex128}
HALF = (torch.bfloat16, torch.float16)
TRANSFORMS = {getattr(torch._C._functorch.TransformType, name) for name in ("Vmap", "Grad", "Jvp")}
HAS_TRITON = find_spec("triton") is not None


class Choice(NamedTuple):
    """The path an operator takes for given tensors.

    Args:
        backend: "reference", "cpu", "triton", or a further path of the operator.
        reason: Why this one, as words.
        refused: The other paths that cannot serve these tensors, each with its reason.
    """

    backend: str
    reason: str
    refused: dict[str, str]


class Chosen(Exception):  # noqa: N818 - an answer, not an error
    """Ends a call that only asked which path it would take; see `Question`."""

    def __init__(self, choice: Choice) -> None:
        super().__init__(choice.backend)
        self.choice = choice


class Question(str):
    """A backend name that makes `choose_backend` raise its answer, so that nothing is computed."""

    __slots__ = ()


def choose_backend(
    backend: str,
    like: Tensor,
    refused: Mapping[str, str] | None = None,
    slower: str | None = None,
    first: Mapping[str, str] | None = None,
) -> str:
    """Resolves `backend` for tensors like `like`; "auto" follows the variable SEQKIT_BACKEND, then the device.

    "reference" is the plain definition, differentiable any number of times. "cpu" is made of large torch products and,
    where a loop is natural and numba is installed, of compiled loops; where it is plain torch it also serves tensors on
    other devices. "triton" runs on CUDA devices, and anywhere under Triton's interpreter (TRITON_INTERPRET=1). Left to
    itself, a CUDA tensor takes "triton" where that can serve it and "cpu" otherwise; a CPU tensor takes "cpu". Inside
    torch.func's `grad`, `jvp` and `vmap` any tensor takes "reference", which is made of what they know. An argument
    other than "auto" wins over the variable.

    Args:
        backend: One of "auto", "reference", "cpu", "triton".
        like: A tensor whose device and dtype decide.
        refused: Paths that cannot serve this call for reasons of the operator's own, by name.
        slower: Why "auto" should leave Triton's kernels alone although they can serve, or None.
        first: Further paths of the operator, which "auto" takes before all others where they can serve, and why.

    Returns:
        "reference", "cpu", "triton" or one of `first`.

    Raises:
        ValueError: the argument or the variable names no backend, or forces one that cannot serve.

    Example:
        >>> choose_backend("reference", torch.zeros(1))
        'reference'
    """
    allowed = (*BACKENDS, *(first or {}))
    name, asked = "backend", check_choice("backend", backend, allowed)
    if asked == "auto":
        name, asked = VARIABLE, check_choice(VARIABLE, os.environ.get(VARIABLE, "auto"), allowed)
    reasons = dict(refused or {})
    if "triton" not in reasons:
        general = triton_refusal(like)
        if general is not None:
            reasons["triton"] = general
    if asked != "auto":
        if asked in reasons:
            raise ValueError(f'`{name}` must not be "{asked}" here: {reasons[asked]}; leave it at "auto"')
        words = "the argument asks for it" if name == "backend" else f"the variable {VARIABLE} asks for it"
        choice = Choice(str(asked), words, reasons)
    elif transformed():
        choice = Choice(
            "reference", "torch.func maps or differentiates forward here, for which operators have no rule", reasons
        )
    else:
        better = next((path for path in first or {} if path not in reasons), None)
        choice = by_device(like, reasons, slower) if better is None else Choice(better, (first or {})[better], reasons)
    if isinstance(backend, Question):
        raise Chosen(choice)
    return choice.backend


def transformed() -> bool:
    """Whether this call is inside torch.func's grad, jvp or vmap.

    Example:
        >>> transformed(), bool(torch.func.vmap(lambda x: x * transformed())(torch.ones(2)).all())
        (False, True)
    """
    if torch.compiler.is_compiling():
        return False
    levels = torch._C._functorch.get_interpreter_stack()
    return levels is not None and any(level.key() in TRANSFORMS for level in levels)


def by_device(like: Tensor, reasons: dict[str, str], slower: str | None) -> Choice:
    """Chooses without being told: Triton on CUDA where it can serve and is not slower, else the path for CPUs."""
    if like.device.type == "cuda" and "triton" not in reasons:
        if slower is not None:
            return Choice("cpu", slower, reasons)
        return Choice("triton", "the tensors are on a CUDA device", reasons)
    return Choice("cpu", f"the tensors are on {like.device.type}", reasons)


def triton_refusal(like: Tensor, *, halves: bool = False) -> str | None:
    """Says why Triton kernels cannot serve tensors like `like`, or None when they can.

    Args:
        like: A tensor whose device and dtype decide.
        halves: Whether the operator's kernels read bfloat16 and float16 as well.

    Example:
        >>> triton_refusal(torch.zeros(1, dtype=torch.float64))
        'its kernels compute in float32, and the tensors are float64'
    """
    if not HAS_TRITON:
        return "Triton is not installed (pip install 'seqkit[gpu]')"
    single = like.dtype in (torch.float32, torch.complex64) or (halves and like.dtype in HALF)
    if not single:
        return f"its kernels compute in float32, and the tensors are {str(like.dtype).removeprefix('torch.')}"
    if like.device.type == "cuda" or (like.device.type == "cpu" and interpreting()):
        return None
    return f"the tensors are on {like.device.type}, and Triton's interpreter is off (TRITON_INTERPRET=1)"


def interpreting() -> bool:
    """Whether Triton kernels run under its interpreter in this process; Triton reads this when a kernel is defined."""
    return os.environ.get("TRITON_INTERPRET", "0") in ("1", "true", "on", "yes")


def full_precision(value: Tensor) -> Tensor:
    """Lifts half precision to float32 under autocast: these operators lose their meaning with 8 bits of mantissa.

    Example:
        >>> with torch.autocast("cpu"):
        ...     full_precision(torch.zeros(1, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    return value.float() if value.dtype in HALF and torch.is_autocast_enabled(value.device.type) else value


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


def check_values(named: Mapping[str, Tensor]) -> None:
    """Refuses NaN and infinite values on the CPU; elsewhere, and while a graph is traced, nothing is looked at.

    A recurrence or a Fourier transform spreads one NaN over the whole series. Looking costs one pass over a CPU tensor,
    but on another device it would wait for everything queued there.

    Args:
        named: Tensors, by the name the caller knows them under.

    Raises:
        ValueError: a value is NaN or infinite; the sentence says where the first one is.

    Example:
        >>> check_values({"u": torch.ones(3)})
    """
    if torch.compiler.is_compiling():
        return
    for name, value in named.items():
        value = unwrapped(value)
        real = type(value) in (Tensor, torch.nn.Parameter) and value.device.type == "cpu"
        # NaN and infinity survive a sum; only sums that overflow by themselves are looked at twice.
        # Plain Python looks at the sum: torch takes several kernels, which is most of the time of a small call.
        if real and value.numel() and not cmath.isfinite(value.detach().sum().item()):
            check_finite(name, value.detach())


def unwrapped(value: Tensor) -> Tensor:
    """The tensor under what torch.func wraps around it: all that it maps over, at once."""
    while torch._C._functorch.is_functorch_wrapped_tensor(value):
        value = torch._C._functorch.get_unwrapped(value)
    return value


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
