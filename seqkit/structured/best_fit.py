"""Which family approximates a matrix best within a budget, with the error and the cost of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqkit.checks import check_positive_int
from seqkit.structured.covariance import steadied
from seqkit.structured.matrix import StructuredMatrix, check_matrix, fit_options
from seqkit.structured.project import project
from seqkit.structured.registry import get_structure, structure_class, structure_names

__all__ = ["Fit", "best_fit"]

ROUNDING, MOST = 10, 1e-5
"""A fit is exact within so many units of the last place, but never with a larger error than this."""


class Fit(NamedTuple):
    """A family's approximation of a matrix.

    Args:
        structure: Name of the family.
        options: Its options.
        error: Frobenius norm of the difference over that of the matrix; with a covariance, the same of what they make
            of inputs.
        n_parameters: Numbers stored.
        density: Those by the entries of the matrix.
        flops: Floating-point operations for one row.
        matrix: The structured matrix.
    """

    structure: str
    options: dict[str, Any]
    error: float
    n_parameters: int
    density: float
    flops: int
    matrix: StructuredMatrix

    def __str__(self) -> str:
        """One line."""
        options = ", ".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.structure}({options}): error {self.error:.3g} with {self.n_parameters:,} numbers"


def best_fit(
    matrix: Tensor,
    budget: float,
    *,
    structures: Sequence[str] | None = None,
    n_tries: int = 2,
    covariance: Tensor | None = None,
) -> list[Fit]:
    """Approximates a matrix by every family within a budget, the nearest first.

    Args:
        matrix: Dense matrix, (out, in), finite.
        budget: Numbers that may be stored: a share of the entries from above 0 to 1, or a whole number of them.
        structures: Names of the families to try; all if None. Complex matrices skip those that are real.
        n_tries: Sizes to try of each family, those with most numbers within the budget.
        covariance: Of the inputs of a layer with this weight, (in, in), see `input_moments`. Errors then count by it,
            and families whose fit takes one are fitted with it.

    Returns:
        Fits in growing error; of two with the same error, and of those that are exact to rounding, the smaller first.

    Raises:
        ValueError: values are not finite, a budget that no family can keep, or an unknown family.

    Cost: the fits of all families; name a few where the matrix is large and a family's fit is iterative.

    Example:
        >>> smooth = torch.exp(-torch.linspace(0, 4, 32).sub(torch.linspace(0, 4, 32)[:, None]).square())
        >>> found = best_fit(smooth, 0.5, structures=["low_rank", "monarch"])
        >>> found[0].structure, found[0].error < 1e-3
        ('low_rank', True)
    """
    check_matrix(matrix)
    limit = allowed_numbers(budget, matrix.numel())
    check_positive_int("n_tries", n_tries)
    weights = None if covariance is None else steadied(covariance, matrix.detach().to(wide_of(matrix)))
    names = structure_names() if structures is None else structures
    names = [name for name in names if structure_class(name).allows_complex or not matrix.is_complex()]
    sized = [(count, name, options) for name in names for count, options in sizes(name, matrix)]
    within = [one for one in sized if one[0] <= limit]
    if not within:
        smallest = min((count for count, _, _ in sized), default=0)
        raise ValueError(
            f"`budget` must allow one of the families at least {smallest:,} numbers, got {budget!r}, which is "
            f"{limit:,} of {matrix.numel():,}; raise it"
        )
    found = []
    for name in dict.fromkeys(name for _, name, _ in within):
        own = sorted((one for one in within if one[1] == name), key=lambda one: -one[0])
        found += [fit(matrix, name, options, weights) for _, _, options in own[:n_tries]]
    exact = min(ROUNDING * torch.finfo(matrix.dtype).eps, MOST)
    return sorted(found, key=lambda one: (one.error if one.error > exact else 0.0, one.n_parameters))


def size(rest: Tensor, weights: Tensor | None) -> Tensor:
    """The Frobenius norm, or the mean size of what the matrix makes of inputs."""
    if weights is None:
        norm: Tensor = torch.linalg.norm(rest)
        return norm
    wide = rest.to(weights)
    return (wide @ weights * wide.conj()).sum().real.clamp_min(0).sqrt()


def allowed_numbers(budget: float, entries: int) -> int:
    """The budget as a whole number."""
    whole = isinstance(budget, int) and not isinstance(budget, bool)
    if not (whole and budget >= 1) and not (isinstance(budget, float) and 0 < budget <= 1):
        raise ValueError(
            f"`budget` must be a share from above 0 to 1.0, or a whole number of at least 1, got {budget!r}"
        )
    return int(budget) if whole else int(budget * entries)


def sizes(name: str, matrix: Tensor) -> list[tuple[int, dict[str, Any]]]:
    """Numbers stored and options of each size that a family proposes for a matrix."""
    out_features, in_features = matrix.shape
    proposed = structure_class(name).candidates(in_features, out_features)
    made = [get_structure(name)(in_features, out_features, **options, device="meta") for options in proposed]
    return [(one.n_parameters, options) for one, options in zip(made, proposed, strict=True)]


def wide_of(matrix: Tensor) -> torch.dtype:
    """The dtype of fits."""
    return torch.complex128 if matrix.is_complex() else torch.float64


def fit(matrix: Tensor, name: str, options: dict[str, Any], weights: Tensor | None) -> Fit:
    """One projection and its error."""
    takes = "covariance" in fit_options(structure_class(name)) and options.get("order", 2) == 2
    given: dict[str, Any] = {"covariance": weights} if takes and weights is not None else {}
    found = project(matrix, name, **options, **given)
    with torch.no_grad():
        wide = wide_of(matrix)  # squares of float16 or float32 overflow, and vanish, early
        norm = size(matrix.detach().to(wide), weights)
        difference = size(found.dense().to(wide) - matrix.to(wide), weights)
    error = float(difference / norm) if norm > 0 else float(difference)
    return Fit(name, options, error, found.n_parameters, found.density, found.flops, found)
