"""The memory as a module: its rules against independent arithmetic, streams against wholes, gaps against deletion."""

import io

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import scipy.signal
import scipy.special
import torch
from safetensors.torch import load, save

import seqkit
from seqkit.hippo import Fourier, HiPPOMemory, LagT, LegS, LegT, MemoryState, transition
from seqkit.hippo.timeline import timeline

KINDS = {
    "midpoint": {},
    "reciprocal": {"rule": "reciprocal"},
    "exact": {"rule": "exact"},
    "legt": {"measure": "legt", "window": 20.0},
    "lmu": {"measure": LegT(15.0, "lmu")},
    "lagt": {"measure": "lagt", "window": 10.0},
    "fourier": {"measure": "fourier", "window": 30.0, "discretization": "bilinear"},
    "backward": {"measure": "legt", "window": 9.0, "discretization": "backward_euler"},
}
BATCH, LENGTH, WIDTH, ORDER = 3, 60, 2, 10
LIMITS = {torch.float64: 1e-12, torch.float32: 1e-5}


@pytest.fixture(params=KINDS)
def memory(request):
    return HiPPOMemory(ORDER, **KINDS[request.param])


@pytest.fixture(params=[torch.float64, torch.float32], ids=["float64", "float32"])
def dtype(request):
    return request.param


@pytest.fixture(params=[False, True], ids=["even", "timed"])
def times(request):
    return (torch.rand(BATCH, LENGTH, dtype=torch.float64) + 0.1).cumsum(1) if request.param else None


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def close(got, want):
    limit = LIMITS[got.dtype]
    torch.testing.assert_close(got, want.to(got.dtype), rtol=limit, atol=limit)


def part(times, start, stop):
    return None if times is None else times[:, start:stop]


def by_scipy(u, steps, memory):
    """The memory's held-sample recurrence with its own matrices of each step; legs in log time, where it is exact."""
    A, B = (value.numpy() for value in transition(memory.measure, memory.order))
    c, now = np.zeros(memory.order), 0.0
    for k, step in enumerate(np.asarray(steps)):
        if memory.measure.time_varying:
            if k == 0:
                c[0], now = u[0], step
                continue
            step, now = np.log((now + step) / now), now + step
        else:
            step /= memory.scale
        system = np.zeros((memory.order + 1,) * 2)
        system[:-1, :-1], system[:-1, -1] = A, B
        c = (scipy.linalg.expm(step * system) @ np.append(c, float(u[k])))[:-1]
    return torch.from_numpy(c)


@pytest.mark.parametrize("kind", ["exact", "legt", "lmu", "lagt"])
def test_held_samples_equal_the_exponential_of_each_step(kind, times, dtype):
    memory, u = HiPPOMemory(ORDER, **KINDS[kind]), random(BATCH, LENGTH, WIDTH).to(dtype)
    got = memory.project(u, times)
    ends = torch.arange(1.0, LENGTH + 1).double().expand(BATCH, -1) if times is None else times
    steps = ends.diff(dim=1, prepend=torch.zeros(BATCH, 1).double())
    for i, j in ((0, 0), (2, 1)):
        close(got[i, j], by_scipy(u[i, :, j], steps[i], memory))


@pytest.mark.parametrize("method", ["bilinear", "backward_euler"])
@pytest.mark.parametrize("measure", [LegT(7.0), Fourier(7.0), LagT(0.3, 0.5)], ids=str)
def test_other_rules_equal_scipy(measure, method):
    A, B = transition(measure, 6)
    names = {"bilinear": "bilinear", "backward_euler": "backward_diff"}
    system = A.numpy(), B.numpy()[:, None], np.eye(6), np.zeros((6, 1))
    A_bar, B_bar, *_ = scipy.signal.cont2discrete(system, 0.5, method=names[method])
    u, c = random(1, 30, 1), np.zeros(6)
    for sample in u.flatten():
        c = A_bar @ c + B_bar[:, 0] * float(sample)
    got = HiPPOMemory(6, measure, discretization=method).project(u, rate=0.5)
    close(got[0, 0], torch.from_numpy(c))


@pytest.mark.parametrize("timed", [False, True])
def test_reciprocal_steps_are_the_published_ones(timed):
    """c <- (1 + δ/2 A)⁻¹ ((1 - δ/2 A) c + δ B u) with δ = 1/k, or (t1 - t0) / t1 with times; c_0 = (u_0, 0, ...)."""
    order, u = 7, random(40)
    times = torch.rand(40, dtype=torch.float64).add(0.1).cumsum(0)
    A, B = (value.numpy() for value in transition("legs", order))
    c = np.zeros(order)
    c[0] = u[0]
    for k in range(1, 40):
        size = float((times[k] - times[k - 1]) / times[k]) if timed else 1 / k
        c = np.linalg.solve(np.eye(order) - size / 2 * A, c + size / 2 * A @ c + size * B * float(u[k]))
    got = HiPPOMemory(order, rule="reciprocal").project(u[None, :, None], times if timed else None)
    close(got[0, 0], torch.from_numpy(c))


def test_coefficients_are_the_projection_that_defines_each_measure():
    """A smooth signal, finely sampled, against the measure's weighted integral by scipy.integrate.quad."""
    length, rate, order = 4000, 0.001, 8
    end = length * rate

    def signal(x):
        return (
            np.sin(1.7 * x) + 0.5 * np.cos(0.6 * x) if np.isscalar(x) else torch.sin(1.7 * x) + 0.5 * torch.cos(0.6 * x)
        )

    u = signal((torch.arange(length, dtype=torch.float64) + 0.5) * rate)[None, :, None]
    projections = {
        LegS(): lambda n, x: np.sqrt(2 * n + 1) * scipy.special.eval_legendre(n, 2 * x / end - 1) / end,
        LegT(2.0): lambda n, x: np.sqrt(2 * n + 1) * scipy.special.eval_legendre(n, x - end + 1) / 2 * (x >= end - 2),
        LagT(): lambda n, x: scipy.special.eval_laguerre(n, end - x) * np.exp((x - end) / 2),
    }
    for measure, weighted in projections.items():
        rule = {"rule": "exact"} if measure.time_varying else {}
        got = HiPPOMemory(order, measure, **rule).project(u, rate=rate)[0, 0]
        start = end - 2 if isinstance(measure, LegT) else 0.0
        want = [
            scipy.integrate.quad(lambda x, n=n, f=weighted: signal(x) * f(n, x), start, end, limit=200)[0]
            for n in range(order)
        ]
        # A window's memory reads the sample that leaves from its own coefficients, so that it only nearly projects.
        limit = 2e-3 if isinstance(measure, LegT) else 1e-6
        torch.testing.assert_close(got, torch.tensor(want).double(), rtol=0, atol=limit)


def test_chunks_and_single_samples_are_the_whole(memory, times, dtype):
    u = random(BATCH, LENGTH, WIDTH).to(dtype)
    want = memory.project(u, times)
    state = memory.initial_state(BATCH, WIDTH, dtype=dtype)
    for start, stop in ((0, 1), (1, 23), (23, 50), (50, 60)):
        found, state = memory.scan(u[:, start:stop], state, part(times, start, stop))
        assert found.dtype == dtype
    close(found, want)
    assert torch.equal(found, state.coefficients)
    stream = memory.initial_state(BATCH, WIDTH, dtype=dtype)
    for k in range(LENGTH):
        found, stream = memory.step(u[:, k], stream, time=None if times is None else times[:, k])
    close(found, want)
    torch.testing.assert_close(state.elapsed, stream.elapsed)
    ends = torch.full((BATCH,), float(LENGTH)).double() if times is None else times[:, -1]
    torch.testing.assert_close(state.elapsed, ends)


def test_rows_are_the_final_coefficients_of_what_came_before(memory, times):
    u = random(BATCH, LENGTH, WIDTH)
    rows = memory.project(u, times, every=7)
    assert rows.shape == (BATCH, LENGTH // 7, WIDTH, ORDER)
    picked = memory.project(u, times, at=[1, 7, 35, 60])
    for row, count in ((rows[:, 0], 7), (rows[:, 4], 35), (picked[:, 0], 1), (picked[:, 2], 35), (picked[:, 3], 60)):
        close(row, memory.project(u[:, :count], part(times, 0, count)))
    scanned, state = memory.scan(u, memory.initial_state(BATCH, WIDTH, dtype=u.dtype), times, every=7)
    close(scanned, rows)
    close(state.coefficients, memory.project(u, times))
    assert memory.project(u, times, every=61).shape == (BATCH, 0, WIDTH, ORDER)
    assert torch.equal(memory(u, times), memory.project(u, times))


def test_missing_and_padded_samples_are_as_if_never_there(memory, times, dtype):
    u = random(BATCH, LENGTH, WIDTH).to(dtype)
    observed = torch.rand(BATCH, LENGTH) > 0.3
    observed[0, :3] = False  # a start, too
    lengths = torch.tensor([LENGTH, 33, 1])
    observed[2, 0] = True
    inside = observed & (torch.arange(LENGTH) < lengths[:, None])
    spoilt = torch.where(inside[..., None], u, torch.nan).requires_grad_()
    clocks = torch.arange(1.0, LENGTH + 1).double().expand(BATCH, -1) if times is None else times
    blurred = None if times is None else torch.where(inside, times, torch.nan)

    got = memory.project(spoilt, blurred, observed=observed, lengths=lengths)
    rows = memory.project(spoilt, blurred, observed=observed, lengths=lengths, every=10)
    wants = []
    for i, keep in enumerate(inside):
        want = memory.project(u[i : i + 1, keep], clocks[i, keep])
        close(got[i : i + 1].detach(), want)
        close(rows[i : i + 1, -1].detach(), want)
        early = keep & (torch.arange(LENGTH) < 20)
        close(rows[i : i + 1, 1].detach(), memory.project(u[i : i + 1, early], clocks[i, early]))
        wants.append(want)

    state = memory.initial_state(BATCH, WIDTH, dtype=dtype)
    for start, stop in ((0, 2), (2, 3), (3, 31), (31, 60)):
        found, state = memory.scan(
            spoilt[:, start:stop], state, part(blurred, start, stop), observed=inside[:, start:stop]
        )
    close(found.detach(), torch.cat(wants))
    last = torch.stack([clocks[i, keep][-1] for i, keep in enumerate(inside)])
    torch.testing.assert_close(state.elapsed, last)

    (grad,) = torch.autograd.grad(got.sum(), spoilt)
    assert bool((grad[~inside] == 0).all())
    assert bool(grad[inside].isfinite().all())


def test_lengths_that_leave_nothing_out_are_none(memory):
    u = random(BATCH, LENGTH, WIDTH)
    full = torch.full((BATCH,), LENGTH)
    assert torch.equal(memory.project(u, lengths=full), memory.project(u))
    zero = torch.zeros(BATCH, dtype=torch.float64)
    settings = {"rate": 1.0, "timestamps": None, "observed": None}
    assert timeline(u, zero, zero, lengths=full, **settings).edges.shape == (1, LENGTH + 1)  # one for all series
    assert len(timeline(u, zero, zero, lengths=full - torch.tensor([0, 0, 1]), **settings).edges) == BATCH


def test_a_gap_at_the_end_of_a_block_is_remembered_by_the_clock(memory):
    u, observed = random(1, 9, 1), torch.tensor([[1, 1, 0, 0, 1, 0, 1, 1, 0]]).bool()
    want = memory.project(u, observed=observed)
    state = memory.initial_state(1, 1, dtype=u.dtype)
    for k in range(9):
        found, state = memory.step(u[:, k], state, observed=observed[:, k])
    close(found, want)
    assert (float(state.elapsed), float(state.clock)) == (8.0, 9.0)


def test_nothing_observed_is_nothing_remembered(memory):
    u = torch.full((2, 5, 1), torch.nan, dtype=torch.float64)
    c, state = memory.scan(u, memory.initial_state(2, 1, dtype=u.dtype), observed=torch.zeros(2, 5).bool())
    assert torch.equal(c, torch.zeros_like(c))
    assert state.elapsed.tolist() == [0, 0]
    later = random(2, 6, 1)
    found, _ = memory.scan(later, state, observed=torch.ones(2, 6).bool())
    gaps = torch.cat([torch.zeros(5), torch.ones(6)]).bool().expand(2, -1)
    close(found, memory.project(torch.cat([u, later], dim=1), observed=gaps))


def test_rate_is_the_length_of_a_step(memory):
    u = random(BATCH, LENGTH, WIDTH)
    ends = 0.3 * torch.arange(1, LENGTH + 1, dtype=torch.float64)
    if memory.rule != "reciprocal":  # whose steps differ between samples that are counted and that have times
        close(memory.project(u, rate=0.3), memory.project(u, ends))
    rates = torch.tensor([0.3, 1.0, 2.5])
    each = [memory.project(u[i : i + 1], rate=float(rates[i])) for i in range(BATCH)]
    close(memory.project(u, rate=rates), torch.cat(each))
    state = memory.initial_state(BATCH, WIDTH, dtype=u.dtype)
    for k in range(5):
        found, state = memory.step(u[:, k], state, rate=rates)
    close(found, memory.project(u[:, :5], rate=rates))
    close(state.elapsed, 5 * rates.double())


def test_streams_of_different_age_share_a_batch(memory):
    u = random(2, 50, 1)
    young, old = memory.initial_state(1, 1, dtype=u.dtype), memory.initial_state(1, 1, dtype=u.dtype)
    _, old = memory.scan(u[1:, :20], old)
    both = MemoryState(*(torch.cat(pair) for pair in zip(young, old, strict=True)))
    found, _ = memory.scan(torch.stack([u[0, :30], u[1, 20:]]), both)
    close(found, torch.cat([memory.project(u[:1, :30]), memory.project(u[1:])]))


def test_state_survives_safetensors(memory, dtype):
    u = random(BATCH, LENGTH, WIDTH).to(dtype)
    _, state = memory.scan(u[:, :20], memory.initial_state(BATCH, WIDTH, dtype=dtype))
    restored = MemoryState(**load(save(state._asdict())))
    for a, b in zip(memory.scan(u[:, 20:], restored)[1], memory.scan(u[:, 20:], state)[1], strict=True):
        assert torch.equal(a, b)
    buffer = io.BytesIO()
    torch.save(memory.state_dict(), buffer)
    assert not memory.state_dict()


def test_series_and_channels_do_not_see_each_other(memory, times):
    u = random(BATCH, LENGTH, WIDTH)
    want = memory.project(u, times)
    order = torch.tensor([2, 0, 1])
    close(memory.project(u[order], None if times is None else times[order]), want[order])
    close(memory.project(torch.cat([u, random(BATCH, LENGTH, 1)], dim=2), times)[:, :WIDTH], want)


def test_gradients(memory):
    u = random(2, 6, 2).requires_grad_()
    uneven = torch.tensor([[1.0, 2.5, 3.0, 5.0, 5.5, 7.0], [0.5, 1.0, 2.0, 3.0, 4.5, 5.0]])
    observed = torch.tensor([[1, 0, 1, 1, 1, 0], [0, 1, 1, 0, 1, 1]]).bool()
    for options in ({}, {"every": 4}, {"timestamps": uneven, "every": 2}, {"observed": observed}):
        assert torch.autograd.gradcheck(lambda u, o=options: memory.project(u, **o), u)
    start = memory.initial_state(2, 2, dtype=u.dtype)
    _, known = memory.scan(u.detach(), start)
    c = known.coefficients.requires_grad_()
    assert torch.autograd.gradcheck(lambda c: memory.scan(u.detach(), known._replace(coefficients=c))[0], c)
    times = torch.tensor([5.5, 5.9]).double()
    assert torch.autograd.gradcheck(lambda c: memory.reconstruct(c, times, elapsed=6.0), c)


@pytest.mark.parametrize("rule", ["midpoint", "reciprocal", "exact"])
def test_reconstruction_of_a_polynomial_is_exact_where_the_projection_is(rule):
    length = 5000
    x = (torch.arange(length, dtype=torch.float64) + 0.5) / length
    u = (4 * x**3 - 3 * x + 0.5)[None, :, None].expand(2, -1, 1) * torch.tensor([1.0, -2.0]).double()[:, None, None]
    memory = HiPPOMemory(6, rule=rule)
    c, state = memory.scan(u, memory.initial_state(2, 1, dtype=u.dtype), rate=1 / length)
    back = memory.reconstruct(c, x, elapsed=state.elapsed)
    assert back.shape == (2, length, 1)
    torch.testing.assert_close(back, u, rtol=0, atol=1e-2 if rule == "reciprocal" else 1e-5)


@pytest.mark.parametrize(("kind", "limit"), [("legt", 1e-3), ("lmu", 1e-3), ("lagt", 1e-3), ("fourier", 0.05)])
def test_reconstruction_of_a_window(kind, limit):
    """Fourier's window has no sharp end at any finite order, and leaves a ripple."""
    options = {**KINDS[kind], "window": 1.0} if kind == "lagt" else KINDS[kind]
    memory, rate, length = HiPPOMemory(48, **options), 0.01, 8000

    def bump(x):
        return torch.exp(-(((x - 68) / 4) ** 2))

    u = bump((torch.arange(length, dtype=torch.float64) + 0.5) * rate)[None, :, None]
    end = length * rate
    x = torch.linspace(end - 14, end - 1, 50, dtype=torch.float64)
    found = memory.reconstruct(memory.project(u, rate=rate), x, elapsed=end)
    torch.testing.assert_close(found[0, :, 0], bump(x), rtol=0, atol=limit)


@pytest.mark.parametrize("kind", ["exact", "legt"])
def test_the_newest_value_is_the_input_vector_times_the_coefficients(kind):
    memory = HiPPOMemory(ORDER, **KINDS[kind])
    c, B = random(2, 3, ORDER), transition(memory.measure, ORDER)[1]
    window = getattr(memory.measure, "window", 1.0)
    found = memory.reconstruct(c, torch.tensor([[30.0], [12.0]]), elapsed=torch.tensor([30.0, 12.0]))
    torch.testing.assert_close(found[:, 0], c @ B * window, rtol=1e-12, atol=1e-12)


def test_windows_do_not_nest():
    u = random(1, LENGTH, 1)
    for measure, nests in (("legt", False), ("fourier", False), ("lagt", True)):
        low, high = (HiPPOMemory(n, measure, window=20.0).project(u)[..., :8] for n in (8, 20))
        assert torch.allclose(low, high, atol=1e-10) == nests


def test_a_window_of_uneven_times_is_fine_enough_to_be_even():
    """Times that are even but for rounding take the path of even samples."""
    u, memory = random(1, 1000, 1), HiPPOMemory(8, "legt", window=3.0)
    times = torch.arange(1, 1001, dtype=torch.float64) * 0.1
    close(memory.project(u, times), memory.project(u, rate=0.1))


def test_autocast_and_conversion_keep_float32():
    memory = HiPPOMemory(8, "legt", window=10.0)
    u = torch.randn(2, 30, 1)
    want = memory.project(u)
    with torch.autocast("cpu"):
        assert memory.project(u.bfloat16()).dtype == torch.float32
        torch.testing.assert_close(memory.project(u), want)
    torch.testing.assert_close(memory.float().project(u), want, rtol=1e-5, atol=1e-6)
    assert seqkit.HiPPOMemory is HiPPOMemory
    assert not list(memory.parameters())


def test_repr_names_what_matters():
    assert repr(HiPPOMemory(8)) == "HiPPOMemory(order=8, measure=LegS(), rule='midpoint')"
    found = repr(HiPPOMemory(8, "lagt", window=30.0))
    assert (
        found == "HiPPOMemory(order=8, measure=LagT(alpha=0.0, beta=0.0), window=30, discretization='zero_order_hold')"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_empty_batches_pass(kind):
    memory = HiPPOMemory(4, **KINDS[kind])
    u = torch.zeros(0, 5, 2, requires_grad=True)
    for options in (
        {},
        {"every": 2},
        {"at": [1, 5]},
        {"lengths": torch.zeros(0).long()},
        {"timestamps": torch.arange(1.0, 6)},
    ):
        rows = memory.project(u, **options)
        rows.sum().backward()
        assert rows.shape == ((0, 2, 4) if rows.dim() == 3 else (0, 2, 2, 4))
    assert memory.scan(u, memory.initial_state(0, 2))[0].shape == (0, 2, 4)
    assert memory.project(torch.zeros(2, 5, 0)).shape == (2, 0, 4)


BAD_MEMORY = [
    ({"order": 0}, "`order` must be a whole number of at least 1, got 0"),
    ({"measure": "leg"}, "`measure` must be one of legs, legt, lagt, fourier, got 'leg'; did you mean"),
    ({"rule": "exakt"}, "`rule` must be one of midpoint, reciprocal, exact, got 'exakt'; did you mean exact"),
    ({"window": 5.0}, "`window` is not for legs, which remembers everything, got 5.0; leave it out"),
    ({"discretization": "bilinear"}, "`discretization` is not for legs, got 'bilinear'; give `rule` instead"),
    ({"measure": "legt"}, "`window` must be given for legt, got None"),
    ({"measure": "legt", "window": -1.0}, "`window` must be a finite number above 0, got -1.0"),
    ({"measure": "legt", "window": 5.0, "rule": "exact"}, "`rule` is for legs, got 'exact' with legt"),
    (
        {"measure": "lagt", "discretization": "forward_euler"},
        "`discretization` must be one of zero_order_hold, bilinear",
    ),
    ({"measure": "fourier", "window": 5.0, "order": 3}, "`order` must be even for the measure fourier"),
]


@pytest.mark.parametrize(("change", "words"), BAD_MEMORY)
def test_bad_memories_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        HiPPOMemory(**{"order": 4, **change})


U = torch.zeros(2, 3, 1)
BAD_SERIES = [
    ({"u": torch.zeros(3)}, r"`u` must have shape \(B, L, D\), got \(3,\); a single series .* u\[None, :, None\]"),
    ({"u": torch.zeros(2, 0, 1)}, "`u` must have at least 1 sample"),
    ({"u": torch.full((2, 3, 1), torch.nan)}, r"`u` has 6 NaN or infinite values, the first at \(0, 0, 0\)"),
    ({"timestamps": torch.tensor([0.0, 1, 2])}, "`timestamps` must be finite and rise above 0 .* sample 0 of series 0"),
    ({"timestamps": torch.tensor([1.0, 3, 3])}, "sample 2 of series 0 is at 3 and the memory reaches 3; sort"),
    ({"timestamps": torch.tensor([[1.0, 2, 3], [1, torch.nan, 2]])}, "sample 1 of series 1 is at nan"),
    ({"timestamps": torch.tensor([1.0, 2, torch.inf])}, "sample 2 of series 0 is at inf"),
    (
        {"timestamps": torch.tensor([1.0, 2])},
        r"`timestamps` must have shape \(2, 3\) or \(3,\) to fit `u`, got \(1, 2\)",
    ),
    ({"timestamps": torch.arange(1, 4), "rate": 2.0}, "`rate` is for evenly spaced samples, got 2.0 and timestamps"),
    ({"lengths": torch.tensor([3, 4])}, r"lengths\[1\] is 4"),
    ({"observed": torch.ones(2, 3)}, "`observed` must be of dtype bool"),
    ({"observed": torch.ones(2, 2).bool()}, r"`observed` must have shape \(2, 3\), got \(2, 2\)"),
    ({"rate": 0.0}, "`rate` must be a finite number above 0, got 0.0"),
    ({"rate": torch.tensor([1.0, -1.0])}, "`rate` must be finite and above 0 for each series"),
    ({"rate": torch.ones(3)}, r"`rate` must have shape \(2\), got \(3,\)"),
    ({"every": 0}, "`every` must be a whole number of at least 1, got 0"),
    ({"every": 1, "at": [1]}, "`every` and `at` exclude each other"),
    ({"at": [2, 2]}, r"`at` must rise from 1 to at most 3, the number of samples, got \[2, 2\]"),
    ({"at": [0]}, "`at` must be a whole number of at least 1, got 0"),
]


@pytest.mark.parametrize("kind", ["midpoint", "exact", "legt"])
@pytest.mark.parametrize(("change", "words"), BAD_SERIES)
def test_bad_series_are_refused(kind, change, words):
    with pytest.raises(ValueError, match=words):
        HiPPOMemory(4, **KINDS[kind]).project(**{"u": U, **change})


def test_bad_states_and_readings_are_refused():
    memory = HiPPOMemory(4)
    with pytest.raises(TypeError, match=r"`u` must be float32 or float64, got torch\.float16"):
        memory.project(U.half())
    with pytest.raises(TypeError, match=r"`state\.coefficients` must have the precision of `u`"):
        memory.scan(U, memory.initial_state(2, 1, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"`state.coefficients` must have shape \(2, 1, 4\), got \(1, 1, 4\)"):
        memory.scan(U, memory.initial_state(1, 1))
    c = torch.zeros(2, 1, 4)
    for times, elapsed, words in (
        (torch.tensor([9.0]), 8.0, "`times` must lie between 0 and 8, which the memory covers, got 9"),
        (torch.tensor([-1.0]), 8.0, "`times` must lie between 0 and 8, .* got -1"),
        (torch.tensor([torch.nan]), 8.0, "`times` has 1 NaN"),
        (torch.zeros(3, 1), 8.0, "`times` must have 1 or 2 rows, got"),
        (torch.tensor([1.0]), 0.0, "`elapsed` must be a finite number above 0"),
        (torch.tensor([1.0]), torch.tensor([1.0, 0.0]), "`elapsed` must be above 0, got 0.0"),
        (torch.tensor([1.0]), torch.ones(3), r"`elapsed` must be one number or of shape \(2,\), got \(3,\)"),
    ):
        with pytest.raises(ValueError, match=words):
            memory.reconstruct(c, times, elapsed=elapsed)
    with pytest.raises(ValueError, match="`times` must lie between 4 and 8"):
        HiPPOMemory(4, "legt", window=4.0).reconstruct(c, torch.tensor([3.0]), elapsed=8.0)


@pytest.mark.parametrize("path", ["reference", "triton"])
@pytest.mark.parametrize("rule", ["midpoint", "reciprocal"])
def test_gaps_are_no_steps_on_every_path(rule, path, monkeypatch):
    """A step of size 0 is a very large number to the operator, which no path may trip over."""
    if path == "triton":
        pytest.importorskip("triton")
    u, observed = torch.randn(2, 12, 1), torch.rand(2, 12) > 0.4
    times = torch.rand(2, 12).add(0.1).cumsum(1)
    memory = HiPPOMemory(6, rule=rule)

    def run():
        leaf = u.clone().requires_grad_()
        rows = memory.project(leaf, times, observed=observed, every=3)
        return rows.detach(), torch.autograd.grad(rows.square().sum(), leaf)[0]

    want = run()
    monkeypatch.setenv("SEQKIT_BACKEND", path)
    for got, known in zip(run(), want, strict=True):
        torch.testing.assert_close(got, known, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("measure", ["legs", "legt"])
def test_a_memory_of_the_device_meta_gets_its_matrices(measure):
    memory = HiPPOMemory(6, measure, window=None if measure == "legs" else 9.0)
    u = torch.randn(2, 20, 1, dtype=torch.float64)
    with torch.device("meta"):
        built = HiPPOMemory(6, measure, window=None if measure == "legs" else 9.0)
    torch.testing.assert_close(built.to_empty(device="cpu").project(u), memory.project(u))


@pytest.mark.parametrize("order", [1, 32, 256])
def test_samples_near_the_end_of_the_dtype_are_refused_and_smaller_ones_stay_finite(order):
    alternating = torch.tensor([1.0, -1.0]).repeat(20)[None, :, None]
    for options in ({"rule": "midpoint"}, {"rule": "exact"}, {"measure": "lagt", "window": 10.0}):
        memory = HiPPOMemory(order, **options)
        found = memory.project(1e30 * alternating, every=1)
        expected = 1e30 * memory.project(alternating.double(), every=1)
        assert (found - expected).norm() < 1e-4 * expected.norm()
        for wrong in (3e38, -1e31):
            with pytest.raises(ValueError, match=r"`u` must be within 1e\+30 in float32, got"):
                memory(wrong * alternating)
        state = memory.initial_state(1, 1)
        with pytest.raises(ValueError, match="within"):
            memory.step(torch.tensor([[3e38]]), state)
        with pytest.raises(ValueError, match="NaN or infinite"):
            memory(alternating * torch.nan)
