"""The Fourier transform and the convolution in Monarch form against torch's FFT and Toeplitz matrices."""

import math

import pytest
import torch
from scipy.signal import convolve

from seqkit.longconv import dft_factors, monarch_conv, monarch_dft, polynomial_conv, split_points
from seqkit.longconv.transform import Pair, from_spectrum, reverse_digits, to_spectrum
from seqkit.structured import Monarch, project
from seqkit.structured.stages import apply_stages

DIGITS = [(8, 8), (4, 4, 4), (8, 8, 8), (2,) * 6, (16, 16), (5, 5, 5), (4, 8, 2), (3, 5), (7,)]
CONVOLUTIONS = [("fft", None), ("monarch", None), ("monarch", 1), ("monarch", 3)]


def error(a, b):
    a, b = a.detach(), b.detach()
    return float((a - b).abs().square().mean().sqrt() / b.abs().square().mean().sqrt())


def toeplitz(k, k_reverse, length):
    """Rows of weights of one channel, from their definition."""
    matrix = torch.zeros(length, length, dtype=k.dtype)
    for row in range(length):
        for column in range(length):
            lag = row - column
            if 0 <= lag < len(k):
                matrix[row, column] = k[lag]
            elif lag < 0 and k_reverse is not None and -lag - 1 < len(k_reverse):
                matrix[row, column] = k_reverse[-lag - 1]
    return matrix


@pytest.mark.parametrize("digits", DIGITS)
def test_stages_are_the_fourier_transform(digits):
    n = math.prod(digits)
    x = torch.randn(3, n, dtype=torch.complex128)
    assert error(monarch_dft(x, digits), torch.fft.fft(x)) < 1e-13
    assert error(monarch_dft(x, digits, inverse=True), torch.fft.ifft(x)) < 1e-13
    assert error(monarch_dft(monarch_dft(x, digits), digits, inverse=True), x) < 1e-13


@pytest.mark.parametrize("digits", [(8, 8), (4, 4, 4), (6, 8), (4, 2, 3)])
@pytest.mark.parametrize("inverse", [False, True])
def test_a_permuted_transform_is_a_monarch_matrix(digits, inverse):
    n = math.prod(digits)
    factors = dft_factors(digits, inverse=inverse)
    eye = torch.eye(n, dtype=torch.complex128)
    product = apply_stages(eye, factors, digits, digits).mT
    transform = (torch.fft.ifft if inverse else torch.fft.fft)(eye, dim=0)
    places = reverse_digits(torch.arange(n), digits[::-1])  # the place (a_1 .. a_p) holds sample a_1 + b_1 a_2 + ..
    assert error(product, transform[:, places]) < 1e-13
    if len(digits) == 2:
        matrix = Monarch(n, n, n_blocks=(digits[0], digits[1]), dtype=torch.complex128)
        with torch.no_grad():
            for mine, given in zip(matrix.factors, factors, strict=True):
                assert mine.shape == given.shape
                mine.copy_(given)
        assert error(matrix.dense(), product) < 1e-13
        assert matrix.n_parameters == n * sum(digits)


def test_the_transform_alone_is_far_from_monarch():
    transform = torch.fft.fft(torch.eye(16, dtype=torch.complex128))
    assert error(project(transform, "monarch").dense(), transform) > 0.8


def test_spectra_in_reversed_digits_come_back():
    x = Pair(torch.randn(2, 64, dtype=torch.float64), torch.randn(2, 64, dtype=torch.float64))
    back = from_spectrum(to_spectrum(x, (4, 2, 8)), (4, 2, 8))
    assert error(back.re, x.re) < 1e-14
    assert error(back.im, x.im) < 1e-14


def test_single_precision_is_kept():
    for digits in ((32, 32), (16, 16, 16), (8, 8, 8, 8)):
        x = torch.randn(4, math.prod(digits), dtype=torch.complex64)
        assert error(monarch_dft(x, digits), torch.fft.fft(x.to(torch.complex128))) < 1e-6


@pytest.mark.parametrize(("form", "order"), CONVOLUTIONS)
@pytest.mark.parametrize("length", [1, 2, 13, 32])
@pytest.mark.parametrize("taps", [1, 9, 32, 50])
def test_causal_convolution_is_a_triangular_toeplitz_matrix(form, order, length, taps):
    order = None if order is None or length == 1 else order
    u, k = torch.randn(3, 2, length, dtype=torch.float64), torch.randn(2, taps, dtype=torch.float64)
    y = monarch_conv(u, k, form=form, order=order if length > 4 else None)
    for channel in range(2):
        matrix = toeplitz(k[channel], None, length)
        assert error(y[:, channel], u[:, channel] @ matrix.mT) < 1e-12
    jacobian = torch.autograd.functional.jacobian(lambda x: monarch_conv(x, k, form=form)[0, 0], u[:1])[:, 0, 0]
    assert float(jacobian.triu(1).abs().max()) < 1e-14


@pytest.mark.parametrize("form", ["fft", "monarch"])
@pytest.mark.parametrize("taps", [(1, 1), (5, 3), (3, 5), (20, 20), (30, 7)])
def test_the_reverse_kernel_begins_at_the_next_sample(form, taps):
    u = torch.randn(3, 2, 20, dtype=torch.float64)
    k, reverse = (torch.randn(2, n, dtype=torch.float64) for n in taps)
    y = monarch_conv(u, k, reverse, form=form)
    for channel in range(2):
        matrix = toeplitz(k[channel], reverse[channel], 20)
        assert error(y[:, channel], u[:, channel] @ matrix.mT) < 1e-12
        both = torch.cat([reverse[channel].flip(0), k[channel]])
        full = convolve(u[0, channel].numpy(), both.numpy())[taps[1] : taps[1] + 20]
        assert error(y[0, channel], torch.from_numpy(full)) < 1e-12


@pytest.mark.parametrize("two_sided", [False, True])
def test_forms_agree_with_skip_gate_lengths_and_gradients(two_sided):
    lengths = torch.tensor([11, 4, 1])
    found = []
    for form in ("fft", "monarch"):
        torch.manual_seed(0)
        parts = [torch.randn(*shape, dtype=torch.float64) for shape in ((3, 4, 11), (4, 11), (4, 6), (4,), (3, 4, 11))]
        parts[0][1, :, 4:] = torch.nan
        for part in parts:
            part.requires_grad_()
        u, k, reverse, D, gate = parts
        y = monarch_conv(u, k, reverse if two_sided else None, D, gate, lengths, form=form)
        assert (y[1, :, 4:] == 0).all()
        y.cos().sum().backward()
        found.append([y, *(part.grad for part in parts if part.grad is not None)])
    assert len(found[0]) == (6 if two_sided else 5)
    for mine, theirs in zip(*found, strict=True):
        assert error(mine, theirs) < 1e-12


def test_single_precision_of_the_convolution():
    u, k = torch.randn(2, 3, 700), torch.randn(3, 700)
    exact = monarch_conv(u.double(), k.double(), form="fft")
    for form in ("fft", "monarch"):
        assert error(monarch_conv(u, k, form=form), exact) < 1e-6


def test_half_precision_series_are_computed_in_single():
    u, k, gate = torch.randn(3, 2, 40).bfloat16(), torch.randn(2, 40), torch.randn(3, 2, 40).bfloat16()
    exact = monarch_conv(u.double(), k.double(), gate=gate.double(), form="fft")
    for form in ("fft", "monarch"):
        y = monarch_conv(u, k, gate=gate, form=form)
        assert y.dtype == torch.bfloat16
        assert error(y.double(), exact) < 4e-3


def test_second_derivatives_of_the_monarch_form():
    u, k = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((1, 1, 4), (1, 3)))
    assert torch.autograd.gradgradcheck(lambda *x: monarch_conv(*x, form="monarch"), (u, k))


@pytest.mark.parametrize("form", ["fft", "monarch"])
def test_a_triangular_basis_is_causal(form):
    length = 24
    basis = torch.eye(length, dtype=torch.float64) + 0.3 * torch.randn(length, length, dtype=torch.float64)
    u, k = torch.randn(2, 1, length, dtype=torch.float64), torch.randn(1, length, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda x: polynomial_conv(x, k, basis, form=form)[0, 0], u[:1])
    jacobian = jacobian[:, 0, 0]
    assert float(jacobian.triu(1).abs().max()) < 1e-12 * float(jacobian.abs().max())
    assert float(jacobian.tril(-1).abs().max()) > 0.1
    lower = basis.tril()
    matrix = torch.linalg.inv(lower) @ toeplitz((lower @ k[0]), None, length) @ lower
    assert error(polynomial_conv(u, k, basis, form=form)[:, 0], u[:, 0] @ matrix.mT) < 1e-10
    assert error(polynomial_conv(u, k, torch.eye(length).double(), form=form), monarch_conv(u, k)) < 1e-12


def test_what_does_not_fit_is_refused():
    u, k = torch.zeros(1, 2, 8), torch.zeros(2, 3)
    with pytest.raises(ValueError, match="`form` must be one of auto, fft, monarch, got 'dense'"):
        monarch_conv(u, k, form="dense")
    with pytest.raises(ValueError, match="`order` is for form 'monarch', got 2 with form 'fft'"):
        monarch_conv(u, k, form="fft", order=2)
    for form in ("fft", "monarch"):
        with pytest.raises(ValueError, match=r"`k` must have shape"):
            monarch_conv(u, torch.zeros(3, 3), form=form)
        with pytest.raises(ValueError, match=r"`k_reverse` must have shape \(2, taps\)"):
            monarch_conv(u, k, torch.zeros(3, 3), form=form)
        with pytest.raises(TypeError, match="`k` must have the precision of `u`"):
            monarch_conv(u.double(), k, form=form)
        with pytest.raises(ValueError, match="at least 1 sample"):
            monarch_conv(u[..., :0], k, form=form)
        with pytest.raises(ValueError, match=r"`gate` must have shape"):
            monarch_conv(u, k, gate=torch.zeros(1, 3, 8), form=form)
        with pytest.raises(ValueError, match=r"lengths\[0\] is 9"):
            monarch_conv(u, k, lengths=torch.tensor([9]), form=form)
    with pytest.raises(ValueError, match="power of two, got 12; pad the series to 16"):
        split_points(12)
    with pytest.raises(ValueError, match="`order` must be at most 3 for 8 points, got 4"):
        split_points(8, 4)
    with pytest.raises(ValueError, match=r"must be complex rows, got torch\.float32"):
        monarch_dft(torch.zeros(8))
    with pytest.raises(ValueError, match=r"`digits` must multiply to 8, got \(2, 2\)"):
        monarch_dft(torch.zeros(8) + 0j, (2, 2))
    with pytest.raises(ValueError, match="no zero on its diagonal"):
        polynomial_conv(u, torch.zeros(2, 8), torch.zeros(8, 8))
