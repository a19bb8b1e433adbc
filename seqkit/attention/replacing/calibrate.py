"""Recipes chosen for each layer by the error of its output on data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace as changed
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from seqkit.attention.replacing.recipe import Recipe
from seqkit.kernels.attention import attention

__all__ = ["Recorder", "best_recipe"]

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


class Call(NamedTuple):
    """What attention was given."""

    q: Tensor
    k: Tensor
    v: Tensor
    options: dict[str, Any]


class Recorder:
    """Exact attention in the place of a recipe, which keeps what it was given."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def attend(self, q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False, lengths: Tensor | None = None) -> Tensor:
        """As `Recipe.attend`, exactly."""
        self.calls.append(Call(q, k, v, {"causal": causal, "lengths": lengths}))
        return cast("Tensor", attention(q, k, v, causal=causal, lengths=lengths))


@torch.no_grad()
def best_recipe(recipe: Recipe, calls: Sequence[Call], *, shares: bool, keys: bool) -> Recipe:
    """Of recipes with the same memory and seed, the one whose output is nearest to exact attention.

    Args:
        recipe: Scatterbrain's, of which the rest is kept.
        calls: What a layer's attention was given.
        shares: Try 0, 1/4, 1/2, 3/4 and 1 of the memory for keys; 0 is Performer and 1 keys alone.
        keys: Try keys that are hashed, local, and both.

    Returns:
        The recipe of least squared error, summed over all samples and heads of the calls.

    Raises:
        ValueError: no candidate fits series of this length.

    Cost: as one call of each candidate, and exact attention.

    Example:
        >>> recorder = Recorder()
        >>> q, k, v = 0.1 * torch.randn(3, 1, 200, 2, 8)
        >>> recorder.attend(q, k, v).shape
        torch.Size([1, 200, 2, 8])
        >>> best_recipe(Recipe(memory=0.1), recorder.calls, shares=True, keys=True).method  # nearly flat
        'performer'
    """
    found: list[tuple[float, Recipe]] = []
    wanted = [attention(call.q, call.k, call.v, **call.options) for call in calls]
    for candidate in _candidates(recipe, shares, keys):
        try:
            for call in calls:
                candidate.sizes(call.q.shape[1])
        except ValueError:
            continue
        given = [candidate.attend(call.q, call.k, call.v, **call.options) for call in calls]
        error = sum(float((a - cast("Tensor", b)).square().sum()) for a, b in zip(given, wanted, strict=True))
        found.append((error, candidate))
    if not found:
        for call in calls:
            recipe.sizes(call.q.shape[1])
    return min(found, key=lambda one: one[0])[1] if found else recipe


def _candidates(recipe: Recipe, shares: bool, keys: bool) -> list[Recipe]:
    ways = ("hashed", "local", "both") if keys else (recipe.keys,)
    made = []
    for share in SHARES if shares else (recipe.share,):
        if share == 0:
            made.append(changed(recipe, method="performer"))
        elif share == 1:
            made += [changed(recipe, method="local" if way == "local" else "lsh", keys=way) for way in ways]
        else:
            made += [changed(recipe, share=share, keys=way) for way in ways]
    return made
