"""Fits the parameters of a matrix to a dense one by descent, where no closed form is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from seqkit.checks import check_not_negative

__all__ = ["best_descent", "descend"]

EXACT = 1e-16  # squared relative error at which no other start can do better in any sense that matters

HISTORY = 50  # steps whose curvature is kept


def descend(
    dense: Callable[[Sequence[Tensor]], Tensor], start: Sequence[Tensor], matrix: Tensor, steps: int
) -> tuple[list[Tensor], float]:
    """Lowers |dense(values) - matrix|^2 / |matrix|^2 by quasi-Newton steps with a line search.

    Args:
        dense: Takes the values, returns a matrix.
        start: First values; they are not changed.
        matrix: What to come near to, not 0.
        steps: Most steps of the search; 0 leaves the values as they are.

    Returns:
        The values found and their relative squared error, never above that of the start.

    Raises:
        ValueError: a negative number of steps.

    Example:
        >>> (found,), error = descend(lambda values: values[0] ** 2, [torch.ones(1, 1)], torch.full((1, 1), 4.0), 20)
        >>> round(found.item(), 3)
        2.0
    """
    check_not_negative("steps", steps)
    size = matrix.abs().square().sum()
    with torch.enable_grad():
        leaves = [value.detach().clone().requires_grad_() for value in start]
        search = torch.optim.LBFGS(
            leaves,
            max_iter=max(1, steps),
            max_eval=2 * max(1, steps),
            history_size=HISTORY,
            tolerance_grad=1e-12,
            tolerance_change=1e-16,
            line_search_fn="strong_wolfe",
        )

        def loss() -> Tensor:
            search.zero_grad()
            value: Tensor = (dense(leaves) - matrix).abs().square().sum() / size
            value.backward()  # type: ignore[no-untyped-call]
            return value

        first = float(loss().detach())
        if steps:
            search.step(loss)  # type: ignore[no-untyped-call]
        last = float(loss().detach())
    if not last <= first:
        return [value.detach().clone() for value in start], first
    return [leaf.detach() for leaf in leaves], last


def best_descent(
    dense: Callable[[Sequence[Tensor]], Tensor], starts: Iterable[Sequence[Tensor]], matrix: Tensor, steps: int
) -> list[Tensor]:
    """Descends from one start after another, until one is exact, and returns the best values.

    Args:
        dense: As in `descend`.
        starts: First values of each descent, at least one.
        matrix: As in `descend`.
        steps: As in `descend`.

    Example:
        >>> starts = ([torch.full((1, 1), value)] for value in (0.0, 1.0))
        >>> (found,) = best_descent(lambda values: values[0] ** 2, starts, torch.full((1, 1), 4.0), 20)
        >>> round(found.item(), 3)
        2.0
    """
    best: list[Tensor] = []
    error = float("inf")
    for start in starts:
        found, at = descend(dense, start, matrix, steps)
        if not best or at < error:
            best, error = found, at
        if error < EXACT:
            break
    return best
