"""Darcy flow: from the permeability of a square of two materials to the pressure in it, made here."""

from __future__ import annotations

import numpy as np

from seqkit.batch import DataInfo
from seqkit.checks import check_positive_int
from seqkit.datasets.darcy_solver import solve_darcy
from seqkit.datasets.fields import square_field
from seqkit.datasets.generated import Generated
from seqkit.datasets.rows import Array
from seqkit.datasets.series import Target

__all__ = ["Darcy"]

MODES, GRID = 32, 64
"""Modes of the field along an axis, and cells that the equation is solved on."""

LOW, HIGH = 3.0, 12.0
"""Permeability where the field is below 0, and where it is not."""


class Darcy(Generated):
    """The map from a to u of `-div(a grad u) = 1` on the unit square, u = 0 on its edges.

    The permeability a is 12 where a draw of N(0, (-Laplace + 9)^-2) is 0 or above, and 3 elsewhere. The equation is
    solved on 64 x 64 cells whatever `side` is, and a sample is the mean over a square of them. A series reads the
    square row by row, with a as its channel and u as the target of each sample; `fields` gives both as squares.

    Args:
        side: Samples along each axis: 8, 16, 32 or 64.
        size: Squares in the training part; validation is cut from it.
        test_size: Squares in the test part.
        data_seed: Seed of the squares.

    Raises:
        ValueError: an option out of range.

    Source:
        The task of Li et al. 2021, Fourier neural operator (arXiv:2010.08895), section 5.2; solved by this code, on a
        coarser grid.

    Cost:
        Some 20 ms a square, at loading.

    Example:
        >>> a, u = Darcy(side=8, size=2).fields("train", 2)
        >>> a.shape, u.shape, float(a.min()) >= 3, float(u.min()) > 0
        ((2, 8, 8), (2, 8, 8), True, True)
    """

    name = "darcy"
    citation = "Li et al. 2021, Fourier neural operator for parametric partial differential equations, arXiv:2010.08895"

    def __init__(self, *, side: int = 32, size: int = 400, test_size: int = 100, data_seed: int = 0) -> None:
        super().__init__(size, test_size, data_seed)
        if check_positive_int("side", side) < 8 or GRID % side:
            raise ValueError(f"`side` must be 8, 16, 32 or 64, got {side}; take the nearest of them")
        self.side = side
        self.title = f"Darcy flow through squares of two materials, {side} x {side} samples"
        self.lengths = f"{side * side} samples"

    def info(self) -> DataInfo:
        """What the set holds; samples are places, so there is no unit of time."""
        return DataInfo(
            name=self.name,
            task="sequence",
            n_channels=1,
            max_length=self.side**2,
            channels=("permeability",),
            targets=("pressure",),
        )

    def fields(self, part: str, n: int) -> tuple[Array, Array]:
        """The first n squares of a part ("train" or "test"): a and u, (n, side, side) each, float32."""
        both = np.zeros((2, n, self.side, self.side), dtype=np.float32)
        for place in range(n):
            a = self._permeability(part, place)
            both[:, place] = self._pooled(a), self._pooled(solve_darcy(a))
        return both[0], both[1]

    def targets(self, part: str, n: int) -> Target:
        """The pressure, (side^2, 1) each."""
        solved = (solve_darcy(self._permeability(part, place)) for place in range(n))
        return [self._pooled(u).reshape(-1, 1) for u in solved]

    def samples(self, part: str, place: int) -> Array:
        """The permeability row by row, (side^2, 1)."""
        return self._pooled(self._permeability(part, place)).reshape(-1, 1)

    def _permeability(self, part: str, place: int) -> Array:
        """Where the equation is solved, (64, 64)."""
        return np.where(square_field(self.draws(part, place), MODES, GRID) >= 0, HIGH, LOW)

    def _pooled(self, values: Array) -> Array:
        """Means over squares, (side, side), float32."""
        cells = GRID // self.side
        means: Array = values.reshape(self.side, cells, self.side, cells).mean((1, 3))
        return means.astype(np.float32)
