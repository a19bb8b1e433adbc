"""Supports: which keys each query meets, each once, whatever comes later or lies past the end."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from seqkit.attention import (
    AngularHash,
    Support,
    dense_support,
    distance_vectors,
    draw_hash,
    draw_projections,
    hash_support,
    join_supports,
    local_support,
    sorted_support,
)

B, L, H, D = 2, 50, 3, 8
LENGTHS = torch.tensor([50, 23])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def queries_and_keys(length: int = L) -> tuple[Tensor, Tensor]:
    q, k = torch.randn(2, B, length, H, D, generator=generator(1), dtype=torch.float64)
    return q, k


def check(support: Support, length: int) -> Tensor:
    """Each key counts once: the matrix has as many entries as the list."""
    matrix = dense_support(support, length)
    assert torch.equal(matrix.sum(-1), support.valid.sum(-1))
    return matrix


def buckets(x: Tensor, directions: Tensor) -> Tensor:
    along = x.transpose(1, 2) @ directions
    return torch.cat((along, -along), -1).argmax(-1)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("width", [1, 4, 5, 60])
def test_local(width: int, causal: bool) -> None:
    matrix = check(local_support(L, width, causal=causal), L)[0, 0]
    i = torch.arange(L)
    gap = i - i[:, None]
    expected = (gap <= 0) & (gap > -width) if causal else (gap >= -(width // 2)) & (gap < (width + 1) // 2)
    assert torch.equal(matrix, expected)


@pytest.mark.parametrize("rounds", [1, 3])
@pytest.mark.parametrize("width", [1, 4, 16, 60])
def test_hash_takes_the_querys_bucket(width: int, rounds: int) -> None:
    q, k = queries_and_keys()
    hashed = draw_hash(6, D, rounds=rounds, generator=generator(2), dtype=torch.float64)
    matrix = check(hash_support(q, k, hashed, width), L)
    width = min(width, L)
    least = torch.zeros(B, H, L, dtype=torch.int64)
    for directions in hashed.directions:
        same = buckets(q, directions)[..., None] == buckets(k, directions)[..., None, :]
        size = same.sum(-1)
        # A bucket that fits in is there whole; of a larger one there are as many keys as there are places.
        fits = size <= width
        assert matrix[fits][same[fits]].all()
        assert ((matrix & same).sum(-1) >= size.clamp(max=width)).all()
        least = torch.maximum(least, torch.full_like(least, width))
    assert (matrix.sum(-1) >= least).all()
    assert (matrix.sum(-1) <= rounds * width).all()


@pytest.mark.parametrize("width", [1, 4, 60])
def test_causal_hash_takes_the_last_keys_of_the_bucket(width: int) -> None:
    q, k = queries_and_keys()
    hashed = draw_hash(6, D, generator=generator(2), dtype=torch.float64)
    matrix = check(hash_support(q, k, hashed, width, causal=True), L)
    same = (buckets(q, hashed.directions[0])[..., None] == buckets(k, hashed.directions[0])[..., None, :]).tril()
    later = same.flip(-1).cumsum(-1).flip(-1)
    assert torch.equal(matrix, same & (later <= width))


def test_later_samples_do_not_change_a_causal_support() -> None:
    q, k = queries_and_keys()
    hashed = draw_hash(6, D, rounds=2, generator=generator(2))
    before = dense_support(hash_support(q, k, hashed, 4, causal=True), L)
    q[:, 30:], k[:, 30:] = -q[:, 30:], 7 * k[:, 30:].flip(-1)
    after = dense_support(hash_support(q, k, hashed, 4, causal=True), L)
    assert torch.equal(before[..., :30, :], after[..., :30, :])


@pytest.mark.parametrize("kind", ["angular", "angular, causal", "sorted"])
def test_what_lies_past_the_end_is_in_no_bucket(kind: str) -> None:
    q, k = queries_and_keys()
    hashed = draw_hash(6, D, rounds=2, generator=generator(2))
    projections = draw_projections(2, D, generator=generator(2))

    def support(q: Tensor, k: Tensor, lengths: Tensor | None) -> Support:
        if kind == "sorted":
            return sorted_support(q, k, projections, 7, lengths=lengths)
        return hash_support(q, k, hashed, 7, causal="causal" in kind, lengths=lengths)

    q[1, 23:], k[1, 23:] = torch.nan, torch.inf
    matrix = check(support(q, k, LENGTHS), L)
    assert not matrix[1, :, 23:].any()
    assert not matrix[1, :, :, 23:].any()
    alone = check(support(q[1:, :23], k[1:, :23], None), 23)
    assert torch.equal(matrix[1:, :, :23, :23], alone)


def test_sorted_chunks_pair_equal_ranks() -> None:
    q, k = queries_and_keys(48)
    projections = draw_projections(1, D, generator=generator(3), dtype=torch.float64)
    matrix = check(sorted_support(q, k, projections, 6), 48)
    Q, K = distance_vectors(q.transpose(1, 2), k.transpose(1, 2))
    rank_q, rank_k = ((x @ projections[0]).argsort(-1).argsort(-1) // 6 for x in (Q, K))
    assert torch.equal(matrix, rank_q[..., None] == rank_k[..., None, :])


def test_every_query_has_its_keys_where_the_length_is_no_multiple() -> None:
    q, k = queries_and_keys(47)
    support = sorted_support(q, k, draw_projections(1, D, generator=generator(3)), 6)
    assert (check(support, 47).sum(-1) == 6).all()


def test_distances_say_the_product() -> None:
    q, k = (x.transpose(1, 2) for x in queries_and_keys())
    Q, K = distance_vectors(q, k)
    radius = q.square().sum(-1).amax(-1) + k.square().sum(-1).amax(-1)
    distance = (Q[..., :, None, :] - K[..., None, :, :]).square().sum(-1)
    assert (distance - 2 * (radius[..., None, None] - q @ k.mT)).abs().max() < 1e-12 * distance.max()
    for x in (Q, K):
        assert (x.square().sum(-1) - radius[..., None]).abs().max() < 1e-12 * radius.max()


def test_union_counts_each_key_once() -> None:
    q, k = queries_and_keys()
    one = hash_support(q, k, draw_hash(6, D, generator=generator(4)), 5)
    two = local_support(L, 5)
    matrix = check(join_supports(one, two, one), L)
    assert torch.equal(matrix, dense_support(one, L) | dense_support(two, L))


def test_hashing_finds_planted_neighbours() -> None:
    random = generator(5)
    length, size = 512, 32
    k = torch.nn.functional.normalize(torch.randn(1, length, 1, size, generator=random), dim=-1)
    order = torch.randperm(length, generator=random)
    q = torch.nn.functional.normalize(k[:, order] + 0.5 / size**0.5 * torch.randn(k.shape, generator=random), dim=-1)

    def recall(support: Support) -> float:
        return float(dense_support(support, length)[0, 0, torch.arange(length), order].float().mean())

    angular = recall(hash_support(q, k, draw_hash(16, size, rounds=2, generator=random), 32))
    chunks = recall(sorted_support(q, k, draw_projections(2, size, generator=random), 32))
    assert angular > 0.7  # chance is 0.12
    assert chunks > 0.25


def test_many_buckets_are_several_small_hashes() -> None:
    hashed = draw_hash(300, D, rounds=2, generator=generator(6), dtype=torch.float64)
    assert math.prod(hashed.parts) == hashed.n_buckets >= 300
    assert max(hashed.parts) <= 2 * D
    assert not any(size % 2 for size in hashed.parts)
    q, k = queries_and_keys()
    support = check(hash_support(q, k, hashed, 60, causal=True), L)
    expected = torch.zeros_like(support)
    for directions in hashed.directions:
        same = torch.ones_like(support)
        for one in directions.split([size // 2 for size in hashed.parts], -1):
            same &= buckets(q, one)[..., None] == buckets(k, one)[..., None, :]
        expected |= same
    assert torch.equal(support, expected.tril())


@pytest.mark.parametrize("n_buckets", [2, 16, 18, 64, 256, 1000, 4096])
def test_the_number_of_buckets_is_nearly_the_one_asked_for(n_buckets: int) -> None:
    hashed = draw_hash(n_buckets, D, generator=generator())
    assert n_buckets <= hashed.n_buckets <= 2 * n_buckets
    assert hashed.n_buckets == n_buckets or n_buckets > 2 * D


def test_same_seed_same_support() -> None:
    q, k = queries_and_keys()
    one, two, other = (hash_support(q, k, draw_hash(6, D, generator=generator(seed)), 5).keys for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_nothing_is_differentiated() -> None:
    q, k = (x.requires_grad_() for x in queries_and_keys())
    assert not hash_support(q, k, draw_hash(6, D, generator=generator()), 5).keys.requires_grad
    assert not sorted_support(q, k, draw_projections(1, D, generator=generator()), 5).keys.requires_grad


def test_bad_inputs_are_named() -> None:
    q, k = queries_and_keys()
    with pytest.raises(ValueError, match="`n_buckets` must be even"):
        draw_hash(5, D, generator=generator())
    with pytest.raises(ValueError, match="`width` must be a whole number"):
        hash_support(q, k, draw_hash(4, D, generator=generator()), 0)
    with pytest.raises(ValueError, match=r"`hashed.directions` must have shape"):
        hash_support(q, k, AngularHash(torch.zeros(1, 4, 3)), 4)
    with pytest.raises(ValueError, match="`projections` must have shape"):
        sorted_support(q, k, torch.zeros(1, D), 4)
    with pytest.raises(ValueError, match="of one length"):
        join_supports(local_support(4, 2), local_support(5, 2))
    with pytest.raises(ValueError, match="at least one support"):
        join_supports()
