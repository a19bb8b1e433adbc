"""Which matrices are Monarch, what their projection promises, and how products of two come apart."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import scipy.fft
import scipy.linalg
import torch
from torch import Tensor

from seqkit.structured import Monarch, factor_monarch_product, project


def transposition(m: int, n: int | None = None) -> Tensor:
    """The permutation matrix of places (i, j) -> (j, i)."""
    n = m if n is None else n
    return torch.eye(m * n, dtype=torch.float64)[torch.arange(m * n).view(m, n).mT.flatten()]


def fourier(n: int) -> Tensor:
    return torch.fft.fft(torch.eye(n, dtype=torch.complex128), dim=0)


def distance(matrix: Tensor, **options: object) -> float:
    """Relative distance to the nearest Monarch matrix."""
    found = project(matrix, "monarch", **options).dense().detach()
    return float(torch.linalg.norm(found - matrix) / torch.linalg.norm(matrix))


def gaussian(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def test_is_two_block_diagonal_matrices_and_a_transposition() -> None:
    matrix = Monarch(64, 64, dtype=torch.float64)
    w1, w2 = (weight.detach() for weight in matrix.factors)
    P = transposition(8)
    # y[k, l] = sum_p w1[k, l, p] x[k, p];  z[s, l] = sum_k w2[l, s, k] y[k, l]: P turns (k, l) into (l, k) and back.
    product = P @ torch.block_diag(*w2) @ P @ torch.block_diag(*w1)
    assert torch.allclose(matrix.dense(), product, rtol=1e-13, atol=1e-14)


def test_rectangular_is_the_published_einsum() -> None:
    matrix = Monarch(12, 20, n_blocks=(4, 5), slice_rank=2, dtype=torch.float64)
    w1, w2 = matrix.factors
    x = gaussian(7, 12)
    y = torch.einsum("kqp,bkp->bkq", w1, x.view(7, 4, 3)).reshape(7, 8, 5)
    z = torch.einsum("lsr,brl->bsl", w2, y).reshape(7, 20)
    assert torch.allclose(matrix(x), z, rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "count"),
    [({}, 2 * 64**1.5), ({"n_blocks": 4}, 2 * 4 * 64), ({"n_blocks": 4, "slice_rank": 4}, 64 * 64 / 2)],
)
def test_counts_of_parameters(options: dict, count: float) -> None:
    matrix = Monarch(64, 64, **options)
    assert matrix.n_parameters == count
    assert matrix.flops == 2 * count


def test_counts_with_blocks_of_b_are_n_squared_by_b_and_n_b() -> None:
    for n in (32, 128, 512):
        matrix = Monarch(n, n)
        (k, b), (s, blocks) = matrix.digits
        assert (k * b, s * blocks, k * blocks) == (n, n, n)
        assert matrix.n_parameters == n * n // b + n * b


def test_orders_take_p_n_to_the_one_plus_one_over_p() -> None:
    for order, base in ((2, 8), (3, 4), (6, 2)):
        matrix = Monarch(64, 64, order=order)
        assert matrix.n_parameters == order * 64 * base
        assert matrix.flops == 2 * order * 64 * base


def members(n: int = 64) -> dict[str, Tensor]:
    m = math.isqrt(n)
    return {
        "identity": torch.eye(n, dtype=torch.float64),
        "diagonal": torch.diag(gaussian(n)),
        "hadamard": torch.tensor(scipy.linalg.hadamard(n), dtype=torch.float64),
        "kronecker": torch.kron(gaussian(m, m), gaussian(m, m, seed=1)),
        "rank one": torch.outer(gaussian(n), gaussian(n, seed=1)),
        "fourier of transposed columns": fourier(n) @ transposition(m).to(torch.complex128),
    }


@pytest.mark.parametrize("name", members(4))
def test_members(name: str) -> None:
    assert distance(members()[name]) < 1e-13


def test_fourier_of_other_sizes_and_blocks() -> None:
    for n, k in ((15, 3), (48, 6), (128, 8)):
        places = torch.arange(n).view(-1, k).mT.flatten()  # row (i0, i1) of the new order is place i1 k + i0
        turned = fourier(n)[:, places]
        assert distance(turned, n_blocks=(k, n // k)) < 1e-12, n


def test_what_is_not_a_member() -> None:
    F = fourier(64)
    assert 0.93 < distance(F) < 0.94
    assert 0.93 < distance(transposition(8)) < 0.94
    dct = torch.tensor(scipy.fft.dct(np.eye(64), axis=0))
    assert distance(dct) > 0.8
    assert distance(gaussian(64, 2) @ gaussian(2, 64, seed=1)) > 0.3


def test_full_slices_hold_every_matrix_and_more_rank_is_nearer() -> None:
    target = gaussian(24, 30)
    distances = [distance(target, n_blocks=(5, 4), slice_rank=rank) for rank in range(1, 7)]
    assert all(later < earlier for earlier, later in pairwise(distances))
    assert distances[-1] < 1e-13


def test_permutations_need_the_rank_of_their_fullest_slice() -> None:
    places = torch.randperm(64, generator=torch.Generator().manual_seed(3))
    permutation = torch.eye(64, dtype=torch.float64)[places]
    load = int(permutation.view(8, 8, 8, 8).sum((0, 3)).max())  # (s, l, k, p) -> ones in the slice of (l, k)
    assert distance(permutation, slice_rank=load) < 1e-13
    assert distance(permutation, slice_rank=load - 1) > 0.1


@pytest.mark.parametrize("rank", [1, 2])
def test_squared_error_is_the_sum_of_the_discarded_squares(rank: int) -> None:
    target = gaussian(20, 18)
    found = project(target, "monarch", n_blocks=(3, 5), slice_rank=rank).dense().detach()
    slices = target.view(4, 5, 3, 6).permute(1, 2, 0, 3)  # l, k; s, p
    discarded = torch.linalg.svdvals(slices)[..., rank:].square().sum()
    assert float((found - target).square().sum()) == pytest.approx(float(discarded), rel=1e-10)


def test_padded_sizes_are_the_corner_of_the_padded_projection() -> None:
    target = gaussian(13, 11)
    padded = torch.zeros(15, 12, dtype=torch.float64)
    padded[:13, :11] = target
    corner = project(padded, "monarch", n_blocks=(4, 5)).dense()[:13, :11]
    assert torch.allclose(project(target, "monarch", n_blocks=(4, 5)).dense(), corner, atol=1e-12)


def test_projecting_twice_is_projecting_once() -> None:
    for options in ({}, {"slice_rank": 2}, {"order": 3}, {"order": 6}):
        once = project(gaussian(64, 64), "monarch", **options).dense().detach()
        assert distance(once, **options) < 1e-10


def test_closed_under_diagonals_and_turned_transposes() -> None:
    M = Monarch(64, 64, dtype=torch.float64).dense().detach()
    P, D = transposition(8), torch.diag(gaussian(64))
    assert distance(D @ M) < 1e-12
    assert distance(M @ D) < 1e-12
    assert distance(P @ M.mT @ P) < 1e-12
    assert distance(P @ torch.linalg.inv(M) @ P) < 1e-8
    assert distance(M.mT) > 0.1
    assert distance(M + Monarch(64, 64, dtype=torch.float64).dense().detach()) > 0.1


def test_higher_orders_hold_the_fourier_transform_of_reversed_digits() -> None:
    for base, order in ((4, 3), (2, 6), (3, 3), (2, 4)):
        n = base**order
        places = torch.arange(n).view(*[base] * order).permute(*reversed(range(order))).flatten()
        assert distance(fourier(n)[:, places], order=order) < 1e-10


def test_descent_after_the_fit_gains_little_at_higher_orders() -> None:
    target = gaussian(27, 27)
    matrix = project(target, "monarch", order=3)
    before = float((matrix.dense() - target).detach().norm())
    optimizer = torch.optim.LBFGS(matrix.parameters(), max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = (matrix.dense() - target).square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    after = float((matrix.dense() - target).detach().norm())
    assert after <= before
    assert before < 1.1 * after


def test_norms_of_neighbouring_stages_are_shared() -> None:
    matrix = project(gaussian(64, 64) * 1e-6, "monarch", order=3)
    sizes = [float(weight.detach().square().mean().sqrt()) for weight in matrix.factors]
    assert max(sizes) / min(sizes) < 10


@pytest.mark.parametrize("n", [16, 64])
def test_product_of_two_comes_apart(n: int) -> None:
    torch.manual_seed(n)
    one, other = (Monarch(n, n, dtype=torch.complex128).dense().detach() for _ in range(2))
    product = one @ other.mH
    left, right = factor_monarch_product(product)
    assert torch.linalg.norm(left.dense() @ right.dense().mH - product) < 1e-7 * torch.linalg.norm(product)


def test_convolution_is_a_product_of_two() -> None:
    h = gaussian(16)
    circulant = torch.stack([h.roll(shift) for shift in range(16)], dim=1)
    M1 = project(fourier(16) @ transposition(4).to(torch.complex128), "monarch").dense().detach()
    turned = transposition(4).to(torch.complex128)
    middle = turned @ torch.diag(torch.fft.fft(h)) @ turned
    # F P is symmetric up to P: conj(F P) (P D P) (F P)^T / n is the circulant matrix, so left and right are Monarch.
    assert torch.allclose(M1.conj() @ middle @ M1.mT / 16, circulant.to(torch.complex128), atol=1e-12)
    left, right = factor_monarch_product(circulant)
    assert torch.allclose(left.dense() @ right.dense().mH, circulant.to(torch.complex128), atol=1e-7)


def test_what_is_no_product_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the best factors found have a relative error of"):
        factor_monarch_product(gaussian(16, 16))
    with pytest.raises(ValueError, match=r"must have m\^2 rows and columns, got \(15, 15\)"):
        factor_monarch_product(gaussian(15, 15))
    with pytest.raises(ValueError, match="invertible"):
        factor_monarch_product(torch.zeros(16, 16))
    with pytest.raises(ValueError, match="NaN"):
        factor_monarch_product(torch.full((16, 16), torch.nan))


@pytest.mark.parametrize("options", [{}, {"n_blocks": (4, 3), "slice_rank": 2}])
def test_large_products_go_by_the_operator_and_agree(options: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, x = Monarch(14, 16, dtype=torch.float64, **options), gaussian(5, 14).requires_grad_()
    leaves = [x, *matrix.parameters()]
    plain, by_torch = matrix(x), torch.autograd.grad(matrix(x).sin().sum(), leaves)
    monkeypatch.setattr("seqkit.structured.monarch.SMALL", -1)
    assert torch.allclose(matrix(x), plain, rtol=1e-12)
    for one, other in zip(torch.autograd.grad(matrix(x).sin().sum(), leaves), by_torch, strict=True):
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-14)
    for limit in (-1, 1 << 22):
        monkeypatch.setattr("seqkit.structured.monarch.SMALL", limit)
        with pytest.raises(ValueError, match="`x` has 1 NaN or infinite values"):
            matrix(x.detach().index_fill(1, torch.tensor([3]), torch.nan)[:1])


def test_exports_for_any_number_of_rows() -> None:
    matrix = Monarch(15, 16)
    rows = {"x": {0: torch.export.Dim("rows", min=2, max=1 << 20)}}
    program = torch.export.export(matrix, (torch.randn(3, 15),), dynamic_shapes=rows).module()
    x = torch.randn(400, 15)
    assert torch.allclose(program(x), matrix(x), atol=1e-6)


def test_second_derivative_of_a_product_with_complex_rows() -> None:
    matrix = Monarch(6, 4, n_blocks=2, dtype=torch.complex128)
    x = gaussian(3, 6, dtype=torch.complex128).requires_grad_()
    assert torch.autograd.gradgradcheck(matrix, (x,))
