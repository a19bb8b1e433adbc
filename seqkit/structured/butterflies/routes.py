"""Any permutation as a product of two butterflies of swaps: the looping algorithm of Benes networks."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.structured.butterflies.factors import padded_size

__all__ = ["check_permutation", "switches"]


def check_permutation(permutation: Tensor) -> list[int]:
    """Returns the numbers of a permutation of 0 .. n-1.

    Raises:
        ValueError: not a list of whole numbers in which each place occurs once.

    Example:
        >>> check_permutation(torch.tensor([2, 0, 1]))
        [2, 0, 1]
    """
    whole = permutation.dim() == 1 and permutation.numel() > 0 and not permutation.is_floating_point()
    found = [int(i) for i in permutation.tolist()] if whole and not permutation.is_complex() else []
    if not found or sorted(found) != list(range(len(found))):
        raise ValueError(
            f"`permutation` must hold each whole number from 0 to n - 1 once, got shape {tuple(permutation.shape)} "
            f"and dtype {permutation.dtype}; argsort makes one of any numbers"
        )
    return found


def switches(permutation: Tensor) -> Tensor:
    """Swaps (2, m, n/2), booleans, of the two blocks B* and B whose product is a permutation y = x[permutation].

    Element a of the input and element a + n/2 share a switch, and so do elements of the output. In each half lies one
    of each pair, chosen by walking along the cycles that pairs of input and output make; what is left is a permutation
    of each half. The outer switches are the first level of the decreasing block and the last of the increasing one.

    Args:
        permutation: Whole numbers 0 .. n-1 in any order; if n is no power of two, places added behind stay in place.

    Returns:
        True where a pair is swapped: block, level (stride 2^level) and pair as in `seqkit.kernels.butterfly`.

    Raises:
        ValueError: not a permutation.

    Source: Beneš 1964; Dao et al. 2020, Kaleidoscope (arXiv:2012.14966), theorem 2.

    Cost: O(n log n).

    Example:
        >>> switches(torch.tensor([1, 0]))[:, 0, 0].tolist()  # either of the two may swap
        [True, False]
    """
    places = check_permutation(permutation)
    n = padded_size(len(places))
    places += range(len(places), n)
    swaps = torch.zeros(2, n.bit_length() - 1, n // 2, dtype=torch.bool)
    route(places, 0, swaps)
    return swaps


def route(places: list[int], start: int, swaps: Tensor) -> None:
    """Sets the switches of a sub-network on the elements from `start` on, whose outputs take `places`."""
    size, half = len(places), len(places) // 2
    level = half.bit_length() - 1
    if size == 2:
        swaps[0, 0, start // 2] = places[0] == 1
        return
    lower = colour(places)  # for each output: whether it comes from the lower half
    inner: tuple[list[int], list[int]] = ([0] * half, [0] * half)
    for pair in range(half):
        swapped = lower[pair]  # the upper of the two outputs should come from the upper half
        swaps[1, level, start // 2 + pair] = swapped
        for output in (pair, pair + half):
            inner[lower[output]][pair] = places[output] % half
            # An input that goes to the half in which it does not lie is swapped.
            if places[output] < half:
                swaps[0, level, start // 2 + places[output]] = lower[output]
    route(inner[0], start, swaps)
    route(inner[1], start + half, swaps)


def colour(places: list[int]) -> list[bool]:
    """Parts the outputs so that no two of a pair, nor two whose inputs are a pair, are alike."""
    size, half = len(places), len(places) // 2
    output_of = [0] * size
    for output, place in enumerate(places):
        output_of[place] = output
    lower: list[bool | None] = [None] * size
    for first in range(size):
        output = first
        while lower[output] is None:
            lower[output] = False
            other = (output + half) % size  # shares an output pair: the other half
            lower[other] = True
            output = output_of[(places[other] + half) % size]  # shares the input pair with that: the first half
    return [bool(value) for value in lower]
