"""GRU and LSTM in an exported program."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from seqkit.nn import GRU, LSTM
from seqkit.streaming.export.form import Form, States
from seqkit.streaming.export.loops import along

__all__ = ["GatedForm"]


class GatedForm(Form):
    """A recurrent cell as torch writes it; in a block, what the input adds needs no loop.

    Args:
        mixer: A `GRU` or an `LSTM`.

    Example:
        >>> GatedForm(GRU(4)).takes_steps
        False
    """

    weight: Tensor
    bias: Tensor
    again: Tensor
    shift: Tensor

    def __init__(self, mixer: GRU | LSTM) -> None:
        super().__init__()
        self.cell = self._gru if isinstance(mixer, GRU) else self._lstm
        names = {"weight": "weight_ih_l0", "bias": "bias_ih_l0", "again": "weight_hh_l0", "shift": "bias_hh_l0"}
        for name, theirs in names.items():
            self.register_buffer(name, getattr(mixer.core, theirs).detach().clone())

    def step(self, x: Tensor, state: States, steps: Tensor | None) -> tuple[Tensor, States]:
        """One sample; the output is the hidden vector."""
        new = self.cell(F.linear(x, self.weight, self.bias), state)
        return new[0], new

    def block(self, x: Tensor, state: States) -> tuple[Tensor, States]:
        """A loop over the block."""

        def turn(carried: list[Tensor], inputs: list[Tensor]) -> tuple[list[Tensor], Tensor]:
            new = self.cell(inputs[0], tuple(carried))
            return list(new), new[0].clone()

        last, y = along(turn, state, [F.linear(x.transpose(0, 1), self.weight, self.bias)])
        return y.transpose(0, 1), tuple(last)

    def _gru(self, given: Tensor, state: States) -> States:
        reset, update, new = given.chunk(3, dim=-1)
        hidden = state[0]
        reset_h, update_h, new_h = F.linear(hidden, self.again, self.shift).chunk(3, dim=-1)
        gate = (update + update_h).sigmoid()
        made = (new + (reset + reset_h).sigmoid() * new_h).tanh()
        return (made + gate * (hidden - made),)

    def _lstm(self, given: Tensor, state: States) -> States:
        hidden, cell = state
        enter, forget, made, leave = (given + F.linear(hidden, self.again, self.shift)).chunk(4, dim=-1)
        cell = forget.sigmoid() * cell + enter.sigmoid() * made.tanh()
        return leave.sigmoid() * cell.tanh(), cell
