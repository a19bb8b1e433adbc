"""The projection of held signals and the joining of memories against integration and each other."""

import numpy as np
import pytest
import torch
from numpy.polynomial import legendre

from seqkit.hippo import HiPPOMemory, held_weights, join_matrices, transition
from seqkit.hippo.exact_memory import place
from seqkit.hippo.polynomials import legendre_polynomials, legendre_table


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def uneven(length):
    return (torch.rand(length, dtype=torch.float64) + 0.05).cumsum(0)


def integrated(u, times, order):
    """Integrates each Legendre polynomial over each piece by its coefficients; u (L,), times (L,)."""
    edges = 2 * np.concatenate([[0.0], np.asarray(times)]) / float(times[-1]) - 1
    found = []
    for n in range(order):
        antiderivative = legendre.Legendre.basis(n).integ()(edges)
        found.append(np.sqrt(2 * n + 1) / 2 * (np.diff(antiderivative) @ u.numpy()))
    return torch.from_numpy(np.array(found))


def sequential(u, times, order):
    """c+ = E c + (e_0 - E e_0) u with E = exp(A log(t1 / t0)), one sample after the other; u (L,) -> (L, N)."""
    A, _ = transition("legs", order)
    c = torch.zeros(order, dtype=torch.float64)
    c[0] = u[0]
    rows = [c]
    for k in range(1, len(u)):
        E = torch.linalg.matrix_exp(A * torch.log(times[k] / times[k - 1]))
        c = E @ c - E[:, 0] * u[k]
        c[0] += u[k]
        rows.append(c)
    return torch.stack(rows)


@pytest.mark.parametrize("times", [torch.arange(1.0, 301, dtype=torch.float64), uneven(300)], ids=["even", "uneven"])
@pytest.mark.parametrize("order", [1, 2, 32])
def test_exact_equals_direct_integration(order, times):
    u = random(300)
    want = integrated(u, times, order)
    got = HiPPOMemory(order, rule="exact").project(u[None, :, None], times)[0, 0]
    torch.testing.assert_close(got, want, rtol=0, atol=1e-12)
    edges = torch.cat([torch.zeros(1, dtype=torch.float64), times])
    torch.testing.assert_close(u @ held_weights(edges, order), want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("every", [1, 3, 10, 99, 200])
@pytest.mark.parametrize("order", [1, 16, 32])
def test_parallel_form_equals_the_sequential_one(order, every, dtype):
    """Irregular times; the recurrence steps with the exponential of A, which the parallel form never makes."""
    u, times = random(200), uneven(200)
    want = sequential(u.to(dtype).double(), times, order)[every - 1 :: every]
    got = HiPPOMemory(order, rule="exact").project(u[None, :, None].to(dtype), times, every=every)[0, :, 0]
    assert got.dtype == dtype
    if dtype == torch.float64:
        torch.testing.assert_close(got, want, rtol=0, atol=1e-12)
    else:
        assert (got - want).norm() < 2e-7 * want.norm()


def test_parallel_form_at_order_256():
    u, times = random(3000), uneven(3000)
    memory = HiPPOMemory(256, rule="exact")
    rows = memory.project(u[None, :, None], times, every=500)[0, :, 0]
    for k, row in enumerate(rows):
        count = 500 * (k + 1)
        want = memory.project(u[None, :count, None], times[:count])[0, 0]
        torch.testing.assert_close(row, want, rtol=0, atol=1e-12)


def test_gradients_of_the_parallel_form():
    u, times = random(2, 5, 1).requires_grad_(), uneven(5)
    memory = HiPPOMemory(3, rule="exact")
    for every in (None, 2):
        assert torch.autograd.gradcheck(lambda u, m=every: memory.project(u, times, every=m), u)
        assert torch.autograd.gradgradcheck(lambda u, m=every: memory.project(u, times, every=m).square(), u)


def test_nothing_of_order_times_length_is_kept():
    """What the graph keeps for the way back, found by the hooks that could move it elsewhere."""
    memory = HiPPOMemory(64, rule="exact")
    u = random(1, 5000, 1).requires_grad_()
    for every in (None, 500):
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x, kept=kept: kept.append(x.numel()) or x, lambda x: x):
            memory.project(u, every=every).sum().backward()
        assert max([0, *kept]) <= 2 * u.numel()


@pytest.mark.parametrize("order", [16, 64, 256])
def test_dilation_is_the_exponential_with_the_norm_of_its_ratio(order):
    A, _ = transition("legs", order)
    ratios = torch.tensor([1e-3, 0.2, 0.5, 0.9, 0.999], dtype=torch.float64)
    E, F = join_matrices(ratios, order)
    for r, e in zip(ratios, E, strict=True):
        torch.testing.assert_close(e, torch.linalg.matrix_exp(A * torch.log(1 / r)), rtol=0, atol=1e-11)
    one, both = torch.linalg.matrix_norm(E, 2), torch.linalg.matrix_norm(torch.cat([E, F], dim=-1), 2)
    assert bool((one <= ratios.sqrt() * (1 + 1e-10)).all())
    assert bool((both <= torch.maximum(ratios, 1 - ratios).sqrt() * (1 + 1e-10)).all())
    # A polynomial can lie in the first thousandth of the interval only if its degree is high enough.
    torch.testing.assert_close(one[1:], ratios[1:].sqrt(), rtol=1e-6 if order == 16 else 1e-10, atol=0)
    product, _ = join_matrices(ratios[1] * ratios[2], order)
    torch.testing.assert_close(E[1] @ E[2], product, rtol=0, atol=1e-11)


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-12), (torch.float32, 2e-7)])
@pytest.mark.parametrize("order", [16, 128])
def test_merge_law(order, dtype, limit):
    u, times = random(400), uneven(400)
    memory = HiPPOMemory(order, rule="exact")
    whole = memory.project(u[None, :, None], times)[0, 0]
    for split in (1, 37, 200, 399):
        first = memory.project(u[None, :split, None], times[:split])[0, 0].to(dtype)
        second = memory.project(u[None, split:, None], times[split:] - times[split - 1])[0, 0].to(dtype)
        ratio = times[split - 1] / times[-1]
        E, F = (matrix.to(dtype) for matrix in join_matrices(ratio, order))
        joined = E @ first + F @ second
        assert (joined - whole).norm() < limit * whole.norm()
        read = place(first[None].double(), torch.zeros(1).double(), ratio[None])
        read = read + place(second[None].double(), ratio[None], 1 - ratio[None])
        assert (read[0] - whole).norm() < limit * whole.norm()


def test_constant_stays_constant():
    u = torch.full((1, 60, 1), 2.5, dtype=torch.float64)
    rows = HiPPOMemory(30, rule="exact").project(u, uneven(60), every=1)
    want = torch.zeros_like(rows)
    want[..., 0] = 2.5
    torch.testing.assert_close(rows, want, rtol=0, atol=1e-12)


def test_repeated_samples_and_the_unit_of_time_are_of_no_account():
    u, times = random(2, 80, 3), uneven(80)
    memory = HiPPOMemory(24, rule="exact")
    want = memory.project(u)
    torch.testing.assert_close(memory.project(u.repeat_interleave(2, dim=1)), want, rtol=0, atol=1e-12)
    torch.testing.assert_close(memory.project(u, rate=0.01), want, rtol=0, atol=1e-12)
    want = memory.project(u, times)
    for factor in (1e-9, 3.7, 1e9):
        torch.testing.assert_close(memory.project(u, factor * times), want, rtol=0, atol=1e-12)


def slope(counts, errors):
    """Order of convergence by linear regression of the logarithms."""
    return -np.polyfit(np.log(counts), np.log(errors), 1)[0]


@pytest.mark.parametrize(("rule", "order"), [("exact", 2), ("midpoint", 2), ("reciprocal", 1)])
@pytest.mark.parametrize("signal", ["polynomial", "sine"])
def test_order_of_convergence_to_the_signals_own_projection(rule, order, signal):
    """Cell averages of a signal; a polynomial's coefficients are known, those of a sine by quadrature."""
    x, w = legendre.leggauss(60)
    x, w = (x + 1) / 2, w / 2
    n = np.arange(12)

    def f(t):
        return t**4 - 1.5 * t**2 + 0.3 * t if signal == "polynomial" else np.sin(7 * t)

    basis = legendre_polynomials(12, torch.from_numpy(2 * x - 1)).numpy() * np.sqrt(2 * n + 1)
    want = (w * f(x)) @ basis
    counts, errors = [400, 800, 1600, 3200], []
    for count in counts:
        nodes = (np.arange(count)[:, None] + x) / count
        u = torch.from_numpy(f(nodes) @ w)
        c = HiPPOMemory(12, rule=rule).project(u[None, :, None])[0, 0].numpy()
        errors.append(np.linalg.norm(c - want))
        if rule == "midpoint":
            assert c[0] == pytest.approx(float(u.mean()), abs=1e-14)
    assert slope(counts, errors) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize(("rule", "order"), [("midpoint", 2), ("reciprocal", 1)])
def test_order_of_convergence_to_the_exact_rule_at_uneven_times(rule, order):
    counts, errors = [200, 400, 800, 1600, 3200], []
    for count in counts:
        places = torch.arange(1, count + 1, dtype=torch.float64) / count
        times = places + 0.3 * (1 - places) * places  # smooth and uneven
        u = (6 * times).sin()[None, :, None]
        want = HiPPOMemory(10, rule="exact").project(u, times)
        errors.append(float((HiPPOMemory(10, rule=rule).project(u, times) - want).norm()))
    assert slope(counts, errors) == pytest.approx(order, abs=0.15)


def test_energy_of_the_memory_never_exceeds_the_signals():
    """Bessel: t |c|² ≤ ∫ u², with equality in the limit of high order for what the basis spans."""
    u, times = random(1, 200, 1), uneven(200)
    energy = (u[0, :, 0].square() * times.diff(prepend=torch.zeros(1).double())).cumsum(0)
    rows = HiPPOMemory(40, rule="exact").project(u, times, every=1)[0, :, 0]
    assert bool((times * rows.square().sum(-1) <= energy * (1 + 1e-12)).all())


def test_influence_of_a_sample_falls_like_its_share_of_time():
    """K |dc_K / du_j| does not depend on K inside a series."""
    for place_of in (0.25, 0.5, 0.75):
        found = []
        for count in (100, 200, 400):
            pulse = torch.zeros(1, count, 1, dtype=torch.float64)
            pulse[0, int(place_of * count)] = 1
            found.append(count * float(HiPPOMemory(32, rule="exact").project(pulse).norm()))
        assert min(found) > 4.4
        assert max(found) < 4.9


def test_lower_orders_are_contained_in_higher_ones():
    u, times = random(1, 100, 1), uneven(100)
    low, high = (HiPPOMemory(n, rule="exact").project(u, times, every=7) for n in (8, 20))
    torch.testing.assert_close(high[..., :8], low, rtol=0, atol=1e-13)


def test_table_is_the_polynomials():
    x = torch.linspace(-1, 1, 33, dtype=torch.float64)
    for order in (1, 2, 3, 257):
        table = legendre_table(order, x)
        torch.testing.assert_close(table.mT, legendre_polynomials(order, x), rtol=0, atol=1e-13)
