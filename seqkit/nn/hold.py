"""Missing values: the last observed one of each channel is held, in parallel and in online form."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.checks import check_shape
from seqkit.nn.mixer import mask_past_end

__all__ = ["check_observed", "hold", "hold_step", "last_of"]


def hold(x: Tensor, observed: Tensor, held: Tensor | None = None) -> Tensor:
    """Puts the last observed value of a channel where nothing was observed.

        y_k = x_j with j = max { i <= k : observed_i };  y_k = held where there is no such j

    It looks back only, so the same comes out of `hold_step`, sample by sample. Whatever stands where nothing was
    observed, NaN included, changes neither values nor gradients.

    Args:
        x: Values, (B, L, C).
        observed: Which of them were observed, bool, (B, L, C).
        held: Values before the first sample, (B, C); 0 if None.

    Returns:
        Values without gaps, (B, L, C).

    Source:
        The input that HiPPO's memories see between samples (Gu et al. 2020, arXiv:2008.07669, section 2.4): a held one.

    Cost: a running maximum of indices and one gather; no loop over time.

    Example:
        >>> x = torch.tensor([[[torch.nan], [1.0], [torch.nan], [3.0]]])
        >>> hold(x, x == x).flatten()
        tensor([0., 1., 1., 3.])
    """
    places = torch.arange(x.shape[1], device=x.device)[:, None]
    last = torch.where(observed, places, -1).cummax(dim=1).values
    before = x.new_zeros(()) if held is None else held[:, None].to(x.dtype)
    return torch.where(last >= 0, x.gather(1, last.clamp(min=0)), before)


def hold_step(x: Tensor, observed: Tensor, held: Tensor) -> Tensor:
    """One sample of `hold`: the value of each channel, which is also what is held from now on.

    Args:
        x: Values, (B, C).
        observed: Which of them were observed, bool, (B, C).
        held: Values before, (B, C).

    Example:
        >>> hold_step(torch.tensor([[torch.nan, 2.0]]), torch.tensor([[False, True]]), torch.tensor([[5.0, 6.0]]))
        tensor([[5., 2.]])
    """
    return torch.where(observed, x, held.to(x.dtype))


def last_of(x: Tensor, lengths: Tensor | None) -> Tensor:
    """The last sample of each series, (B, C), of values (B, L, C): what is held after a block without gaps.

    Example:
        >>> last_of(torch.tensor([[[1.0], [2.0], [9.0]]]), torch.tensor([2]))
        tensor([[2.]])
    """
    if lengths is None:
        return x[:, -1]
    last = (lengths.to(x.device) - 1)[:, None, None].expand(-1, 1, x.shape[2])
    return x.gather(1, last)[:, 0]


def check_observed(observed: Tensor, values: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Returns which values were observed; what lies past a series' end counts as observed, since nothing is held there.

    Args:
        observed: What the caller gave.
        values: The values that it is about, (B, L, C) or (B, C).
        lengths: Samples of each series, (B,).

    Raises:
        ValueError: another shape than that of the values, or not bool.

    Example:
        >>> check_observed(torch.tensor([[[False], [False]]]), torch.zeros(1, 2, 1), torch.tensor([1])).flatten()
        tensor([False,  True])
    """
    check_shape("observed", observed, tuple(values.shape), "one entry for each value")
    if observed.dtype != torch.bool:
        raise ValueError(f"`observed` must be of dtype bool, True where a value is there, got {observed.dtype}")
    return ~mask_past_end(~observed.to(values.device), lengths)
