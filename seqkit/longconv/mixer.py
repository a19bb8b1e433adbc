"""Sequence mixing by gated long convolution as a mixer."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from seqkit.checks import check_choice, check_positive_int, check_shape
from seqkit.longconv.convolve import FORMS, monarch_conv
from seqkit.longconv.direct import filter_directly
from seqkit.longconv.filter import ImplicitFilter, filter_at
from seqkit.longconv.history import MonarchState, newest
from seqkit.longconv.short import FINEST, KEPT, ShortFilter
from seqkit.nn.mixer import Mixer, State, mask_past_end, register_mixer, sample_steps

__all__ = ["MonarchMixer"]


@register_mixer("monarch")
class MonarchMixer(Mixer):
    """Monarch mixer along time: a gate, a long convolution in Monarch form, a gate, and a residual convolution.

        [x1, x2, v] = short(W u),   y = O (x2 * (h * (x1 v) + D x1 v) + g * u + E u)

    Products without brackets are of samples, `*` before a bracket gates, and h and g are long filters, one a channel
    (`ImplicitFilter`), which are functions of time. So `rate` and `timestamps` count: a sample weighs as much as its
    step is long, and lags are times. With `causal=False` filters of their own look at later samples, the first of them
    one step ahead.

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
        2023, Hyena (arXiv:2302.10866). Differs: filters and short lags are functions of time, padding is respected, and
        a layer streams.

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
        """Samples that a stream keeps for the long filters."""
        return math.ceil(self.filter.reach / FINEST)

    def forward(
        self, u: Tensor, *, lengths: Tensor | None = None, rate: float = 1.0, timestamps: Tensor | None = None
    ) -> Tensor:
        """Maps whole series (B, L, D); see `Mixer.forward`."""
        if timestamps is not None and self.causal:
            return self.scan(u, self._fresh(len(u)), lengths=lengths, rate=rate, timestamps=timestamps)[0]
        self.check_input(u, lengths, rate, timestamps)
        u = mask_past_end(u, lengths)
        x = self._projected(u)
        with torch.autocast(u.device.type, enabled=False):
            if timestamps is not None:
                steps = sample_steps(timestamps, rate, lengths).double()
                return self._both_sides(u, x, steps, lengths)
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
        rates = torch.as_tensor(rate, dtype=torch.float64, device=u_t.device).expand(len(u_t))[:, None]
        y, new = self._continued(u_t[:, None], MonarchState(*state), rates, None, even=None)
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
            even = rate if _is_even(past.ages, rate, self.filter.reach) else None
        else:
            steps = sample_steps(timestamps, rate, lengths).double()
        return self._continued(mask_past_end(u, lengths), past, steps, lengths, even=even)

    def _continued(
        self, u: Tensor, past: MonarchState, steps: Tensor, lengths: Tensor | None, *, even: float | None
    ) -> tuple[Tensor, MonarchState]:
        """A block from a state; `even` is the step where all samples, the remembered ones too, have the same."""
        x = torch.cat([past.recent.flip(1), self._projected(u)], 1)
        with torch.autocast(u.device.type, enabled=False):
            gaps = torch.cat([past.gaps.flip(1), steps], 1)
            signals, gate = self._gated(self.short.uneven(x, gaps), u, lengths)
            values = torch.cat([past.values.flip(1), signals * steps[..., None].to(signals.dtype)], 1)
            times = torch.cat([-past.ages.flip(1), steps.cumsum(1)], 1)
            before, table = self.n_kept, self.filter()
            if even is None:
                y = filter_directly(values, times, table, before=before, most=self.n_kept)
            else:
                taps = self._taps(table, values.shape[1], even)
                reached = min(before, taps.shape[1] - 1)
                y = monarch_conv(values[:, before - reached :].mT, taps, form=self.form)[..., reached:].mT
            y = y + self.D * signals
            ends = torch.full((len(u),), u.shape[1], device=u.device) if lengths is None else lengths.to(u.device)
            ages = times.gather(1, ends[:, None] + before - 1) - newest(times, ends + before, before)
            ages = ages.clamp(max=self.filter.reach)
            kept = newest(values, ends + before, before)
            kept = torch.where((ages < self.filter.reach)[..., None], kept, torch.zeros_like(kept))
            new = MonarchState(newest(x, ends + KEPT, KEPT), newest(gaps, ends + KEPT, KEPT), kept, ages)
        return self._joined(y, gate, u, lengths), new

    def _both_sides(self, u: Tensor, x: Tensor, steps: Tensor, lengths: Tensor | None) -> Tensor:
        """What `forward` returns for uneven steps (B, L) where the layer is not causal."""
        x, gaps = nn.functional.pad(x, (0, 0, KEPT, 0)), nn.functional.pad(steps, (KEPT, 0), value=1.0)
        signals, gate = self._gated(self.short.uneven(x, gaps), u, lengths)
        values = signals * steps[..., None].to(signals.dtype)
        tables = self.filter().chunk(2, dim=1)
        y = filter_directly(values, steps.cumsum(1), *tables, before=0, most=None)
        return self._joined(y + self.D * signals, gate, u, lengths)

    def _projected(self, u: Tensor) -> Tensor:
        x: Tensor = self.project(u.to(self.D.dtype))
        return x.to(self.D.dtype)

    def _gated(self, x: Tensor, u: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """What the long filters read, (B, L, S), 0 past the ends, and the gate of their outputs, (B, L, D)."""
        gate, x1, v = x.split(self.d_model, -1)
        gated = mask_past_end(x1 * v, lengths)
        return (torch.cat([gated, u.to(gated.dtype)], -1) if self.residual else gated), gate

    def _kernels(self, length: int, rate: float) -> tuple[Tensor, Tensor | None]:
        """Taps of whole series, (S, taps), and those for later samples."""
        if self.causal:
            return self._taps(self.filter(), length, rate) * rate, None
        tables = self.filter().chunk(2, dim=1)
        count = min(length, math.ceil(self.filter.reach / rate))
        forward, backward = (self._values(table, count + 1, rate) * rate for table in tables)
        return forward[:, :count], backward[:, 1:]

    def _taps(self, table: Tensor, length: int, rate: float) -> Tensor:
        """Filters at the lags of even steps, (S, taps), as many as a stream keeps."""
        return self._values(table, min(length, self.n_kept, math.ceil(self.filter.reach / rate)), rate)

    def _values(self, table: Tensor, count: int, rate: float) -> Tensor:
        if rate == 1:
            return table[:count].mT
        return filter_at(table, rate * torch.arange(count, dtype=torch.float64, device=table.device)).mT

    def _joined(self, y: Tensor, gate: Tensor, u: Tensor, lengths: Tensor | None) -> Tensor:
        """Outputs (B, L, D) of filtered signals (B, L, S), in the dtype of the input, 0 past the ends."""
        mixed = gate * y[..., : self.d_model]
        if self.residual:
            mixed = mixed + y[..., self.d_model :]
        return mask_past_end(self.out(mixed), lengths).to(u.dtype)

    def _fresh(self, batch_size: int) -> MonarchState:
        signals, zeros, n = len(self.D), self.D.new_zeros, self.n_kept
        times = {"dtype": torch.float64, "device": self.D.device}
        return MonarchState(
            zeros(batch_size, KEPT, 3 * self.d_model),
            torch.ones(batch_size, KEPT, **times),
            zeros(batch_size, n, signals),
            torch.full((batch_size, n), float(self.filter.reach), **times),
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


def _is_even(ages: Tensor, rate: float, reach: int) -> bool:
    """Whether what is remembered lies `rate` apart; what is as old as the window does not count, nor does its age."""
    expected = rate * torch.arange(ages.shape[1], dtype=ages.dtype, device=ages.device)
    return bool((((ages - expected).abs() <= 1e-9 * reach) | (ages >= reach)).all())
