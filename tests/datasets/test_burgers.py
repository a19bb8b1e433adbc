"""Burgers' equation against its exact solution, and the set made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seqkit
from seqkit.datasets import get_source
from seqkit.datasets.burgers import Burgers
from seqkit.datasets.burgers_solver import solve_burgers
from seqkit.datasets.draws import Draws
from seqkit.datasets.fields import circle_field, normals


def error(value: np.ndarray, reference: np.ndarray) -> float:
    return float(np.sqrt(np.mean((value - reference) ** 2) / np.mean(reference**2)))


def waves(x: np.ndarray, mean: float) -> np.ndarray:
    return mean + 1.2 * np.sin(2 * np.pi * x) + 0.5 * np.cos(4 * np.pi * x + 1)


def cole_hopf(mean: float, viscosity: float, places: np.ndarray) -> np.ndarray:
    """u(x, 1) for `waves` by the integral of Hopf 1950 and Cole 1951: no grid, no series, no steps of time.

    Seen from a frame that moves with the mean, `v = (integral of (x - y) w) / (integral of w)` with
    `w = exp(-(int_0^y v_0) / (2 viscosity) - (x - y)^2 / (4 viscosity))`.
    """
    y = np.linspace(-8, 8, 40001)
    integral = -1.2 / (2 * np.pi) * np.cos(2 * np.pi * y) + 0.5 / (4 * np.pi) * np.sin(4 * np.pi * y + 1)
    found = []
    for x in places - mean:
        from_here = x - np.floor(x) - y
        exponent = -integral / (2 * viscosity) - from_here**2 / (4 * viscosity)
        weight = np.exp(exponent - exponent.max())
        found.append(mean + (from_here * weight).sum() / weight.sum())
    return np.array(found)


@pytest.mark.parametrize(("viscosity", "limit"), [(0.1, 1e-6), (0.02, 1e-6), (0.005, 1e-6)])
@pytest.mark.parametrize("mean", [0.0, -0.7])
def test_the_solution_is_that_of_cole_and_hopf(viscosity: float, limit: float, mean: float) -> None:
    x = np.arange(256) / 256
    found = solve_burgers(waves(x, mean), viscosity)
    assert error(found[::16], cole_hopf(mean, viscosity, x[::16])) < limit


def test_steps_are_of_fourth_order() -> None:
    x = np.arange(128) / 128
    exact = cole_hopf(0.3, 0.05, x[::16])
    errors = [error(solve_burgers(waves(x, 0.3), 0.05, steps=steps)[::16], exact) for steps in (40, 80)]
    assert 3.5 < np.log2(errors[0] / errors[1]) < 4.7


def test_mass_stays_energy_falls_and_a_shifted_start_ends_shifted() -> None:
    start = np.fft.irfft(np.stack([circle_field(Draws(1, 0, k), 127) for k in range(3)]), 256, norm="forward")
    end = solve_burgers(start, 0.02)
    assert np.abs(end.mean(-1) - start.mean(-1)).max() < 1e-12
    assert ((end**2).mean(-1) < (start**2).mean(-1)).all()
    assert error(solve_burgers(np.roll(start, 37, -1), 0.02), np.roll(end, 37, -1)) < 1e-11
    assert error(solve_burgers(start[1], 0.02), end[1]) < 1e-12


def test_the_same_function_at_every_length() -> None:
    sets = {n: Burgers(length=n, size=3, test_size=1, viscosity=0.02).load()["train"] for n in (32, 256, 1024)}
    for place in range(3):
        fine = sets[1024].values[place], sets[1024].target[place]
        for n in (32, 256):
            assert np.array_equal(sets[n].values[place], fine[0][:: 1024 // n])
            assert np.array_equal(sets[n].target[place], fine[1][:: 1024 // n])
    # The target is what the values lead to, by a grid twice as fine and twice as many steps.
    values = np.stack([np.asarray(one, dtype=np.float64)[:, 0] for one in sets[1024].values])
    assert error(solve_burgers(values, 0.02, steps=1000), np.stack(sets[1024].target)[..., 0]) < 1e-6


def test_series_are_those_of_the_seed() -> None:
    small, large = Burgers(length=32, size=2, test_size=2), Burgers(length=32, size=140, test_size=1)
    one, two = small.load(), large.load()
    assert np.array_equal(one["train"].values[1], two["train"].values[1])
    assert error(one["train"].target[1], two["train"].target[1]) < 1e-6
    assert error(one["train"].values[0], one["test"].values[0]) > 0.1
    assert error(Burgers(length=32, size=1, data_seed=1).load()["train"].values[0], one["train"].values[0]) > 0.1
    # Other numbers here mean that published results are of other data.
    assert one["train"].values[0][:3, 0] == pytest.approx([0.0403202, -0.1034685, -0.0478887], abs=2e-6)
    assert one["train"].target[0][:3, 0] == pytest.approx([-0.1467197, -0.1476557, -0.1486904], abs=2e-6)


def test_the_field_has_its_distribution() -> None:
    drawn = np.stack([circle_field(Draws(0, 0, k), 6) for k in range(4000)])
    expected = np.array([1, *(25 / ((2 * np.pi * np.arange(1, 7)) ** 2 + 25) / np.sqrt(2))])
    assert np.abs(drawn.real.std(0) / expected - 1).max() < 0.05
    assert np.abs(drawn.imag[:, 1:].std(0) / expected[1:] - 1).max() < 0.05
    assert not drawn.imag[:, 0].any()
    numbers = np.stack([normals(Draws(3, 0, k), 5) for k in range(4000)])
    assert np.abs(np.cov(numbers.T) - np.eye(5)).max() < 0.08
    assert np.mean(numbers**4) == pytest.approx(3, abs=0.3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"length": 100}, "`length` must be a power of two from 16 to 1024, got 100"),
        ({"length": 8}, "`length` must be a power of two"),
        ({"viscosity": 0.001}, "`viscosity` must be a number from 0.005 to 1"),
        ({"viscosity": float("nan")}, "`viscosity` must be a number"),
        ({"size": 0}, "`size` must be a whole number"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        get_source("burgers", **options)


def test_bad_starts_are_refused() -> None:
    with pytest.raises(ValueError, match="`start` must be finite"):
        solve_burgers(np.full(16, np.nan), 0.1)
    with pytest.raises(ValueError, match="with n at least 8"):
        solve_burgers(np.zeros(4), 0.1)
    with pytest.raises(ValueError, match="`viscosity` must"):
        solve_burgers(np.zeros(16), 0.0)
    with pytest.raises(ArithmeticError, match="steps are too few"):
        solve_burgers(1000 * waves(np.arange(128) / 128, 0.0), 0.1, steps=10)


@pytest.mark.filterwarnings("ignore:.*(does not have many workers|logging interval).*")
def test_a_model_for_sequences_trains_on_it(tmp_path: Path) -> None:
    options = {"data.length": 16, "data.size": 40, "data.test_size": 8, "d_model": 8, "n_layers": 1, "epochs": 2}
    run = seqkit.train("burgers", out=tmp_path / "run", progress=False, device="cpu", **options)
    assert run.model.info.task == "sequence"
    assert 0 < run.metrics["rmse"] < 2
