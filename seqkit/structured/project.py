"""The member of a family that is nearest to a dense matrix."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from seqkit.structured.matrix import StructuredMatrix, check_matrix, fit_options
from seqkit.structured.registry import get_structure, structure_class, structure_options

__all__ = ["project"]


def project(
    matrix: Tensor, structure: str = "monarch", *, dtype: torch.dtype | None = None, **options: Any
) -> StructuredMatrix:
    """Returns the structured matrix nearest to a dense one in the Frobenius norm.

    Args:
        matrix: Dense matrix, (out, in), finite.
        structure: Name of a registered family.
        dtype: Number type of the parameters; that of `matrix` if None.
        **options: Options of the family, and arguments of its fit where it is iterative.

    Returns:
        The matrix, on the device of `matrix`; its parameters require gradients. Where the family's `exact_fit` is
        False, the fit is iterative and may end at a local minimum.

    Raises:
        ValueError: NaN, infinite or missing entries, an unknown family, or options that it does not have or cannot
            take at this size.

    Cost: computed in float64; a singular value decomposition for most families.

    Example:
        >>> outer = torch.outer(torch.arange(1.0, 4.0), torch.arange(1.0, 6.0))
        >>> found = project(outer, "low_rank", rank=1)
        >>> bool(torch.allclose(found.dense(), outer))
        True
    """
    check_matrix(matrix)
    shape, of_fit = split_options(structure, options)
    out_features, in_features = matrix.shape
    cuda = [matrix.device] if matrix.is_cuda else []
    with torch.random.fork_rng(devices=cuda):  # a member is drawn only to be overwritten
        member = get_structure(structure)(
            in_features, out_features, **shape, device=matrix.device, dtype=dtype or matrix.dtype
        )
    return member.fit(matrix, **of_fit)


def split_options(structure: str, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parts options into those of a family and those of its fit, and refuses others.

    Example:
        >>> split_options("low_rank", {"rank": 3})
        ({'rank': 3}, {})
    """
    names = fit_options(structure_class(structure))
    shape = {key: value for key, value in options.items() if key not in names}
    structure_options(structure, shape)
    return shape, {key: value for key, value in options.items() if key in names}
