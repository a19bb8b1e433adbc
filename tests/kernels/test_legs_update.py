"""The LegS memory against dense matrices of numpy and what its mathematics promises."""

import numpy as np
import pytest
import torch
from numpy.polynomial import legendre
from torch import Tensor

from seqkit.kernels.legs_update import cpu, legs_update

RULES = ["midpoint", "reciprocal"]


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def dense(u: Tensor, order: int, ratio: np.ndarray) -> np.ndarray:
    """Runs (1 + δ/2 A) c = (1 - δ/2 A) c + δ B u with δ = `ratio` from the second sample on, by inverses."""
    scale = np.sqrt(2 * np.arange(order) + 1)
    A = np.tril(np.outer(scale, scale), -1) + np.diag(np.arange(order) + 1.0)
    c = np.zeros(order)
    c[0] = float(u[0])
    for k in range(1, len(u)):
        half = 0.5 * ratio[k] * A
        c = np.linalg.inv(np.eye(order) + half) @ (c - half @ c + ratio[k] * scale * float(u[k]))
    return c


def exact(piece_ends: np.ndarray, u: Tensor, order: int) -> np.ndarray:
    """Projects the series held constant on (end of the piece before, its end) by integrating Legendre polynomials."""
    edges = 2 * np.concatenate([[0.0], piece_ends]) / piece_ends[-1] - 1
    found = []
    for n in range(order):
        antiderivative = legendre.Legendre.basis(n).integ()(edges)
        found.append(np.sqrt(2 * n + 1) / 2 * (np.diff(antiderivative) @ u.numpy()))
    return np.array(found)


@pytest.fixture(params=["compiled", "torch"])
def loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "compiled":
        pytest.importorskip("numba")
    monkeypatch.setattr(cpu, "HAS_NUMBA", request.param == "compiled")
    return request.param


@pytest.mark.parametrize("order", [1, 2, 5, 64, 257])
def test_midpoint_equals_dense_inverses(order: int, loops: str) -> None:
    u = random(40)
    want = dense(u, order, 1 / (np.arange(40) + 0.5))
    np.testing.assert_allclose(legs_update(u, order), want, rtol=0, atol=1e-12 * order)


@pytest.mark.parametrize("order", [1, 2, 5, 64])
def test_reciprocal_equals_dense_inverses(order: int, loops: str) -> None:
    # δ = 1/k: the multiplier (1 - δ n) / (1 + δ (n + 1)) along n is exactly 0 at n = k.
    u = random(40)
    want = dense(u, order, 1 / np.maximum(np.arange(40), 1))
    np.testing.assert_allclose(legs_update(u, order, rule="reciprocal"), want, rtol=0, atol=1e-12 * order)


@pytest.mark.parametrize("rule", RULES)
def test_timestamps_equal_dense_inverses(rule: str, loops: str) -> None:
    u, times = random(50), torch.rand(50, dtype=torch.float64).add(0.01).cumsum(0)
    before, after = np.concatenate([[0], times[:-1].numpy()]), times.numpy()
    ratio = 2 * (after - before) / (after + before) if rule == "midpoint" else (after - before) / after
    np.testing.assert_allclose(legs_update(u, 20, timestamps=times, rule=rule), dense(u, 20, ratio), rtol=0, atol=1e-12)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_constant_series_is_its_value(rule: str, backend: str) -> None:
    rows = legs_update(torch.full((60,), 2.5, dtype=torch.float64), 30, rule=rule, every=1, backend=backend)
    want = torch.zeros_like(rows)
    want[:, 0] = 2.5
    torch.testing.assert_close(rows, want, rtol=0, atol=1e-12)


def test_first_coefficient_is_the_mean_over_time(loops: str) -> None:
    u, times = random(300), torch.rand(300, dtype=torch.float64).add(0.1).cumsum(0)
    running = u.cumsum(0) / torch.arange(1, 301)
    torch.testing.assert_close(legs_update(u, 8, every=1)[:, 0], running, rtol=0, atol=1e-14)
    weights = times.diff(prepend=torch.zeros(1, dtype=torch.float64))
    timed = legs_update(u, 8, timestamps=times, every=1)[:, 0]
    torch.testing.assert_close(timed, (weights * u).cumsum(0) / times, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("rule", "factor"), [("midpoint", 4.0), ("reciprocal", 2.0)])
def test_order_of_convergence_to_the_projection(rule: str, factor: float) -> None:
    errors = []
    for count in (400, 800, 1600, 3200):
        places = (torch.arange(count, dtype=torch.float64) + 0.5) / count
        u = (5 * places).sin()
        want = exact(np.arange(1, count + 1.0), u, 8)
        errors.append(float(np.linalg.norm(legs_update(u, 8, rule=rule).numpy() - want)))
    ratios = np.array(errors[:-1]) / np.array(errors[1:])
    assert np.all(np.abs(ratios - factor) < 0.15 * factor), ratios


def test_projection_of_a_series_on_uneven_times() -> None:
    times = (torch.arange(2000, dtype=torch.float64) + 1 + 0.3 * torch.rand(2000, dtype=torch.float64)) / 2000
    u = (4 * times).cos()
    torch.testing.assert_close(
        legs_update(u, 10, timestamps=times), torch.from_numpy(exact(times.numpy(), u, 10)), rtol=0, atol=3e-4
    )


@pytest.mark.parametrize("parts", [[1, 299], [150, 150], [7, 256, 37]])
@pytest.mark.parametrize("n_series", [2, 20])
def test_chunks_with_carry_equal_the_whole(parts: list[int], n_series: int, loops: str) -> None:
    u, times = random(n_series, 300), torch.rand(n_series, 300).double().add(0.1).cumsum(-1)
    for timed in (False, True):
        c, place = None, 0
        for count in parts:
            piece = slice(place, place + count)
            seen = (times[:, place - 1] if place else 0) if timed else place
            c = legs_update(u[:, piece], 33, c, seen=seen, timestamps=times[:, piece] if timed else None)
            place += count
        whole = legs_update(u, 33, timestamps=times if timed else None)
        torch.testing.assert_close(c, whole, rtol=0, atol=1e-13)


def test_rows_are_the_final_coefficients_of_what_came_before(loops: str) -> None:
    for n_series in (1, 20):
        u = random(n_series, 600)
        rows = legs_update(u, 9, every=250)
        assert rows.shape == (n_series, 2, 9)
        torch.testing.assert_close(rows[:, 0], legs_update(u[:, :250], 9), rtol=0, atol=1e-13)
        torch.testing.assert_close(rows[:, 1], legs_update(u[:, :500], 9), rtol=0, atol=1e-13)
    assert legs_update(random(3, 5), 4, every=6).shape == (3, 0, 4)


def test_lower_orders_are_contained_in_higher_ones() -> None:
    for n_series in (1, 17):
        u = random(n_series, 500)
        assert torch.equal(legs_update(u, 8), legs_update(u, 20)[:, :8])


def test_series_do_not_see_each_other(loops: str) -> None:
    u = random(24, 70)
    together = legs_update(u, 12)
    order = torch.randperm(24)
    assert torch.equal(legs_update(u[order], 12), together[order])
    torch.testing.assert_close(legs_update(u[3], 12), together[3], rtol=0, atol=1e-14)


@pytest.mark.parametrize("rule", RULES)
def test_unit_of_time_is_of_no_account(rule: str) -> None:
    u, times = random(3, 80), torch.rand(3, 80, dtype=torch.float64).add(0.01).cumsum(-1)
    want = legs_update(u, 16, timestamps=times, rule=rule)
    for factor in (1e-9, 3.7, 1e9):
        torch.testing.assert_close(legs_update(u, 16, timestamps=factor * times, rule=rule), want, rtol=0, atol=1e-12)


def test_even_timestamps_are_the_same_as_none() -> None:
    u = random(2, 300)
    times = torch.arange(1, 301, dtype=torch.float32)
    torch.testing.assert_close(legs_update(u, 16, timestamps=times), legs_update(u, 16), rtol=0, atol=1e-14)


def test_series_that_start_and_that_carry_on_in_one_batch() -> None:
    u, state = random(3, 20), random(3, 6)
    mixed = legs_update(u, 6, state, seen=torch.tensor([0, 7, 0]))
    torch.testing.assert_close(mixed[0], legs_update(u[0], 6), rtol=0, atol=1e-14)
    torch.testing.assert_close(mixed[1], legs_update(u[1], 6, state[1], seen=7), rtol=0, atol=1e-14)
    state.requires_grad_()
    (grad,) = torch.autograd.grad(legs_update(u, 6, state, seen=torch.tensor([0, 7, 0])).sum(), state)
    assert torch.equal(grad[0], torch.zeros(6).double())
    assert grad[1].abs().sum() > 0


def test_energy_falls_by_what_the_bilinear_rule_loses() -> None:
    c, u, step = random(12), random(1), 2 / 9.0
    new = legs_update(u, 12, c, seen=4)
    middle = (c + new) / 2
    scale = (2 * torch.arange(12, dtype=torch.float64) + 1).sqrt()
    want = step * (u**2 - middle.square().sum() - (u - scale @ middle) ** 2)
    torch.testing.assert_close(new.square().sum() - c.square().sum(), want[0], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("n_series", [1, 20])
def test_float32_keeps_five_digits_over_20000_steps(n_series: int) -> None:
    pytest.importorskip("numba")
    u = random(n_series, 20_000).float()
    want = legs_update(u.double(), 128)
    got = legs_update(u, 128)
    assert float((got - want).norm() / want.norm()) < 1e-5


@pytest.mark.parametrize("u", [torch.full((1, 3000), 1e30), torch.full((1, 3000), 1e-30), torch.zeros(20, 500)])
def test_large_and_small_values_stay_finite(u: Tensor) -> None:
    rows = legs_update(u, 64, every=100)
    assert rows.isfinite().all()
    torch.testing.assert_close(rows[..., 0], u[:, ::100][:, : rows.shape[1]], rtol=1e-5, atol=0)


@pytest.mark.parametrize("length", [1, 2, 255, 256, 257, 513])
@pytest.mark.parametrize("order", [1, 2, 3, 8])
def test_edges_of_the_wavefront(length: int, order: int) -> None:
    u = random(2, length)
    want = legs_update(u, order, every=1, backend="reference")
    torch.testing.assert_close(legs_update(u, order, every=1), want, rtol=0, atol=1e-13)


def test_fallback_equals_the_compiled_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    u, state = random(3, 77).requires_grad_(), random(3, 10).requires_grad_()
    found = []
    for numba in (True, False):
        monkeypatch.setattr(cpu, "HAS_NUMBA", numba)
        for every in (1, 3, 11, 20):
            rows = legs_update(u, 10, state, seen=2, every=every)
            found.append([rows, *torch.autograd.grad(rows.square().sum(), (u, state))])
    for one, other in zip(found[:4], found[4:], strict=True):
        for a, b in zip(one, other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_gradient_of_a_long_series_is_the_influence_of_each_sample() -> None:
    u = random(700).requires_grad_()
    (grad,) = torch.autograd.grad(legs_update(u, 6)[2], u)
    for place in (0, 1, 255, 256, 650, 699):
        pulse = torch.zeros(700, dtype=torch.float64)
        pulse[place] = 1
        torch.testing.assert_close(grad[place], legs_update(pulse, 6)[2], rtol=1e-11, atol=1e-15)


def test_nothing_of_order_times_length_is_made(largest_tensor) -> None:
    u, state, tau = random(2, 4000), random(2, 64), 1 + 2 * torch.arange(4000, dtype=torch.float64)[None]
    assert largest_tensor(cpu.legs_update_forward, u, tau, state, 4000) <= u.numel()
    assert largest_tensor(cpu.legs_update_backward, random(2, 1, 64), u, tau, state, 4000) <= u.numel()


def test_threads_share_series(monkeypatch: pytest.MonkeyPatch) -> None:
    u = random(40, 50)
    want = legs_update(u, 7), legs_update(u[:4], 7)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert torch.equal(legs_update(u, 7), want[0])
    assert torch.equal(legs_update(u[:4], 7), want[1])


def test_shapes_broadcast_and_empty_batches_pass() -> None:
    u, state = random(4, 1, 30), random(3, 5)
    out = legs_update(u, 5, state, seen=torch.tensor([[1], [2], [3], [9]]), timestamps=torch.arange(10.0, 40.0))
    assert out.shape == (4, 3, 5)
    want = legs_update(u[2, 0], 5, state[1], seen=3, timestamps=torch.arange(10.0, 40.0))
    torch.testing.assert_close(out[2, 1], want, rtol=0, atol=1e-13)
    empty = torch.zeros(0, 30, requires_grad=True)
    legs_update(empty, 5).sum().backward()
    assert empty.grad is not None
    assert legs_update(empty, 5, every=10).shape == (0, 3, 5)


BAD = [
    ({"order": 0}, "`order` must be a whole number of at least 1"),
    ({"u": torch.zeros(())}, r"`u` must have shape \(..., L\), got \(\)"),
    ({"u": torch.zeros(2, 0)}, "`u` must have at least 1 sample"),
    ({"rule": "zoh"}, "`rule` must be one of midpoint, reciprocal, got 'zoh'"),
    ({"every": 0}, "`every` must be a whole number of at least 1"),
    ({"state": torch.zeros(2, 4)}, "`state` must come with `seen`"),
    ({"seen": 3}, "`state` must come with `seen`"),
    ({"seen": -1}, "`seen` must be a finite number, 0 or above"),
    ({"state": torch.zeros(2, 3), "seen": 1}, r"`state` must have shape \(..., 4\), got \(2, 3\)"),
    ({"state": torch.zeros(3, 4), "seen": 1}, "leading dimensions must broadcast, got `u`"),
    ({"state": torch.zeros(2, 4), "seen": torch.tensor([1, -2])}, "`seen` must not be negative, got -2"),
    ({"timestamps": torch.arange(1.0, 6.0)}, r"`timestamps` must have shape \(..., 6\) to fit `u`, got \(5,\)"),
    ({"timestamps": torch.arange(0.0, 6.0)}, r"`timestamps` must rise .* got a step of 0.0 at \(0,\)"),
    ({"timestamps": torch.tensor([1.0, 2, 2, 3, 4, 5])}, r"`timestamps` must rise .* got a step of 0.0 at \(2,\)"),
    ({"timestamps": torch.full((6,), float("nan"))}, "`timestamps` has 6 NaN"),
    (
        {"timestamps": torch.arange(1.0, 7.0), "seen": 1, "state": torch.zeros(2, 4)},
        r"must rise from sample to sample and lie above `seen`, got a step of 0.0 at \(0,\)",
    ),
]


@pytest.mark.parametrize(("change", "words"), BAD)
def test_bad_arguments_are_named(change: dict[str, object], words: str) -> None:
    arguments = {"u": torch.zeros(2, 6), "order": 4, **change}
    with pytest.raises(ValueError, match=words):
        legs_update(**arguments)  # type: ignore[arg-type]


def test_whole_numbers_as_timestamps_are_refused() -> None:
    with pytest.raises(TypeError, match=r"`timestamps` must be float32 or float64, got torch\.int64"):
        legs_update(torch.zeros(3), 2, timestamps=torch.arange(1, 4))


def test_orders_too_wide_for_a_program_are_refused() -> None:
    with pytest.raises(ValueError, match="kernels hold up to 2048 coefficients, and the order is 2049"):
        legs_update(torch.zeros(3), 2049, backend="triton")
