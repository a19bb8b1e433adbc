"""Where steps and codes of a row lie in its bytes, and the largest code."""

from __future__ import annotations

__all__ = ["code_bytes", "divisor", "largest_code", "n_groups", "row_bytes"]


def n_groups(length: int, group: int) -> int:
    """Groups of a row; the last may be shorter.

    Example:
        >>> n_groups(100, 64)
        2
    """
    return -(-length // group)


def code_bytes(length: int, bits: int) -> int:
    """Bytes of the codes of a row, which are one string of bits.

    Example:
        >>> code_bytes(5, 3)
        2
    """
    return -(-length * bits // 8)


def row_bytes(length: int, bits: int, group: int) -> int:
    """Bytes of a row: two for the step of each group, then the codes.

    Example:
        >>> row_bytes(100, 4, 64)
        54
    """
    return 2 * n_groups(length, group) + code_bytes(length, bits)


def largest_code(bits: int) -> int:
    """The largest q; 2 q + 1 codes are in use, or 2 where `bits` is 1.

    Example:
        >>> largest_code(4)
        7
    """
    return max(1, (1 << bits - 1) - 1)


def divisor(bits: int, minimax: bool) -> float:
    """How many steps the largest number of a group is: the largest code, or half a step more.

    Example:
        >>> divisor(4, True)
        7.5
    """
    return largest_code(bits) + (0.5 if minimax and bits > 1 else 0.0)
