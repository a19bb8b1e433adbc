"""Random features: unbiased, with the variance that theory gives, and better when orthogonal or hyperbolic."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from seqkit.attention import RandomFeatures, draw_features, log_features, pair_variance

D, DRAWS = 8, 20_000


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def vectors(norm: float = 0.75) -> tuple[Tensor, Tensor]:
    q, k = torch.randn(2, 6, D, generator=generator(1), dtype=torch.float64)
    return tuple(norm * x / x.norm(dim=-1, keepdim=True) for x in (q, k))


def estimates(q: Tensor, k: Tensor, n_features: int, draws: int, **kind: bool) -> Tensor:
    random = generator(2)
    found = []
    for _ in range(draws):
        features = draw_features(n_features, D, generator=random, dtype=torch.float64, **kind)
        found.append((log_features(q, features) + log_features(k, features)).exp().sum(-1))
    return torch.stack(found)


@pytest.mark.parametrize("hyperbolic", [False, True])
@pytest.mark.parametrize("orthogonal", [False, True])
def test_unbiased(orthogonal: bool, hyperbolic: bool) -> None:
    q, k = vectors()
    found = estimates(q, k, 16, DRAWS // 4, orthogonal=orthogonal, hyperbolic=hyperbolic)
    deviations = (found.mean(0) - (q * k).sum(-1).exp()) / (found.std(0) / len(found) ** 0.5)
    assert deviations.abs().max() < 4


@pytest.mark.parametrize("hyperbolic", [False, True])
def test_variance_of_independent_directions(hyperbolic: bool) -> None:
    q, k = vectors()
    count = 8
    # One draw of many independent directions, cut into many estimates.
    drawn = draw_features(
        count * DRAWS * 2, D, generator=generator(3), orthogonal=False, hyperbolic=False, dtype=torch.float64
    )
    rows = drawn.directions.view(-1, count // (2 if hyperbolic else 1), D)
    along = torch.einsum("nmd,pd->npm", rows, q + k)
    along = torch.cat((along, -along), -1) if hyperbolic else along
    found = (along - (q.square().sum(-1) + k.square().sum(-1))[:, None] / 2).exp().mean(-1)
    ratio = found.var(0) / pair_variance(q, k, count, hyperbolic=hyperbolic)
    assert ratio.min() > 0.9
    assert ratio.max() < 1.1


def test_variance_falls_with_the_number_of_features() -> None:
    q, k = vectors()
    found = [estimates(q, k, count, 3000, orthogonal=False, hyperbolic=False).var(0).mean() for count in (4, 16, 64)]
    slopes = [torch.log(after / before) / torch.log(torch.tensor(4.0)) for before, after in itertools.pairwise(found)]
    assert all(abs(slope + 1) < 0.15 for slope in slopes)


def test_orthogonal_and_hyperbolic_have_less_variance() -> None:
    q, k = vectors()
    plain = estimates(q, k, 16, 4000, orthogonal=False, hyperbolic=False).var(0).mean()
    orthogonal = estimates(q, k, 16, 4000, orthogonal=True, hyperbolic=False).var(0).mean()
    both = estimates(q, k, 16, 4000, orthogonal=True, hyperbolic=True).var(0).mean()
    assert orthogonal < 0.95 * plain
    assert both < 0.8 * orthogonal


def test_directions_are_orthogonal_in_blocks_and_as_long_as_normal_ones() -> None:
    rows = draw_features(4000, D, generator=generator(), hyperbolic=False, dtype=torch.float64).directions
    blocks = rows.view(-1, D, D)
    products = blocks @ blocks.mT
    assert (products - torch.diag_embed(products.diagonal(dim1=1, dim2=2))).abs().max() < 1e-12
    assert abs(rows.square().sum(-1).mean() - D) < 0.3
    assert (rows.mT @ rows / len(rows) - torch.eye(D)).abs().max() < 0.1
    assert rows.mean(0).abs().max() < 0.1


def test_same_seed_same_features() -> None:
    before = torch.get_rng_state()
    one, two, other = (draw_features(12, D, generator=generator(seed)).directions for seed in (5, 5, 6))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_hyperbolic_features_use_each_direction_both_ways() -> None:
    features = draw_features(10, D, generator=generator())
    assert features.directions.shape == (5, D)
    assert features.n_features == 10
    q = vectors()[0].float()
    plain = RandomFeatures(torch.cat((features.directions, -features.directions)), False)
    assert torch.equal(log_features(q, features), log_features(q, plain))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_features": 7}, "`n_features` must be even for hyperbolic features, got 7; take 8"),
        ({"n_features": 0}, "`n_features` must be a whole number of at least 1"),
        ({"head_dim": 0}, "`head_dim` must be a whole number of at least 1"),
    ],
)
def test_bad_sizes_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_features(**{"n_features": 8, "head_dim": D, **options}, generator=generator())
    with pytest.raises(ValueError, match="vectors of size 8"):
        log_features(torch.zeros(3, 4), draw_features(8, D, generator=generator()))
