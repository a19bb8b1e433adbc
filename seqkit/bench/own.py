"""The operators' own backends as forms."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor

from seqkit.bench.case import Form, Inputs, Setting, Task
from seqkit.bench.inputs import with_gradient
from seqkit.kernels.backend import PATHS
from seqkit.kernels.explain import explain

__all__ = ["Arguments", "own_forms", "reference_output"]

Arguments = Callable[[Inputs, Setting], Mapping[str, Any]]
"""Takes inputs and setting; returns the operator's keyword arguments."""


def own_forms(operator: str, arguments: Arguments, reference_up_to: Callable[[Setting], bool]) -> tuple[Form, ...]:
    """One form for each backend, the fastest paths first.

    Args:
        operator: Name of the operator.
        arguments: Its keyword arguments.
        reference_up_to: Whether the reference, which takes a step for each sample, is worth waiting for.

    Example:
        >>> [form.name for form in own_forms("krylov", lambda inputs, setting: inputs, lambda setting: True)]
        ['triton', 'cpu', 'reference']
    """
    return tuple(
        Form(
            path,
            f"seqkit.kernels.{operator}",
            partial(prepare, operator, arguments, path),
            partial(refuse, operator, arguments, reference_up_to, path),
            own=True,
            chosen=partial(chosen, operator, arguments, path),
        )
        for path in reversed(PATHS)
    )


def function(operator: str) -> Callable[..., Any]:
    """The operator with this name; imported late, because a run measures a few of them."""
    found: Callable[..., Any] = getattr(importlib.import_module(f"seqkit.kernels.{operator}"), operator)
    return found


def prepare(operator: str, arguments: Arguments, path: str, inputs: Inputs, setting: Setting) -> Task:
    """Binds the operator to its arguments and a backend; what it takes by itself is called as people call it."""
    backend = "auto" if chosen(operator, arguments, path, inputs, setting) else path
    call = partial(function(operator), **arguments(inputs, setting), backend=backend)
    return Task(call, with_gradient(inputs))


def refuse(
    operator: str,
    arguments: Arguments,
    reference_up_to: Callable[[Setting], bool],
    path: str,
    inputs: Inputs,
    setting: Setting,
    backward: bool,
) -> str | None:
    """Asks the operator itself, and leaves out what is no measurement: the interpreter, and references that crawl."""
    on_cpu = next(iter(inputs.values())).device.type == "cpu"
    if path == "triton" and on_cpu:
        return "Triton kernels are measured on CUDA devices"
    if path == "reference" and not reference_up_to(setting):
        return "the reference would take too long"
    return explain(operator, **arguments(inputs, setting)).refused.get(path)


def chosen(operator: str, arguments: Arguments, path: str, inputs: Inputs, setting: Setting) -> bool:
    """Whether the operator takes this path by itself."""
    return explain(operator, **arguments(inputs, setting)).backend == path


def reference_output(operator: str, arguments: Arguments, inputs: Inputs, setting: Setting) -> Tensor:
    """First output of the reference.

    Example:
        >>> import torch
        >>> inputs = {"A": torch.eye(1), "B": torch.ones(1), "C": torch.ones(1, 1)}
        >>> reference_output("krylov", lambda inputs, setting: {**inputs, "length": 2}, inputs, Setting({}))
        tensor([[1., 1.]])
    """
    found = function(operator)(**arguments(inputs, setting), backend="reference")
    output: Tensor = found if isinstance(found, Tensor) else found[0]
    return output
