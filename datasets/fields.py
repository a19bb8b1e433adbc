"""Gaussian random fields on the circle and on the unit square, as coefficients drawn from a seed."""

from __future__ import annotations

import math

import numpy as np

from seqkit.datasets.draws import Draws
from seqkit.datasets.rows import Array

__all__ = ["circle_field", "normals", "square_field"]


def normals(draws: Draws, n: int) -> Array:
    """Normal numbers of mean 0 and variance 1, (n,), float64: the same on every machine but for rounding.

    Source:
        Box and Muller 1958, A note on the generation of random normal deviates.

    Example:
        >>> normals(Draws(0, 0, 0), 3).shape
        (3,)
    """
    half = (n + 1) // 2
    shares = draws.shares(2 * half)
    radius, angle = np.sqrt(-2 * np.log1p(-shares[:half])), 2 * math.pi * shares[half:]
    numbers: Array = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
    return numbers[:n]


def circle_field(draws: Draws, n_modes: int) -> Array:
    """Fourier coefficients of a draw of N(0, 625 (-Laplace + 25)^-2) on the circle of length 1.

    With the deviation s_j = 25 / ((2 pi j)^2 + 25) of mode j and normal numbers a, b:
    `u(x) = s_0 a_0 + sqrt(2) sum_j s_j (a_j cos 2 pi j x + b_j sin 2 pi j x)`.

    Args:
        draws: Random numbers of this field.
        n_modes: Modes J above the mean; those left out have deviations below 25 / (2 pi J)^2.

    Returns:
        c of `u(x) = sum over j from -J to J of c_j exp(2 pi i j x)`, complex128, (J + 1,): the others are conjugates.

    Source:
        The starting values of Li et al. 2021, Fourier neural operator (arXiv:2010.08895), section 5.1.

    Example:
        >>> circle_field(Draws(0, 0, 0), 127).shape
        (128,)
    """
    numbers = normals(draws, 2 * n_modes + 1)
    above, sines = numbers[1 : n_modes + 1], numbers[n_modes + 1 :]
    deviation = 25 / ((2 * math.pi * np.arange(1, n_modes + 1)) ** 2 + 25)
    return np.concatenate([numbers[:1], deviation * (above - 1j * sines) / math.sqrt(2)])


def square_field(draws: Draws, n_modes: int, side: int) -> Array:
    """A draw of N(0, (-Laplace + 9)^-2) on the unit square, of slope 0 across its edges, at the centres of cells.

    With the deviation s_jk = 1 / (pi^2 (j^2 + k^2) + 9), normal numbers a and f_0 = 1, f_j = sqrt(2) cos(pi j x):
    `g(x, y) = sum_jk s_jk a_jk f_j(x) f_k(y)`.

    Args:
        draws: Random numbers of this field.
        n_modes: Modes along each axis, the constant one among them.
        side: Cells along each axis, n.

    Returns:
        g at ((i + 1/2) / n, (j + 1/2) / n), (n, n), float64: the same function for every n.

    Source:
        The coefficients of Darcy flow in Li et al. 2021, Fourier neural operator (arXiv:2010.08895), section 5.2.

    Example:
        >>> square_field(Draws(0, 0, 0), 16, 8).shape
        (8, 8)
    """
    modes = np.arange(n_modes)
    squares = (math.pi * modes) ** 2
    numbers = normals(draws, n_modes**2).reshape(n_modes, n_modes) / (squares[:, None] + squares + 9)
    centres = (np.arange(side) + 0.5) / side
    waves = np.where(modes == 0, 1, math.sqrt(2)) * np.cos(math.pi * centres[:, None] * modes)
    return np.asarray(waves @ numbers @ waves.T)
