"""Known transforms as exact members: Fourier, cosine and sine transforms, Hadamard, permutations, convolutions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from seqkit.checks import check_positive_int, check_shape
from seqkit.structured.butterflies.butterfly import Butterfly
from seqkit.structured.butterflies.factors import padded_size
from seqkit.structured.butterflies.kaleidoscope import Kaleidoscope
from seqkit.structured.butterflies.routes import switches

__all__ = [
    "bit_reversal",
    "circulant",
    "cooley_tukey",
    "dct",
    "dft",
    "dst",
    "hadamard",
    "inverse_dft",
    "permutation_matrix",
    "toeplitz",
]


def check_size(n: int) -> int:
    """Refuses sizes without a power-of-two transform; returns log2 n."""
    check_positive_int("n", n)
    if n < 2 or n & (n - 1):
        raise ValueError(f"`n` must be a power of two of at least 2, got {n}; these transforms cannot be padded")
    return n.bit_length() - 1


def filled(
    factors: Tensor, in_features: int, out_features: int, dtype: torch.dtype, expansion: int = 1
) -> Kaleidoscope:
    """A matrix with given factors (K, m, n/2, 2, 2)."""
    with torch.random.fork_rng(devices=[]):  # drawn only to be overwritten
        matrix = Kaleidoscope(in_features, out_features, width=len(factors) // 2, expansion=expansion, dtype=dtype)
    with torch.no_grad():
        matrix.twiddle.copy_(factors.unsqueeze(0))
    return matrix


def bit_reversal(n: int) -> Tensor:
    """The permutation of 0 .. n-1 that reads the binary digits of each place backwards.

    Args:
        n: Size, a power of two of at least 2.

    Raises:
        ValueError: another size.

    Example:
        >>> bit_reversal(8).tolist()
        [0, 4, 2, 6, 1, 5, 3, 7]
    """
    m = check_size(n)
    places = torch.arange(n)
    return sum((((places >> bit) & 1) << (m - 1 - bit) for bit in range(m)), torch.zeros_like(places))


def cooley_tukey(n: int) -> Tensor:
    """Factors (m, n/2, 2, 2) in complex128 of the butterfly that, after a bit reversal, is the Fourier transform.

    Every 2x2 is [[1, w], [1, -w]] with w = exp(-2 pi i k / size) in a block of that size.

    Args:
        n: Size, a power of two of at least 2.

    Raises:
        ValueError: another size.

    Example:
        >>> cooley_tukey(2)[0, 0].real
        tensor([[ 1.,  1.],
                [ 1., -1.]], dtype=torch.float64)
    """
    levels = []
    for level in range(check_size(n)):
        stride = 1 << level
        angle = torch.arange(stride, dtype=torch.float64) * (-math.pi / stride)
        w = torch.polar(torch.ones_like(angle), angle)
        one = torch.ones_like(w)
        blocks = torch.stack([torch.stack([one, w], -1), torch.stack([one, -w], -1)], -2)
        levels.append(blocks.repeat(n // (2 * stride), 1, 1))
    return torch.stack(levels)


def identities(n: int, n_blocks: int) -> Tensor:
    """Factors (K, m, n/2, 2, 2) of identities."""
    m = n.bit_length() - 1
    return torch.eye(2, dtype=torch.complex128).expand(n_blocks, m, n // 2, 2, 2).clone()


def swapping(permutation: Tensor) -> Tensor:
    """Factors (2, m, n/2, 2, 2) of the permutation y = x[permutation]."""
    swaps = switches(permutation)
    swap = torch.tensor([[0, 1], [1, 0]], dtype=torch.complex128)
    return torch.where(swaps[..., None, None], swap, torch.eye(2, dtype=torch.complex128))


def scale_input(factors: Tensor, diagonal: Tensor) -> Tensor:
    """Takes a diagonal matrix that meets the input into a decreasing block (m, n/2, 2, 2): into its last stride."""
    factors = factors.clone()
    factors[-1] = factors[-1] * diagonal.view(2, -1).mT.unsqueeze(-2)
    return factors


def scale_output(factors: Tensor, diagonal: Tensor) -> Tensor:
    """Takes a diagonal matrix that follows an increasing block (m, n/2, 2, 2) into its last stride."""
    factors = factors.clone()
    factors[-1] = diagonal.view(2, -1).mT.unsqueeze(-1) * factors[-1]
    return factors


def fourier_of(permutation: Tensor, before: Tensor, after: Tensor, conjugate: bool = False) -> Tensor:
    """Factors of diag(after) F P diag(before), or with the conjugate of F: a permutation, then the butterfly."""
    n = len(permutation)
    butterfly = cooley_tukey(n)
    first, second = swapping(permutation[bit_reversal(n)])
    last = scale_output(butterfly.conj() if conjugate else butterfly, after)
    return torch.stack([scale_input(first, before), second, identities(n, 1)[0], last])


def dft(n: int, *, dtype: torch.dtype = torch.complex64) -> Kaleidoscope:
    """The discrete Fourier transform, y_k = sum_j x_j exp(-2 pi i j k / n), as `numpy.fft.fft` has it.

    Args:
        n: Size, a power of two of at least 2.
        dtype: Complex number type.

    Returns:
        A K-matrix of width 2: bit reversal, then the butterfly of Cooley and Tukey.

    Raises:
        ValueError: another size, or a real dtype.

    Example:
        >>> dft(4)(torch.tensor([1.0, 0.0, 0.0, 0.0])).real
        tensor([1., 1., 1., 1.], grad_fn=<SelectBackward0>)
    """
    return of_fourier(n, 1.0, False, dtype)


def inverse_dft(n: int, *, dtype: torch.dtype = torch.complex64) -> Kaleidoscope:
    """The inverse of `dft`, as `numpy.fft.ifft` has it.

    Args:
        n: Size, a power of two of at least 2.
        dtype: Complex number type.

    Raises:
        ValueError: another size, or a real dtype.

    Example:
        >>> x = torch.arange(4.0)
        >>> bool(torch.allclose(inverse_dft(4)(dft(4)(x)).real, x))
        True
    """
    return of_fourier(n, 1 / n, True, dtype)


def of_fourier(n: int, scale: float, conjugate: bool, dtype: torch.dtype) -> Kaleidoscope:
    """The Fourier transform or its conjugate, times a number."""
    check_size(n)
    check_complex(dtype)
    one = torch.ones(n, dtype=torch.complex128)
    return filled(fourier_of(torch.arange(n), one, scale * one, conjugate), n, n, dtype)


def check_complex(dtype: torch.dtype) -> None:
    """Refuses real dtypes where the factors are complex."""
    if not dtype.is_complex:
        raise ValueError(f"`dtype` must be complex, as the factors are, got {dtype}; take torch.complex64")


def dct(n: int, *, dtype: torch.dtype = torch.complex64) -> Kaleidoscope:
    """The cosine transform of type II as a real part: y_k = 2 Re sum_j x_j cos(pi k (2j + 1) / 2n) for real x.

    Args:
        n: Size, a power of two of at least 2.
        dtype: Complex number type.

    Returns:
        A complex K-matrix of width 2 whose real part is `scipy.fft.dct`: even places, then odd ones backwards; the
        Fourier transform; exp(-i pi k / 2n). Take `.real` of what it gives for real rows.

    Raises:
        ValueError: another size, or a real dtype.

    Example:
        >>> dct(4)(torch.ones(4)).real.round().abs().tolist()
        [8.0, 0.0, 0.0, 0.0]
    """
    check_size(n)
    check_complex(dtype)
    places, k = torch.arange(n), torch.arange(n, dtype=torch.float64)
    order = torch.cat([places[::2], places[1::2].flip(0)])
    after = torch.polar(torch.full_like(k, 2.0), -math.pi * k / (2 * n))
    return filled(fourier_of(order, torch.ones_like(after), after), n, n, dtype)


def dst(n: int, *, dtype: torch.dtype = torch.complex64) -> Kaleidoscope:
    """The sine transform of type II as a real part: y_k = 2 Re sum_j x_j sin(pi (k + 1) (2j + 1) / 2n) for real x.

    It is the cosine transform of x with every second sign turned, read backwards; the Fourier transform read backwards
    is its conjugate behind a diagonal matrix, so that no second permutation is needed.

    Args:
        n: Size, a power of two of at least 2.
        dtype: Complex number type.

    Returns:
        A complex K-matrix of width 2 whose real part is `scipy.fft.dst`. Take `.real` of what it gives for real rows.

    Raises:
        ValueError: another size, or a real dtype.

    Example:
        >>> dst(4)(torch.tensor([1.0, -1.0, 1.0, -1.0])).real.round().abs().tolist()
        [0.0, 0.0, 0.0, 8.0]
    """
    check_size(n)
    check_complex(dtype)
    places, k = torch.arange(n), torch.arange(n, dtype=torch.float64)
    order = torch.cat([places[::2], places[1::2].flip(0)])
    signs = 1 - 2 * (places % 2).double()
    # Place j of the permuted row meets exp(2 pi i j / n); `before` stands in front of the permutation.
    before = torch.zeros(n, dtype=torch.complex128)
    before[order] = torch.polar(torch.ones_like(k), 2 * math.pi * k / n)
    after = torch.polar(torch.full_like(k, 2.0), -math.pi * (n - 1 - k) / (2 * n))
    return filled(fourier_of(order, before * signs, after, conjugate=True), n, n, dtype)


def hadamard(n: int, *, dtype: torch.dtype | None = None) -> Butterfly:
    """The Hadamard transform in the order of Sylvester, as `scipy.linalg.hadamard` has it: one butterfly.

    Args:
        n: Size, a power of two of at least 2.
        dtype: Number type; torch's default if None.

    Raises:
        ValueError: another size.

    Example:
        >>> hadamard(4).dense().tolist()[3]
        [1.0, -1.0, -1.0, 1.0]
    """
    check_size(n)
    with torch.random.fork_rng(devices=[]):
        matrix = Butterfly(n, n, dtype=dtype)
    with torch.no_grad():
        matrix.twiddle.copy_(torch.tensor([[1.0, 1.0], [1.0, -1.0]]))
    return matrix


def permutation_matrix(permutation: Tensor, *, dtype: torch.dtype | None = None) -> Kaleidoscope:
    """The permutation y = x[permutation] as a K-matrix of width 1, with factors of zeros and ones.

    Args:
        permutation: Whole numbers 0 .. n-1 in any order, (n,).
        dtype: Number type; torch's default if None.

    Returns:
        The matrix, (n, n), exact at any size.

    Raises:
        ValueError: not a permutation.

    Cost: O(n log n) to find the swaps.

    Example:
        >>> permutation_matrix(torch.tensor([2, 0, 1]))(torch.tensor([5.0, 6.0, 7.0])).tolist()
        [7.0, 5.0, 6.0]
    """
    factors = swapping(permutation.cpu())
    dtype = torch.get_default_dtype() if dtype is None else dtype
    return filled(factors if dtype.is_complex else factors.real, len(permutation), len(permutation), dtype)


def circulant(column: Tensor) -> Kaleidoscope:
    """The circular convolution y_i = sum_j h_{(i - j) mod n} x_j as a complex K-matrix of width 1.

    Args:
        column: h, the first column, (n,), n a power of two of at least 2; real or complex.

    Returns:
        The matrix (n, n), complex of the precision of `column`; of real rows and a real h, take `.real`.

    Raises:
        ValueError: no vector, or another size.

    Source: Dao et al. 2020, Kaleidoscope (arXiv:2012.14966), lemma on circulant matrices: conj(B) diag(F h) B^T / n in
        the order of bit reversal.

    Example:
        >>> circulant(torch.tensor([0.0, 1.0, 0.0, 0.0]))(torch.arange(4.0)).real.round().tolist()
        [3.0, 0.0, 1.0, 2.0]
    """
    check_shape("column", column, ("n",))
    n = len(column)
    check_size(n)
    # F = B R with R the bit reversal, and F is symmetric: F = R B^T, and F^-1 = conj(B) R / n. R twice is nothing.
    spectrum = torch.fft.fft(column.detach().to(torch.complex128))[bit_reversal(n)] / n
    butterfly = cooley_tukey(n)
    turned = butterfly.mT.clone()
    # B^T ends with stride 1; the diagonal follows it there.
    turned[0] = spectrum.view(-1, 2).unsqueeze(-1) * turned[0]
    return filled(torch.stack([turned, butterfly.conj()]), n, n, column.dtype.to_complex())


def toeplitz(column: Tensor, row: Tensor | None = None) -> Kaleidoscope:
    """The Toeplitz matrix T[i, j] = t_{i - j}, with which a convolution is a product: the corner of a circulant.

    Args:
        column: t_0, t_1, .., the first column, (out,).
        row: t_0, t_{-1}, .., the first row, (in,); zeros after t_0 if None, which makes the causal convolution.

    Returns:
        The matrix (out, in), complex of the precision of `column`, of width 1 and the expansion that holds both; of
        real values, take `.real`.

    Raises:
        ValueError: no vectors, or different first numbers.

    Example:
        >>> toeplitz(torch.tensor([1.0, 2.0, 3.0]))(torch.tensor([1.0, 0.0, 1.0])).real.round().tolist()
        [1.0, 2.0, 4.0]
    """
    check_shape("column", column, ("out",))
    if row is None:
        row = torch.zeros_like(column)
        row[:1] = column[:1]
    check_shape("row", row, ("in",))
    if not len(column) or not len(row) or column[0] != row[0]:
        raise ValueError(
            f"`row` must begin with the number that `column` begins with, got {row[:1].tolist()} and "
            f"{column[:1].tolist()}; both are the entry at the corner"
        )
    n_out, n_in = len(column), len(row)
    expansion = padded_size(n_out + n_in - 1) // padded_size(n_in)
    n = max(1, expansion) * padded_size(n_in)
    around = column.new_zeros(n)
    around[:n_out] = column.detach()
    around[n - n_in + 1 :] = row.detach()[1:].flip(0)
    factors = circulant(around).twiddle.detach()[0]
    return filled(factors, n_in, n_out, column.dtype.to_complex(), max(1, expansion))
