"""Darcy flow against solutions known in advance and a dense solve, and the set made of it."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from seqkit.datasets import get_source
from seqkit.datasets.darcy import Darcy
from seqkit.datasets.darcy_solver import solve_darcy
from seqkit.datasets.draws import Draws
from seqkit.datasets.fields import square_field


def error(value: np.ndarray, reference: np.ndarray) -> float:
    return float(np.sqrt(np.mean((value - reference) ** 2) / np.mean(reference**2)))


def manufactured(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """a, f and u at the centres of cells, where u was chosen and f follows."""
    centres = (np.arange(n) + 0.5) / n
    x, y = np.meshgrid(centres, centres, indexing="ij")
    a, slope = 2 + np.sin(3 * x + 2 * y), np.cos(3 * x + 2 * y)
    u = np.sin(np.pi * x) * np.sin(2 * np.pi * y)
    along_x = np.pi * np.cos(np.pi * x) * np.sin(2 * np.pi * y)
    along_y = 2 * np.pi * np.sin(np.pi * x) * np.cos(2 * np.pi * y)
    return a, -(3 * slope * along_x + 2 * slope * along_y - 5 * np.pi**2 * a * u), u


def test_errors_are_of_second_order() -> None:
    errors = [error(solve_darcy(a, f), u) for a, f, u in map(manufactured, (8, 16, 32, 64))]
    assert errors[-1] < 1e-3
    assert all(1.9 < np.log2(coarse / fine) < 2.1 for coarse, fine in itertools.pairwise(errors))


def dense(a: np.ndarray, f: float) -> np.ndarray:
    """The same balance of each cell, written cell by cell into a dense matrix."""
    n = len(a)
    matrix = np.zeros((n, n, n, n))
    for i in range(n):
        for j in range(n):
            for k, m in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
                if 0 <= k < n and 0 <= m < n:
                    flow = 1 / (0.5 / a[i, j] + 0.5 / a[k, m])  # resistances of two half cells
                    matrix[i, j, k, m] = -flow
                else:
                    flow = 1 / (0.5 / a[i, j])
                matrix[i, j, i, j] += flow
    return np.linalg.solve(matrix.reshape(n * n, n * n), np.full(n * n, f / n**2)).reshape(n, n)


def test_two_materials_are_solved_as_by_a_dense_matrix() -> None:
    a = np.where(square_field(Draws(0, 0, 0), 8, 12) >= 0, 12.0, 3.0)
    assert 0.1 < (a == 3).mean() < 0.9
    assert error(solve_darcy(a), dense(a, 1.0)) < 1e-12
    assert error(solve_darcy(2 * a, 3.0), 1.5 * dense(a, 1.0)) < 1e-12
    assert error(solve_darcy(a.T), dense(a, 1.0).T) < 1e-12


def test_a_square_of_one_material_is_the_series_of_sines() -> None:
    centres = (np.arange(64) + 0.5) / 64
    odd = np.arange(1, 80, 2)
    waves = np.sin(np.pi * centres[:, None] * odd)
    exact = waves @ (16 / (np.pi**4 * odd[:, None] * odd * (odd[:, None] ** 2 + odd**2))) @ waves.T / 3
    assert error(solve_darcy(np.full((64, 64), 3.0)), exact) < 1e-3


def test_the_set_is_the_same_at_every_side() -> None:
    fine, coarse = Darcy(side=64).fields("train", 2), Darcy(side=16).fields("train", 3)
    for one, two in zip(fine, coarse, strict=True):
        assert error(two[:2], one.reshape(2, 16, 4, 16, 4).mean((2, 4))) < 1e-6
    assert set(np.unique(fine[0])) == {3.0, 12.0}
    assert error(fine[1][1], solve_darcy(fine[0][1])) < 1e-6


def test_the_grid_is_fine_enough_for_what_is_compared() -> None:
    found = {}
    for n in (64, 192):
        a = np.where(square_field(Draws(0, 1, 3), 32, n) >= 0, 12.0, 3.0)
        found[n] = solve_darcy(a).reshape(64, n // 64, 64, n // 64).mean((1, 3))
    assert error(found[64], found[192]) < 0.01


def test_series_are_those_of_the_seed() -> None:
    source = Darcy(side=8, size=2, test_size=1)
    loaded = source.load()
    a, u = source.fields("train", 2)
    assert np.array_equal(loaded["train"].values[1].reshape(8, 8), a[1])
    assert np.array_equal(loaded["train"].target[1].reshape(8, 8), u[1])
    assert np.array_equal(source.fields("test", 1)[0][0].ravel(), loaded["test"].values[0][:, 0])
    assert not np.array_equal(a[0], a[1])
    assert not np.array_equal(Darcy(side=8, data_seed=1).fields("train", 1)[0], a[:1])
    # Other numbers here mean that published results are of other data.
    assert u[0, 3, :3] == pytest.approx([0.003392279, 0.006597628, 0.008080838], rel=1e-5)


def test_the_field_has_its_distribution() -> None:
    drawn = np.stack([square_field(Draws(0, 0, k), 12, 24) for k in range(1500)])
    modes = np.arange(12)
    deviation = 1 / (np.pi**2 * (modes[:, None] ** 2 + modes**2) + 9)
    waves = np.where(modes == 0, 1, np.sqrt(2)) * np.cos(np.pi * (np.arange(24)[:, None] + 0.5) / 24 * modes)
    expected = np.sqrt(waves**2 @ deviation**2 @ (waves**2).T)
    assert np.abs(drawn.std(0) / expected - 1).max() < 0.1
    at, there = (3, 5), (15, 20)  # two places of the square
    together = (waves[3] * waves[15]) @ deviation**2 @ (waves[5] * waves[20])
    assert abs((drawn[:, *at] * drawn[:, *there]).mean() - together) < 0.1 * expected[at] * expected[there]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"side": 20}, "`side` must be 8, 16, 32 or 64, got 20"),
        ({"side": 4}, "`side` must be 8, 16, 32 or 64"),
        ({"test_size": 0}, "`test_size` must be a whole number"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        get_source("darcy", **options)


def test_bad_coefficients_are_refused() -> None:
    with pytest.raises(ValueError, match="`coefficient` must be \\(n, n\\)"):
        solve_darcy(np.ones((3, 4)))
    for wrong in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="`coefficient` must be finite and above 0"):
            solve_darcy(np.array([[1.0, wrong], [1.0, 1.0]]))
    with pytest.raises(ValueError, match="`source` must be finite numbers"):
        solve_darcy(np.ones((3, 3)), np.ones(3))
