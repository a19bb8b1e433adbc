"""Block masks: what they hold, patterns of Pixelfly, and attention over them against the whole matrix."""

import math

import pytest
import torch
from torch import Tensor

from seqkit.kernels.attention import (
    BlockMask,
    attention,
    block_mask,
    butterfly_mask,
    local_mask,
    mask_of_tiles,
    strided_mask,
)

LENGTH = 77


def random_mask(share: float) -> Tensor:
    torch.manual_seed(3)
    return torch.rand(LENGTH, LENGTH) < share


MASKS = {
    "butterfly": butterfly_mask(LENGTH, 2, tile=8),
    "butterfly, global": butterfly_mask(LENGTH, 1, tile=8, n_global=1),
    "local": local_mask(LENGTH, 1, tile=16),
    "local, global": local_mask(LENGTH, 0, tile=8, n_global=2),
    "strided": strided_mask(LENGTH, 3, tile=8),
    "sparse numbers": block_mask(random_mask(0.01), tile=8),
    "dense numbers": block_mask(random_mask(0.5), tile=(16, 8)),
    "nothing": block_mask(random_mask(0.0), tile=8),
    "everything": block_mask(random_mask(1.1), tile=(8, 32)),
    "a rule": block_mask(lambda i, j: (i - j).abs() % 5 == 0, (LENGTH, LENGTH), tile=11),
}
MORE = {
    "alone": {},
    "all at once": {"causal": True, "window": 20, "alibi": True, "softcap": 3.0, "dropout": 0.2, "seed": 3},
    "causal, lengths": {"causal": True, "lengths": torch.tensor([LENGTH, 30])},
    "from the start": {"causal": True, "alignment": "start"},
}


def results(tensors: list[Tensor], backend: str, **options) -> list[Tensor]:
    leaves = [value.detach().clone().requires_grad_() for value in tensors]
    out, lse = attention(*leaves, backend=backend, return_lse=True, **options)
    torch.manual_seed(1)
    weights = torch.randn(out.shape, dtype=torch.float64)
    return [out.detach(), lse.detach(), *torch.autograd.grad((out * weights).sum(), leaves)]


def tensors_of(length: int, n_rows: int = 2, n_heads: int = 4, n_key_heads: int = 2, size: int = 8) -> list[Tensor]:
    torch.manual_seed(0)
    heads = (n_heads, n_key_heads, n_key_heads)
    return [torch.randn(n_rows, length, count, size, dtype=torch.float64) for count in heads]


@pytest.mark.parametrize("more", MORE)
@pytest.mark.parametrize("name", MASKS)
def test_tiles_equal_the_whole_matrix(name: str, more: str) -> None:
    tensors = tensors_of(LENGTH)
    got, want = (results(tensors, backend, mask=MASKS[name], **MORE[more]) for backend in ("cpu", "reference"))
    for one, other in zip(got, want, strict=True):
        alive = other > -torch.inf
        assert torch.equal(alive, one > -torch.inf)
        torch.testing.assert_close(one[alive], other[alive], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", MASKS)
def test_it_is_softmax_over_the_dense_mask(name: str) -> None:
    q, k, v = (value.transpose(1, 2) for value in tensors_of(LENGTH, n_key_heads=4))
    dense = MASKS[name].dense()
    weights = (q @ k.mT / math.sqrt(8)).masked_fill(~dense, -torch.inf).softmax(-1)
    want = (weights.nan_to_num() @ v).transpose(1, 2)
    got = attention(*(value.transpose(1, 2) for value in (q, k, v)), mask=MASKS[name])
    torch.testing.assert_close(got, want, rtol=0, atol=1e-12)


def test_long_rows_of_tiles_come_in_several_panels() -> None:
    tensors = tensors_of(1500, n_rows=1, n_heads=2, n_key_heads=1)
    for mask in (local_mask(1500, 9, tile=32, n_global=20), butterfly_mask(1500, 9, tile=4, n_global=300)):
        got, want = (results(tensors, backend, mask=mask) for backend in ("cpu", "reference"))
        for one, other in zip(got, want, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-12)


def test_packed_series_see_their_own_part_of_the_mask() -> None:
    tensors = [value[:1] for value in tensors_of(LENGTH)]
    starts = torch.tensor([0, 20, LENGTH])
    for name in ("butterfly", "dense numbers"):
        got, want = (results(tensors, backend, mask=MASKS[name], starts=starts) for backend in ("cpu", "reference"))
        for one, other in zip(got, want, strict=True):
            alive = other > -torch.inf
            torch.testing.assert_close(one[alive], other[alive], rtol=1e-12, atol=1e-12)


def test_other_numbers_of_queries_and_keys() -> None:
    torch.manual_seed(0)
    mask = block_mask(torch.rand(50, 90) < 0.1, tile=(8, 16))
    q, k, v = torch.randn(1, 50, 2, 8).double(), torch.randn(1, 90, 2, 8).double(), torch.randn(1, 90, 2, 8).double()
    got, want = (results([q, k, v], backend, mask=mask, causal=True) for backend in ("cpu", "reference"))
    for one, other in zip(got, want, strict=True):
        alive = other > -torch.inf
        torch.testing.assert_close(one[alive], other[alive], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("tile", [1, 8, 11, 64, 100, (16, 8)])
def test_any_mask_survives_its_tiles(tile: int | tuple[int, int]) -> None:
    for share in (0.0, 0.02, 0.6, 1.1):
        dense = random_mask(share)
        assert torch.equal(block_mask(dense, tile=tile).dense(), dense)
    rule = block_mask(lambda i, j: j <= i, (50, 70), tile=tile)
    assert torch.equal(rule.dense(), torch.ones(50, 70).tril().bool())


@pytest.mark.parametrize("name", MASKS)
def test_transposed_copy_holds_the_same_tiles(name: str) -> None:
    mask = MASKS[name]
    by_row = torch.repeat_interleave(torch.arange(len(mask.row_starts) - 1), mask.row_starts.diff())
    by_column = torch.repeat_interleave(torch.arange(len(mask.column_starts) - 1), mask.column_starts.diff())
    assert torch.equal(by_row[mask.entries], mask.rows)
    assert torch.equal(mask.columns[mask.entries], by_column)
    assert sorted(mask.entries.tolist()) == list(range(len(mask.columns)))
    partial = mask.partial[mask.partial >= 0]
    assert partial.numel() == 0 or int(partial.max()) < len(mask.bits)


@pytest.mark.parametrize("n_factors", [0, 1, 2, 3, 4])
def test_flat_butterfly(n_factors: int) -> None:
    mask = butterfly_mask(128, n_factors, tile=8)
    tiles = mask.dense()[::8, ::8]
    assert torch.equal(tiles, tiles.mT)
    assert bool((tiles.sum(1) == n_factors + 1).all())
    factors = torch.eye(16).bool()
    for power in range(n_factors):
        i = torch.arange(16)
        factors |= (i.unsqueeze(1) ^ i) == 2**power
    assert torch.equal(tiles, factors)
    assert mask.density == (n_factors + 1) / 16
    reach = torch.linalg.matrix_power(tiles.double(), 16) > 0
    assert len({tuple(row.tolist()) for row in reach}) == 16 // 2**n_factors  # connected components


def test_two_tiles_and_one_factor_are_dense() -> None:
    assert bool(butterfly_mask(16, 1, tile=8).dense().all())


def test_patterns_say_what_they_cost() -> None:
    local = local_mask(160, 1, tile=16, n_global=1).dense()[::16, ::16]
    i = torch.arange(10)
    apart = i.unsqueeze(1) - i
    assert torch.equal(local, (apart.abs() <= 1) | (i == 0) | (i == 0).unsqueeze(1))
    strided = strided_mask(160, 3, tile=16, width=1)
    assert torch.equal(strided.dense()[::16, ::16], (apart.abs() <= 1) | (apart % 3 == 0))
    assert strided.density == float(strided.dense()[::16, ::16].double().mean())


def test_hidden_tiles_are_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    product = torch.bmm

    def counting(a: Tensor, b: Tensor, **options) -> Tensor:
        sizes.append(a.shape[0] * a.shape[1] * a.shape[2] * b.shape[2])
        return product(a, b, **options)

    monkeypatch.setattr(torch, "bmm", counting)
    tensors = tensors_of(1024, n_rows=1, n_heads=1, n_key_heads=1)
    for mask in (butterfly_mask(1024, 1, tile=64), strided_mask(1024, 4, tile=32), None):
        for options in ({}, {"causal": True}):
            sizes.clear()
            attention(*tensors, mask=mask, backend="cpu", **options)
            share = (1.0 if mask is None else mask.density) * (0.5 if options else 1.0)
            assert sum(sizes) <= 2 * 8 * 1024**2 * (share + 0.15)
            assert sum(sizes) >= 2 * 8 * 1024**2 * share * 0.9


def test_what_cannot_be_is_refused() -> None:
    q = torch.zeros(1, 10, 1, 4)
    with pytest.raises(ValueError, match=r"`mask` must be for 10 queries and 10 keys, got one for \(12, 12\)"):
        attention(q, q, q, mask=local_mask(12, 1, tile=4))
    with pytest.raises(ValueError, match=r"`tiles` must have shape \(3, 3\), got \(2, 2\)"):
        mask_of_tiles(torch.ones(2, 2), (10, 10), 4)
    with pytest.raises(ValueError, match="`shape` must be given where `visible` is a function"):
        block_mask(lambda i, j: i == j)
    with pytest.raises(ValueError, match="`tile` must be a whole number of at least 1, got 0"):
        local_mask(10, 1, tile=0)
    for make in (butterfly_mask, local_mask):
        with pytest.raises(ValueError, match="must be a whole number, 0 or above, got -1"):
            make(10, -1)
    with pytest.raises(ValueError, match="`n_global` must be a whole number, 0 or above, got -2"):
        local_mask(10, 1, n_global=-2)
    with pytest.raises(ValueError, match='"sdpa" here: it does not serve `mask`'):
        attention(q, q, q, mask=local_mask(10, 1, tile=4), backend="sdpa")


def test_a_mask_moves_to_another_device() -> None:
    moved = butterfly_mask(64, 1, tile=8).to("meta")
    assert isinstance(moved, BlockMask)
    assert moved.bits.device.type == "meta"
    assert (moved.shape, moved.tile) == ((64, 64), (8, 8))
    q = torch.zeros(1, 64, 1, 4)
    with pytest.raises(ValueError, match=r'`mask` must be on cpu like `q`, got meta; use mask.to\("cpu"\)'):
        attention(q, q, q, mask=moved)
