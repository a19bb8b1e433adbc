"""Burgers' equation: from the values of a viscous fluid at time 0 to those at time 1, made here."""

from __future__ import annotations

import numpy as np

from seqkit.batch import DataInfo
from seqkit.checks import check_positive_int
from seqkit.datasets.burgers_solver import solve_burgers
from seqkit.datasets.fields import circle_field
from seqkit.datasets.generated import Generated
from seqkit.datasets.rows import Array
from seqkit.datasets.series import Target

__all__ = ["Burgers"]

MODES, GRID, FINEST, BLOCK = 127, 512, 1024, 128
"""Modes of the starting values, places that the equation is solved on, the most that are given, and series at once."""

LEAST = 0.005
"""Smallest viscosity whose layers the grid resolves for nearly every start."""


class Burgers(Generated):
    """The map from u(x, 0) to u(x, 1) of `u_t + u u_x = viscosity u_xx` on a circle of length 1.

    A series goes once around the circle: sample k is the value at k / `length`. The target is a value per sample. At
    the default viscosity most of the shape is gone at time 1 and the mean, which stays, is most of the values; at 0.01
    fronts form.

    A start is a draw of N(0, 625 (-Laplace + 25)^-2). The equation is solved on 512 places whatever `length` is, so
    that the same series at another length is the same function.

    Args:
        length: Samples of a series: a power of two from 16 to 1024.
        viscosity: From 0.005 to 1.
        size: Series in the training part; validation is cut from it.
        test_size: Series in the test part.
        data_seed: Seed of the series.

    Raises:
        ValueError: an option out of range.

    Source:
        The task of Li et al. 2021, Fourier neural operator (arXiv:2010.08895), section 5.1; solved by this code.

    Cost:
        About 3 s for the default 1,200 series at loading, in proportion to 1 / `viscosity` below 0.1.

    Example:
        >>> series = Burgers(length=32, size=2, test_size=1).load()["train"]
        >>> series.values[0].shape, series.target[0].shape
        ((32, 1), (32, 1))
    """

    name = "burgers"
    citation = "Li et al. 2021, Fourier neural operator for parametric partial differential equations, arXiv:2010.08895"

    def __init__(
        self,
        *,
        length: int = 256,
        viscosity: float = 0.1,
        size: int = 1000,
        test_size: int = 200,
        data_seed: int = 0,
    ) -> None:
        super().__init__(size, test_size, data_seed)
        if not 16 <= check_positive_int("length", length) <= FINEST or FINEST % length:
            raise ValueError(f"`length` must be a power of two from 16 to {FINEST}, got {length}; take the next one")
        if isinstance(viscosity, bool) or not isinstance(viscosity, int | float) or not LEAST <= viscosity <= 1:
            raise ValueError(
                f"`viscosity` must be a number from {LEAST} to 1, got {viscosity!r}; thinner fronts need a finer grid"
            )
        self.length, self.viscosity = length, float(viscosity)
        self.title = f"Burgers' equation at viscosity {viscosity}, from time 0 to time 1"
        self.lengths = f"{length} samples"

    def info(self) -> DataInfo:
        """What the set holds; samples are places, so there is no unit of time."""
        return DataInfo(
            name=self.name,
            task="sequence",
            n_channels=1,
            max_length=self.length,
            channels=("start",),
            targets=("end",),
        )

    def targets(self, part: str, n: int) -> Target:
        """Values at time 1, (length, 1) each."""
        blocks = [range(first, min(first + BLOCK, n)) for first in range(0, n, BLOCK)]
        solved = [solve_burgers(np.stack([self._start(part, k) for k in block]), self.viscosity) for block in blocks]
        return list(_at(np.fft.rfft(np.concatenate(solved), norm="forward"), self.length)[..., None])

    def samples(self, part: str, place: int) -> Array:
        """Values at time 0, (length, 1)."""
        return _at(circle_field(self.draws(part, place), MODES), self.length)[:, None]

    def _start(self, part: str, place: int) -> Array:
        """Values at time 0 where the equation is solved."""
        return np.fft.irfft(circle_field(self.draws(part, place), MODES), GRID, norm="forward")


def _at(coefficients: Array, length: int) -> Array:
    """The function of these Fourier coefficients (..., j) at `length` even places, float32."""
    fine = np.fft.irfft(coefficients, FINEST, norm="forward")
    return fine[..., :: FINEST // length].astype(np.float32)
