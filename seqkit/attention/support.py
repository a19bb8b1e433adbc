"""Which keys each query meets exactly: a list of the same length for every query, so that memory is linear."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from seqkit.checks import check_positive_int

__all__ = ["Support", "few", "join_supports", "listed", "local_support", "unique"]

DENSE = 12
"""Keys that a row multiplies in the time of one that it gathers."""


class Support(NamedTuple):
    """Keys of each query, each of them once.

    Args:
        keys: Positions of keys (B, H, L, W), int64. B and H may be 1, for all.
        valid: Which of them count (B, H, L, W); the others fill the list up.
    """

    keys: Tensor
    valid: Tensor

    @property
    def width(self) -> int:
        """Places W for keys per query, used or not."""
        return self.keys.shape[-1]


def local_support(
    length: int, width: int, *, causal: bool = False, device: torch.device | str | None = None
) -> Support:
    """The keys next to each query: `width` around it, or the last `width` up to itself.

    Args:
        length: Positions L.
        width: Keys W per query.
        causal: Only keys up to the query's own position.
        device: Of the result; the CPU if None.

    Raises:
        ValueError: a size is no whole number of at least 1.

    Example:
        >>> local_support(4, 2, causal=True).keys[0, 0].tolist()
        [[-1, 0], [0, 1], [1, 2], [2, 3]]
    """
    check_positive_int("length", length)
    check_positive_int("width", width)
    first = 1 - width if causal else -(width // 2)
    index = torch.arange(length, device=device)[:, None] + torch.arange(first, first + width, device=device)
    return Support(index[None, None], ((index >= 0) & (index < length))[None, None])


def join_supports(*supports: Support) -> Support:
    """The union: a key that several supports hold counts once.

    Args:
        supports: Supports of the same length; B and H are broadcast.

    Raises:
        ValueError: no support is given, or lengths differ.

    Example:
        >>> both = join_supports(local_support(5, 3), local_support(5, 1))
        >>> both.width, both.valid.sum(-1).flatten().tolist()
        (4, [2, 3, 3, 3, 2])
    """
    if not supports:
        raise ValueError("`supports` must hold at least one support, got none")
    lengths = {support.keys.shape[2] for support in supports}
    if len(lengths) > 1:
        raise ValueError(f"`supports` must be of one length, got {sorted(lengths)}; make them for the same series")
    sizes = [max(support.keys.shape[axis] for support in supports) for axis in (0, 1)]
    index = torch.cat([support.keys.expand(*sizes, -1, -1) for support in supports], dim=-1)
    valid = torch.cat([support.valid.expand(*sizes, -1, -1) for support in supports], dim=-1)
    return unique(index, valid)


def unique(index: Tensor, valid: Tensor) -> Support:
    """Sorts the keys of each query, the places that do not count last, and lets each key count once."""
    beyond = torch.iinfo(index.dtype).max
    ordered = index.masked_fill(~valid, beyond).sort(dim=-1).values
    valid = ordered != beyond
    valid[..., 1:] &= ordered[..., 1:] != ordered[..., :-1]
    return Support(ordered.masked_fill(~valid, 0), valid)


def listed(index: Tensor, valid: Tensor, n_keys: int) -> Tensor:
    """Which of `n_keys` keys each row lists (B, H, C, n_keys), from places (B, H, C, W) of which some count."""
    none = torch.zeros(*index.shape[:3], n_keys + 1, dtype=torch.bool, device=index.device)
    return none.scatter(-1, index.masked_fill(~valid, n_keys), True)[..., :n_keys]


def few(n_keys: int, width: int) -> bool:
    """Whether a product with all keys takes less time than gathering `width` of them for each row."""
    return n_keys <= DENSE * width
