"""The usual forms of one streaming step."""

from __future__ import annotations

import logging
from functools import partial

import torch
from torch import Tensor

from seqkit.bench.case import Form, Inputs, Setting, Task
from seqkit.bench.peers import plain_form

__all__ = ["COMPILED_STEP", "EAGER_STEP"]

SMALLEST = 16  # channels


def eager_step(u: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Steps x <- A x + B u, y = 2 Re C x + D u in complex torch operations, as the s4 repository steps.

    Example:
        >>> one = torch.ones(1, 1) + 0j
        >>> eager_step(torch.ones(1, 1), one, one, one, torch.ones(1), one[None])[0]
        tensor([[5.]])
    """
    x = A * state + B * u[..., None]
    return 2 * torch.einsum("hn,bhn->bh", C, x).real + D * u, x


def real_step(
    u: Tensor, A: tuple[Tensor, Tensor], B: tuple[Tensor, Tensor], C: tuple[Tensor, Tensor], D: Tensor,
    x: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The same in real arithmetic, which torch.compile can fuse."""
    real = A[0] * x[0] - A[1] * x[1] + B[0] * u[..., None]
    imag = A[0] * x[1] + A[1] * x[0] + B[1] * u[..., None]
    return 2 * (C[0] * real - C[1] * imag).sum(-1) + D * u, real, imag


def parts(value: Tensor) -> tuple[Tensor, Tensor]:
    """Real and imaginary part, each contiguous."""
    return value.real.contiguous(), value.imag.contiguous()


def prepare_compiled(inputs: Inputs, setting: Setting) -> Task:
    """Compiles the real form for these sizes; the first call takes the time that compiling takes."""
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it warns that there is no CUDA here
    torch.compiler.reset()
    compiled = torch.compile(real_step, dynamic=False)
    split = {name: parts(inputs[name]) for name in ("A", "B", "C")}
    return Task(partial(compiled, u=inputs["u"], D=inputs["D"], x=parts(inputs["state"]), **split), ())


def refuse_compiled(inputs: Inputs, setting: Setting, backward: bool) -> str | None:
    """A step streams, so there is no gradient; sizes that only show that all works are not worth compiling for."""
    return "compiled for streaming at real sizes only" if backward or setting["H"] < SMALLEST else None


EAGER_STEP = plain_form(
    "eager complex step",
    "the step of state-spaces/s4 in torch operations",
    lambda inputs, setting: eager_step(**inputs),
)
COMPILED_STEP = Form("torch.compile of a real step", "the same in real arithmetic", prepare_compiled, refuse_compiled)
