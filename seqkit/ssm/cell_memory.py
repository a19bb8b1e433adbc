"""HiPPO memories inside a recurrent cell, where each input is known only when its turn comes."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from seqkit.checks import check_choice, check_positive
from seqkit.hippo import Fourier, LegS, LegT, Measure, as_measure, discretize, transition
from seqkit.kernels.backend import choose_backend
from seqkit.kernels.legs_update import refusals
from seqkit.kernels.legs_update.op import legs_update_op

__all__ = ["DISCRETIZATIONS", "RULES", "Advance", "CellMemory", "InvariantCell", "LegSCell", "cell_memory"]

DISCRETIZATIONS = ("bilinear", "zero_order_hold", "backward_euler")
RULES = ("midpoint", "reciprocal")
TABLE = 2**21
"""Numbers in the matrices that are kept for a block of uneven samples: 16 MiB."""

Advance: TypeAlias = Callable[[int, Tensor, Tensor], Tensor]
"""Takes the place k of a sample in its block, the memory (B, M, N) and the input (B, M); returns the new memory."""


class CellMemory(ABC):
    """Abstract memory of M channels in N coefficients each, advanced a sample at a time.

    Example:
        >>> memory = cell_memory("legs", 2)
        >>> advance = memory.block(torch.zeros(1).double(), torch.ones(1, 2).double(), torch.zeros(1))
        >>> advance(1, torch.tensor([[[1.0, 0.0]]]), torch.tensor([[3.0]]))
        tensor([[[2.0000, 1.0392]]])
    """

    @abstractmethod
    def block(self, elapsed: Tensor, steps: Tensor, like: Tensor) -> Advance:
        """Prepares a block of samples.

        Args:
            elapsed: Time before the block in units of the training step, (B,), or (1,) where all series share it;
                float64. A series with 0 starts here, and its memory is not read.
            steps: Time from sample to sample, (B, L) or (1, L), float64.
            like: A tensor of the dtype and on the device of the memory.

        Returns:
            The function that takes the samples in.
        """


@dataclass(frozen=True)
class LegSCell(CellMemory):
    """The whole past evenly; see `seqkit.kernels.legs_update`.

    Args:
        order: Number of coefficients N.
        rule: "midpoint", or "reciprocal" for the published step 1/k.

    Example:
        >>> isinstance(cell_memory("legs", 8), LegSCell)
        True
    """

    order: int
    rule: str = "midpoint"

    def block(self, elapsed: Tensor, steps: Tensor, like: Tensor) -> Advance:
        """Bilinear steps in log time, in O(N) each."""
        after = elapsed[:, None] + steps.cumsum(dim=1)
        before = after - steps
        before[:, 0] = elapsed  # exactly, or a block would not start where the one before it ended
        known = after + before if self.rule == "midpoint" else 2 * before
        # What starts a series holds its first sample already, which any step leaves alone.
        tau = (known / steps).clamp(min=1).to(like.dtype)
        fresh = (elapsed == 0)[:, None, None]
        path = choose_backend("auto", like, refusals(self.order))

        def advance(k: int, memory: Tensor, u: Tensor) -> Tensor:
            batch, channels = u.shape
            if k == 0:
                memory = torch.where(fresh, F.pad(u[:, :, None], (0, self.order - 1)), memory)
            size = tau[:, k : k + 1]
            if len(size) > 1:
                size = size.repeat_interleave(channels, dim=0)
            rows: Tensor = legs_update_op(u.reshape(-1, 1), size, memory.reshape(-1, self.order), 1, path)
            return rows.view(batch, channels, self.order)

        return advance


@dataclass(frozen=True)
class InvariantCell(CellMemory):
    """A sliding window or a fading past: the same transition for every step of one length.

    Args:
        measure: A measure other than LegS.
        order: Number of coefficients N.
        window: Unit of the measure's own time, in units of the training step.
        discretization: "bilinear", "zero_order_hold" or "backward_euler".

    Example:
        >>> isinstance(cell_memory("legt", 8, window=100.0), InvariantCell)
        True
    """

    measure: Measure
    order: int
    window: float
    discretization: str = "bilinear"

    def block(self, elapsed: Tensor, steps: Tensor, like: Tensor) -> Advance:
        """One matrix for even steps; for others one for each length of step."""
        lengths, places = torch.unique(steps, return_inverse=True)
        if len(lengths) == 1:
            system = (self.measure, self.order, self.window, self.discretization)
            A_bar, B_bar = (value.to(like) for value in _discrete(*system, float(lengths)))

            def even(k: int, memory: Tensor, u: Tensor) -> Tensor:
                return torch.matmul(memory, A_bar.mT) + u[:, :, None] * B_bar

            return even
        if len(lengths) * self.order**2 <= TABLE:
            table = self._over(lengths, like)

            def uneven(k: int) -> tuple[Tensor, Tensor]:
                return table[0][places[:, k]], table[1][places[:, k]]
        else:

            def uneven(k: int) -> tuple[Tensor, Tensor]:
                return self._over(steps[:, k], like)

        def own(k: int, memory: Tensor, u: Tensor) -> Tensor:
            A_bar, B_bar = uneven(k)
            return torch.matmul(memory, A_bar.mT) + u[:, :, None] * B_bar[:, None]

        return own

    def _over(self, steps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        A, B = (value.to(steps.device) for value in transition(self.measure, self.order))
        A_bar, B_bar = discretize(A, B, steps / self.window, self.discretization)
        return A_bar.to(like), B_bar.to(like)


@functools.lru_cache(maxsize=16)  # a stream would solve the same system for every sample
def _discrete(measure: Measure, order: int, window: float, method: str, step: float) -> tuple[Tensor, Tensor]:
    A, B = transition(measure, order)
    return discretize(A, B, step / window, method)


def cell_memory(
    measure: str | Measure,
    order: int,
    *,
    window: float | None = None,
    rule: str = "midpoint",
    discretization: str = "bilinear",
) -> CellMemory:
    """Returns the memory of a measure, and refuses what it has no use for.

    Args:
        measure: "legs", "legt", "lagt", "fourier", or a measure.
        order: Number of coefficients N.
        window: Length of the memory in samples at the training rate. Needed for "legt" and "fourier"; 1 for lagt and
            for measures with a window of their own if left out; not for legs.
        rule: For legs: "midpoint" or "reciprocal".
        discretization: For the others: "bilinear", "zero_order_hold" or "backward_euler".

    Raises:
        ValueError: an unknown name, or an option that the measure needs or cannot use.

    Example:
        >>> cell_memory("lagt", 4).window
        1.0
    """
    chosen = as_measure(measure)
    check_choice("rule", rule, RULES)
    check_choice("discretization", discretization, DISCRETIZATIONS)
    if isinstance(chosen, LegS):
        if window is not None:
            raise ValueError(f"`window` is not for legs, which remembers the whole past, got {window!r}; leave it out")
        if discretization != "bilinear":
            raise ValueError(f"`discretization` is not for legs, got {discretization!r}; give `rule` instead")
        return LegSCell(order, rule)
    if rule != "midpoint":
        raise ValueError(f"`rule` is for legs, got {rule!r} with {chosen.name}; give `discretization` instead")
    if window is None and isinstance(measure, str) and isinstance(chosen, (LegT, Fourier)):
        raise ValueError(f"`window` must be given for {measure}, got None; say how many samples back it should reach")
    transition(chosen, order)  # an order that the measure has not is refused where it is given
    return InvariantCell(chosen, order, 1.0 if window is None else check_positive("window", window), discretization)
