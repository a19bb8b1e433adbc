"""Which keys a query sees by its place, and how far it is from them: causality, windows, series, packed series."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

__all__ = ["Rules", "Segment", "hidden", "segments_of", "span"]


class Rules(NamedTuple):
    """What every tile of scores needs to know, as plain numbers.

    Args:
        left: Keys a query sees before its own place; -1 for all.
        right: Keys a query sees after its own place; -1 for all, 0 under causality.
        at_end: Whether the last query stands at the last key (else the first stands at the first).
        softcap: The bound c of c tanh(s / c); 0 for none.
        scale: Factor of the products q k.
        dropout: Share of weights set to 0.
    """

    left: int
    right: int
    at_end: bool
    softcap: float
    scale: float
    dropout: float


class Segment(NamedTuple):
    """Queries that see one range of keys: a series of the batch, or one of several packed into a row."""

    row: int
    first_query: int
    end_query: int
    first_key: int
    end_key: int

    def shift(self, at_end: bool) -> int:
        """What is added to a query's index to get its place among the keys."""
        start = self.first_key - self.first_query
        if not at_end:
            return start
        return start + (self.end_key - self.first_key) - (self.end_query - self.first_query)


def segments_of(table: Tensor, batch_size: int, n_queries: int, n_keys: int) -> list[Segment]:
    """Reads the table (S, 5) of segments; an empty one means that every row of the batch is one.

    Example:
        >>> import torch
        >>> segments_of(torch.zeros(0, 5, dtype=torch.int64), 1, 3, 4)
        [Segment(row=0, first_query=0, end_query=3, first_key=0, end_key=4)]
    """
    if table.numel() == 0:
        return [Segment(row, 0, n_queries, 0, n_keys) for row in range(batch_size)]
    return [Segment(*numbers) for numbers in table.tolist()]


def span(first: int, end: int, segment: Segment, rules: Rules) -> tuple[int, int, int, int]:
    """Keys that queries [first, end) see: from, to (any of them), and from, to (all of them).

    Example:
        >>> span(4, 6, Segment(0, 0, 8, 0, 8), Rules(2, 0, True, 0.0, 1.0, 0.0))
        (2, 6, 3, 5)
    """
    shift = segment.shift(rules.at_end)
    low = all_low = segment.first_key
    high = all_high = segment.end_key
    if rules.left >= 0:
        low, all_low = max(low, first + shift - rules.left), max(low, end - 1 + shift - rules.left)
    if rules.right >= 0:
        high, all_high = min(high, end + shift + rules.right), min(high, first + shift + rules.right + 1)
    return low, high, all_low, all_high


def hidden(queries: Tensor, keys: Tensor, segment: Segment, rules: Rules) -> Tensor:
    """Says which keys (T,) queries (R,) of a segment do not see, (R, T).

    Example:
        >>> import torch
        >>> hidden(torch.arange(2), torch.arange(3), Segment(0, 0, 2, 0, 3), Rules(-1, 0, True, 0.0, 1.0, 0.0)).int()
        tensor([[0, 0, 1],
                [0, 0, 0]], dtype=torch.int32)
    """
    ahead = keys - (queries.unsqueeze(-1) + segment.shift(rules.at_end))
    out = ((keys < segment.first_key) | (keys >= segment.end_key)).expand(len(queries), -1)
    if rules.left >= 0:
        out = out | (ahead < -rules.left)
    if rules.right >= 0:
        out = out | (ahead > rules.right)
    return out
