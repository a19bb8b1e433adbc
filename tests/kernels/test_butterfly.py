"""What the contract of operators does not say of butterflies: their matrices, tiles, threads, and torch alone."""

import pytest
import torch
from torch import Tensor

from seqkit.kernels.butterfly import butterfly, cpu, plain
from seqkit.kernels.butterfly.reference import butterfly_reference

DTYPES = [torch.float64, torch.complex128]


def factors(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    """Twiddle (..., m, n/2, 2, 2) for the number of levels m that ends `shape`."""
    torch.manual_seed(seed)
    return torch.randn(*shape, 1 << shape[-1] >> 1, 2, 2, dtype=dtype) / 2**0.5


def error(got: Tensor, want: Tensor) -> float:
    return float((got - want).abs().square().mean().sqrt() / want.abs().square().mean().sqrt())


def factor_matrix(twiddle: Tensor, index: int) -> Tensor:
    """The matrix of one level, written entry by entry: blocks [[D1, D2], [D3, D4]] of size 2^(index + 1)."""
    n, stride = 2 * len(twiddle), 1 << index
    matrix = torch.zeros(n, n, dtype=twiddle.dtype)
    for pair in range(n // 2):
        low = (pair // stride) * 2 * stride + pair % stride
        for i in range(2):
            for j in range(2):
                matrix[low + i * stride, low + j * stride] = twiddle[pair, i, j]
    return matrix


@pytest.mark.parametrize("first", ["increasing", "decreasing"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_product_of_the_dense_factors(dtype: torch.dtype, first: str) -> None:
    twiddle, x = factors(3, 4, dtype=dtype), torch.randn(5, 16, dtype=dtype)
    product = torch.eye(16, dtype=dtype)
    for block in range(3):
        matrices = [factor_matrix(twiddle[block, index], index) for index in range(4)]
        assert all(int((matrix != 0).sum()) == 32 for matrix in matrices)
        if (first == "increasing") == (block % 2 == 0):
            whole = matrices[3] @ matrices[2] @ matrices[1] @ matrices[0]
        else:
            whole = matrices[0] @ matrices[1] @ matrices[2] @ matrices[3]
        product = whole @ product
    assert error(butterfly(x, twiddle, first), x @ product.mT) < 1e-14
    assert error(butterfly(x, twiddle, first, "reference"), x @ product.mT) < 1e-14


@pytest.mark.parametrize(("batch", "n_levels"), [(1, 1), (70, 2), (33, 3), (40, 7), (9, 10)])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_tiles_and_threads(batch: int, n_levels: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    twiddle, x = factors(2, 2, n_levels, dtype=dtype), torch.randn(batch, 1 << n_levels, dtype=dtype)
    grad = torch.randn(batch, 2, 1 << n_levels, dtype=dtype)
    leaves = [x.requires_grad_(), twiddle.requires_grad_()]
    want = butterfly_reference(x, twiddle, True)
    want_gradients = torch.autograd.grad(want, leaves, grad)
    monkeypatch.setattr(cpu, "SMALLEST", 4)
    threads = torch.get_num_threads()
    for tile, count in ((1 << 20, 1), (1, 1), (1 << 20, 3)):
        monkeypatch.setattr(cpu, "TILE", tile)
        torch.set_num_threads(count)
        try:
            y = butterfly(x, twiddle, "increasing")
            gradients = torch.autograd.grad(y, leaves, grad)
        finally:
            torch.set_num_threads(threads)
        assert error(y.detach(), want.detach()) < 1e-14
        assert max(error(one, other) for one, other in zip(gradients, want_gradients, strict=True)) < 1e-14


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("increasing", [True, False])
def test_torch_alone(dtype: torch.dtype, increasing: bool) -> None:
    twiddle, x = factors(2, 3, 5, dtype=dtype).requires_grad_(), torch.randn(4, 32, dtype=dtype, requires_grad=True)
    grad = torch.randn(4, 2, 32, dtype=dtype)
    want = butterfly_reference(x, twiddle, increasing)
    wanted = torch.autograd.grad(want, [x, twiddle], grad)
    with torch.no_grad():
        assert error(plain.butterfly_forward(x, twiddle, increasing), want) < 1e-14
        found = plain.butterfly_backward(grad, x, twiddle, increasing)
    assert max(error(one, other) for one, other in zip(found, wanted, strict=True)) < 1e-14


def test_without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "HAS_NUMBA", False)
    twiddle, x = factors(2, 4), torch.randn(3, 16, dtype=torch.float64)
    assert error(butterfly(x, twiddle), butterfly(x, twiddle, backend="reference")) < 1e-14


@pytest.mark.parametrize("n_levels", [1, 4, 5])
def test_unpacking_returns_what_was_packed(n_levels: int) -> None:
    twiddle = factors(2, 3, n_levels)
    plan = cpu.table(twiddle, False)
    packed = cpu.packed(twiddle, plan)
    assert packed[0, -8:].eq(0).all()
    assert packed[0, :-8].sort().values.equal(twiddle[0].flatten().sort().values)
    assert torch.equal(cpu.unpacked(packed, plan, twiddle.shape), twiddle)


def test_empty_batch_and_leading_dimensions() -> None:
    twiddle = factors(2, 1, 3).requires_grad_()
    assert butterfly(torch.zeros(0, 8, dtype=torch.float64), twiddle).shape == (0, 2, 8)
    y = butterfly(torch.randn(2, 3, 8, dtype=torch.float64), twiddle)
    assert y.shape == (2, 3, 2, 8)
    assert butterfly(torch.randn(8, dtype=torch.float64), twiddle[0]).shape == (8,)
    butterfly(torch.zeros(0, 8, dtype=torch.float64), twiddle).sum().backward()
    assert twiddle.grad is not None
    assert not twiddle.grad.any()


def test_unknown_direction_is_refused() -> None:
    with pytest.raises(ValueError, match="`first` must be one of increasing, decreasing, got 'up'"):
        butterfly(torch.zeros(8), torch.zeros(1, 3, 4, 2, 2), "up")
