"""Sparse attention alone: exact softmax over the keys of a support."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.attention.inputs import finish, prepare, recomputed, rows_at_once
from seqkit.attention.parts import Part, divide, pair_part
from seqkit.attention.support import Support
from seqkit.checks import check_shape
from seqkit.kernels.backend import without_autocast

__all__ = ["lsh_attention"]


@without_autocast
def lsh_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    support: Support,
    *,
    scale: float | None = None,
    causal: bool = False,
    lengths: Tensor | None = None,
    chunk: int | None = None,
) -> Tensor:
    """Softmax attention over the keys that a support gives each query, and no others.

        o_i = sum_{j in S_i} exp(scale q_i . k_j) v_j / sum_{j in S_i} exp(scale q_i . k_j)

    A query without a key gives zeros.

    Args:
        q: Queries (B, L, H, D).
        k: Keys (B, L, H, D).
        v: Values (B, L, H, V).
        support: Keys of each query, as `hash_support`, `sorted_support`, `local_support` or `join_supports` give them.
        scale: Factor of q . k; 1 / sqrt(D) if None.
        causal: Keys after the query do not count, whatever the support says.
        lengths: Samples of each series (B,); what lies past the end changes nothing, and its output is zero.
        chunk: Rows computed at once; chosen by size if None.

    Returns:
        (B, L, H, V), in the dtype of `q`; half precision is computed in float32.

    Raises:
        ValueError: shapes, dtypes or lengths do not fit.

    Source:
        Kitaev et al., Reformer (arXiv:2001.04451). Differs: queries and keys are not shared, and any support serves.

    Cost: O(L W (D + V)) time for W keys per query; memory O(L W + L (D + V)) with gradients, which compute each chunk
    again.

    Example:
        >>> from seqkit.attention import local_support
        >>> q, k, v = torch.randn(3, 2, 50, 4, 8)
        >>> lsh_attention(q, k, v, local_support(50, 9)).shape
        torch.Size([2, 50, 4, 8])
    """
    heads = prepare(q, k, v, scale, lengths)
    support = counted(support, heads.q, heads.live, causal)
    length, size = q.shape[1], len(q) * q.shape[2] * support.width * (q.shape[3] + v.shape[3])
    rows = rows_at_once(chunk, length, size)
    out = [
        recomputed(_chunk, heads.q[:, :, part], heads.k, heads.v, support.keys[:, :, part], support.valid[:, :, part])
        for part in (slice(start, start + rows) for start in range(0, length, rows))
    ]
    return finish(torch.cat(out, 2), q, heads.live)


def counted(support: Support, q: Tensor, live: Tensor | None, causal: bool) -> Support:
    """The support for every head, less the keys that do not exist, lie past the end, or come after the query.

    Raises:
        ValueError: the support is of another length, batch or number of heads.
    """
    batch, heads, length, _ = q.shape
    check_shape("support.valid", support.valid, tuple(support.keys.shape))
    sizes = tuple(support.keys.shape[:3])
    if support.keys.dim() != 4 or sizes[2] != length or sizes[0] not in (1, batch) or sizes[1] not in (1, heads):
        raise ValueError(
            f"`support.keys` must have shape ({batch} or 1, {heads} or 1, {length}, W), got "
            f"{tuple(support.keys.shape)}; make the support for these series"
        )
    index, valid = (x.to(q.device).expand(batch, heads, -1, -1) for x in support)
    valid = valid & (index >= 0) & (index < length)
    index = index.clamp(0, length - 1)
    if causal:
        valid = valid & (index <= torch.arange(length, device=q.device)[:, None])
    if live is not None:
        valid = valid & (index < live.sum(-1)[..., None, None])
    return Support(index, valid)


def gather(x: Tensor, index: Tensor) -> Tensor:
    """Rows of x (B, H, L, N) at index (B, H, C, W): (B, H, C, W, N)."""
    batch, heads, length, size = x.shape
    first = length * torch.arange(batch * heads, device=x.device).view(batch, heads, 1, 1)
    return x.reshape(-1, size).index_select(0, (index + first).flatten()).view(*index.shape, size)


def exact_part(q: Tensor, k: Tensor, values: Tensor, index: Tensor, valid: Tensor) -> Part:
    """The keys of the support, exactly; `values` (B, H, C, W, V) are gathered already."""
    logits = (q[..., None, :] @ gather(k, index).mT).squeeze(-2)
    return pair_part(logits.masked_fill(~valid, -torch.inf), values)


def _chunk(q: Tensor, k: Tensor, v: Tensor, index: Tensor, valid: Tensor) -> Tensor:
    return divide(exact_part(q, k, gather(v, index), index, valid))
