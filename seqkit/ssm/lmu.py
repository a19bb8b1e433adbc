"""The Legendre memory unit: a recurrent cell around a sliding window."""

from __future__ import annotations

import torch
from torch import nn

from seqkit.hippo import LegT
from seqkit.nn.mixer import register_mixer
from seqkit.ssm.cell_memory import cell_memory
from seqkit.ssm.memory_rnn import MemoryRNN

__all__ = ["LMU"]


@register_mixer("lmu")
class LMU(MemoryRNN):
    """Legendre memory unit: a cell without a gate whose window is kept in the scaling of its authors.

        u = E_x x + E_h h + E_m vec(m),   m <- A_bar m + B_bar u,   h <- tanh(W_x x + W_h h + W_m vec(m))

    A and B are those of LegT with `normalization="lmu"`. At the start nothing but x is written and nothing but m read.

    Args:
        d_model: Channels D of input, hidden vector h and output.
        order: Coefficients N of each memory channel.
        window: Length of the memory in samples at the training rate; needed.
        memory_channels: Numbers M in u, each remembered in N coefficients.
        discretization: "bilinear", "zero_order_hold" (the authors') or "backward_euler".

    Raises:
        ValueError: a size below 1, an unknown name, or no window.

    Source:
        Voelker, Kajic and Eliasmith 2019, Legendre memory units; as a case of arXiv:2008.07669, section 2.3.
        Differs: E_x starts at 1 / sqrt(D), which is the 1 of the authors for a single input.

    Cost: M N D multiplications a sample forward and N^2 for the memory, sequential in L.

    Example:
        >>> layer = LMU(4, order=8, window=20.0)
        >>> layer(torch.randn(2, 10, 4)).shape
        torch.Size([2, 10, 4])
    """

    def __init__(
        self,
        d_model: int,
        *,
        order: int = 64,
        window: float | None = None,
        memory_channels: int = 1,
        discretization: str = "bilinear",
    ) -> None:
        if window is None:
            raise ValueError("`window` must be given for LMU, got None; say how many samples back it should reach")
        memory = cell_memory(LegT(normalization="lmu"), order, window=window, discretization=discretization)
        super().__init__(
            d_model,
            memory=memory,
            order=order,
            memory_channels=memory_channels,
            gate=False,
            feedback=True,
            bias=False,
        )
        size = memory_channels * order
        with torch.no_grad():
            self.write.weight.zero_()[:, :d_model] = d_model**-0.5
            self.candidate.weight.zero_()
            nn.init.xavier_normal_(self.candidate.weight[:, d_model : d_model + size])
