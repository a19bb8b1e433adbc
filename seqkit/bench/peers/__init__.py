"""The usual forms of the operators and layers in plain torch, and other packages' forms where they are installed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from seqkit.bench.case import Form, Inputs, Setting, Task, never
from seqkit.bench.inputs import with_gradient

__all__ = ["plain_form"]


def plain_form(
    name: str,
    source: str,
    function: Callable[[Inputs, Setting], Any],
    refuse: Callable[[Inputs, Setting, bool], str | None] = never,
    *,
    own: bool = False,
) -> Form:
    """A form that is a function of the case's own inputs.

    Args:
        name: Its name in tables.
        source: Where the form comes from.
        function: Takes inputs and setting; returns the output, or a tuple that starts with it.
        refuse: As in `Form`.
        own: Whether it is this toolkit's.

    Example:
        >>> import torch
        >>> form = plain_form("twice", "an example", lambda inputs, setting: 2 * inputs["u"])
        >>> form.prepare({"u": torch.ones(1)}, Setting({})).call().item()
        2.0
    """

    def prepare(inputs: Inputs, setting: Setting) -> Task:
        return Task(partial(function, inputs, setting), with_gradient(inputs))

    return Form(name, source, prepare, refuse, own)
