"""The arguments of attention as Triton's kernels take them: pointers, numbers, and what a kernel is compiled for."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqkit.kernels.attention.rules import Rules
from seqkit.kernels.attention.scores import LOG2_E
from seqkit.kernels.attention.triton.lists import Listed, covering, listed
from seqkit.kernels.attention.triton.sizes import padded
from seqkit.kernels.backend import interpreting

__all__ = ["VARIED", "Call", "Own", "call_of"]

# Numbers of which kernels need not know whether 16 divides them: without this they would be compiled again.
VARIED = ("n_tiles", "n_queries", "n_keys", "n_heads", "sharing", "left", "right", "threshold")


class Own(NamedTuple):
    """The tiles of the side that programs hold, and what they meet on the other side by a block mask.

    Args:
        n_tiles: Tiles of a head.
        covers: Segment and place of each tile, where there are segments.
        lists: Tiles of the block mask.
    """

    n_tiles: int
    covers: Tensor
    lists: Listed


class Call(NamedTuple):
    """The arguments, read once."""

    q: Tensor
    k: Tensor
    v: Tensor
    slopes: Tensor
    seed: Tensor
    segments: Tensor
    mask: tuple[Tensor, ...]
    height: int
    width: int
    rules: Rules

    @property
    def widest(self) -> int:
        """The larger of the padded sizes of keys and values."""
        return max(padded(self.q.shape[3]), padded(self.v.shape[3]))

    @property
    def sharing(self) -> int:
        """Query heads that share one of keys."""
        return self.q.shape[2] // self.k.shape[2]

    @property
    def upcast(self) -> bool:
        """Whether blocks become float32 when they are read."""
        return self.q.dtype == torch.bfloat16 and interpreting()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to attend to, or nothing that attends."""
        return self.q.numel() == 0 or self.k.shape[1] == 0

    def result(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """A tensor for what kernels write; 0 where segments leave places that no program holds."""
        made = torch.float32 if self.upcast else dtype or self.q.dtype
        if self.segments.numel() == 0 and not self.empty:
            return self.q.new_empty(shape, dtype=made)
        return self.q.new_zeros(shape, dtype=made)

    def by_queries(self, block: int) -> Own:
        """Tiles of so many queries."""
        row_starts, columns, partial = self.mask[:3]
        lists = listed(row_starts, columns, partial, None) if self.height else Listed(*[row_starts] * 4)
        return self.own(1, self.q.shape[1], block, self.height, lists)

    def by_keys(self, block: int) -> Own:
        """Tiles of so many keys."""
        partial, _, column_starts, rows, entries = self.mask[2:]
        lists = listed(column_starts, rows, partial, entries) if self.width else Listed(*[column_starts] * 4)
        return self.own(3, self.k.shape[1], block, self.width, lists)

    def own(self, column: int, length: int, block: int, unit: int, lists: Listed) -> Own:
        """Counts the tiles of a side whose bounds stand from `column` on in the table of segments."""
        n_tiles = -(-length // unit) * -(-unit // block) if unit else -(-length // block)
        if self.segments.numel() == 0:
            return Own(n_tiles, self.segments, lists)
        n_tiles = self.q.shape[0] * n_tiles + len(self.segments)
        firsts, ends = self.segments[:, column], self.segments[:, column + 1]
        return Own(n_tiles, covering(firsts, ends, unit, block, n_tiles), lists)

    def grid(self, own: Own) -> tuple[int]:
        """Programs: tiles, heads, and rows where segments do not say them."""
        n_rows = 1 if self.segments.numel() else self.q.shape[0]
        return (own.n_tiles * self.q.shape[2] * n_rows,)

    def pointers(self, own: Own) -> tuple[Tensor, ...]:
        """Tables that every kernel takes."""
        bits = self.mask[3].view(torch.uint8) if self.mask[3].numel() else self.mask[3]
        return (self.slopes, self.seed, self.segments, own.covers, *own.lists, bits)

    def numbers(self, own: Own) -> tuple[int, ...]:
        """Sizes that every kernel takes."""
        return own.n_tiles, self.q.shape[1], self.k.shape[1], self.q.shape[2], self.sharing

    def strides(self) -> tuple[int, ...]:
        """Steps between rows of the batch, times and heads of q, k and v."""
        return tuple(step for value in (self.q, self.k, self.v) for step in value.stride()[:3])

    def factors(self) -> tuple[int | float, ...]:
        """What the rules say in numbers, scores counted in base 2."""
        rules, furthest = self.rules, self.q.shape[1] + self.k.shape[1]
        return (
            min(rules.left, furthest),
            min(rules.right, furthest),
            rules.scale * LOG2_E,
            rules.softcap * LOG2_E,
            min(round(rules.dropout * 2**32), 2**32 - 1),
            1 / (1 - rules.dropout),
        )

    def options(self, block: int, other: int, unit: int) -> dict[str, Any]:
        """What a kernel is compiled for, given blocks of the side that it goes along: their size, and the mask's."""
        rules = self.rules
        limits = {
            "HAS_LEFT": rules.left >= 0,
            "HAS_RIGHT": rules.right >= 0,
            "HAS_SEGMENTS": self.segments.numel() > 0,
        }
        return {
            **limits,
            "SIZE": self.q.shape[3],
            "VALUE_SIZE": self.v.shape[3],
            "D": padded(self.q.shape[3]),
            "E": padded(self.v.shape[3]),
            "HEIGHT": self.height,
            "WIDTH": self.width,
            "AT_END": rules.at_end,
            "HAS_CAP": rules.softcap > 0,
            "HAS_SLOPES": self.slopes.numel() > 0,
            "HAS_DROPOUT": rules.dropout > 0,
            # A full tile of a mask may stand over the last query.
            "EDGES": any(limits.values()) or other % (unit or block) != 0 or unit % block != 0,
            "PRECISION": "tf32x3" if self.q.dtype == torch.float32 else "tf32",
            "UPCAST": self.upcast,
        }


def call_of(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slopes: Tensor,
    seed: Tensor,
    segments: Tensor,
    row_starts: Tensor,
    columns: Tensor,
    partial: Tensor,
    bits: Tensor,
    column_starts: Tensor,
    rows: Tensor,
    entries: Tensor,
    tile_rows: int,
    tile_columns: int,
    *rules: Any,
) -> Call:
    """Reads the arguments of `attention_reference`."""
    q, k, v = (value if value.stride(3) == 1 else value.contiguous() for value in (q, k, v))
    mask = (row_starts, columns, partial, bits, column_starts, rows, entries)
    return Call(q, k, v, slopes.float(), seed, segments, mask, tile_rows, tile_columns, Rules(*rules))
