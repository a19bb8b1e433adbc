"""Relaxed permutations: doubly stochastic, exact where set, recovered where the order is told, refused where wrong."""

from __future__ import annotations

import pytest
import torch

from seqkit.structured.butterflies import LatentPermutation, SinkhornPermutation, SwapPermutation

KINDS = [SwapPermutation, SinkhornPermutation]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 5, 8])
def test_relaxed_matrix(kind: type[LatentPermutation], n: int) -> None:
    torch.manual_seed(0)
    permutation, x = kind(n), torch.randn(3, n)
    matrix = permutation.dense(0.7)
    assert matrix.shape == (n, n)
    assert bool((matrix >= 0).all())
    if kind is SinkhornPermutation or n == 8:
        assert torch.allclose(matrix.sum(1), torch.ones(n), atol=1e-5)
        assert torch.allclose(matrix.sum(0), torch.ones(n), atol=1e-2)
    assert torch.allclose(permutation(x, 0.7), x @ matrix.mT, atol=1e-6)
    hard = permutation.harden()
    assert sorted(hard.tolist()) == list(range(n))
    assert torch.equal(permutation.hard(x), x[:, hard])
    rows = matrix.detach().double()
    want = -(rows * rows.clamp(min=1e-300).log()).sum(1).mean()
    assert float(permutation.entropy(0.7).detach()) == pytest.approx(float(want), abs=1e-5)
    if n > 1:
        permutation(x).square().sum().backward()
        assert all(value.grad is not None and value.grad.any() for value in permutation.parameters())


@pytest.mark.parametrize("n", [2, 6, 16])
def test_swaps_are_set_to_a_permutation(n: int) -> None:
    order, swaps, x = torch.randperm(n), SwapPermutation(n), torch.randn(4, n)
    swaps.set(order, certainty=30.0)
    assert torch.equal(swaps.harden(), order)
    assert torch.allclose(swaps(x), x[:, order], atol=1e-5)
    assert float(swaps.entropy().detach()) < 1e-5


def test_low_temperatures_sharpen() -> None:
    torch.manual_seed(0)
    for kind in KINDS:
        permutation = kind(8)
        entropies = [float(permutation.entropy(at).detach()) for at in (10.0, 1.0, 0.1)]
        assert entropies == sorted(entropies, reverse=True)
        assert entropies[0] <= torch.tensor(8.0).log() + 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_an_order_that_is_told_is_learned_from_the_best_of_a_few_starts(kind: type[LatentPermutation]) -> None:
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    x = torch.randn(64, 8, generator=torch.Generator().manual_seed(1))
    found = []
    for seed in range(5):
        torch.manual_seed(seed)
        permutation = kind(8)
        search = torch.optim.Adam(permutation.parameters(), 0.1)
        for _ in range(150):
            loss = (permutation(x) - x[:, order]).square().mean()
            search.zero_grad()
            loss.backward()
            search.step()
        found.append(torch.equal(permutation.harden(), order))
        if found[-1]:
            break
    assert any(found)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="`n` must be a whole number of at least 1, got 0"):
        SwapPermutation(0)
    with pytest.raises(ValueError, match="`iterations` must be a whole number of at least 1, got 0"):
        SinkhornPermutation(4, iterations=0)
    for kind in KINDS:
        with pytest.raises(ValueError, match=r"`x` must have shape \(..., 4\), got \(2, 5\)"):
            kind(4)(torch.zeros(2, 5))
        with pytest.raises(ValueError, match=r"`x` must have shape \(..., 4\), got \(2, 5\)"):
            kind(4).hard(torch.zeros(2, 5))
        with pytest.raises(ValueError, match="`temperature` must be a finite number above 0, got"):
            kind(4).dense(0.0)
    with pytest.raises(ValueError, match=r"`permutation` must have shape \(4,\), got \(3,\)"):
        SwapPermutation(4).set(torch.arange(3))
    with pytest.raises(ValueError, match="`permutation` must hold each whole number from 0 to n - 1 once"):
        SwapPermutation(4).set(torch.zeros(4, dtype=torch.int64))
