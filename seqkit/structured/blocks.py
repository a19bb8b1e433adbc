"""How sizes are cut into blocks: into factors near to each other, padded where they do not divide."""

from __future__ import annotations

import math
from collections.abc import Sequence

from seqkit.checks import check_positive_int

__all__ = ["cut", "near_divisor", "ranks"]


def near_divisor(size: int, target: float) -> int:
    """The divisor of `size` nearest to `target` by ratio, or `target` rounded where none lies within a factor of 2.

    Example:
        >>> near_divisor(48, 48**0.5), near_divisor(1009, 1009**0.5)
        (6, 32)
    """
    divisors = [d for d in range(1, math.isqrt(size) + 1) if size % d == 0]
    divisors += [size // d for d in divisors]
    best = min(divisors, key=lambda d: abs(math.log(d / target)))
    return best if 0.5 <= best / target <= 2 else max(1, round(target))


def cut(name: str, size: int, blocks: Sequence[int] | None, order: int) -> tuple[int, ...]:
    """Cuts a size into `order` factors b_1 .. b_p whose product is at least `size`; rows are padded to the product.

    Args:
        name: What is cut, for the sentence.
        size: Size to cut.
        blocks: b_1 .. b_(p-1), numbers of blocks at each level; near to the p-th root of the size if None.
        order: Number of factors p.

    Returns:
        The factors; the last is the smallest that reaches `size`.

    Raises:
        ValueError: more blocks than numbers, or blocks so many that some hold padding alone.

    Example:
        >>> cut("in_features", 64, None, 2), cut("in_features", 60, None, 3), cut("in_features", 10, (4,), 2)
        ((8, 8), (4, 3, 5), (4, 3))
    """
    if blocks is None:
        found: list[int] = []
        rest = size
        for left in range(order, 1, -1):
            found.append(near_divisor(rest, rest ** (1 / left)))
            rest = -(-rest // found[-1])
        return (*found, rest)
    for count in blocks:
        check_positive_int("n_blocks", count)
    product = math.prod(blocks)
    last = -(-size // product)
    if product > size or (blocks[0] - 1) * (product // blocks[0]) * last >= size:
        raise ValueError(
            f"`n_blocks` must leave each block of the {size} {name} at least one number, got {tuple(blocks)}; use fewer"
        )
    return (*blocks, last)


def ranks(largest: int) -> list[int]:
    """Ranks worth trying up to the largest, four to each doubling.

    Example:
        >>> ranks(16)
        [1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 13, 16]
    """
    steps = range(4 * largest.bit_length())
    return sorted({1, largest, *(rank for step in steps if (rank := round(2 ** (step / 4))) < largest)})
