"""Hashing by sorted projections: queries and keys are sorted by one number each and cut into equal chunks."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.attention.inputs import both_inside, check_heads, shared
from seqkit.attention.support import Support, unique
from seqkit.checks import check_positive_int, check_shape

__all__ = ["distance_vectors", "draw_projections", "sorted_support"]


def draw_projections(
    rounds: int,
    head_dim: int,
    *,
    generator: torch.Generator,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draws the directions of `sorted_support`, two entries longer than a query.

    Args:
        rounds: Independent directions R.
        head_dim: Size D of a query or key.
        generator: Where the numbers come from; draw the features of an estimate from others.
        dtype: Of the directions; torch's default if None. They are drawn in float64 on the generator's device.
        device: Of the directions; the generator's if None.

    Returns:
        (R, D + 2).

    Raises:
        ValueError: a size is no whole number of at least 1.

    Example:
        >>> draw_projections(2, 4, generator=torch.Generator().manual_seed(0)).shape
        torch.Size([2, 6])
    """
    check_positive_int("rounds", rounds)
    check_positive_int("head_dim", head_dim)
    drawn = torch.randn(rounds, head_dim + 2, generator=generator, dtype=torch.float64, device=generator.device)
    return drawn.to(device=device, dtype=dtype or torch.get_default_dtype())


def distance_vectors(
    q: Tensor, k: Tensor, live: Tensor | None = None, key_live: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Longer queries and keys, all of one norm, whose distance falls as the product q . k grows.

        Q = [q, 0, sqrt(r^2 - |q|^2)],   K = [k, sqrt(r^2 - |k|^2), 0],   r^2 = max |q|^2 + max |k|^2

    so |Q - K|^2 = 2 r^2 - 2 q . k exactly.

    Args:
        q: Queries (..., L, D).
        k: Keys (..., T, D).
        live: Which queries count for the maxima (..., L); all if None.
        key_live: Which keys count for the maxima (..., T); all if None.

    Returns:
        Q, (..., L, D + 2), and K, (..., T, D + 2).

    Source:
        Daras et al., SMYRF (arXiv:2010.05315), after Neyshabur and Srebro 2015.

    Example:
        >>> q, k = torch.randn(2, 5, 3, dtype=torch.float64)
        >>> Q, K = distance_vectors(q, k)
        >>> radius = q.square().sum(-1).max() + k.square().sum(-1).max()
        >>> torch.allclose(torch.cdist(Q, K) ** 2, 2 * radius - 2 * q @ k.mT)
        True
    """
    squares = [x.square().sum(-1, keepdim=True) for x in (q, k)]
    counted = [
        x if seen is None else x.masked_fill(~seen[..., None], 0)
        for x, seen in zip(squares, (live, key_live), strict=True)
    ]
    radius = sum(x.amax(-2, keepdim=True) for x in counted)
    rest_q, rest_k = ((radius - x).clamp(min=0).sqrt() for x in squares)
    return torch.cat((q, torch.zeros_like(rest_q), rest_q), -1), torch.cat((k, rest_k, torch.zeros_like(rest_k)), -1)


@torch.no_grad()
def sorted_support(
    q: Tensor,
    k: Tensor,
    projections: Tensor,
    width: int,
    *,
    lengths: Tensor | None = None,
    key_lengths: Tensor | None = None,
) -> Support:
    """For each query and round, the chunk of `width` keys that has the query's rank among the queries.

    Queries and keys of one norm (`distance_vectors`) are projected onto one direction and sorted, each for themselves;
    the query of rank r meets the keys of ranks in its chunk of `width` (its rank's share of the way, where
    there are more keys or fewer). The last chunk is moved back so that it is as
    large as the others. Two-sided only: a later key moves all chunks.

    Args:
        q: Queries (B, L, H, D).
        k: Keys (B, T, G, D); G divides H.
        projections: As `draw_projections` gives them, (R, D + 2).
        width: Keys per query and round.
        lengths: Samples of each series (B,); keys past the end are in no chunk.
        key_lengths: Keys of each series (B,), where they differ from `lengths`.

    Returns:
        A support with `width` times the rounds places, shape (B, H, L, R * width).

    Raises:
        ValueError: shapes do not fit, or `width` is no whole number of at least 1.

    Source:
        arXiv:2010.05315, as in the experiments of Scatterbrain (arXiv:2110.15343). Differs: lengths need not be
        multiples of the width.

    Cost: O(L (D + log L) R) time, O(L R width) memory. Nothing is differentiated.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> q, k = torch.randn(2, 1, 60, 2, 8, generator=generator)
        >>> sorted_support(q, k, draw_projections(2, 8, generator=generator), 8).keys.shape
        torch.Size([1, 2, 60, 16])
    """
    check_positive_int("width", width)
    check_heads(q, k)
    check_shape("projections", projections, ("R", q.shape[3] + 2), "draw them for this `head_dim`")
    live, key_live = both_inside(q, k, lengths, key_lengths)
    q, k = (x.nan_to_num().transpose(1, 2).to(torch.promote_types(x.dtype, torch.float32)) for x in (q, k))
    k, width = shared(k, q.shape[1]), min(width, k.shape[2])
    counts = [
        torch.full((len(x), 1, 1), x.shape[2], device=x.device) if seen is None else seen.sum(-1, keepdim=True)
        for x, seen in ((q, live), (k, key_live))
    ]
    places = torch.arange(width, device=q.device)
    found = []
    for direction in projections.to(q):
        scores = [x @ direction for x in distance_vectors(q, k, live, key_live)]
        of_queries, of_keys = (
            x if seen is None else x.masked_fill(~seen, torch.inf)
            for x, seen in zip(scores, (live, key_live), strict=True)
        )
        rank, order = of_queries.argsort(dim=-1, stable=True).argsort(dim=-1), of_keys.argsort(dim=-1, stable=True)
        rank = rank * counts[1] // counts[0]
        start = torch.minimum(rank - rank % width, counts[1] - width).clamp(min=0)
        seen = start[..., None] + places
        index = order.gather(-1, seen.clamp(max=k.shape[2] - 1).flatten(-2)).view_as(seen)
        found.append((index, seen < counts[1][..., None]))
    support = unique(*(torch.cat(part, -1) for part in zip(*found, strict=True)))
    return support if live is None else Support(support.keys, support.valid & live[..., None])
