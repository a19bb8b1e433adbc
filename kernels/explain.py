"""Says which path an operator would take for given tensors, and why."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

from seqkit.checks import check_choice
from seqkit.kernels.backend import PATHS, Chosen, Question

__all__ = ["OPERATORS", "Explanation", "explain"]

OPERATORS = ("cauchy", "krylov", "legs_update", "long_conv", "lti_memory", "ssm_scan", "ssm_step", "vandermonde")


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
        for path in PATHS:
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
