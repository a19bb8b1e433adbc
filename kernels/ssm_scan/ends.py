"""The end of each series within its last chunk: the state after the last sample, and what comes back through it.

Series of a batch may end anywhere. With the last r samples of a series, 1 <= r <= Q, moved to the end of a chunk with
zeros before them, its final state is  A^r s + V [0 .. 0, u[len-r .. len-1]],  s the state before its last chunk.
"""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.kernels.ssm_scan.tables import TableGradients, Tables, pairs, unpair

__all__ = ["final_state", "final_state_backward", "last_chunk", "newest"]


def last_chunk(lengths: Tensor, size: int) -> Tensor:
    """The index of the chunk that holds each series' last sample."""
    return (lengths - 1) // size


def places(lengths: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Returns where the samples of a right-aligned last chunk lie, (B, Q), and which of them belong to it."""
    steps = torch.arange(size, device=lengths.device)
    index = lengths.unsqueeze(-1) - size + steps
    return index.clamp_min(0), index >= (last_chunk(lengths, size) * size).unsqueeze(-1)


def newest(u: Tensor, lengths: Tensor, size: int) -> Tensor:
    """Returns the samples of each series' last chunk, right-aligned, (H, B, Q)."""
    index, inside = places(lengths, size)
    n_channels = u.shape[1]
    found = u.gather(2, index.unsqueeze(1).expand(-1, n_channels, -1))
    return torch.where(inside.unsqueeze(1), found, 0).transpose(0, 1)


def final_state(tables: Tables, samples: Tensor, last: Tensor, used: Tensor) -> Tensor:
    """Returns A^r s + V u for `samples` (H, B, Q), s = `last` (H, B, 2N) and r = `used` (B,)."""
    added = unpair(samples.to(tables.into.dtype) @ tables.into.mT, -1).transpose(0, 1)
    before = unpair(last, -1).transpose(0, 1)
    return torch.addcmul(added, tables.powers[..., used].permute(2, 0, 1), before).contiguous()


def final_state_backward(
    grad: Tensor,
    tables: Tables,
    samples: Tensor,
    last: Tensor,
    used: Tensor,
    lengths: Tensor,
    du: Tensor,
    d_tables: TableGradients,
) -> None:
    """Adds to `du` and to `d_tables` what the gradient of the final state (B, H, N) gives; `last` has its own way."""
    size = samples.shape[-1]
    split = pairs(grad.transpose(0, 1), -1)
    index, inside = places(lengths, size)
    found = torch.where(inside, split @ tables.into, 0).transpose(0, 1)
    du.scatter_add_(2, index.unsqueeze(1).expand(-1, du.shape[1], -1), found.to(du.dtype))
    d_tables.into.baddbmm_(split.mT, samples.to(split.dtype))
    d_tables.powers.index_add_(2, used, (grad * unpair(last, -1).transpose(0, 1).conj()).permute(1, 2, 0))
