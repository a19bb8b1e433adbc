"""Says which path an operator would take for given tensors, and why."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch

from seqkit.checks import check_choice
from seqkit.kernels.backend import PATHS, Chosen, Question, choose_backend, triton_refusal

__all__ = ["OPERATORS", "Explanation", "Paths", "explain", "paths"]

OPERATORS = (
    *("attention", "block_product", "butterfly", "cauchy", "krylov", "legs_update", "long_conv", "lti_memory"),
    *("monarch", "quantise", "ssm_scan", "ssm_step", "vandermonde"),
)


class Explanation(NamedTuple):
    """The answer of `explain`; its text is one line a path.

    Args:
        operator: Name of the operator.
        backend: The path it takes.
        reason: Why.
        refused: Paths that cannot serve these tensors, each with its reason.
    """

    operator: str
    backend: str
    reason: str
    refused: dict[str, str]

    def __str__(self) -> str:
        """The chosen path first, then the others."""
        lines = [f"{self.operator} runs on {self.backend}: {self.reason}"]
        for path in dict.fromkeys((*PATHS, *self.refused)):
            if path != self.backend:
                lines.append(f"  {path}: {self.refused.get(path, 'can be asked for by name')}")
        return "\n".join(lines)


def explain(operator: str | Callable[..., Any], *args: Any, **kwargs: Any) -> Explanation:
    """Says which path `operator(*args, **kwargs)` would take, without computing anything.

    The arguments are checked as in the call itself, so what that would refuse is refused here, with the same words.

    Args:
        operator: An operator of this package, or its name.
        args: Its arguments.
        kwargs: Its keyword arguments, `backend` among them if it is to be forced.

    Returns:
        The path, the reason, and why other paths cannot serve. Printed, it is one line a path.

    Raises:
        ValueError: there is no such operator, or the operator refuses the arguments.

    Example:
        >>> import torch
        >>> print(explain("krylov", torch.eye(2), torch.ones(2), torch.ones(1, 2), 8).backend)
        cpu
    """
    name = operator if isinstance(operator, str) else getattr(operator, "__name__", repr(operator))
    check_choice("operator", name, OPERATORS)
    function = getattr(importlib.import_module(f"seqkit.kernels.{name}"), name)
    try:
        function(*args, **{**kwargs, "backend": Question(kwargs.get("backend", "auto"))})
    except Chosen as answer:
        return Explanation(name, *answer.choice)
    raise AssertionError(f"{name} chose no backend")


class Paths(NamedTuple):
    """What an operator takes for float32 tensors on a device.

    Args:
        operator: Name of the operator.
        device: Type of the device.
        backend: The path "auto" takes, or None where SEQKIT_BACKEND asks for one that cannot serve.
        reason: Why.
        compiled: Whether numba compiles loops for its path "cpu", on CPU tensors; without them it is plain torch.
        refused: Paths that cannot serve, each with what is missing.
    """

    operator: str
    device: str
    backend: str | None
    reason: str
    compiled: bool
    refused: dict[str, str]


def paths(device: str = "cpu") -> list[Paths]:
    """Says for every operator which path "auto" takes for float32 tensors on `device`, and what the others lack.

    A call may still take another path for reasons of its own, such as float64 tensors; `explain` knows those.

    Args:
        device: Type of a device that is there, such as "cpu" or "cuda".

    Example:
        >>> [one.backend for one in paths() if one.operator == "krylov"]
        ['cpu']
    """
    return [paths_of(name, torch.empty(0, device=device)) for name in OPERATORS]


def paths_of(name: str, like: torch.Tensor) -> Paths:
    """The paths of one operator for tensors like `like`."""
    compiled = has(name, "loops") and like.device.type == "cpu" and find_spec("numba") is not None
    why = triton_refusal(like) if has(name, "triton") else f"{name} has no Triton kernels"
    refused = {} if why is None else {"triton": why}
    try:
        choose_backend(Question("auto"), like, refused)
    except Chosen as answer:
        return Paths(
            name, like.device.type, answer.choice.backend, answer.choice.reason, compiled, answer.choice.refused
        )
    except ValueError as error:
        return Paths(name, like.device.type, None, str(error), compiled, refused)
    raise AssertionError(f"{name} chose no backend")


def has(name: str, part: str) -> bool:
    """Whether an operator's folder holds a module or a package `part`, looked up without importing the operator."""
    found = find_spec(f"seqkit.kernels.{name}")
    places = found.submodule_search_locations if found else None
    files = (f"{part}.py", f"{part}/__init__.py")
    return any(any(Path(place).rglob(file)) for place in places or [] for file in files)
