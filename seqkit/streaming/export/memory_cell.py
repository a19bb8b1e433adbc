"""Recurrent cells around a HiPPO memory in an exported program."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F

from seqkit.hippo import discretize, transition
from seqkit.ssm.cell_memory import InvariantCell, LegSCell
from seqkit.ssm.memory_rnn import MemoryRNN
from seqkit.streaming.export.form import Form, States
from seqkit.streaming.export.loops import along

__all__ = ["InvariantForm", "LegSForm", "MemoryForm"]


class MemoryForm(Form):
    """`HiPPORNN` and `LMU`; subclasses know the memory.

    Args:
        mixer: The mixer.
        step: Step of samples that come without one.

    Example:
        >>> from seqkit.ssm import HiPPORNN
        >>> LegSForm(HiPPORNN(4, order=8), step=1.0).takes_steps
        True
    """

    enter: Tensor
    enter_bias: Tensor
    write: Tensor
    read: Tensor
    fixed: Tensor

    def __init__(self, mixer: MemoryRNN, *, step: float) -> None:
        super().__init__()
        width, size = mixer.d_model, mixer.memory_channels * mixer.order
        readers = [mixer.candidate, *([] if mixer.gate is None else [mixer.gate])]
        self.width, self.channels, self.order = width, mixer.memory_channels, mixer.order
        self.register_buffer("fixed", torch.tensor(step, dtype=torch.float64))
        self.gated = mixer.gate is not None
        self.register_buffer("write", mixer.write.weight.detach()[:, width:].clone())  # of [h] or [h; m]
        # Of the memory, and of the hidden vector where the cell feeds it back: candidate first, then gate.
        self.register_buffer("read", torch.cat([r.weight.detach()[:, width : width + size] for r in readers]))
        again = mixer.candidate.weight.detach()[:, width + size :]
        self.again: Tensor | None
        self.register_buffer("again", again.clone() if mixer.feedback else None)
        # What the input adds to what is written and to what is read, in one map.
        maps = [mixer.write, *readers]
        self.register_buffer("enter", torch.cat([layer.weight.detach()[:, :width] for layer in maps]))
        biases = [torch.zeros(len(m.weight)) if m.bias is None else m.bias.detach() for m in maps]
        self.register_buffer("enter_bias", torch.cat(biases))

    def step(self, x: Tensor, state: States, steps: Tensor | None) -> tuple[Tensor, States]:
        """One sample; the output is the hidden vector."""
        new = self._cell(F.linear(x, self.enter, self.enter_bias), state, steps)
        return new[0], new

    def block(self, x: Tensor, state: States) -> tuple[Tensor, States]:
        """A loop over the block."""

        def turn(carried: list[Tensor], inputs: list[Tensor]) -> tuple[list[Tensor], Tensor]:
            new = self._cell(inputs[0], tuple(carried), None)
            return list(new), new[0].clone()

        last, y = along(turn, state, [F.linear(x.transpose(0, 1), self.enter, self.enter_bias)])
        return y.transpose(0, 1), tuple(last)

    def _cell(self, given: Tensor, state: States, steps: Tensor | None) -> States:
        hidden, memory, elapsed = state
        known = hidden if self.again is None else torch.cat([hidden, memory.flatten(1).to(hidden.dtype)], dim=1)
        u = given[:, : self.channels] + known @ self.write.T
        memory = self._advance(u.to(memory.dtype), memory, elapsed, steps)
        made = given[:, self.channels :] + memory.flatten(1).to(given.dtype) @ self.read.T
        candidate = made[:, : self.width]
        if self.again is not None:
            candidate = candidate + hidden @ self.again.T
        candidate = candidate.tanh()
        if self.gated:
            candidate = hidden + made[:, self.width :].sigmoid() * (candidate - hidden)
        return candidate, memory, elapsed + (self.fixed if steps is None else steps)

    @abstractmethod
    def _advance(self, u: Tensor, memory: Tensor, elapsed: Tensor, steps: Tensor | None) -> Tensor:
        """The memory after a sample, (B, M, N)."""


class InvariantForm(MemoryForm):
    """A memory with one transition, discretised when it is exported.

    Example:
        >>> from seqkit.ssm import LMU
        >>> InvariantForm(LMU(4, order=8, window=20.0), step=1.0).takes_steps
        False
    """

    A: Tensor
    B: Tensor

    def __init__(self, mixer: MemoryRNN, *, step: float) -> None:
        super().__init__(mixer, step=step)
        memory = mixer.memory
        if not isinstance(memory, InvariantCell):
            raise TypeError(f"an invariant memory is wanted, got {type(memory).__name__}")
        A, B = transition(memory.measure, memory.order)
        A_bar, B_bar = discretize(A, B, step / memory.window, memory.discretization)
        self.register_buffer("A", A_bar.T.float().contiguous())
        self.register_buffer("B", B_bar.float())

    def _advance(self, u: Tensor, memory: Tensor, elapsed: Tensor, steps: Tensor | None) -> Tensor:
        return memory @ self.A + u[:, :, None] * self.B


class LegSForm(MemoryForm):
    """The whole past: one bilinear step in log time, whose triangular solve is a prefix sum of log2 N rounds.

    (tau I + A) m = tau c + B u has m_n = (tau c_n + s_n (u - S_n)) / (tau + n + 1) with S_n = sum_{k<n} s_k m_k, so
    S_{n+1} = a_n S_n + b_n with a_n = (tau - n) / (tau + n + 1): first-order, and joined pairwise. In float64, as its
    own form streams.

    Example:
        >>> from seqkit.ssm import HiPPORNN
        >>> LegSForm(HiPPORNN(4, order=8, rule="reciprocal"), step=1.0).midpoint
        False
    """

    takes_steps = True
    n: Tensor
    scale: Tensor

    def __init__(self, mixer: MemoryRNN, *, step: float) -> None:
        super().__init__(mixer, step=step)
        memory = mixer.memory
        if not isinstance(memory, LegSCell):
            raise TypeError(f"a memory of the whole past is wanted, got {type(memory).__name__}")
        self.midpoint = memory.rule == "midpoint"
        n = torch.arange(mixer.order, dtype=torch.float64)
        self.register_buffer("n", n)
        self.register_buffer("scale", (2 * n + 1).sqrt())

    def _advance(self, u: Tensor, memory: Tensor, elapsed: Tensor, steps: Tensor | None) -> Tensor:
        step = self.fixed if steps is None else steps
        known = 2 * elapsed + step if self.midpoint else 2 * elapsed
        tau = (known / step).clamp(min=1)[:, None, None]
        # What starts a series holds its first sample already, which any step leaves alone.
        memory = torch.where((elapsed == 0)[:, None, None], F.pad(u[:, :, None], (0, self.order - 1)), memory)
        below = tau + self.n + 1
        right = tau * memory + self.scale * u[:, :, None]
        factor, sums = (tau - self.n) / below, self.scale * right / below
        shift = 1
        while shift < self.order:
            sums = sums + factor * F.pad(sums[..., :-shift], (shift, 0))
            shift *= 2
            if shift < self.order:
                factor = factor * F.pad(factor[..., : -shift // 2], (shift // 2, 0), value=1.0)
        middle = (right - self.scale * F.pad(sums[..., :-1], (1, 0))) / below
        return 2 * middle - memory
