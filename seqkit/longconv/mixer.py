"""Sequence mixing by gated long convolution as a mixer."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from seqkit.checks import check_choice, check_positive_int, check_shape
from seqkit.longconv.convolve import FORMS, monarch_conv
from seqkit.longconv.direct import filter_directly
from seqkit.longconv.filter import ImplicitFilter
from seqkit.longconv.history import MonarchState, is_even, newest
from seqkit.longconv.lags import even_taps, n_even_taps
from seqkit.longconv.short import FINEST, KEPT, ShortFilter
from seqkit.nn.mixer import Mixer, State, check_step_rate, mask_past_end, register_mixer, sample_steps
from seqkit.nn.once import kernel_once

__all__ = ["MonarchMixer"]


@register_mixer("monarch")
class MonarchMixer(Mixer):
    """Monarch mixer along time: a gate, a long convolution in Monarch form, a gate, and a residual convolution.

        [x2, x1, v] = short(W u),   y = O (x2 (h * (x1 v) + D x1 v) + g * u + E u)

    with gates x1 and x2, one long filter h and g for each channel (`ImplicitFilter`), and short ones of three taps.
    Lags are times: at another rate or at uneven times, filters read their signals at the same lags, linear between
    samples. With `causal=False` filters of their own look at later samples, the first of them one step ahead.

    Args:
        d_model: Channels D of input and output.
        window: How far the long filters reach, in training steps; needed.
        causal: Whether a sample reads none after it. What is not causal cannot stream.
        residual: Whether the input itself is filtered too, past the gates.
        filter_width: Sines of a layer of the network that makes the filters.
        form: How whole series are convolved: "auto", "fft" or "monarch"; see `monarch_conv`.
        bias: Whether the linear maps have a bias.

    Raises:
        ValueError: a size below 1, an unknown form, a choice that is not true or false, or no window.

    Source:
        Fu et al. 2023, Monarch Mixer (arXiv:2310.12109), section 4 and its released code for language; Poli et al.
        2023, Hyena (arXiv:2302.10866). Differs: lags are times, padding is respected, and a layer streams.

    Cost: O(B L D^2 + B L D log L) for even steps, O(B L^2 D) up to the window for uneven ones. A stream keeps
        2 `window` samples of 2 D channels, enough for steps down to half of the training one (finer ones reach back as
        many samples, which is less time); a sample costs O(window D) and the filters themselves O(window W (W + D)) for
        W sines, however many streams are stepped together.

    Example:
        >>> layer = MonarchMixer(4, window=16.0)
        >>> u, state, outputs = torch.randn(2, 10, 4), layer.initial_state(2), []
        >>> for k in range(10):
        ...     y, state = layer.step(u[:, k], state)
        ...     outputs.append(y)
        >>> torch.allclose(torch.stack(outputs, 1), layer(u), atol=1e-5)
        True
    """

    slow_parameters: ClassVar[tuple[str, ...]] = ("filter.log_decay",)

    def __init__(
        self,
        d_model: int,
        *,
        window: float | None = None,
        causal: bool = True,
        residual: bool = True,
        filter_width: int = 64,
        form: str = "auto",
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.d_model = check_positive_int("d_model", d_model)
        if window is None:
            raise ValueError(
                "`window` must be given for MonarchMixer, got None; say how many samples back it should reach"
            )
        for name, value in (("causal", causal), ("residual", residual), ("bias", bias)):
            if not isinstance(value, bool):
                raise ValueError(f"`{name}` must be true or false, got {value!r}")
        self.window, self.causal, self.residual = window, causal, residual
        self.form = check_choice("form", form, FORMS)
        signals = 2 * d_model if residual else d_model
        self.project = nn.Linear(d_model, 3 * d_model, bias=bias)
        self.short = ShortFilter(3 * d_model)
        self.filter = ImplicitFilter(signals if causal else 2 * signals, window=window, width=filter_width)
        self.D = nn.Parameter(torch.randn(signals))
        self.out = nn.Linear(d_model, d_model, bias=bias)

    @property
    def n_kept(self) -> int:
        """Samples that a stream keeps."""
        return max(KEPT, math.ceil(self.filter.reach / FINEST))

    def forward(
        self, u: Tensor, *, lengths: Tensor | None = None, rate: float = 1.0, timestamps: Tensor | None = None
    ) -> Tensor:
        """Maps whole series (B, L, D); see `Mixer.forward`."""
        self.check_input(u, lengths, rate, timestamps)
        u = mask_past_end(u, lengths)
        x = self._projected(u)
        with torch.autocast(u.device.type, enabled=False):
            if timestamps is not None:
                steps = sample_steps(timestamps, rate, lengths).double()
                y, gate = self._uneven(u, x, steps, lengths)
            else:
                signals, gate = self._gated(self.short(x, rate), u, lengths)
                kernels = self._kernels(u.shape[1], rate)
                y = monarch_conv(signals.mT, *kernels, D=self.D, form=self.form).mT
        return self._joined(y, gate, u, lengths)

    def initial_state(self, batch_size: int = 1) -> MonarchState:
        """State before the first sample.

        Raises:
            ValueError: the layer is not causal.
        """
        self._check_streams()
        return self._fresh(batch_size)

    def step(self, u_t: Tensor, state: State, *, rate: float | Tensor = 1.0) -> tuple[Tensor, MonarchState]:
        """Maps one sample (B, D); see `Mixer.step`.

        Raises:
            ValueError: the layer is not causal.
        """
        check_shape("u_t", u_t, ("B", self.d_model), f"d_model is {self.d_model}")
        self._check_streams()
        check_step_rate("rate", rate, len(u_t))
        past, steps = MonarchState(*state), torch.as_tensor(rate, dtype=torch.float64, device=u_t.device)
        first = float(steps.flatten()[0])
        if bool((steps == first).all()) and is_even(past, first):
            return self._newest(u_t, past, first)
        y, new = self._continued(u_t[:, None], past, steps.expand(len(u_t))[:, None], None, even=None)
        return y[:, 0], new

    def scan(
        self,
        u: Tensor,
        state: State,
        *,
        lengths: Tensor | None = None,
        rate: float = 1.0,
        timestamps: Tensor | None = None,
    ) -> tuple[Tensor, MonarchState]:
        """Maps a block (B, L, D) that continues from `state`; see `Mixer.scan`.

        Raises:
            ValueError: the layer is not causal, or as `forward`.
        """
        self.check_input(u, lengths, rate, timestamps)
        self._check_streams()
        past, even = MonarchState(*state), None
        if timestamps is None:
            steps = torch.full(u.shape[:2], rate, dtype=torch.float64, device=u.device)
            even = rate if is_even(past, rate) else None
        else:
            steps = sample_steps(timestamps, rate, lengths).double()
        return self._continued(mask_past_end(u, lengths), past, steps, lengths, even=even)

    def _continued(
        self, u: Tensor, past: MonarchState, steps: Tensor, lengths: Tensor | None, *, even: float | None
    ) -> tuple[Tensor, MonarchState]:
        """A block from a state; `even` is the step where all samples, the remembered ones too, have the same."""
        x, n = torch.cat([past.recent.flip(1), self._projected(u)], 1), self.n_kept
        with torch.autocast(u.device.type, enabled=False):
            gaps = torch.cat([past.gaps.flip(1), steps], 1)
            signals, gate = self._gated(self.short.uneven(x, gaps[:, n - KEPT :]), u, lengths)
            values, taps = torch.cat([past.values.flip(1), signals], 1), self.filter()
            if even is None:
                y = filter_directly(values, gaps, taps, before=n, most=n)
            else:
                y = self._filtered(values, taps, even)
            y = y + self.D * signals
            ends = torch.full((len(u),), u.shape[1], device=u.device) if lengths is None else lengths.to(u.device)
            kept = (newest(part, ends + n, n) for part in (values, gaps))
            new = MonarchState(newest(x, ends + KEPT, KEPT), *kept)
        return self._joined(y, gate, u, lengths), new

    def _newest(self, u: Tensor, past: MonarchState, rate: float) -> tuple[Tensor, MonarchState]:
        """One sample (B, D) of streams of even steps: the sums themselves."""
        x = torch.cat([self._projected(u)[:, None], past.recent], 1)
        with torch.autocast(u.device.type, enabled=False):
            signals, gate = self._gated(self.short.newest(x, rate)[:, None], u[:, None], None)
            kernel = self._taps(self.filter(), self.n_kept, rate).mT
            y = (kernel[0] + self.D) * signals + torch.einsum(
                "bks,ks->bs", past.values[:, : len(kernel) - 1], kernel[1:]
            ).unsqueeze(1)
            values = torch.cat([signals, past.values[:, :-1]], 1)
            gaps = torch.cat([past.gaps.new_full((len(u), 1), rate), past.gaps[:, :-1]], 1)
        return self._joined(y, gate, u[:, None], None)[:, 0], MonarchState(x[:, :-1], values, gaps)

    def _filtered(self, values: Tensor, taps: Tensor, rate: float) -> Tensor:
        """Filters a block of even steps with all that a stream keeps before it, (B, n_kept + L, S)."""
        n, kernel = self.n_kept, self._taps(taps, values.shape[1], rate)
        reached = kernel.shape[1] - 1  # below n
        return monarch_conv(values[:, n - reached :].mT, kernel, form=self.form)[..., reached:].mT

    def _uneven(self, u: Tensor, x: Tensor, steps: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """Filtered signals and the gate of whole series with steps (B, L)."""
        if lengths is not None:  # a series falls to 0 after its end in the step before, padded or not
            ends = lengths.to(steps.device)[:, None]
            inside = torch.arange(steps.shape[1], device=steps.device) < ends
            steps = torch.where(inside, steps, steps.gather(1, ends - 1))
        x, gaps = nn.functional.pad(x, (0, 0, KEPT, 0)), nn.functional.pad(steps, (KEPT, 0), value=1.0)
        signals, gate = self._gated(self.short.uneven(x, gaps), u, lengths)
        taps = self.filter()
        if self.causal:
            y = filter_directly(signals, steps, taps, most=self.n_kept)
        else:
            y = filter_directly(signals, steps, *taps.chunk(2, dim=1))
        return y + self.D * signals, gate

    def _projected(self, u: Tensor) -> Tensor:
        x: Tensor = self.project(u.to(self.D.dtype))
        return x.to(self.D.dtype)

    def _gated(self, x: Tensor, u: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """What the long filters read, (B, L, S), 0 past the ends, and the gate of their outputs, (B, L, D)."""
        gate, x1, v = x.chunk(3, dim=-1)
        gated = mask_past_end(x1 * v, lengths)
        return (torch.cat([gated, u.to(gated.dtype)], -1) if self.residual else gated), gate

    def _kernels(self, length: int, rate: float) -> tuple[Tensor, Tensor | None]:
        """Taps of whole series, (S, taps), and those for later samples."""
        both = kernel_once(self.filter, self.filter)
        if self.causal:
            return self._taps(both, length, rate), None
        taps, reverse = both.chunk(2, dim=1)
        count = min(length, n_even_taps(self.filter.reach + 1, rate))
        later = even_taps(reverse, rate, count, later=True)
        # A tap that lies less than a step ahead reads the sample itself too.
        now = even_taps(taps, rate, count) + nn.functional.pad(later[:, :1], (0, count - 1))
        return now, later[:, 1:]

    def _taps(self, taps: Tensor, length: int, rate: float) -> Tensor:
        """Filters for even steps, (S, taps), as many as reach something and as a stream keeps."""
        return even_taps(taps, rate, min(length, self.n_kept, n_even_taps(self.filter.reach, rate)))

    def _joined(self, y: Tensor, gate: Tensor, u: Tensor, lengths: Tensor | None) -> Tensor:
        """Outputs (B, L, D) of filtered signals (B, L, S), in the dtype of the input, 0 past the ends."""
        mixed = gate * y[..., : self.d_model]
        if self.residual:
            mixed = mixed + y[..., self.d_model :]
        return mask_past_end(self.out(mixed), lengths).to(u.dtype)

    def _fresh(self, batch_size: int) -> MonarchState:
        zeros, n = self.D.new_zeros, self.n_kept
        return MonarchState(
            zeros(batch_size, KEPT, 3 * self.d_model),
            zeros(batch_size, n, len(self.D)),
            torch.ones(batch_size, n, dtype=torch.float64, device=self.D.device),
        )

    def _check_streams(self) -> None:
        if not self.causal:
            raise ValueError(
                f"{type(self).__name__} cannot stream, because it reads samples of both sides; train it with "
                "causal=True"
            )

    def extra_repr(self) -> str:
        """Sizes and choices."""
        return f"d_model={self.d_model}, window={self.window}, causal={self.causal}, residual={self.residual}"
