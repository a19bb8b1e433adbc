"""The model over series: encoder, backbone, pooling, head, in parallel and in online form."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from seqkit.batch import DataInfo
from seqkit.checks import check_finite, check_lengths, check_positive, check_shape
from seqkit.models.config import ModelConfig
from seqkit.models.parts import check_classes, mixed_parts, pooled_parts
from seqkit.nn import (
    Backbone,
    BackboneState,
    ClassHead,
    InputNorm,
    Pool,
    PoolState,
    ValueHead,
    check_observed,
    hold,
    hold_step,
    last_of,
    mask_past_end,
)
from seqkit.nn.mixer import check_step_rate

__all__ = ["ModelState", "SequenceModel"]


class ModelState(NamedTuple):
    """State of a model between samples.

    Args:
        backbone: The blocks' states.
        pool: What pooling remembers; None without pooling.
        held: Last observed value of each channel, standardised, (B, C); 0 before the first.
    """

    backbone: BackboneState
    pool: PoolState | None
    held: Tensor


class SequenceModel(nn.Module):
    """Series in, class scores or values out; one set of weights as a convolution and as a recurrence.

        standardise -> linear encoder -> residual blocks -> norm -> pooling over time -> head

    A model without a mixer pools the standardised channels, and a perceptron reads what was pooled:

        standardise -> pooling over time -> perceptron -> head

    Without pooling the head acts on every sample (sequence targets). Values come out in the target's units. What lies
    past a series' end changes nothing, NaN included.

    Where a value is missing (`observed`), a channel's last observed one is held, the training mean before the first.
    A model with a mixer whose training data have missing values also reads which are missing, as C further channels.

    Args:
        info: What the data are: channels, target kind, classes, sample rate.
        encoder: Map from the C raw channels to what the backbone takes.
        backbone: Residual blocks.
        pool: Pooling over time, or None for one output per sample.
        readout: Map between pooling and head; nothing by default.
        reads_missing: Whether the encoder takes C further channels, 1 where a value is missing and 0 elsewhere.
        head: `ClassHead` or `ValueHead`.
        config: The plain values it was built from, kept for saving.

    Example:
        >>> info = DataInfo("pulse", "classification", n_channels=2, classes=("rest", "run"), sample_rate=100.0)
        >>> model = SequenceModel.from_config(ModelConfig.preset("s4d", d_model=8, n_layers=1, order=4), info)
        >>> model(torch.randn(3, 50, 2)).shape
        torch.Size([3, 2])
        >>> model(torch.randn(3, 25, 2), sample_rate=50.0).shape
        torch.Size([3, 2])
    """

    def __init__(
        self,
        *,
        info: DataInfo,
        encoder: nn.Module,
        backbone: Backbone,
        pool: Pool | None,
        head: ClassHead | ValueHead,
        config: ModelConfig,
        readout: nn.Module | None = None,
        reads_missing: bool = False,
    ) -> None:
        super().__init__()
        self.info = info
        self.config = config
        self.reads_missing = reads_missing
        self.input_norm = InputNorm(info.n_channels)
        self.encoder = encoder
        self.backbone = backbone
        self.pool = pool
        self.readout = nn.Identity() if readout is None else readout
        self.head = head

    @classmethod
    def from_config(cls, config: ModelConfig, info: DataInfo, *, seed: int | None = None) -> SequenceModel:
        """Builds a model with fresh weights.

        Args:
            config: Sizes.
            info: What the data are.
            seed: Seed of the starting weights; the global generators stay as they were. None draws from the CPU's.

        Returns:
            The model on the CPU, in training mode.

        Raises:
            ValueError: sizes or options that the mixer refuses, classes that do not fit the kind of target, or
                sequence targets for a model without a mixer.
        """
        check_classes(info)
        with torch.random.fork_rng(devices=[], enabled=seed is not None), torch.device("cpu"):
            if seed is not None:
                # Not torch.manual_seed, which would seed the accelerators' generators as well.
                torch.default_generator.manual_seed(seed)
            parts = pooled_parts(config, info) if config.mixer is None else mixed_parts(config, info)
            return cls(info=info, config=config, **parts)

    @property
    def uses_rate(self) -> bool:
        """Whether every mixer has a notion of the sampling step."""
        return all(mixer.uses_rate for mixer in self.backbone.mixers())

    @property
    def n_parameters(self) -> int:
        """Number of trained parameters."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def forward(
        self,
        values: Tensor,
        lengths: Tensor | None = None,
        *,
        sample_rate: float | None = None,
        timestamps: Tensor | None = None,
        observed: Tensor | None = None,
    ) -> Tensor:
        """Maps whole series.

        Args:
            values: Raw samples, (B, L, C).
            lengths: Samples of each series, (B,).
            sample_rate: Samples per second of `values` (Hz); None for that of the training data.
            timestamps: Time of each sample in seconds, (B, L), for uneven sampling.
            observed: Which values were observed, bool, (B, L, C); None for all. What the others are changes nothing.

        Returns:
            Scores or values, (B, n_outputs); (B, L, n_outputs) for sequence targets, 0 past a series' end.

        Raises:
            ValueError: wrong number of channels, empty series, times that do not increase, `observed` of another shape,
                or another sample rate than in training where a mixer has no notion of it.
        """
        x = self.course(values, lengths, sample_rate=sample_rate, timestamps=timestamps, observed=observed)
        if self.pool is None:
            return mask_past_end(self._head(x), lengths)
        pooled = self.pool(x, lengths, rate=self.rate(sample_rate), timestamps=self._steps(timestamps))
        return self._head(pooled)

    def course(
        self,
        values: Tensor,
        lengths: Tensor | None = None,
        *,
        sample_rate: float | None = None,
        timestamps: Tensor | None = None,
        observed: Tensor | None = None,
    ) -> Tensor:
        """What is pooled: outputs of the backbone, (B, L, d_model); arguments and errors as `forward`."""
        self._check(values, lengths)
        out: Tensor = self.backbone(
            self._encode(values, lengths, observed)[0],
            lengths=lengths,
            rate=self.rate(sample_rate),
            timestamps=self._steps(timestamps),
        )
        return out

    def initial_state(self, batch_size: int = 1) -> ModelState:
        """State before the first sample of `batch_size` streams."""
        pool = None if self.pool is None else self.pool.initial_state(batch_size)
        held = self.input_norm.mean.new_zeros(batch_size, self.info.n_channels)
        return ModelState(self.backbone.initial_state(batch_size), pool, held)

    def step(
        self,
        values: Tensor,
        state: ModelState,
        *,
        sample_rate: float | Tensor | None = None,
        observed: Tensor | None = None,
    ) -> tuple[Tensor, ModelState]:
        """Takes one raw sample of each stream.

        Args:
            values: Raw samples, (B, C).
            state: What `initial_state` or the previous call returned.
            sample_rate: One over the seconds since the sample before (Hz), one number or one per stream, (B,); None
                for that of the training data.
            observed: Which values were observed, bool, (B, C); None for all.

        Returns:
            The output, (B, n_outputs), that `forward` gives for the series so far (for its last sample with sequence
            targets), and the new state.

        Raises:
            ValueError: wrong number of channels, a sample rate that the model cannot use or that is no finite number
                above 0.
        """
        check_shape("values", values, ("B", self.info.n_channels), self._channel_advice())
        held = self.input_norm(values)
        if observed is not None:
            observed = check_observed(observed, values)
            held = hold_step(held, observed, state.held)
        rate: float | Tensor
        if isinstance(sample_rate, Tensor):
            check_step_rate("sample_rate", sample_rate, len(values))
            rate = (self.info.sample_rate or 1.0) / sample_rate
        else:
            rate = self.rate(sample_rate)
        x, backbone = self.backbone.step(self._read(held, observed), state.backbone, rate=rate)
        if self.pool is None:
            return self._head(x), ModelState(backbone, None, held)
        pooled, pool = self.pool.step(x, cast("PoolState", state.pool), rate=rate)
        return self._head(pooled), ModelState(backbone, pool, held)

    def scan(
        self,
        values: Tensor,
        state: ModelState,
        lengths: Tensor | None = None,
        *,
        sample_rate: float | None = None,
        timestamps: Tensor | None = None,
        observed: Tensor | None = None,
    ) -> tuple[Tensor, ModelState]:
        """Takes a block of raw samples that continues from `state`.

        Args:
            values: Raw samples, (B, L, C).
            state: What `initial_state` or the previous call returned.
            lengths: Samples of each series in this block, (B,).
            sample_rate: Samples per second (Hz); with `timestamps`, one over the seconds from the sample before the
                block to its first.
            timestamps: Time of each sample in seconds, (B, L).
            observed: As in `forward`; values that those before this block still hold.

        Returns:
            The output for all samples so far, (B, n_outputs), or for each sample of the block, (B, L, n_outputs),
            with sequence targets; and the new state.

        Raises:
            ValueError: as `forward`.
        """
        self._check(values, lengths)
        x, held = self._encode(values, lengths, observed, state.held)
        x, backbone = self.backbone.scan(
            x,
            state.backbone,
            lengths=lengths,
            rate=self.rate(sample_rate),
            timestamps=self._steps(timestamps),
        )
        if self.pool is None:
            return mask_past_end(self._head(x), lengths), ModelState(backbone, None, held)
        pooled, pool = self.pool.scan(
            x,
            cast("PoolState", state.pool),
            lengths,
            rate=self.rate(sample_rate),
            timestamps=self._steps(timestamps),
        )
        return self._head(pooled), ModelState(backbone, pool, held)

    @torch.no_grad()
    def predict(
        self,
        values: Tensor,
        lengths: Tensor | None = None,
        *,
        sample_rate: float | None = None,
        timestamps: Tensor | None = None,
        observed: Tensor | None = None,
    ) -> Tensor:
        """Predicts in evaluation mode; arguments as in `forward`.

        Returns:
            Class probabilities, or values in the target's units, in the shape that `forward` has.

        Raises:
            ValueError: as `forward`, and for NaN or infinite values that count as observed.

        Example:
            >>> info = DataInfo("pulse", "classification", n_channels=1, classes=("rest", "run"))
            >>> model = SequenceModel.from_config(ModelConfig.preset("gru", d_model=4, n_layers=1), info)
            >>> model.predict(torch.randn(1, 9, 1)).sum().round().item()
            1.0
        """
        self._check(values, lengths)
        checked = mask_past_end(values, lengths)
        if observed is not None:
            checked = torch.where(check_observed(observed, values, lengths), checked, checked.new_zeros(()))
        check_finite("values", checked, "fill them, or say with `observed` which values are there")
        was_training = self.training
        self.eval()
        try:
            outputs: Tensor = self(values, lengths, sample_rate=sample_rate, timestamps=timestamps, observed=observed)
        finally:
            self.train(was_training)
        if not self.info.classes:
            return outputs
        shares = outputs.softmax(dim=-1)
        return mask_past_end(shares, lengths) if self.pool is None else shares

    def rate(self, sample_rate: float | None) -> float:
        """Sampling step in units of the training one, from samples per second (Hz).

        Data without a sample rate count as 1 Hz: then 0.5 means half as many samples as in training.

        Raises:
            ValueError: `sample_rate` is not positive.
        """
        if sample_rate is None:
            return 1.0
        return (self.info.sample_rate or 1.0) / check_positive("sample_rate", sample_rate)

    def _steps(self, timestamps: Tensor | None) -> Tensor | None:
        """Seconds to units of the training step."""
        if timestamps is None:
            return None
        if not timestamps.is_floating_point():  # a whole number times a float would become a float of few digits
            timestamps = timestamps.double()
        return timestamps * (self.info.sample_rate or 1.0)

    def _encode(
        self, values: Tensor, lengths: Tensor | None, observed: Tensor | None, held: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What the backbone takes, and the values held after the last sample."""
        x: Tensor = self.input_norm(mask_past_end(values, lengths))
        if observed is not None:
            observed = check_observed(observed, values, lengths)
            x = hold(x, observed, held)
        return self._read(x, observed), last_of(x, lengths)

    def _read(self, x: Tensor, observed: Tensor | None) -> Tensor:
        """Encodes standardised values without gaps."""
        if self.reads_missing:
            missing = torch.zeros_like(x) if observed is None else (~observed).to(x.dtype)
            x = torch.cat([x, missing], dim=-1)
        return cast("Tensor", self.encoder(x))

    def _head(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.head(self.readout(x)))

    def _check(self, values: Tensor, lengths: Tensor | None) -> None:
        check_shape("values", values, ("B", "L", self.info.n_channels), self._channel_advice())
        if values.shape[1] == 0:
            raise ValueError("`values` must hold at least one sample a series, got length 0; leave empty series out")
        if lengths is not None:
            check_lengths(lengths, values.shape[0], values.shape[1])

    def _channel_advice(self) -> str:
        return f"the model was trained on {self.info.n_channels} channels"
