"""Butterflies and K-matrices: exact members against numpy and scipy, algebra, rotations, fits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.fft
import scipy.linalg
import torch
from torch import Tensor

from seqkit.kernels.butterfly import butterfly
from seqkit.structured.butterflies import (
    Butterfly,
    Kaleidoscope,
    OrthogonalKaleidoscope,
    adjoint,
    bit_reversal,
    circulant,
    dct,
    dft,
    dst,
    hadamard,
    inverse,
    inverse_dft,
    kronecker,
    log_abs_det,
    permutation_matrix,
    product,
    toeplitz,
    transpose,
)
from seqkit.structured.butterflies.factors import random_factors
from seqkit.structured.butterflies.fit import level_by_level
from seqkit.structured.butterflies.routes import switches
from seqkit.structured.butterflies.transforms import identities, scale_input, scale_output

WIDE = {"dtype": torch.complex128}
SIZES = [2, 8, 128]


def error(got: Tensor, want: Tensor | np.ndarray) -> float:
    got, want = got.detach(), torch.as_tensor(want).detach().to(got.dtype)
    return float((got - want).abs().square().mean().sqrt() / want.abs().square().mean().sqrt())


def normal(*shape: int, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize("n", SIZES)
def test_fourier_transforms(n: int) -> None:
    eye, x = np.eye(n), normal(3, n)
    assert error(dft(n, **WIDE).dense(), np.fft.fft(eye, axis=0)) < 2e-15
    assert error(inverse_dft(n, **WIDE).dense(), np.fft.ifft(eye, axis=0)) < 2e-15
    assert error(dct(n, **WIDE)(x).real, scipy.fft.dct(x.numpy())) < 7e-15
    assert error(dst(n, **WIDE)(x).real, scipy.fft.dst(x.numpy())) < 7e-15
    assert dft(n).width == dct(n).width == 2
    assert bool(dft(n).dense().is_complex())


@pytest.mark.parametrize("n", SIZES)
def test_hadamard(n: int) -> None:
    assert torch.equal(hadamard(n, dtype=torch.float64).dense(), torch.tensor(scipy.linalg.hadamard(n)).double())


@pytest.mark.parametrize("n", SIZES)
def test_convolutions(n: int) -> None:
    h, row, x = normal(n), normal(n, seed=1), normal(3, n, seed=2)
    assert error(circulant(h).dense(), scipy.linalg.circulant(h.numpy())) < 2e-15
    assert circulant(h).width == 1
    row[0] = h[0]
    assert error(toeplitz(h, row).dense(), scipy.linalg.toeplitz(h.numpy(), row.numpy())) < 2e-15
    assert toeplitz(h, row).expansion == 2
    around = torch.nn.functional.pad(x[:, None], (n - 1, 0), mode="circular")
    circular = torch.nn.functional.conv1d(around, h.flip(0)[None, None])[:, 0]
    assert error(circulant(h)(x).real, circular) < 1e-14
    causal = torch.nn.functional.conv1d(torch.nn.functional.pad(x, (n - 1, 0))[:, None], h.flip(0)[None, None])[:, 0]
    assert error(toeplitz(h)(x).real, causal) < 1e-14


@pytest.mark.parametrize(("n_out", "n_in"), [(5, 12), (50, 3), (1, 4), (4, 1)])
def test_toeplitz_of_any_shape(n_out: int, n_in: int) -> None:
    column, row = normal(n_out), normal(n_in, seed=1)
    row[0] = column[0]
    assert error(toeplitz(column, row).dense(), scipy.linalg.toeplitz(column.numpy(), row.numpy())) < 2e-15


def test_every_permutation_of_few_places() -> None:
    for n in (1, 2, 3, 4):
        for order in itertools.permutations(range(n)):
            assert torch.equal(permutation_matrix(torch.tensor(order)).dense(), torch.eye(n)[list(order)])


@pytest.mark.slow
def test_every_permutation_of_eight_places() -> None:
    # A network of swaps moves places as the factors do; the factors themselves are tested above.
    for order in itertools.permutations(range(8)):
        swaps, row = switches(torch.tensor(order)), list(range(8))
        for block, levels in ((0, (2, 1, 0)), (1, (0, 1, 2))):
            for level in levels:
                stride = 1 << level
                for pair in range(4):
                    at = pair // stride * 2 * stride + pair % stride
                    if swaps[block, level, pair]:
                        row[at], row[at + stride] = row[at + stride], row[at]
        assert tuple(row) == order


@pytest.mark.parametrize("n", [7, 64, 256, 300])
def test_permutations_of_many_places(n: int) -> None:
    order, x = torch.randperm(n, generator=torch.Generator().manual_seed(n)), normal(2, n)
    matrix = permutation_matrix(order, dtype=torch.float64)
    assert torch.equal(matrix(x), x[:, order])
    assert set(matrix.twiddle.unique().tolist()) == {0.0, 1.0}
    assert matrix.width == 1


def test_bit_reversal_is_its_own_inverse() -> None:
    order = bit_reversal(32)
    assert torch.equal(order[order], torch.arange(32))
    # The Fourier transform is one butterfly of its bit-reversed input.
    assert bit_reversal(4).tolist() == [0, 2, 1, 3]


def test_transposes_inverses_and_determinants() -> None:
    for dtype in (torch.float64, torch.complex128):
        torch.manual_seed(0)
        a, b = Kaleidoscope(16, 16, dtype=dtype), Kaleidoscope(16, 16, width=2, dtype=dtype)
        with torch.no_grad():
            a.twiddle.add_(0.2 * torch.randn_like(a.twiddle))
        dense = a.dense().detach()
        assert error(transpose(a).dense(), dense.mT) < 1e-14
        assert error(adjoint(a).dense(), dense.mH) < 1e-14
        assert error(inverse(a).dense() @ dense, torch.eye(16)) < 1e-10
        assert float(log_abs_det(a).detach()) == pytest.approx(float(torch.linalg.slogdet(dense)[1]), abs=1e-10)
        assert error(product(a, b).dense(), dense @ b.dense()) < 1e-14
        (gradient,) = torch.autograd.grad(log_abs_det(a), a.twiddle)
        assert bool(gradient.any())


def test_kronecker_product() -> None:
    torch.manual_seed(0)
    a, b = Butterfly(8, 8, dtype=torch.float64), Butterfly(4, 4, dtype=torch.float64)
    assert error(kronecker(a, b).dense(), torch.kron(a.dense(), b.dense())) < 1e-14


@pytest.mark.parametrize(("n", "formula"), [(32, 320), (256, 4096), (1024, 20480)])
def test_counts(n: int, formula: int) -> None:
    assert Butterfly(n, n).n_parameters == formula
    assert Kaleidoscope(n, n).n_parameters == 2 * formula
    assert Kaleidoscope(n, n, width=3).n_parameters == 6 * formula
    # 4 w n e log2(n e) with an expansion e.
    assert Kaleidoscope(n, n, width=2, expansion=4).n_parameters == 8 * 4 * n * (n.bit_length() + 1)
    assert OrthogonalKaleidoscope(n, n).n_parameters == formula // 2 + 1


def test_padding_is_the_corner_of_the_padded_matrix() -> None:
    torch.manual_seed(0)
    small, whole = Kaleidoscope(11, 13, dtype=torch.float64), Kaleidoscope(16, 16, dtype=torch.float64)
    whole.load_state_dict(small.state_dict())
    assert torch.equal(small.dense(), whole.dense()[:13, :11])


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_diagonal_matrices_go_into_the_outer_factors(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    matrix = Kaleidoscope(16, 16, dtype=dtype)
    before, after = torch.randn(2, 16, dtype=dtype)
    first, last = matrix.twiddle.detach()[0]
    factors = torch.stack([scale_input(first, before), scale_output(last, after)])
    got = butterfly(torch.eye(16, dtype=dtype), factors).mT
    assert error(got, after[:, None] * matrix.dense() * before) < 1e-14


@pytest.mark.parametrize("first", ["increasing", "decreasing"])
def test_identities(first: str) -> None:
    x = normal(3, 16)
    assert torch.equal(butterfly(x, identities(16, 3).real, first), x)
    assert error(Butterfly(16, 16, first=first, dtype=torch.float64).fit(torch.eye(16)).dense(), torch.eye(16)) < 1e-14


def test_the_fourier_transform_is_learned_from_the_best_of_five_starts() -> None:
    n, starts = 16, 5
    want = torch.fft.fft(torch.eye(n, **WIDE)).mT
    factors = torch.empty(starts, 1, 4, n // 2, 2, 2, **WIDE)
    random_factors(factors, n**0.5, torch.Generator().manual_seed(0))
    factors.requires_grad_()
    search, steps = torch.optim.Adam([factors], 0.05), 500
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(search, steps)
    rows = torch.eye(n, **WIDE)[:, bit_reversal(n)]
    for _ in range(steps):
        errors = (butterfly(rows, factors, "increasing").permute(1, 2, 0) - want).abs().square().mean((1, 2))
        search.zero_grad()
        errors.sum().backward()
        search.step()
        slower.step()
    assert float(errors.detach().min()) < 1e-8


def test_rotations_keep_the_norm_while_they_learn() -> None:
    torch.manual_seed(0)
    matrix, x, y = OrthogonalKaleidoscope(16, 16, dtype=torch.float64), normal(64, 16), normal(64, 16, seed=1)
    search = torch.optim.Adam([matrix.angles], lr=0.1)
    first = None
    for _ in range(100):
        loss = (matrix(x) - y).square().mean()
        first = loss.item() if first is None else first
        search.zero_grad()
        loss.backward()
        search.step()
    assert loss.item() < first
    sizes = (matrix(x) / matrix.scale).norm(dim=1) / x.norm(dim=1)
    assert (sizes - 1).abs().max().item() < 1e-12


@pytest.mark.parametrize(
    ("dtype", "limit"),
    [(torch.float32, 1e-5), (torch.complex64, 1e-5), (torch.float64, 1e-12), (torch.complex128, 1e-12)],
    ids=str,
)
def test_starts_as_a_rotation(dtype: torch.dtype, limit: float) -> None:
    matrix, x = Kaleidoscope(64, 64, width=3, dtype=dtype), torch.randn(20, 64, dtype=dtype)
    sizes = matrix(x).norm(dim=1) / x.norm(dim=1) * 3**0.5
    assert (sizes - 1).abs().max().item() < limit


def test_closed_form_finds_members_and_sweeps_only_improve() -> None:
    torch.manual_seed(0)
    member = Butterfly(16, 16, dtype=torch.complex128).dense().detach()
    factors = level_by_level(member[None])
    eye = torch.eye(16, dtype=torch.complex128)
    assert error(butterfly(eye, factors, "increasing").mT, member) < 1e-14
    target, errors = normal(16, 16), []
    for sweeps in (0, 1, 3, 30):
        errors.append(error(Butterfly(16, 16, dtype=torch.float64).fit(target, sweeps=sweeps).dense(), target))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.97 * errors[0]
    # No single level can be improved: the gradient is 0 where the sweeps have settled.
    settled = Butterfly(16, 16, dtype=torch.float64).fit(target, sweeps=2000)
    loss = (settled.dense() - target).square().sum()
    (gradient,) = torch.autograd.grad(loss, settled.twiddle)
    assert float(gradient.abs().max()) < 1e-2


def test_a_circulant_is_found_by_descent() -> None:
    h = normal(8).to(torch.complex128)
    target = circulant(h).dense().detach()
    found = Kaleidoscope(8, 8, **WIDE).fit(target, steps=250, starts=1)
    assert error(found.dense(), target) < 1e-4


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: dft(12), "`n` must be a power of two of at least 2, got 12"),
        (lambda: hadamard(1), "`n` must be a power of two of at least 2, got 1"),
        (lambda: dct(8, dtype=torch.float32), "`dtype` must be complex, as the factors are, got torch.float32"),
        (lambda: permutation_matrix(torch.tensor([0, 0, 2])), "`permutation` must hold each whole number from 0"),
        (lambda: permutation_matrix(torch.rand(4)), "`permutation` must hold each whole number from 0"),
        (lambda: circulant(torch.ones(6)), "`n` must be a power of two of at least 2, got 6"),
        (lambda: circulant(torch.ones(2, 2)), r"`column` must have shape \(n\), got \(2, 2\)"),
        (lambda: toeplitz(torch.ones(3), torch.zeros(2)), "`row` must begin with the number that `column` begins with"),
        (lambda: toeplitz(torch.ones(0)), "`row` must begin with the number that `column` begins with"),
        (lambda: transpose(Kaleidoscope(7, 7)), "`matrix` must be a whole product of butterflies"),
        (lambda: product(Kaleidoscope(8, 8), Kaleidoscope(4, 4)), "`first` must have the size and dtype of `second`"),
        (lambda: inverse(permuted_to_zero()), "`matrix` must have no singular 2x2 factor"),
        (lambda: kronecker(Butterfly(4, 4, first="decreasing"), Butterfly(4, 4)), "must have increasing strides"),
        (lambda: Butterfly(4, 4).fit(torch.ones(4, 4), sweeps=-1), "`sweeps` must be a finite number, 0 or above"),
        (lambda: Kaleidoscope(4, 4).fit(torch.ones(4, 4), steps=-1), "`steps` must be a finite number, 0 or above"),
    ],
)
def test_bad_arguments_are_named(call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()


def permuted_to_zero() -> Kaleidoscope:
    matrix = Kaleidoscope(4, 4)
    with torch.no_grad():
        matrix.twiddle[0, 0, 0, 0] = 0
    return matrix
