"""What recurrent cells around a HiPPO memory share: the state, the loop over time, and the three forms of one map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqkit.checks import check_positive_int, check_shape
from seqkit.nn.mixer import Mixer, State, check_step_rate, mask_past_end, sample_steps
from seqkit.ssm.cell_memory import Advance, CellMemory, LegSCell

__all__ = ["MemoryRNN", "MemoryRNNState"]

Loop = TypeVar("Loop", bound=Callable[..., Any])


class MemoryRNNState(NamedTuple):
    """What a cell carries: hidden vector (B, D), memory (B, M, N), float64 for LegS, and time so far (B,), float64."""

    hidden: Tensor
    memory: Tensor
    elapsed: Tensor


class MemoryRNN(Mixer):
    """Abstract recurrent cell whose hidden vector writes to a HiPPO memory and reads it back.

        u_k = W_u [x_k; h_{k-1}] + b_u          m_k = A_bar m_{k-1} + B_bar u_k
        c_k = tanh(W_h [x_k; vec m_k] + b_h)    g_k = sigmoid(W_g [x_k; vec m_k] + b_g)
        h_k = h_{k-1} + g_k (c_k - h_{k-1})

    With `feedback` W_u reads the memory as well, u_k = W_u [x_k; h_{k-1}; vec m_{k-1}], and W_h the hidden vector. A
    cell without a gate has h_k = c_k. The output is h.

    Args:
        d_model: Channels D of input, hidden vector and output.
        memory: The memory; it fixes the order N.
        order: Order N.
        memory_channels: Numbers M that a sample writes to the memory, each remembered in N coefficients.
        gate: Whether there is a gate.
        feedback: See above.
        bias: Whether the maps have a bias.

    Source:
        Gu et al. 2020, HiPPO (arXiv:2008.07669), section 2.3 and appendix E; the cell as in its released code.

    Example:
        >>> from seqkit.ssm import LMU, HiPPORNN
        >>> isinstance(HiPPORNN(4, order=8), MemoryRNN), isinstance(LMU(4, order=8, window=20.0), MemoryRNN)
        (True, True)
    """

    slow_parameters: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        d_model: int,
        *,
        memory: CellMemory,
        order: int,
        memory_channels: int,
        gate: bool,
        feedback: bool,
        bias: bool,
    ) -> None:
        super().__init__()
        self.d_model = check_positive_int("d_model", d_model)
        self.order = check_positive_int("order", order)
        self.memory_channels = check_positive_int("memory_channels", memory_channels)
        self.memory = memory
        self.feedback = feedback
        size = memory_channels * order
        self.write = nn.Linear(2 * d_model + (size if feedback else 0), memory_channels, bias)
        self.candidate = nn.Linear(d_model + size + (d_model if feedback else 0), d_model, bias)
        self.gate = nn.Linear(d_model + size, d_model, bias) if gate else None

    def forward(
        self, u: Tensor, *, lengths: Tensor | None = None, rate: float = 1.0, timestamps: Tensor | None = None
    ) -> Tensor:
        """Maps whole series (B, L, D); see `Mixer.forward`."""
        hidden, memory, elapsed = self.initial_state(u.shape[0])
        # Training stays in one dtype; and see `_shared`.
        start = MemoryRNNState(hidden, memory.to(hidden.dtype), elapsed[:1].expand(u.shape[0]))
        return self.scan(u, start, lengths=lengths, rate=rate, timestamps=timestamps)[0]

    def initial_state(self, batch_size: int = 1) -> MemoryRNNState:
        """Zero hidden vector and memory, at time 0.

        A memory of the whole past is float64: of a stream of ten million samples float32 would keep nothing new.
        """
        like = self.write.weight
        kept = torch.float64 if isinstance(self.memory, LegSCell) else like.dtype
        return MemoryRNNState(
            like.new_zeros(batch_size, self.d_model),
            like.new_zeros(batch_size, self.memory_channels, self.order, dtype=kept),
            torch.zeros(batch_size, dtype=torch.float64, device=like.device),
        )

    def step(self, u_t: Tensor, state: State, *, rate: float | Tensor = 1.0) -> tuple[Tensor, MemoryRNNState]:
        """Maps one sample (B, D); see `Mixer.step`."""
        check_shape("u_t", u_t, ("B", self.d_model), f"d_model is {self.d_model}")
        check_step_rate("rate", rate, len(u_t))
        steps = torch.as_tensor(rate, dtype=torch.float64, device=u_t.device).reshape(-1, 1)
        y, new = self._run(u_t[:, None], state, steps, None)
        return y[:, 0], new

    def scan(
        self,
        u: Tensor,
        state: State,
        *,
        lengths: Tensor | None = None,
        rate: float = 1.0,
        timestamps: Tensor | None = None,
    ) -> tuple[Tensor, MemoryRNNState]:
        """Maps a block (B, L, D) that continues from `state`; see `Mixer.scan`."""
        self.check_input(u, lengths, rate, timestamps)
        if timestamps is None:
            steps = torch.full((1, u.shape[1]), rate, dtype=torch.float64, device=u.device)
        else:
            steps = sample_steps(timestamps, rate, lengths).to(u.device, torch.float64)
        ends = None if lengths is None else lengths.to(u.device)
        run = _untraced(self._run) if torch.compiler.is_compiling() else self._run
        return run(u, state, steps, ends)

    def _run(self, u: Tensor, state: State, steps: Tensor, lengths: Tensor | None) -> tuple[Tensor, MemoryRNNState]:
        hidden, memory, elapsed = state
        like = self.write.weight
        with torch.autocast(u.device.type, enabled=False):
            x = mask_past_end(u, lengths).to(like.dtype)
            advance = self.memory.block(_shared(elapsed), steps, memory)
            outputs, memory = self._loop(x, hidden, memory, advance, lengths)
        y = mask_past_end(outputs, lengths)
        total = steps.cumsum(dim=1)
        if lengths is None:
            return y.to(u.dtype), MemoryRNNState(outputs[:, -1], memory, elapsed + total[:, -1])
        last = (lengths - 1)[:, None]
        hidden = outputs.gather(1, last[:, :, None].expand(-1, -1, self.d_model))[:, 0]
        return y.to(u.dtype), MemoryRNNState(hidden, memory, elapsed + total.expand(len(u), -1).gather(1, last)[:, 0])

    def _loop(
        self, x: Tensor, hidden: Tensor, memory: Tensor, advance: Advance, lengths: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Hidden vectors (B, L, D), and the memory after the last sample of each series."""
        width, channels = self.d_model, self.memory_channels
        size = channels * self.order
        # What the maps make of the input needs no loop. Time comes first, so that each sample's part lies in one piece.
        to_write, to_read = self._input_part(x.transpose(0, 1))
        write, read = self.write.weight[:, width : 2 * width].mT, self._columns(width, size).mT
        back = self.write.weight[:, 2 * width :].mT
        again = self.candidate.weight[:, width + size :].mT
        outputs = []
        for k, (writing, reading) in enumerate(zip(to_write.unbind(), to_read.unbind(), strict=True)):
            u = torch.addmm(writing, hidden, write)
            if self.feedback:
                u = torch.addmm(u, memory.flatten(1).to(u.dtype), back)
            new = advance(k, memory, u.to(memory.dtype))
            memory = new if lengths is None else torch.where((k < lengths)[:, None, None], new, memory)
            made = torch.addmm(reading, new.flatten(1).to(reading.dtype), read)
            if self.feedback:
                made = made + F.pad(hidden @ again, (0, made.shape[1] - width))
            if self.gate is None:
                hidden = made.tanh()
            else:
                candidate, gate = made.chunk(2, dim=1)
                hidden = torch.lerp(hidden, candidate.tanh(), gate.sigmoid())
            outputs.append(hidden)
        return torch.stack(outputs, dim=1), memory

    def _input_part(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the input (L, B, D) adds to all maps: to u, (L, B, M), and to candidate and gate, (L, B, D or 2 D)."""
        readers = [self.candidate, *([] if self.gate is None else [self.gate])]
        weight = torch.cat([layer.weight[:, : self.d_model] for layer in readers])
        bias = None if self.write.bias is None else torch.cat([layer.bias for layer in readers])
        return F.linear(x, self.write.weight[:, : self.d_model], self.write.bias), F.linear(x, weight, bias)

    def _columns(self, start: int, size: int) -> Tensor:
        """Weights with which candidate and gate read the memory, (D or 2 D, M N)."""
        parts = [self.candidate, *([] if self.gate is None else [self.gate])]
        return torch.cat([layer.weight[:, start : start + size] for layer in parts])

    def extra_repr(self) -> str:
        """Sizes and the memory."""
        return f"d_model={self.d_model}, memory_channels={self.memory_channels}, memory={self.memory}"


def _shared(elapsed: Tensor) -> Tensor:
    """One time where all series have the same, so that they share their steps.

    An expanded tensor says so itself: looking at the values would make a GPU wait, and a CUDA graph cannot hold it.
    """
    if elapsed.stride(0) == 0 and len(elapsed):
        return elapsed[:1]
    return elapsed[:1] if bool((elapsed == elapsed[:1]).all()) else elapsed


def _untraced(loop: Loop) -> Loop:
    """The function left as it is by torch.compile, which would unroll it sample by sample."""
    return torch.compiler.disable(loop)  # type: ignore[no-any-return, no-untyped-call]
