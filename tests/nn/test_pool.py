"""Pools against plain computation on each series alone; blocks, padding and gradients."""

import pytest
import torch

from seqkit.nn import MaxPool, build_pool, pool_names, pool_options, register_pool

PLAIN = {"mean": lambda x: x.mean(0), "last": lambda x: x[-1], "max": lambda x: x.max(0).values}
LENGTHS = torch.tensor([9, 4, 1])


def padded(lengths=LENGTHS, fill=torch.nan):
    x = torch.randn(len(lengths), int(lengths.max()), 5, dtype=torch.float64)
    for i, n in enumerate(lengths):
        x[i, n:] = fill
    return x


def test_every_pool_of_the_package_has_a_plain_form():
    assert set(PLAIN) == {name for name in pool_names() if type(build_pool(name, 5)).__module__ == "seqkit.nn.pool"}


def test_options_and_names_of_pools():
    assert pool_options("mean") == {}
    with pytest.raises(ValueError, match="pool max has no key 'order'"):
        build_pool("max", 5, order=3)
    with pytest.raises(ValueError, match="already registered: MeanPool"):
        register_pool("mean")(MaxPool)


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("fill", [0.0, 1e30, torch.nan, torch.inf])
def test_pooled_is_plain_on_each_series(name, fill):
    x = padded(fill=fill)
    pooled = build_pool(name, 5).double()(x, LENGTHS)
    for i, n in enumerate(LENGTHS):
        assert torch.allclose(pooled[i], PLAIN[name](x[i, :n]), rtol=1e-14)
    whole = torch.randn(2, 6, 5, dtype=torch.float64)
    assert torch.allclose(build_pool(name, 5).double()(whole)[1], PLAIN[name](whole[1]), rtol=1e-14)


@pytest.mark.parametrize("name", PLAIN)
def test_blocks_and_steps_give_the_pooled_value_so_far(name):
    pool = build_pool(name, 5).double()
    # Below zero throughout: a state that starts at 0 must not win a maximum.
    x = torch.randn(3, 9, 5, dtype=torch.float64) - 10
    state = pool.initial_state(3)
    for first, last in ((0, 1), (1, 6), (6, 9)):
        pooled, state = pool.scan(x[:, first:last], state)
        for i in range(3):
            assert torch.allclose(pooled[i], PLAIN[name](x[i, :last]), rtol=1e-13)
    assert state.seen.tolist() == [9, 9, 9]
    state = pool.initial_state(3)
    for k in range(9):
        pooled, state = pool.step(x[:, k], state)
    assert torch.allclose(pooled[2], PLAIN[name](x[2]), rtol=1e-13)


@pytest.mark.parametrize("name", PLAIN)
def test_blocks_with_lengths_carry_each_series_own_state(name):
    pool = build_pool(name, 5).double()
    second = torch.tensor([2, 7, 3])
    x, y = padded(), padded(second)
    _, state = pool.scan(x, pool.initial_state(3), LENGTHS)
    pooled, state = pool.scan(y, state, second)
    for i in range(3):
        joined = torch.cat([x[i, : LENGTHS[i]], y[i, : second[i]]])
        assert torch.allclose(pooled[i], PLAIN[name](joined), rtol=1e-13)


@pytest.mark.parametrize("name", PLAIN)
def test_gradients_of_a_padded_series_are_those_of_the_series_alone(name):
    x = padded().requires_grad_()
    weights = torch.randn(3, 5, dtype=torch.float64)
    (build_pool(name, 5).double()(x, LENGTHS) * weights).sum().backward()
    for i, n in enumerate(LENGTHS):
        alone = x.detach()[i, :n].clone().requires_grad_()
        (PLAIN[name](alone) * weights[i]).sum().backward()
        assert torch.allclose(x.grad[i, :n], alone.grad, rtol=1e-13)
        assert (x.grad[i, n:] == 0).all()


def test_mean_of_many_samples_keeps_its_digits_in_bfloat16():
    x = torch.ones(1, 4000, 5, dtype=torch.bfloat16)  # a running sum in 8 bits would stop at 256
    pool = build_pool("mean", 5)
    state = pool.initial_state(1)
    for block in x.split(10, dim=1):
        pooled, state = pool.scan(block, state)
    assert torch.allclose(pooled, torch.ones(1, 5))


def test_wrong_input_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match="did you mean mean"):
        build_pool("maen", 5)
    with pytest.raises(ValueError, match="`d_model` must be a whole number"):
        build_pool("mean", 0)
    for name in PLAIN:
        with pytest.raises(ValueError, match=r"lengths\[0\] is 9; the batch holds 4 samples"):
            build_pool(name, 5)(torch.zeros(3, 4, 5), LENGTHS)


def test_pools_save_nothing():
    assert all(not build_pool(name, 5).state_dict() for name in PLAIN)
