"""Blocks of several tiles under Triton's interpreter, half precision, and tables that are refused."""

from __future__ import annotations

import pytest
import torch

from seqkit.kernels.block_product import block_product
from seqkit.kernels.monarch import monarch


def case(n: int, kept: int, p: int, q: int, rows: int, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(n)
    columns = torch.stack([torch.randperm(n) for _ in range(kept)], 1)
    x, blocks, grad = torch.randn(rows, n * q), torch.randn(n, p, kept * q), torch.randn(rows, n * p)
    return x.to(dtype), blocks.to(dtype) / (kept * q) ** 0.5, columns, grad.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(("rows", "n", "kept", "p", "q"), [(70, 2, 2, 70, 40), (0, 4, 3, 5, 5)])
def test_triton_takes_several_tiles_and_halves(
    rows: int, n: int, kept: int, p: int, q: int, dtype: torch.dtype
) -> None:
    pytest.importorskip("triton")
    x, blocks, columns, grad = case(n, kept, p, q, rows, dtype)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    leaves = [x.to(device).requires_grad_(), blocks.to(device).requires_grad_()]
    y = block_product(*leaves, columns.to(device), backend="triton")
    got = [y, *torch.autograd.grad(y, leaves, grad.to(device))]
    wide = [x.double().requires_grad_(), blocks.double().requires_grad_()]
    # The dense matrix, block by block.
    weight = torch.zeros(n, p, n, q, dtype=torch.float64)
    for i in range(n):
        for m in range(kept):
            weight[i, :, columns[i, m]] += wide[1][i].view(p, kept, q)[:, m]
    z = wide[0] @ weight.view(n * p, n * q).mT
    want = [z, *torch.autograd.grad(z, wide, grad.double())]
    for one, other in zip((value.detach() for value in got), (value.detach() for value in want), strict=True):
        assert one.dtype == dtype
        assert one.shape == other.shape
        scale = other.abs().max() if other.numel() else 1
        limit = float(scale) * (2e-3 if dtype.itemsize == 2 else 2e-6)
        assert torch.allclose(one.double().cpu(), other, rtol=0, atol=limit)


def test_monarch_in_halves_under_triton() -> None:
    pytest.importorskip("triton")
    torch.manual_seed(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    x, w1, w2 = (torch.randn(*shape, device=device).half() / 4 for shape in ((5, 16), (4, 4, 4), (4, 4, 4)))
    want = monarch(x.double(), w1.double(), w2.double(), backend="reference")
    assert torch.allclose(monarch(x, w1, w2, backend="triton").double(), want, atol=2e-3)


def test_halves_on_the_cpu_add_groups_in_full_precision() -> None:
    x, blocks, columns, grad = case(4, 2, 3, 3, 3000, torch.bfloat16)
    blocks.requires_grad_()
    (got,) = torch.autograd.grad(block_product(x, blocks, columns), blocks, grad)
    wide = blocks.detach().double().requires_grad_()
    (want,) = torch.autograd.grad(block_product(x.double(), wide, columns), wide, grad.double())
    assert float((got.double() - want).norm() / want.norm()) < 4e-3


def test_tables_that_are_no_permutations_are_refused() -> None:
    x, blocks, columns, _ = case(4, 2, 3, 3, 5, torch.float32)
    twice = columns.clone()
    twice[0, 1] = twice[1, 1]
    with pytest.raises(ValueError, match=r"must have a permutation of 0 to 3 in each column, got .* in column 1"):
        block_product(x, blocks, twice)
    with pytest.raises(ValueError, match="`columns` must have a permutation of 0 to 3"):
        block_product(x, blocks, columns - 1)
    with pytest.raises(TypeError, match=r"`columns` must be int64 or int32, got torch\.float32"):
        block_product(x, blocks, columns.float())
    assert torch.equal(block_product(x, blocks, columns.int()), block_product(x, blocks, columns))
