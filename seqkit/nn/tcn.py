"""A temporal convolution network as a mixer: causal convolutions whose dilation doubles."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqkit.checks import check_positive_int, check_shape
from seqkit.nn.mixer import Mixer, State, mask_past_end, register_mixer

__all__ = ["TCN", "TCNState"]


class TCNState(NamedTuple):
    """Last inputs of each level, first level first, (B, (kernel_size - 1) (2^n_levels - 1), D)."""

    past: Tensor


@register_mixer("tcn")
class TCN(Mixer):
    """Convolutions over time, level i with dilation 2^i, each added to its input.

        h_0 = u,   h_{i+1} = h_i + relu(conv_i(h_i))

    An output sees the last 1 + (kernel_size - 1) (2^n_levels - 1) samples; with `causal=False` as many, around it.
    `seqkit.structured.xd.patch_convolutions` replaces the convolutions by operations for `seqkit search`.

    Args:
        d_model: Channels D.
        kernel_size: Taps of each convolution, at least 2.
        n_levels: Number of convolutions.
        causal: Whether an output depends on the past alone; only then it streams.
        depthwise: Whether each channel is convolved alone; the output map of the block then mixes channels.

    Raises:
        ValueError: a size that is not a whole number of at least 1, or a kernel of one tap.

    Source: Bai, Kolter and Koltun 2018, An empirical evaluation of generic convolutional and recurrent networks
        (arXiv:1803.01271). Differs: one convolution a level and no weight normalisation; norm, dropout and output map
        are the residual block's.

    Cost: O(L D^2 kernel_size n_levels) time, or O(L D kernel_size n_levels) with `depthwise`.

    Example:
        >>> mixer = TCN(4, kernel_size=3, n_levels=2)
        >>> mixer(torch.zeros(2, 9, 4)).shape, mixer.initial_state(2).past.shape
        (torch.Size([2, 9, 4]), torch.Size([2, 6, 4]))
    """

    uses_rate = False

    def __init__(
        self, d_model: int, *, kernel_size: int = 5, n_levels: int = 4, causal: bool = True, depthwise: bool = False
    ) -> None:
        super().__init__()
        self.d_model = check_positive_int("d_model", d_model)
        if check_positive_int("kernel_size", kernel_size) < 2:
            raise ValueError(f"`kernel_size` must be at least 2, got {kernel_size}; one tap sees no past")
        self.kernel_size = kernel_size
        self.n_levels = check_positive_int("n_levels", n_levels)
        self.causal = causal
        self.convs = nn.ModuleList(
            nn.Conv1d(d_model, d_model, kernel_size, dilation=2**level, groups=d_model if depthwise else 1)
            for level in range(n_levels)
        )

    def forward(
        self, u: Tensor, *, lengths: Tensor | None = None, rate: float = 1.0, timestamps: Tensor | None = None
    ) -> Tensor:
        """Maps whole series; see `Mixer.forward`."""
        self.check_input(u, lengths, rate, timestamps)
        x = mask_past_end(u, lengths)
        for level, conv in enumerate(self.convs):
            span = (self.kernel_size - 1) << level
            before = span if self.causal else span // 2
            y = conv(F.pad(x.mT, (before, span - before)))
            x = mask_past_end(x + y.mT.relu(), lengths)
        return x

    def initial_state(self, batch_size: int = 1) -> TCNState:
        """Zeros before the first sample.

        Raises:
            ValueError: the layer cannot stream.
        """
        self._check_streams()
        weight = next(self.convs.parameters())
        return TCNState(weight.new_zeros(batch_size, sum(self._spans()), self.d_model))

    def step(self, u_t: Tensor, state: State, *, rate: float | Tensor = 1.0) -> tuple[Tensor, State]:
        """Maps one sample; see `Mixer.step`."""
        self._check_streams()
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
        self._check_streams()
        self.check_input(u, lengths, rate, timestamps)
        x, kept = mask_past_end(u, lengths), []
        first = 0
        for conv, span in zip(self.convs, self._spans(), strict=True):
            past, first = state[0][:, first : first + span], first + span
            seen = torch.cat([past.to(x.dtype), x], dim=1)
            kept.append(_last(seen, span, lengths).to(past.dtype))
            x = mask_past_end(x + conv(seen.mT).mT.relu(), lengths)
        return x, TCNState(torch.cat(kept, dim=1))

    def _spans(self) -> list[int]:
        """Past samples that each level reads."""
        return [(self.kernel_size - 1) << level for level in range(self.n_levels)]

    def _check_streams(self) -> None:
        why = None
        if not self.causal:
            why = "it reads samples on both sides; make it with causal=True"
        elif not all(isinstance(conv, nn.Conv1d) for conv in self.convs):
            why = "its convolutions were replaced by layers over whole series; give it whole ones"
        if why is not None:
            raise ValueError(f"{type(self).__name__} cannot stream, because {why}")


def _last(seen: Tensor, count: int, lengths: Tensor | None) -> Tensor:
    """The last `count` samples of each series, of which `count` stood before the block."""
    if lengths is None:
        return seen[:, -count:]
    index = lengths.to(seen.device)[:, None] + torch.arange(count, device=seen.device)
    return seen.gather(1, index[:, :, None].expand(-1, -1, seen.shape[2]))
