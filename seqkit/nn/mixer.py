"""The mixer contract, (B, L, D) -> (B, L, D) with an online form, and the registry of mixers by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from seqkit.checks import check_lengths, check_positive, check_shape
from seqkit.registry import Registry

__all__ = [
    "Mixer",
    "State",
    "check_step_rate",
    "get_mixer",
    "mask_past_end",
    "mixer_names",
    "mixer_options",
    "register_mixer",
    "sample_steps",
    "scan_by_step",
]

State = tuple[Tensor, ...]
"""What a mixer remembers between samples: a NamedTuple of tensors of fixed size, batch first."""


class Mixer(nn.Module, ABC):
    """Abstract layer that mixes a sequence along time, as a whole or one sample at a time.

    The parallel form (`forward`) trains; the online form (`step`, or `scan` for a block of samples) streams.
    Both compute the same map, to rounding. A state is an argument and a result, never an attribute.

    Args:
        d_model: Number of channels D of the input and of the output.

    Source: the contract of this toolkit; state as in Gu et al. 2021, LSSL (arXiv:2110.13985), section 3.1.

    Example:
        >>> from seqkit.nn import get_mixer
        >>> mixer = get_mixer("gru")(d_model=4)
        >>> y, state = mixer.step(torch.zeros(1, 4), mixer.initial_state(1))
        >>> y.shape
        torch.Size([1, 4])
    """

    uses_rate: bool = True
    """Whether the layer has a notion of the sampling step, for all of a class or by its options; one without it refuses
    a `rate` other than 1."""

    slow_parameters: ClassVar[tuple[str, ...]] = ()
    """Own parameters that train with the smaller learning rate and no weight decay (A, B and dt)."""

    d_model: int

    @abstractmethod
    def forward(
        self, u: Tensor, *, lengths: Tensor | None = None, rate: float = 1.0, timestamps: Tensor | None = None
    ) -> Tensor:
        """Maps whole series.

        Args:
            u: Input, (B, L, D).
            lengths: Samples of each series, (B,); what lies past them changes nothing and comes out as 0.
            rate: Sampling step in units of the training one: a series sampled half as often has rate 2.
            timestamps: Time of each sample in units of the training step, (B, L), increasing. The first sample
                then has the step `rate`, each later one the difference to its predecessor.

        Returns:
            Output, (B, L, D), in the dtype of `u`.
        """

    @abstractmethod
    def initial_state(self, batch_size: int = 1) -> State:
        """Returns the state before the first sample, for `batch_size` streams."""

    @abstractmethod
    def step(self, u_t: Tensor, state: State, *, rate: float | Tensor = 1.0) -> tuple[Tensor, State]:
        """Maps one sample.

        Args:
            u_t: Input sample, (B, D).
            state: What `initial_state` or the previous call returned.
            rate: Time since the previous sample in units of the training step; one number, or one per stream (B,).

        Returns:
            Output sample (B, D) and the new state.

        Raises:
            ValueError: `rate` is no finite number above 0 (as one per stream on a CPU alone), or not one per stream.
        """

    @abstractmethod
    def scan(
        self,
        u: Tensor,
        state: State,
        *,
        lengths: Tensor | None = None,
        rate: float = 1.0,
        timestamps: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Maps a block of samples that continues from `state`; arguments as in `forward`.

        Returns:
            Output (B, L, D) and the state after the last sample of each series.
        """

    def check_input(self, u: Tensor, lengths: Tensor | None, rate: float, timestamps: Tensor | None) -> None:
        """Refuses what `forward` and `scan` cannot use.

        Raises:
            ValueError: wrong shape, empty series, `rate` not positive, times that do not increase, or a rate or
                times given to a layer without a notion of the sampling step.
        """
        check_shape("u", u, ("B", "L", self.d_model), f"d_model is {self.d_model}")
        if u.shape[1] == 0:
            raise ValueError("`u` must hold at least one sample a series, got length 0")
        if lengths is not None:
            check_lengths(lengths, u.shape[0], u.shape[1])
        check_positive("rate", rate)
        if timestamps is not None:
            check_shape("timestamps", timestamps, (u.shape[0], u.shape[1]))
        self.check_rate(rate if timestamps is None else timestamps)

    def check_rate(self, rate: float | Tensor) -> None:
        """Refuses a sampling step other than the training one when the layer has no notion of it.

        Raises:
            ValueError: the layer cannot use `rate`.
        """
        if not self.uses_rate and not (isinstance(rate, (int, float)) and rate == 1):
            raise ValueError(
                f"{type(self).__name__} has no notion of the sampling step, so it takes neither a rate other than 1 "
                "nor timestamps; resample the series to the training rate or use a state-space mixer"
            )


def check_step_rate(name: str, rate: float | Tensor, batch_size: int) -> None:
    """Refuses for `step` what is no finite number above 0, or not one for each stream.

    Values on an accelerator are not looked at: that would stall its queue, and the step could not be captured.

    Args:
        name: What it is called.
        rate: One number, or one per stream, (B,).
        batch_size: Streams B.

    Raises:
        ValueError: another shape, or a value that is NaN, infinite, 0 or negative.

    Example:
        >>> check_step_rate("rate", torch.tensor([1.0, -2.0]), batch_size=2)
        Traceback (most recent call last):
        ValueError: `rate` must be finite numbers above 0, got -2.0 for stream 1
    """
    if not isinstance(rate, Tensor):
        check_positive(name, rate)
        return
    if rate.dim() > 0 and rate.shape != (batch_size,):
        raise ValueError(f"`{name}` must be one number or one per stream, ({batch_size},), got {tuple(rate.shape)}")
    if rate.device.type != "cpu" or torch.compiler.is_compiling():
        return
    good = (rate > 0) & rate.isfinite()
    if not bool(good.all()):
        place = int((~good.reshape(-1)).nonzero()[0])
        raise ValueError(
            f"`{name}` must be finite numbers above 0, got {float(rate.reshape(-1)[place])} for stream {place}"
        )


def mask_past_end(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Sets what lies past each series' end to 0, so that neither NaN nor gradients come from the padding.

    Args:
        x: Values, (B, L, D).
        lengths: Samples of each series, (B,), or None when none is padded.

    Returns:
        Masked values, (B, L, D).

    Example:
        >>> mask_past_end(torch.ones(1, 3, 1), torch.tensor([2])).flatten()
        tensor([1., 1., 0.])
    """
    if lengths is None:
        return x
    inside = torch.arange(x.shape[1], device=x.device) < lengths.to(x.device)[:, None]
    return torch.where(inside[:, :, None], x, torch.zeros((), dtype=x.dtype, device=x.device))


def sample_steps(timestamps: Tensor, rate: float, lengths: Tensor | None = None) -> Tensor:
    """Turns times of samples into steps: `rate` for the first sample, differences for the others.

    Args:
        timestamps: Times in units of the training step, (B, L).
        rate: Step of the first sample.
        lengths: Samples of each series, (B,); steps past the end are 1.

    Returns:
        Steps, (B, L).

    Raises:
        ValueError: times within a series do not increase, or are not finite.

    Example:
        >>> sample_steps(torch.tensor([[3.0, 4.0, 6.0]]), rate=1.0)
        tensor([[1., 1., 2.]])
    """
    differences = timestamps.diff(dim=1)
    if not differences.is_floating_point():  # whole numbers differ exactly, but the first step need not be whole
        differences = differences.to(torch.get_default_dtype())
    steps = torch.cat([differences.new_full((len(timestamps), 1), rate), differences], dim=1)
    if lengths is not None:
        inside = torch.arange(steps.shape[1], device=steps.device) < lengths.to(steps.device)[:, None]
        steps = torch.where(inside, steps, torch.ones((), dtype=steps.dtype, device=steps.device))
    bad = (~((steps > 0) & steps.isfinite())).nonzero()
    if len(bad):
        i, k = (int(index) for index in bad[0])
        raise ValueError(
            f"`timestamps` of series {i} must increase and be finite, but sample {k} is not later than sample {k - 1}; "
            "sort the samples, or give times in float64"
        )
    return steps


def scan_by_step(
    mixer: Mixer, u: Tensor, state: State, *, steps: Tensor, lengths: Tensor | None = None
) -> tuple[Tensor, State]:
    """Runs a block one sample at a time, each with its own step: the form for unevenly sampled series.

    Args:
        mixer: Any mixer.
        u: Input, (B, L, D).
        state: State before the block.
        steps: Time since the previous sample, (B, L), in units of the training step.
        lengths: Samples of each series; a series' state stops changing at its end.

    Returns:
        Output (B, L, D) and the state after each series' last sample.

    Cost: L calls of `step`; use `scan` for even steps.

    Example:
        >>> from seqkit.ssm import S4D
        >>> mixer, u = S4D(2, order=4), torch.randn(1, 3, 2)
        >>> y, state = scan_by_step(mixer, u, mixer.initial_state(1), steps=torch.tensor([[1.0, 0.5, 2.0]]))
        >>> y.shape
        torch.Size([1, 3, 2])
    """
    u = mask_past_end(u, lengths)
    outputs = []
    for k in range(u.shape[1]):
        y, new = mixer.step(u[:, k], state, rate=steps[:, k])
        if lengths is not None:
            running = k < lengths.to(u.device)
            new = type(state)(
                *(torch.where(running.view(-1, *[1] * (a.dim() - 1)), a, b) for a, b in zip(new, state, strict=True))
            )
        state = new
        outputs.append(y)
    return mask_past_end(torch.stack(outputs, dim=1), lengths), state


_MIXERS: Registry[Mixer] = Registry("mixer", no_options=("d_model",))
M = TypeVar("M", bound=type[Mixer])


def register_mixer(name: str) -> Callable[[M], M]:
    """Class decorator that makes a mixer known by name to models, configurations and the command line.

    Args:
        name: Name in configurations, such as "lssl".

    Raises:
        ValueError: the name is already taken.

    Example:
        >>> from seqkit.nn import GRU
        >>> register_mixer("gru")(GRU) is GRU  # the same class again is no harm
        True
    """
    return _MIXERS.register(name)


def mixer_names() -> list[str]:
    """Names of the registered mixers, sorted.

    Example:
        >>> "gru" in mixer_names()
        True
    """
    return sorted(_MIXERS.names())


def get_mixer(name: str) -> type[Mixer]:
    """Class of the mixer with this name.

    Raises:
        ValueError: there is none; the sentence names the nearest.

    Example:
        >>> get_mixer("lstm").__name__
        'LSTM'
    """
    return _MIXERS.get(name)


def mixer_options(name: str, given: dict[str, Any] | None = None) -> dict[str, Any]:
    """Options of a mixer with their defaults, overridden by those given; `d_model` is not among them.

    Args:
        name: Name of a registered mixer.
        given: Options to override.

    Raises:
        ValueError: an option that this mixer does not have.

    Example:
        >>> mixer_options("gru")
        {}
    """
    return _MIXERS.options(name, given)
