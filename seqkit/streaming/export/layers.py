"""The form of each mixer and each pooling, and of a residual block."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from seqkit.nn import GRU, LSTM, Mixer, Pool, ResidualBlock
from seqkit.ssm import LSSL, S4, S4D
from seqkit.ssm.cell_memory import LegSCell
from seqkit.ssm.legs_pool import LegSPool
from seqkit.ssm.memory_rnn import MemoryRNN
from seqkit.streaming.export.form import Form, States
from seqkit.streaming.export.gated import GatedForm
from seqkit.streaming.export.memory_cell import InvariantForm, LegSForm
from seqkit.streaming.export.pools import LegSPoolForm, RunningForm
from seqkit.streaming.export.state_space import DenseForm, DiagonalForm, LowRankForm

__all__ = ["BlockForm", "form_of", "pool_form_of", "takes_steps"]


def takes_steps(mixer: Mixer) -> bool:
    """Whether the exported step of a mixer can be told its step at run time.

    A dense transition is discretised by solving a system of its order, which is done once, when it is exported.

    Example:
        >>> takes_steps(S4D(2, order=4)), takes_steps(LSSL(2, order=4))
        (True, False)
    """
    if isinstance(mixer, MemoryRNN):
        return isinstance(mixer.memory, LegSCell)
    return isinstance(mixer, (S4D, S4))


def form_of(mixer: Mixer, *, step: float, runtime: bool) -> Form:
    """The form of a mixer.

    Args:
        mixer: A mixer of this toolkit.
        step: Step for which it is discretised, in units of the training step.
        runtime: Whether its step is told the time since the sample before.

    Raises:
        ValueError: a mixer that has none.

    Example:
        >>> type(form_of(S4(2, order=4), step=1.0, runtime=True)).__name__
        'LowRankForm'
    """
    kind = type(mixer)  # exactly: a subclass may compute something else
    if isinstance(mixer, (GRU, LSTM)) and kind in (GRU, LSTM):
        return GatedForm(mixer)
    if isinstance(mixer, S4D) and kind is S4D:
        return DiagonalForm(mixer, step=step, runtime=runtime)
    if isinstance(mixer, S4) and kind is S4:
        return LowRankForm(mixer, step=step)
    if isinstance(mixer, LSSL) and kind is LSSL:
        return DenseForm(mixer, step=step)
    if isinstance(mixer, MemoryRNN):
        return (LegSForm if isinstance(mixer.memory, LegSCell) else InvariantForm)(mixer, step=step)
    raise ValueError(
        f"export knows s4d, s4, lssl, hippo_rnn, lmu, gru and lstm, got a {kind.__name__}; run it with seqkit.Stream"
    )


def pool_form_of(pool: Pool, *, step: float) -> Form:
    """The form of a pooling.

    Args:
        pool: The pooling.
        step: Step of samples that come without one, in units of the training step.

    Example:
        >>> type(pool_form_of(LegSPool(2), step=1.0)).__name__
        'LegSPoolForm'
    """
    return LegSPoolForm(pool, step=step) if isinstance(pool, LegSPool) else RunningForm(pool)


class BlockForm(nn.Module):
    """A `ResidualBlock` around a mixer's form, without dropout.

    Args:
        block: The block.
        step: As for `form_of`.
        runtime: As for `form_of`.

    Example:
        >>> import torch
        >>> layer = BlockForm(ResidualBlock(GRU(4)), step=1.0, runtime=False)
        >>> layer.step(torch.zeros(1, 4), (torch.zeros(1, 4),), None)[0].shape
        torch.Size([1, 4])
    """

    def __init__(self, block: ResidualBlock, *, step: float, runtime: bool) -> None:
        super().__init__()
        self.norm, self.activation, self.out, self.output = block.norm, block.activation, block.out, block.output
        self.out_norm = block.out_norm
        self.form = form_of(block.mixer, step=step, runtime=runtime)
        self.n_states = len(block.mixer.initial_state(1))

    def step(self, x: Tensor, state: States, steps: Tensor | None) -> tuple[Tensor, States]:
        """One sample, (B, D)."""
        y, new = self.form.step(self.norm(x), state, steps)
        return self._after(x, y), new

    def block(self, x: Tensor, state: States) -> tuple[Tensor, States]:
        """A block, (B, L, D)."""
        y, new = self.form.block(self.norm(x), state)
        return self._after(x, y), new

    def _after(self, x: Tensor, y: Tensor) -> Tensor:
        if self.output == "mlp":
            x = x + y
            return x + cast("Tensor", self.out(self.out_norm(x)))
        y = cast("Tensor", self.out(self.activation(y)))
        return x + (F.glu(y, dim=-1) if self.output == "gated" else y)
