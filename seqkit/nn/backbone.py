"""Pre-norm residual blocks around any mixer, and their stack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

from torch import Tensor, nn
from torch.nn import functional as F

from seqkit.checks import check_choice, check_unit_interval
from seqkit.nn.feed_forward import ACTIVATIONS, FeedForward
from seqkit.nn.mixer import Mixer, State, mask_past_end
from seqkit.nn.norm import build_norm

__all__ = ["ACTIVATIONS", "OUTPUTS", "Backbone", "BackboneState", "ResidualBlock"]

OUTPUTS = ("gated", "linear", "none", "mlp")


class BackboneState(NamedTuple):
    """States of the blocks' mixers, first block first."""

    layers: tuple[State, ...]


class ResidualBlock(nn.Module):
    """Residual block around one mixer, `x + dropout(W dropout(activation(mixer(norm(x)))))`.

    With the output "mlp" it is the block of a transformer, `z = x + dropout(mixer(norm(x)))` and then
    `z + dropout(F(norm'(z)))` with a feed-forward part F four times as wide, which has the activation.

    What lies past a series' end changes nothing before it, but must be finite and does not come out as 0; `Backbone`
    sees to both once for all its blocks.

    Args:
        mixer: The layer that looks along time; it fixes d_model.
        norm: "layer", "rms" or "none"; before the mixer.
        activation: "gelu", "relu", "silu" or "none"; after the mixer, or within "mlp".
        output: "gated" for `a * sigmoid(b)` with (a, b) = W y of width 2 D, "linear" for W y, "none" for y, "mlp" for
            a feed-forward part with a norm and a residual of its own.
        dropout: Share of values set to zero before and after the output map, in [0, 1); once if there is no map.

    Raises:
        ValueError: an unknown choice, or a share outside [0, 1).

    Source:
        Gu et al. 2021, LSSL (arXiv:2110.13985), section 4 and appendix; the gated output is the later recipe of
        S4 (arXiv:2111.00396). "mlp" is Vaswani et al. 2017 (arXiv:1706.03762) with the norm first.

    Example:
        >>> import torch
        >>> from seqkit.nn import GRU
        >>> ResidualBlock(GRU(4))(torch.zeros(2, 7, 4)).shape
        torch.Size([2, 7, 4])
    """

    def __init__(
        self,
        mixer: Mixer,
        *,
        norm: str = "layer",
        activation: str = "gelu",
        output: str = "gated",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        d_model = mixer.d_model
        check_choice("output", output, OUTPUTS)
        self.norm = build_norm(norm, d_model)
        self.mixer = mixer
        self.activation = ACTIVATIONS[check_choice("activation", activation, ACTIVATIONS)]()
        self.dropout = nn.Dropout(check_unit_interval("dropout", dropout))
        self.output = output
        widths = {"gated": 2 * d_model, "linear": d_model}
        self.out: nn.Module
        self.out_norm: nn.Module = nn.Identity()
        if output == "mlp":
            self.out_norm = build_norm(norm, d_model)
            self.out = FeedForward(d_model, activation=activation, dropout=dropout)
        else:
            self.out = nn.Linear(d_model, widths[output]) if output != "none" else nn.Identity()

    def forward(
        self, x: Tensor, *, lengths: Tensor | None = None, rate: float = 1.0, timestamps: Tensor | None = None
    ) -> Tensor:
        """Maps whole series (B, L, D); arguments as in `Mixer.forward`."""
        y: Tensor = self.mixer(self.norm(x), lengths=lengths, rate=rate, timestamps=timestamps)
        return self._after(x, y)

    def step(self, x_t: Tensor, state: State, *, rate: float | Tensor = 1.0) -> tuple[Tensor, State]:
        """Maps one sample (B, D)."""
        y, state = self.mixer.step(self.norm(x_t), state, rate=rate)
        return self._after(x_t, y), state

    def scan(
        self,
        x: Tensor,
        state: State,
        *,
        lengths: Tensor | None = None,
        rate: float = 1.0,
        timestamps: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Maps a block (B, L, D) that continues from `state`."""
        y, state = self.mixer.scan(self.norm(x), state, lengths=lengths, rate=rate, timestamps=timestamps)
        return self._after(x, y), state

    def _after(self, x: Tensor, y: Tensor) -> Tensor:
        if self.output == "mlp":
            x = x + self.dropout(y)
            y = self.out(self.out_norm(x))
        elif self.output != "none":
            y = self.out(self.dropout(self.activation(y)))
            if self.output == "gated":
                y = F.glu(y, dim=-1)
        else:
            y = self.activation(y)
        return cast("Tensor", x + self.dropout(y))


class Backbone(nn.Module):
    """Stack of residual blocks with a last normalisation.

    What lies past a series' end changes nothing, NaN included, and comes out as 0.

    Args:
        blocks: Blocks of equal d_model, first one first; none for a model that only pools.
        norm: Normalisation after the last block: "layer", "rms" or "none"; without blocks "none".

    Raises:
        ValueError: a norm and no blocks, or blocks of different d_model.

    Example:
        >>> import torch
        >>> from seqkit.nn import GRU
        >>> backbone = Backbone([ResidualBlock(GRU(4)), ResidualBlock(GRU(4))])
        >>> y, state = backbone.step(torch.zeros(1, 4), backbone.initial_state(1))
        >>> len(state.layers)
        2
    """

    def __init__(self, blocks: Sequence[ResidualBlock], *, norm: str = "layer") -> None:
        super().__init__()
        if not blocks and norm != "none":
            raise ValueError(f"`blocks` must hold at least one block, got none and norm {norm!r}")
        widths = {block.mixer.d_model for block in blocks}
        if len(widths) > 1:
            raise ValueError(f"`blocks` must all have the same d_model, got {sorted(widths)}")
        self.blocks = nn.ModuleList(blocks)
        self.norm = build_norm(norm, blocks[0].mixer.d_model if blocks else 1)

    def mixers(self) -> list[Mixer]:
        """The blocks' mixers, first block first."""
        return [block.mixer for block in self._blocks()]

    def forward(
        self, x: Tensor, *, lengths: Tensor | None = None, rate: float = 1.0, timestamps: Tensor | None = None
    ) -> Tensor:
        """Maps whole series (B, L, D); arguments as in `Mixer.forward`."""
        # Not left to the mixers: a norm's weights would get NaN as gradient from NaN in the padding.
        x = mask_past_end(x, lengths)
        for block in self._blocks():
            x = block(x, lengths=lengths, rate=rate, timestamps=timestamps)
        return mask_past_end(self.norm(x), lengths)

    def initial_state(self, batch_size: int = 1) -> BackboneState:
        """States before the first sample."""
        return BackboneState(tuple(mixer.initial_state(batch_size) for mixer in self.mixers()))

    def step(self, x_t: Tensor, state: BackboneState, *, rate: float | Tensor = 1.0) -> tuple[Tensor, BackboneState]:
        """Maps one sample (B, D)."""
        states = []
        for block, layer in zip(self._blocks(), state.layers, strict=True):
            x_t, new = block.step(x_t, layer, rate=rate)
            states.append(new)
        return self.norm(x_t), BackboneState(tuple(states))

    def scan(
        self,
        x: Tensor,
        state: BackboneState,
        *,
        lengths: Tensor | None = None,
        rate: float = 1.0,
        timestamps: Tensor | None = None,
    ) -> tuple[Tensor, BackboneState]:
        """Maps a block (B, L, D) that continues from `state`."""
        states = []
        x = mask_past_end(x, lengths)
        for block, layer in zip(self._blocks(), state.layers, strict=True):
            x, new = block.scan(x, layer, lengths=lengths, rate=rate, timestamps=timestamps)
            states.append(new)
        return mask_past_end(self.norm(x), lengths), BackboneState(tuple(states))

    def _blocks(self) -> list[ResidualBlock]:
        # Said to the type checker only: a compiled or wrapped block is another class and must not be left out.
        return cast("list[ResidualBlock]", list(self.blocks))
