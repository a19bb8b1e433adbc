"""What every linear state-space mixer shares: step sizes, skip, channels, and the three forms of one map."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqkit.checks import check_positive, check_positive_int, check_shape
from seqkit.kernels.long_conv import long_conv
from seqkit.nn.mixer import Mixer, State, check_step_rate, mask_past_end, sample_steps, scan_by_step
from seqkit.nn.once import kernel_once
from seqkit.ssm.dense import dense_final_state, dense_response, newest_first

__all__ = ["LinearSystem", "SSMState", "StateSpaceMixer"]


class SSMState(NamedTuple):
    """State of every head's system, (B, H, N), real."""

    x: Tensor


class LinearSystem(NamedTuple):
    """The continuous systems `x' = A x + B u, y = C x + D u` of a mixer's heads, dense and real.

    Args:
        A: (H, N, N).
        B: (H, N).
        C: (H, M, N).
        D: (H, M).
        dt: Step size of each head, (H,), in units of the training step.
    """

    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor
    dt: Tensor


class StateSpaceMixer(Mixer):
    """Abstract bank of H single-input systems, one per channel, each with M outputs.

        x' = A x + B u,  y = C x + D u          discretised with the head's step `rate * dt`

    The sample at time k enters the state at time k: `x_k = A_bar x_{k-1} + B_bar u_k`, `y_k = C x_k + D u_k`.
    `rate` multiplies the step, so it acts on both A_bar and B_bar.

    Args:
        d_model: Number of heads H, one per channel.
        order: State size N of each head.
        channels: Outputs M of each head. With more than one, GELU and a linear map M*H -> H follow.
        dt_min: Smallest step size at the start, in units of the training step.
        dt_max: Largest step size at the start; they are log-uniform between the two.
        train_dt: Whether the step sizes are trained.

    Source:
        Gu et al. 2021, LSSL (arXiv:2110.13985), sections 3 and 4. Differs: a rate scales B_bar as well.

    Example:
        >>> from seqkit.ssm import S4D
        >>> isinstance(S4D(4, order=8), StateSpaceMixer)
        True
    """

    C: nn.Parameter
    """Outputs of the states, (H, M, N), real numbers in each layer's own order; kernels are linear in it."""

    def __init__(
        self, d_model: int, *, order: int, channels: int, dt_min: float, dt_max: float, train_dt: bool
    ) -> None:
        super().__init__()
        self.d_model = check_positive_int("d_model", d_model)
        self.order = check_positive_int("order", order)
        self.channels = check_positive_int("channels", channels)
        if check_positive("dt_min", dt_min) > check_positive("dt_max", dt_max):
            raise ValueError(f"`dt_min` must not exceed dt_max, got {dt_min} and {dt_max}")
        low, high = math.log(dt_min), math.log(dt_max)
        self.log_dt = nn.Parameter(low + (high - low) * torch.rand(d_model), requires_grad=train_dt)
        self.D = nn.Parameter(torch.randn(d_model, channels))
        self.mix = nn.Linear(channels * d_model, d_model) if channels > 1 else None

    def forward(
        self, u: Tensor, *, lengths: Tensor | None = None, rate: float = 1.0, timestamps: Tensor | None = None
    ) -> Tensor:
        """Maps whole series (B, L, D) as one convolution; see `Mixer.forward`."""
        if timestamps is not None:
            state = self.initial_state(u.shape[0])
            return self.scan(u, state, lengths=lengths, rate=rate, timestamps=timestamps)[0]
        self.check_input(u, lengths, rate, timestamps)
        with torch.autocast(u.device.type, enabled=False):
            y = self._convolve(mask_past_end(u, lengths), rate)
            return mask_past_end(self._merge(y), lengths).to(u.dtype)

    def initial_state(self, batch_size: int = 1) -> SSMState:
        """Zero state, (B, H, N)."""
        return SSMState(self.log_dt.new_zeros(batch_size, self.d_model, self.order))

    def step(self, u_t: Tensor, state: State, *, rate: float | Tensor = 1.0) -> tuple[Tensor, SSMState]:
        """Maps one sample (B, D); see `Mixer.step`."""
        check_shape("u_t", u_t, ("B", self.d_model), f"d_model is {self.d_model}")
        check_step_rate("rate", rate, len(u_t))
        with torch.autocast(u_t.device.type, enabled=False):
            u = u_t.to(self.log_dt.dtype)
            y, x = self._advance(u, state[0], self._dt(rate))
            y = y + u[:, :, None] * self.D
            return self._merge(y.transpose(1, 2)[:, :, :, None])[:, 0].to(u_t.dtype), SSMState(x)

    def scan(
        self,
        u: Tensor,
        state: State,
        *,
        lengths: Tensor | None = None,
        rate: float = 1.0,
        timestamps: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Maps a block (B, L, D) that continues from `state`; see `Mixer.scan`."""
        self.check_input(u, lengths, rate, timestamps)
        if timestamps is not None:
            return self._scan_uneven(u, state, sample_steps(timestamps, rate, lengths), lengths)
        with torch.autocast(u.device.type, enabled=False):
            signal = mask_past_end(u, lengths).transpose(1, 2).to(state[0].dtype)
            y, x = self._scan_even(signal, state[0], lengths, self._dt(rate))
            return mask_past_end(self._merge(y), lengths).to(u.dtype), SSMState(x)

    def _scan_dense(
        self, u: Tensor, x: Tensor, lengths: Tensor | None, dt: Tensor, A: Tensor, B: Tensor, C: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What `_scan_even` returns, for discrete dense A (H, N, N), B (H, N) and C (H, M, N)."""
        length = u.shape[-1]
        ends = torch.full((len(u),), length, device=u.device) if lengths is None else lengths.to(u.device)
        y = long_conv(u, self._kernel(length, dt), self.D.T) + dense_response(A, C, x, length)
        return y, dense_final_state(A, B, newest_first(u, ends), x, ends)

    def _scan_uneven(self, u: Tensor, state: State, steps: Tensor, lengths: Tensor | None) -> tuple[Tensor, State]:
        """As `scan`, with a step for each sample, (B, L)."""
        return scan_by_step(self, u, state, steps=steps, lengths=lengths)

    @abstractmethod
    def system(self) -> LinearSystem:
        """The heads' continuous systems as dense real matrices: for analysis, conversion and tests."""

    @abstractmethod
    def _kernel(self, length: int, dt: Tensor) -> Tensor:
        """Convolution kernel `C A_bar^l B_bar`, (M, H, L), for step sizes (H,)."""

    @abstractmethod
    def _advance(self, u: Tensor, x: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
        """One sample: `y = C x_new` (B, H, M) and x_new (B, H, N), for step sizes (H,) or (B, H)."""

    @abstractmethod
    def _scan_even(self, u: Tensor, x: Tensor, lengths: Tensor | None, dt: Tensor) -> tuple[Tensor, Tensor]:
        """A block of samples (B, H, L), 0 past the ends, from a state: outputs (B, M, H, L) with skip, states."""

    def _dt(self, rate: float | Tensor) -> Tensor:
        """Step sizes (H,), or (B, H) when each stream has its own rate (B,)."""
        dt = self.log_dt.exp()
        return dt * (rate.to(dt)[:, None] if isinstance(rate, Tensor) and rate.dim() == 1 else rate)

    def _convolve(self, u: Tensor, rate: float) -> Tensor:
        signal = u.transpose(1, 2).to(self.log_dt.dtype)
        length = u.shape[1]
        kernel = kernel_once(self, lambda: self._kernel(length, self._dt(rate)), length, rate)
        return long_conv(signal, kernel, self.D.T)

    def _merge(self, y: Tensor) -> Tensor:
        """Heads' outputs (B, M, H, L) to channels (B, L, D)."""
        y = y.permute(0, 3, 1, 2)
        # In order: gradients come so from the linear layer behind, and of two orders an activation's is much slower.
        return y[:, :, 0].contiguous() if self.mix is None else self.mix(F.gelu(y.flatten(2)))

    def extra_repr(self) -> str:
        """Sizes."""
        return f"d_model={self.d_model}, order={self.order}, channels={self.channels}"
