"""What a layer is in an exported program: plain real operations, with its state handed in and out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

__all__ = ["Form", "States"]

States = tuple[Tensor, ...]
"""State tensors of a layer, in the order of its own state."""


class Form(nn.Module, ABC):
    """Abstract form of a mixer or a pooling that can leave torch: no custom operator, no complex number, no check.

    A step that is not handed in is the one that the form was made for, in units of the training step.

    Attributes:
        takes_steps: Whether `step` can be told the time since the sample before.

    Example:
        >>> from seqkit.nn import GRU
        >>> from seqkit.streaming.export import form_of
        >>> isinstance(form_of(GRU(4), step=1.0, runtime=False), Form)
        True
    """

    takes_steps: ClassVar[bool] = False

    @abstractmethod
    def step(self, x: Tensor, state: States, steps: Tensor | None) -> tuple[Tensor, States]:
        """Takes one sample.

        Args:
            x: Sample, (B, D).
            state: State before.
            steps: Time since the sample before in units of the training step, (B,), float64; None for the fixed one.

        Returns:
            Output, (B, width), and the state after.
        """

    @abstractmethod
    def block(self, x: Tensor, state: States) -> tuple[Tensor, States]:
        """Takes a block of evenly spaced samples, (B, L, D).

        Returns:
            Outputs of a mixer, (B, L, D), or what a pooling makes of all samples so far, (B, width); the state after.
        """
