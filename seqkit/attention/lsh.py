"""Sparse attention alone: exact softmax over the keys of a support."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.attention.dropping import Drop, drop_of, factors
from seqkit.attention.inputs import Heads, finish, prepare, recomputed, rows_at_once, shared
from seqkit.attention.parts import Part, divide, pair_part
from seqkit.attention.support import Support, few, listed
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
    key_lengths: Tensor | None = None,
    dropout: float = 0.0,
    seed: int | Tensor | None = None,
    chunk: int | None = None,
) -> Tensor:
    """Softmax attention over the keys that a support gives each query, and no others.

        o_i = sum_{j in S_i} exp(scale q_i . k_j) v_j / sum_{j in S_i} exp(scale q_i . k_j)

    A query without a key gives zeros.

    Args:
        q: Queries (B, L, H, D).
        k: Keys (B, T, G, D); T is L where causal. G divides H: H / G heads in turn share keys and values.
        v: Values (B, T, G, V).
        support: Keys of each query, as `hash_support`, `sorted_support`, `local_support` or `join_supports` give them.
        scale: Factor of q . k; 1 / sqrt(D) if None.
        causal: Keys after the query do not count, whatever the support says.
        lengths: Samples of each series (B,); what lies past the end changes nothing, and its output is zero.
        key_lengths: Keys of each series (B,), where they differ from `lengths`.
        dropout: Share of the weights above the fraction bar that are set to 0, the rest divided by 1 - dropout.
        seed: Whole number that says which, needed with dropout; as in `seqkit.kernels.attention`.
        chunk: Rows computed at once; chosen by size if None.

    Returns:
        (B, L, H, V), in the dtype of `q`; half precision is computed in float32.

    Raises:
        ValueError: shapes, dtypes or lengths do not fit, or dropout comes without a seed.

    Source:
        Kitaev et al., Reformer (arXiv:2001.04451). Differs: queries and keys are not shared, and any support serves.

    Cost: O(L W (D + V)) time for W keys per query; memory O(L W + L (D + V)) with gradients, which compute each chunk
    again. With fewer than 12 W keys each chunk multiplies all of them, which is faster.

    Example:
        >>> from seqkit.attention import local_support
        >>> q, k, v = torch.randn(3, 2, 50, 4, 8)
        >>> lsh_attention(q, k, v, local_support(50, 9)).shape
        torch.Size([2, 50, 4, 8])
    """
    heads = prepare(q, k, v, scale, lengths, key_lengths, causal)
    support, drop = counted(support, heads, causal), drop_of(dropout, seed, q)
    return finish(listed_rows(heads, support, drop, chunk), q, heads.live)


def listed_rows(heads: Heads, support: Support, drop: Drop | None = None, chunk: int | None = None) -> Tensor:
    """Rows (B, H, L, V) over the keys of a support that is `counted`."""
    batch, n_heads, length, size = heads.q.shape
    rows = rows_at_once(chunk, length, batch * n_heads * support.width * (size + heads.v.shape[3]))
    function = _dense_chunk if few(heads.k.shape[2], support.width) else _chunk
    out = []
    for start in range(0, length, rows):
        part = slice(start, start + rows)
        mine = heads.q[:, :, part], heads.k, heads.v, support.keys[:, :, part], support.valid[:, :, part]
        out.append(recomputed(function, start, drop, *mine))
    return torch.cat(out, 2)


def counted(support: Support, heads: Heads, causal: bool) -> Support:
    """The support for every head, less the keys that do not exist, lie past the end, or come after the query.

    Raises:
        ValueError: the support is of another length, batch or number of heads.
    """
    batch, n_heads, length, _ = heads.q.shape
    check_shape("support.valid", support.valid, tuple(support.keys.shape))
    sizes = tuple(support.keys.shape[:3])
    if support.keys.dim() != 4 or sizes[2] != length or sizes[0] not in (1, batch) or sizes[1] not in (1, n_heads):
        raise ValueError(
            f"`support.keys` must have shape ({batch} or 1, {n_heads} or 1, {length}, W), got "
            f"{tuple(support.keys.shape)}; make the support for these series"
        )
    n_keys = heads.k.shape[2]
    index, valid = (x.to(heads.q.device).expand(batch, n_heads, -1, -1) for x in support)
    valid = valid & (index >= 0) & (index < n_keys)
    index = index.clamp(0, n_keys - 1)
    if causal:
        valid = valid & (index <= torch.arange(length, device=index.device)[:, None])
    if heads.key_live is not None:
        valid = valid & (index < heads.key_live.sum(-1)[..., None, None])
    return Support(index, valid)


def gather(x: Tensor, index: Tensor) -> Tensor:
    """Rows of x (B, G, T, N) at index (B, H, C, W), each head of x for H / G heads of the index: (B, H, C, W, N)."""
    batch, groups, length, size = x.shape
    heads = index.shape[1]
    row = torch.arange(batch * heads, device=x.device).view(batch, heads, 1, 1) // (heads // groups)
    return x.reshape(-1, size).index_select(0, (index + length * row).flatten()).view(*index.shape, size)


def exact_part(
    start: int, drop: Drop | None, q: Tensor, k: Tensor, values: Tensor, index: Tensor, valid: Tensor
) -> Part:
    """The keys of the support, exactly, for rows from `start`; `values` (B, H, C, W, V) are gathered already."""
    logits = (q[..., None, :] @ gather(k, index).mT).squeeze(-2)
    factor = None if drop is None else factors(drop, start, index, q)
    return pair_part(logits.masked_fill(~valid, -torch.inf), values, factor)


def _chunk(start: int, drop: Drop | None, q: Tensor, k: Tensor, v: Tensor, index: Tensor, valid: Tensor) -> Tensor:
    return divide(exact_part(start, drop, q, k, gather(v, index), index, valid))


def _dense_chunk(
    start: int, drop: Drop | None, q: Tensor, k: Tensor, v: Tensor, index: Tensor, valid: Tensor
) -> Tensor:
    """The same by products with all keys."""
    n_keys = k.shape[2]
    keys, values = (shared(x, q.shape[1]) for x in (k, v))
    logits = (q @ keys.mT).masked_fill(~listed(index, valid, n_keys), -torch.inf)
    place = torch.arange(n_keys, device=q.device)
    factor = None if drop is None else factors(drop, start, place, q)
    return divide(pair_part(logits, values, factor))
