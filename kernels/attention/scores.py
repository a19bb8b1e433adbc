"""What happens to a tile of products before it is exponentiated, in base 2: soft cap, ALiBi, hidden places, dropout."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from seqkit.kernels.attention.dropout import kept
from seqkit.kernels.attention.panels import Panel
from seqkit.kernels.attention.rules import Rules, Segment

__all__ = ["LOG2_E", "Tile", "cap_", "hide_", "slope_", "stays"]

LOG2_E = math.log2(math.e)  # powers of 2 cost half of powers of e


class Tile(NamedTuple):
    """Where a tile of scores lies.

    Args:
        segment: Its segment.
        first: First query.
        end: End of its queries.
        groups: Key heads, numbered row * n_key_heads + head: from and to.
        n_key_heads: Key heads of a row.
        sharing: Query heads that share one.
    """

    segment: Segment
    first: int
    end: int
    groups: slice
    n_key_heads: int
    sharing: int

    def heads(self, device: torch.device) -> Tensor:
        """Numbers of the query heads, row * n_heads + head, (groups, sharing)."""
        within = torch.arange(self.sharing, device=device)
        return torch.arange(self.groups.start, self.groups.stop, device=device).unsqueeze(1) * self.sharing + within

    def view(self, scores: Tensor, flipped: bool) -> Tensor:
        """A tile (groups, sharing R, T), or (groups, T, sharing R) if flipped, as (groups, sharing, R, T)."""
        n_queries = self.end - self.first
        if flipped:
            return scores.view(len(scores), scores.shape[1], self.sharing, n_queries).permute(0, 2, 3, 1)
        return scores.view(len(scores), self.sharing, n_queries, scores.shape[2])


def cap_(scores: Tensor, rules: Rules) -> Tensor:
    """Bounds scores by c tanh(s / c), in place."""
    bound = rules.softcap * LOG2_E
    return scores.div_(bound).tanh_().mul_(bound)


def slope_(scores: Tensor, slopes: Tensor, tile: Tile, panel: Panel, rules: Rules, flipped: bool) -> None:
    """Takes the slope of each head (H,) times the distance off the scores, in place."""
    queries = torch.arange(tile.first, tile.end, device=scores.device) + tile.segment.shift(rules.at_end)
    distance = (queries.unsqueeze(1) - panel.keys).abs().to(scores.dtype)
    heads = tile.heads(scores.device) % len(slopes)
    each = (slopes.to(scores.dtype) * LOG2_E)[heads][..., None, None]
    tile.view(scores, flipped).addcmul_(each, distance, value=-1)


def hide_(scores: Tensor, tile: Tile, panel: Panel, flipped: bool) -> None:
    """Sets hidden places to minus infinity, in place."""
    all_scores = tile.view(scores, flipped)
    for start, stop, what in panel.covers:
        all_scores[..., start:stop].masked_fill_(what, -torch.inf)


def stays(like: Tensor, seed: Tensor, tile: Tile, panel: Panel, rules: Rules, flipped: bool) -> Tensor:
    """Factors of weights under dropout, 0 or 1 / (1 - dropout), in the layout of the tile `like`."""
    queries = torch.arange(tile.first, tile.end, device=like.device)
    stay = kept(seed, tile.heads(like.device), queries, panel.keys, rules.dropout)
    factors = stay.to(like.dtype).mul_(1 / (1 - rules.dropout))
    return (factors.permute(0, 3, 1, 2) if flipped else factors).reshape(like.shape)
