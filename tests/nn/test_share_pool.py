"""Pooled shares of time against a plain computation; blocks, padding, levels from data."""

import numpy as np
import pytest
import torch

from seqkit.nn import SharePool, build_pool

LENGTHS = torch.tensor([9, 4, 1])


def fitted(levels=3):
    pool = SharePool(5, levels=levels).double()
    random = torch.Generator().manual_seed(0)
    pool.set_levels([3 + 2 * torch.randn(30, 5, generator=random).double() for _ in range(6)], np.random.default_rng(0))
    with torch.no_grad():
        pool.sharpness.add_(0.1)
        pool.shift.add_(torch.linspace(-1, 1, 3 * 5).view(3, 5))
    return pool


def plain(pool, x):
    x = x / pool.unit
    above = torch.sigmoid(
        (pool.slope * pool.sharpness.exp())[:, None] * (x - pool.level[:, None]) - pool.shift[:, None]
    )
    pooled = torch.cat([above.mean(1).flatten(), x.mean(0), x.max(0).values])
    return ((pooled - pool.centre) / pool.scale).clamp(-3, 3)


@pytest.mark.parametrize("fill", [0.0, 1e30, torch.nan, torch.inf])
def test_pooled_is_plain_on_each_series_and_so_are_gradients(fill):
    pool = fitted()
    x = torch.randn(3, 9, 5, dtype=torch.float64)
    for i, n in enumerate(LENGTHS):
        x[i, n:] = fill
    x.requires_grad_()
    pooled = pool(x, LENGTHS)
    weights = torch.randn(3, pool.width, dtype=torch.float64)
    (pooled * weights).sum().backward()
    for i, n in enumerate(LENGTHS):
        alone = x.detach()[i, :n].clone().requires_grad_()
        expected = plain(pool, alone)
        (expected * weights[i]).sum().backward()
        assert torch.allclose(pooled[i], expected, rtol=1e-12)
        assert torch.allclose(x.grad[i, :n], alone.grad, rtol=1e-10)
        assert (x.grad[i, n:] == 0).all()


def test_blocks_and_steps_give_the_pooled_value_so_far():
    pool = fitted()
    x = torch.randn(3, 9, 5, dtype=torch.float64) - 10  # a state that starts at 0 must not win a maximum
    state = pool.initial_state(3)
    for first, last in ((0, 1), (1, 6), (6, 9)):
        pooled, state = pool.scan(x[:, first:last], state)
        assert torch.allclose(pooled[1], plain(pool, x[1, :last]), rtol=1e-12)
    state = pool.initial_state(3)
    for k in range(9):
        pooled, state = pool.step(x[:, k], state)
    assert torch.allclose(pooled[2], plain(pool, x[2]), rtol=1e-12)


def test_levels_split_the_training_series_at_their_quantiles():
    random = np.random.default_rng(1)
    series = [torch.from_numpy(random.normal(5, 3, (200, 40))) for _ in range(8)]
    pool = SharePool(40).double()
    pool.set_levels(series, np.random.default_rng(0))
    shares = torch.stack([(one[:, None] / pool.unit > pool.level).double().mean(0) for one in series]).mean(0)
    assert shares.min() < 0.1
    assert shares.max() > 0.9
    assert torch.allclose(shares.mean(), torch.tensor(0.5).double(), atol=0.05)
    pooled = pool(torch.stack(series))
    assert pooled.mean(0).abs().max() < 0.2  # standardised, but for what is held at three deviations
    assert 0.8 < pooled.std(0).mean() < 1.1


def test_a_channel_that_rests_has_levels_beside_its_rest_and_nothing_breaks():
    pool = SharePool(2)
    still = torch.zeros(20, 2)
    pool.set_levels([still, still], np.random.default_rng(0))
    assert pool(torch.zeros(1, 7, 2)).isfinite().all()
    still[3, 0] = 1.0
    pool.set_levels([still, still], np.random.default_rng(0))
    assert pool(still[None]).isfinite().all()


def test_wrong_input_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match="`levels` must be a whole number"):
        SharePool(2, levels=0)
    with pytest.raises(ValueError, match="`series` must hold series of 2 channels"):
        SharePool(2).set_levels([torch.zeros(3, 4)], np.random.default_rng(0))
    with pytest.raises(ValueError, match="pool share has no key 'order'"):
        build_pool("share", 5, order=3)
