"""LSTM and GRU under the mixer contract: the baselines people know."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from seqkit.checks import check_positive_int, check_shape
from seqkit.nn.mixer import Mixer, State, mask_past_end, register_mixer

__all__ = ["GRU", "LSTM", "GRUState", "LSTMState"]


class LSTMState(NamedTuple):
    """Hidden and cell vectors, (B, D) each."""

    hidden: Tensor
    cell: Tensor


class GRUState(NamedTuple):
    """Hidden vector, (B, D)."""

    hidden: Tensor


class _Recurrent(Mixer):
    """What LSTM and GRU share: torch's fused loop for blocks, run from a carried state."""

    uses_rate = False
    core: nn.LSTM | nn.GRU

    def forward(
        self, u: Tensor, *, lengths: Tensor | None = None, rate: float = 1.0, timestamps: Tensor | None = None
    ) -> Tensor:
        """Maps whole series from the zero state; see `Mixer.forward`."""
        return self.scan(u, self.initial_state(u.shape[0]), lengths=lengths, rate=rate, timestamps=timestamps)[0]

    def step(self, u_t: Tensor, state: State, *, rate: float | Tensor = 1.0) -> tuple[Tensor, State]:
        """Maps one sample; see `Mixer.step`."""
        check_shape("u_t", u_t, ("B", self.d_model), f"d_model is {self.d_model}")
        self.check_rate(rate)
        y, new = self.scan(u_t[:, None], state)
        return y[:, 0], new

    def scan(
        self,
        u: Tensor,
        state: State,
        *,
        lengths: Tensor | None = None,
        rate: float = 1.0,
        timestamps: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Maps a block that continues from `state`; see `Mixer.scan`."""
        self.check_input(u, lengths, rate, timestamps)
        if u.device.type != "cpu":
            return self._run(u, state, lengths)
        # Many CPUs have no recurrence in half precision, and torch refuses it there: autocast is off.
        with torch.autocast("cpu", enabled=False):
            y, new = self._run(u.to(state[0].dtype), state, lengths)
        return y.to(u.dtype), new

    def _run(self, u: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        if lengths is None:
            y, new = self.core(u, self._to_torch(state))
            return y, self._from_torch(new)
        # Packing makes torch stop each series at its own end, so that the final state is the one after its last sample.
        packed = nn.utils.rnn.pack_padded_sequence(u, lengths.cpu(), batch_first=True, enforce_sorted=False)
        y, new = self.core(packed, self._to_torch(state))
        padded, _ = nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=u.shape[1])
        return mask_past_end(padded, lengths), self._from_torch(new)

    def _zeros(self, batch_size: int) -> Tensor:
        weight = cast("Tensor", self.core.weight_hh_l0)
        return torch.zeros(batch_size, self.d_model, dtype=weight.dtype, device=weight.device)

    @abstractmethod
    def _to_torch(self, state: State) -> Tensor | tuple[Tensor, Tensor]: ...

    @abstractmethod
    def _from_torch(self, state: Tensor | tuple[Tensor, Tensor]) -> State: ...


@register_mixer("lstm")
class LSTM(_Recurrent):
    """One layer of long short-term memory as a mixer, on torch's implementation.

    Args:
        d_model: Channels D of input, hidden state and output.

    Source:
        Hochreiter and Schmidhuber 1997, Long short-term memory; equations as in `torch.nn.LSTM`.

    Cost: O(L D^2) time, sequential in L.

    Example:
        >>> LSTM(8)(torch.zeros(2, 5, 8)).shape
        torch.Size([2, 5, 8])
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.d_model = check_positive_int("d_model", d_model)
        self.core = nn.LSTM(d_model, d_model, batch_first=True)

    def initial_state(self, batch_size: int = 1) -> LSTMState:
        """Zero hidden and cell vectors."""
        return LSTMState(self._zeros(batch_size), self._zeros(batch_size))

    def _to_torch(self, state: State) -> tuple[Tensor, Tensor]:
        hidden, cell = state
        return hidden[None].contiguous(), cell[None].contiguous()

    def _from_torch(self, state: Tensor | tuple[Tensor, Tensor]) -> LSTMState:
        hidden, cell = cast("tuple[Tensor, Tensor]", state)
        return LSTMState(hidden[0], cell[0])


@register_mixer("gru")
class GRU(_Recurrent):
    """One layer of gated recurrent units as a mixer, on torch's implementation.

    Args:
        d_model: Channels D of input, hidden state and output.

    Source:
        Cho et al. 2014, Learning phrase representations (arXiv:1406.1078); equations as in `torch.nn.GRU`.

    Cost: O(L D^2) time, sequential in L.

    Example:
        >>> GRU(8)(torch.zeros(2, 5, 8)).shape
        torch.Size([2, 5, 8])
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.d_model = check_positive_int("d_model", d_model)
        self.core = nn.GRU(d_model, d_model, batch_first=True)

    def initial_state(self, batch_size: int = 1) -> GRUState:
        """Zero hidden vector."""
        return GRUState(self._zeros(batch_size))

    def _to_torch(self, state: State) -> Tensor:
        return state[0][None].contiguous()

    def _from_torch(self, state: Tensor | tuple[Tensor, Tensor]) -> GRUState:
        return GRUState(cast("Tensor", state)[0])
