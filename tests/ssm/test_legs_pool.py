"""LegS pooling against numerical integration; blocks, padding, rates and times."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import eval_legendre

from seqkit.nn import build_pool, pool_options
from seqkit.ssm import LegSPool

DOUBLE = {"dtype": torch.float64}


def series(length=23, batch=3):
    return torch.randn(batch, length, 2, **DOUBLE)


def pool(order=6):
    return LegSPool(2, order=order).double()


def test_coefficients_are_integrals_of_the_held_series():
    x = series(5, 1)
    edges = [k / 5 for k in range(6)]
    expected = torch.zeros(2, 6, **DOUBLE)
    for n in range(6):
        for k in range(5):
            weight, _ = quad(lambda s, n=n: (2 * n + 1) ** 0.5 * eval_legendre(n, 2 * s - 1), edges[k], edges[k + 1])
            expected[:, n] += weight * x[0, k]
    assert (pool()(x)[0] - expected.flatten()).abs().max() < 1e-12


def test_integrals_are_those_of_the_course():
    # A polynomial of degree 3, held on pieces so short that they do not matter, and its integral of degree 4.
    s = (torch.arange(40_000, **DOUBLE) + 0.5) / 40_000
    x = torch.stack([1 - 3 * s**2 + s**3, 2 * s], dim=1)[None]
    integral = torch.stack([s - s**3 + s**4 / 4, s**2], dim=1)[None]
    own = LegSPool(2, order=6, integrals=True).double()
    values = own(x).view(2, 12)
    assert own.width == 24
    assert torch.equal(values[:, :6].flatten(), pool()(x)[0])
    assert (values[:, 6:] / 4 - pool()(integral).view(2, 6)).abs().max() < 1e-8
    state = own.initial_state(1)
    for block in x.split(15_000, dim=1):
        pooled, state = own.scan(block, state)
    assert (pooled - own(x)).abs().max() < 1e-12


def test_learned_functions_of_a_sample_are_courses_too():
    own, plain = LegSPool(2, order=4, features=3).double(), LegSPool(5, order=4).double()
    x, lengths = series(), torch.tensor([23, 4, 9])
    assert torch.allclose(own(x, lengths), plain(torch.cat([x, own.lift(x)], dim=-1), lengths), rtol=1e-12)
    state = own.initial_state(3)
    for block in x.split([8, 15], dim=1):
        pooled, state = own.scan(block, state)
    assert (pooled - own(x)).abs().max() < 1e-12
    own(x).cos().sum().backward()
    assert all(weight.grad.abs().max() > 0 for weight in own.parameters())
    with pytest.raises(ValueError, match="`features` must be a whole number of at least 0"):
        LegSPool(2, features=-1)


def test_lines_between_samples_come_near_a_smooth_course_by_the_square_of_the_step():
    basis = [lambda s, n=n: (2 * n + 1) ** 0.5 * eval_legendre(n, 2 * s - 1) for n in range(5)]
    exact = torch.tensor([quad(lambda s, g=g: g(s) * np.sin(5 * s), 0, 1)[0] for g in basis], **DOUBLE)
    errors = {}
    for length, lines in ((50, False), (50, True), (500, True)):
        times = torch.arange(1, length + 1, **DOUBLE)[None]
        times[:, 1:] += 0.6 * torch.rand(length - 1, **DOUBLE) - 0.3  # the first stretch is a whole step
        x = torch.sin(5 * times / times[:, -1:])[:, :, None]
        pooled = LegSPool(1, order=5, interpolate=lines).double()(x, timestamps=times)
        errors[length, lines] = (pooled - exact).square().mean().sqrt()
    assert errors[50, True] < errors[50, False] / 5
    assert errors[500, True] < errors[50, True] / 50


def test_lines_between_samples_in_blocks_and_steps_and_past_the_end():
    x, own, lengths = series(), LegSPool(2, order=4, integrals=True, features=2, interpolate=True).double(), [23, 4, 9]
    whole = own(x, torch.tensor(lengths))
    for i, n in enumerate(lengths):
        state = own.initial_state(1)
        for k in range(n):
            pooled, state = own.step(x[i : i + 1, k], state)
        assert (pooled - whole[i]).abs().max() < 1e-12
        state, cut = own.initial_state(1), n // 2
        _, state = own.scan(x[i : i + 1], state, torch.tensor([cut]))
        pooled, state = own.scan(x[i : i + 1, cut:n], state)
        assert (pooled - whole[i]).abs().max() < 1e-12
    assert (own(x[:, :1]) - own(x[:, :1].expand(-1, 2, -1))).abs().max() < 1e-13  # one sample is held


def test_order_one_is_the_mean():
    x = series()
    assert torch.allclose(LegSPool(2, order=1).double()(x), x.mean(1), rtol=1e-13)


def test_blocks_and_steps_give_the_whole():
    x, own = series(), pool()
    state = own.initial_state(3)
    for block in x.split([1, 9, 13], dim=1):
        pooled, state = own.scan(block, state)
    assert (pooled - own(x)).abs().max() < 1e-13
    assert state.seen.tolist() == [23, 23, 23]
    state = own.initial_state(3)
    for k in range(23):
        pooled, state = own.step(x[:, k], state)
        assert (pooled - own(x[:, : k + 1])).abs().max() < 1e-12


def test_another_rate_of_the_same_series_changes_nothing():
    x = series()
    assert (pool()(x.repeat_interleave(2, dim=1), rate=0.5) - pool()(x)).abs().max() < 1e-13
    assert (pool()(x.repeat_interleave(2, dim=1)) - pool()(x)).abs().max() < 1e-13  # nor need it be told
    own, state = pool(), pool().initial_state(3)
    _, state = own.scan(x[:, :10].repeat_interleave(2, dim=1), state, rate=0.5)
    pooled, state = own.scan(x[:, 10:], state)  # a change of rate on the way does matter
    assert (pooled - own(x)).abs().max() < 1e-13
    assert state.seen.tolist() == [23, 23, 23]


def test_times_count_as_they_are():
    x = series()
    keep = torch.tensor([0, 1, 3, 4, 8, 9, 15, 22])
    held = torch.repeat_interleave(keep, keep.diff(prepend=torch.tensor([-1])))
    assert (pool()(x[:, keep], timestamps=keep.double().expand(3, -1)) - pool()(x[:, held])).abs().max() < 1e-13
    own, times = pool(), torch.rand(3, 23, **DOUBLE).add(0.1).cumsum(1)
    pooled, state = own.scan(x[:, :9], own.initial_state(3), timestamps=times[:, :9])
    for k in range(9, 23):
        gap = times[:, k] - times[:, k - 1]
        pooled, state = own.scan(x[:, k : k + 1], state, timestamps=times[:, k : k + 1], rate=float(gap[0]))
    assert (pooled[0] - own(x, timestamps=times)[0]).abs().max() < 1e-12
    with pytest.raises(ValueError, match="must increase"):
        own(x, timestamps=times.flip(1))


@pytest.mark.parametrize("fill", [0.0, 1e30, torch.nan, torch.inf])
def test_padding_changes_nothing(fill):
    x, lengths, own = series(), torch.tensor([23, 4, 1]), pool()
    times = torch.rand(3, 23, **DOUBLE).add(0.1).cumsum(1)
    for i, n in enumerate(lengths):
        x[i, n:], times[i, n:] = fill, fill
    x.requires_grad_()
    for given in ({}, {"timestamps": times}):
        x.grad = None
        own(x, lengths, **given).cos().sum().backward()
        for i, n in enumerate(lengths):
            alone = x.detach()[i : i + 1, :n].requires_grad_()
            pooled = own(alone, **{key: value[i : i + 1, :n] for key, value in given.items()})
            pooled.cos().sum().backward()
            assert (own(x, lengths, **given)[i] - pooled[0]).abs().max() < 1e-13
            assert (x.grad[i, :n] - alone.grad[0]).abs().max() < 1e-13
            assert (x.grad[i, n:] == 0).all()


def test_precision():
    x = series(2000)
    assert (pool(32).float()(x.float()) - pool(32)(x)).abs().max() < 1e-6
    own = pool().float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pooled = own(x.float())
    assert torch.equal(pooled, own(x.float()))


def test_it_is_known_by_name():
    assert pool_options("legs") == {"order": 16, "integrals": False, "features": 0, "interpolate": False}
    assert build_pool("legs", 3, order=5).width == 15
    assert not build_pool("legs", 3).state_dict()
    with pytest.raises(ValueError, match="did you mean order"):
        build_pool("legs", 3, ordre=5)
    with pytest.raises(ValueError, match="`order` must be a whole number"):
        build_pool("legs", 3, order=0)
    with pytest.raises(ValueError, match="d_model is 3"):
        build_pool("legs", 3)(torch.zeros(1, 4, 2))
    with pytest.raises(ValueError, match="rate"):
        build_pool("legs", 3)(torch.zeros(1, 4, 3), rate=0.0)


def test_an_old_stream_in_float32_still_follows_its_series():
    pool, age, count = LegSPool(1, order=3), 1e8, 4000
    state = pool.initial_state(1)._replace(seen=torch.tensor([age], dtype=torch.float64))
    state.value[0, 0] = 1.0
    for _ in range(count):
        pooled, state = pool.step(torch.full((1, 1), 2.0), state)
    assert pooled.dtype == torch.float32
    assert abs(float(state.value[0, 0]) - (1 + count / (age + count))) < 1e-9
