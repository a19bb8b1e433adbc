"""Estimates of attention matrices: their budget, their error, and that no matrix is made for either."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from seqkit.attention import (
    choose_share,
    dense_matrix,
    dense_support,
    estimate_attention,
    local_support,
    split_budget,
    strongest_keys,
)

METHODS = ("scatterbrain", "performer", "lsh")
B, L, H, D = 2, 48, 3, 8
LENGTHS = torch.tensor([48, 31])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def queries_and_keys(length: int = L) -> tuple[Tensor, Tensor]:
    q, k = torch.randn(2, B, length, H, D, generator=generator(1), dtype=torch.float64)
    return q, k


def normalised(matrix: Tensor) -> Tensor:
    mass = matrix.sum(-1, keepdim=True)
    return matrix / torch.where(mass > 0, mass, 1)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_matrix_and_error_are_the_definitions(method: str, causal: bool, padded: bool) -> None:
    q, k = queries_and_keys()
    options = {"causal": causal, "lengths": LENGTHS if padded else None}
    found = estimate_attention(q, k, 12, method=method, generator=generator(), **options)
    ours, exact = (
        normalised(dense_matrix(q, k, **needs, **options))
        for needs in ({"features": found.features, "support": found.support}, {})
    )
    if padded:
        ours[1, :, 31:], exact[1, :, 31:] = 0, 0
    assert (found.matrix() - ours).abs().max() < 1e-12
    distance = (ours - exact).square().sum((-1, -2)).sqrt()
    assert (found.error(relative=False) - distance).abs().max() < 1e-12
    assert (found.error() - distance / exact.square().sum((-1, -2)).sqrt()).abs().max() < 1e-12


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("budget", [4, 12, 20])
def test_budget_is_kept(method: str, budget: int, causal: bool) -> None:
    q, k = queries_and_keys()
    found = estimate_attention(q, k, budget, method=method, causal=causal, generator=generator())
    features = found.features.n_features if found.features else 0
    keys = found.support.width if found.support else 0
    assert features + keys == budget
    if found.support:
        assert (dense_support(found.support, L).sum(-1) <= keys).all()


def test_whole_budget_is_exact() -> None:
    q, k = queries_and_keys()
    assert estimate_attention(q, k, L, method="lsh", rounds=1, generator=generator()).error().max() < 1e-12


def test_more_memory_less_error() -> None:
    q, k = queries_and_keys()
    for method in METHODS:
        errors = [
            torch.stack(
                [
                    estimate_attention(q, k, m, method=method, generator=generator(seed)).error().mean()
                    for seed in range(8)
                ]
            ).mean()
            for m in (6, 12, 24, 48)
        ]
        assert errors == sorted(errors, reverse=True), method


def test_error_off_the_support_is_the_features() -> None:
    q, k = queries_and_keys()
    found = estimate_attention(q, k, 24, generator=generator())
    exact = dense_matrix(q, k)
    low_rank = dense_matrix(q, k, features=found.features)
    both = dense_matrix(q, k, features=found.features, support=found.support)
    off = ~dense_support(found.support, L)
    assert torch.allclose((both - exact).square().sum(), ((low_rank - exact).square() * off).sum(), rtol=1e-12)


def test_unbiased_before_division() -> None:
    # Features are drawn anew each time, from one generator. One hash finds the keys, as its buckets hold all of them.
    random = generator(3)
    q, k = (0.75 * x / x.norm(dim=-1, keepdim=True) for x in queries_and_keys(8))
    found = []
    for _ in range(4000):
        one = estimate_attention(q[:1, :, :1], k[:1, :, :1], 12, rounds=1, scale=1.0, generator=random)
        found.append(dense_matrix(q[:1, :, :1], k[:1, :, :1], features=one.features, support=one.support, scale=1.0))
    draws = torch.stack(found)
    spread = draws.std(0) / len(draws) ** 0.5
    off = (draws.mean(0) - dense_matrix(q[:1, :, :1], k[:1, :, :1], scale=1.0)).abs()
    assert (off[spread > 1e-12] / spread[spread > 1e-12]).max() < 4.5
    assert (off[spread <= 1e-12] < 1e-12).all()


@pytest.mark.parametrize(
    ("budget", "share", "expected"),
    [
        (64, 0.5, (32, 32)),
        (9, 0.5, (4, 5)),
        (10, 0.01, (8, 2)),
        (10, 0.99, (2, 8)),
        (3, 0.5, (2, 1)),
        (8, 0.0, (8, 0)),
        (8, 1.0, (0, 8)),
    ],
)
def test_split(budget: int, share: float, expected: tuple[int, int]) -> None:
    assert split_budget(budget, share=share) == expected
    assert split_budget(budget, method="lsh") == (0, budget)


def test_same_seed_same_estimate() -> None:
    q, k = queries_and_keys()
    one, two, other = (estimate_attention(q, k, 12, generator=generator(seed)).matrix() for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_bad_inputs_are_named() -> None:
    q, k = queries_and_keys()
    with pytest.raises(ValueError, match="`method` must be one of"):
        estimate_attention(q, k, 12, method="scatter", generator=generator())
    with pytest.raises(ValueError, match="`budget` must be even"):
        estimate_attention(q, k, 11, method="performer", generator=generator())
    with pytest.raises(ValueError, match="`budget` must be at least 3"):
        estimate_attention(q, k, 2, generator=generator())
    for share in (-0.1, 1.1):
        with pytest.raises(ValueError, match="`share` must lie"):
            estimate_attention(q, k, 12, share=share, generator=generator())
    with pytest.raises(ValueError, match="`rounds` must be a whole number"):
        estimate_attention(q, k, 12, rounds=0, generator=generator())
    with pytest.raises(ValueError, match="`shares` must hold at least one"):
        choose_share(q, k, 12, shares=(), generator=generator())
    with pytest.raises(ValueError, match="`n_rows` must be a whole number"):
        choose_share(q, k, 12, n_rows=0, generator=generator())


@pytest.mark.parametrize("causal", [False, True])
def test_error_of_some_rows(causal: bool) -> None:
    q, k = queries_and_keys()
    found = estimate_attention(q, k, 12, causal=causal, lengths=LENGTHS, generator=generator())
    ours = found.matrix()
    exact = normalised(dense_matrix(q, k, causal=causal, lengths=LENGTHS))
    rows = torch.tensor([3, 17, 30])
    distance = (ours - exact)[:, :, rows].square().sum((-1, -2)).sqrt()
    assert (found.error(relative=False, positions=rows) - distance).abs().max() < 1e-12


def test_flat_attention_wants_features_and_sharp_attention_keys() -> None:
    q, k = (x / x.norm(dim=-1, keepdim=True) for x in queries_and_keys(256))
    q = 0.7 * k.flip(1) + 0.3 * q
    flat, sharp = (choose_share(q, k, 64, scale=scale, generator=generator()) for scale in (0.1, 200.0))
    assert flat <= 0.25
    assert sharp >= 0.5


def test_strongest_keys_are_kept() -> None:
    q, k = queries_and_keys()
    everything = local_support(L, 2 * L)
    for causal in (False, True):
        kept = strongest_keys(q, k, everything, 5, causal=causal, lengths=LENGTHS)
        matrix = dense_support(kept, L)
        assert torch.equal(matrix.sum(-1), kept.valid.sum(-1))
        weights = dense_matrix(q, k, causal=causal, lengths=LENGTHS)
        best = weights.topk(5, dim=-1).values.sum(-1)
        inside = torch.arange(L) < LENGTHS[:, None, None]
        assert (((weights * matrix).sum(-1) - best) * inside).abs().max() < 1e-12 * best.max()


def test_few_queries_have_as_many_keys_as_the_budget_says() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(1, 4, 1, 8, generator=generator), torch.randn(1, 40, 1, 8, generator=generator)
    estimate = estimate_attention(q, k, 20, method="lsh", generator=generator)
    assert estimate.support is not None
    assert int(estimate.support.valid.sum(-1).min()) == 20
    assert float(estimate_attention(q, k, 40, method="lsh", generator=generator).error().max()) < 1e-5
