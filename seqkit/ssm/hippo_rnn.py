"""The gated recurrent network with a HiPPO memory."""

from __future__ import annotations

from torch import nn

from seqkit.hippo import Measure
from seqkit.nn.mixer import register_mixer
from seqkit.ssm.cell_memory import cell_memory
from seqkit.ssm.memory_rnn import MemoryRNN

__all__ = ["HiPPORNN"]


@register_mixer("hippo_rnn")
class HiPPORNN(MemoryRNN):
    """Gated recurrent cell that writes to a HiPPO memory and reads its past from there.

        u = W_u [x; h] + b_u,   m <- A_bar m + B_bar u,   z = [x; vec m]
        h <- (1 - g) h + g c,   c = tanh(W_h z + b_h),   g = sigmoid(W_g z + b_g)

    Neither the candidate c nor the gate g sees h itself: what they know of the past they read from the memory. With
    "legs" the memory covers the whole past at any length and rate: samples twice as close change nothing, uneven times
    do. A and B are not trained.

    Args:
        d_model: Channels D of input, hidden vector h and output.
        order: Coefficients N of each memory channel. (The paper takes N = D.)
        measure: "legs", "legt", "lagt", "fourier", or a measure.
        window: Length of the memory in samples at the training rate; needed for "legt" and "fourier", 1 for lagt if
            left out, not for legs.
        memory_channels: Numbers M in u, each remembered in N coefficients.
        gate: Whether there is a gate; without one h <- c.
        rule: For legs: "midpoint", or "reciprocal" for the published step 1/k.
        discretization: For the others: "bilinear", "zero_order_hold" or "backward_euler".

    Raises:
        ValueError: a size below 1, an unknown name, or an option that the measure needs or cannot use.

    Source:
        Gu et al. 2020, HiPPO (arXiv:2008.07669), section 2.3 and appendix E. Differs: the midpoint rule by default,
        rates and times, and any number of samples (the released cell stops its clock after 1024).

    Cost: 2 M N D multiplications a sample forward, sequential in L; a step of legs O(N) more, of the others O(N^2).
        Uneven times: the same for legs; O(N^3) for each different step for the others.

    Example:
        >>> import torch
        >>> layer, u = HiPPORNN(4, order=8), torch.randn(2, 10, 4)
        >>> torch.allclose(layer(u, rate=0.5), layer(u), atol=1e-5)  # legs has no need to know the rate
        True
    """

    def __init__(
        self,
        d_model: int,
        *,
        order: int = 64,
        measure: str | Measure = "legs",
        window: float | None = None,
        memory_channels: int = 1,
        gate: bool = True,
        rule: str = "midpoint",
        discretization: str = "bilinear",
    ) -> None:
        memory = cell_memory(measure, order, window=window, rule=rule, discretization=discretization)
        super().__init__(
            d_model,
            memory=memory,
            order=order,
            memory_channels=memory_channels,
            gate=gate,
            feedback=False,
            bias=True,
        )
        nn.init.kaiming_uniform_(self.write.weight)
        nn.init.xavier_normal_(self.candidate.weight)
        if self.gate is not None:
            nn.init.kaiming_normal_(self.gate.weight)
