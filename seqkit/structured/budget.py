"""Options of a family that spend a budget on one layer."""

from __future__ import annotations

from typing import Any

from seqkit.structured.registry import get_structure, structure_class

__all__ = ["choices", "smallest_share"]

LOW_RANK_SHARE = 0.25
"""Part of a layer's budget that pixelfly's low rank gets."""


def choices(structure: str, in_features: int, out_features: int, budget: float) -> dict[str, Any] | None:
    """Options with which a family comes nearest to a share of a dense layer's cost, or None where none fits.

    The cost of a layer is the numbers that its product reads, whole blocks with their padding. For `pixelfly` a quarter
    of the budget goes to the low rank, whose rank is a multiple of the smallest block side where that fits and of 4
    where not; the mask takes the largest cost in the rest, of equal ones that with most factors; what the
    mask leaves goes to the rank again. Other families take their largest candidate within the budget.

    Args:
        structure: Name of a registered family.
        in_features: Columns.
        out_features: Rows.
        budget: Share of in_features times out_features.

    Source: Chen et al. 2021, Pixelated Butterfly (arXiv:2112.00029): budgets in proportion to dense cost, a quarter to
        the low rank, the largest mask that fits.

    Example:
        >>> choices("pixelfly", 1024, 4096, 0.25)
        {'block_size': 32, 'n_factors': 5, 'rank': 32}
        >>> choices("low_rank", 64, 64, 0.25)
        {'rank': 8}
    """
    limit = budget * in_features * out_features
    if structure != "pixelfly":
        fitting = [(count, options) for count, options in sizes(structure, in_features, out_features) if count <= limit]
        return max(fitting, key=lambda one: one[0])[1] if fitting else None
    tile = smallest_side(in_features, out_features)
    sides = in_features + out_features
    rank = rounded(int(LOW_RANK_SHARE * limit / sides), tile)
    within = [one for one in masks(in_features, out_features) if one[0] <= limit]
    if not within:
        return None
    # Where even the smallest mask takes more than its part, the low rank gets less than its own.
    cost, n_factors, n_blocks = max([one for one in within if one[0] <= limit - rank * sides] or [min(within)])
    rank = rounded(int((limit - cost) / sides), tile)
    return {"block_size": min(in_features, out_features) // n_blocks, "n_factors": n_factors, "rank": rank}


def smallest_share(structure: str, in_features: int, out_features: int) -> float:
    """Smallest budget with which `choices` finds something.

    Example:
        >>> smallest_share("low_rank", 64, 64)
        0.03125
    """
    if structure != "pixelfly":
        counts = [count for count, _ in sizes(structure, in_features, out_features)]
    else:
        counts = [cost for cost, _, _ in masks(in_features, out_features)]
    return min(counts, default=in_features * out_features) / (in_features * out_features)


def sizes(structure: str, in_features: int, out_features: int) -> list[tuple[int, dict[str, Any]]]:
    """Numbers stored and options of each size that a family proposes."""
    proposed = structure_class(structure).candidates(in_features, out_features)
    make = get_structure(structure)
    return [(make(in_features, out_features, **options, device="meta").n_parameters, options) for options in proposed]


def masks(in_features: int, out_features: int) -> list[tuple[int, int, int]]:
    """Cost, number of factors and number of blocks of each mask whose blocks have the smallest side or more."""
    smaller, found = min(in_features, out_features), []
    for bits in range(1, (smaller // smallest_side(in_features, out_features)).bit_length()):
        n_blocks = 1 << bits
        block = -(-in_features // n_blocks) * -(-out_features // n_blocks)
        found += [(n_blocks * (s + 1) * block, s, n_blocks) for s in range(bits + 1)]
    return found


def smallest_side(in_features: int, out_features: int) -> int:
    """Side that blocks must have: 32, but such that the smaller size has at least 16 of them."""
    return min(32, 1 << max(0, (min(in_features, out_features) // 16).bit_length() - 1))


def rounded(rank: int, tile: int) -> int:
    """Multiple of `tile`, below it of 4, below that the rank as it is."""
    step = tile if rank >= tile else 4 if rank >= 4 else 1
    return rank // step * step
