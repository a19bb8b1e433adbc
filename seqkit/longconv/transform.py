"""The discrete Fourier transform as a Monarch product: dense transforms of a few points, and twiddles between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from seqkit.checks import check_positive_int

__all__ = ["Pair", "dft_factors", "from_spectrum", "monarch_dft", "reverse_digits", "split_points", "to_spectrum"]

LARGEST_DIGIT = 64
"""Points of a dense stage up to which no further stage is added."""


class Pair(NamedTuple):
    """A complex tensor as its two real ones, which optimisers and half precision can handle.

    Args:
        re: Real part, (..., N).
        im: Imaginary part, (..., N).
    """

    re: Tensor
    im: Tensor


def split_points(n_points: int, order: int | None = None) -> tuple[int, ...]:
    """Splits a power of two into digits as equal as can be, one for each stage.

    Args:
        n_points: Points N, a power of two.
        order: Number of stages p; None for the smallest with at most 64 points a stage.

    Returns:
        Digits b_1 .. b_p with product N.

    Raises:
        ValueError: not a power of two, or more stages than it has factors of 2.

    Example:
        >>> split_points(4096), split_points(8192), split_points(64, order=3)
        ((64, 64), (32, 16, 16), (4, 4, 4))
    """
    bits = check_positive_int("n_points", n_points).bit_length() - 1
    if n_points != 1 << bits:
        raise ValueError(f"`n_points` must be a power of two, got {n_points}; pad the series to {2 << bits}")
    if order is None:
        order = max(1, -(-bits // (LARGEST_DIGIT.bit_length() - 1)))
    if check_positive_int("order", order) > max(bits, 1):
        raise ValueError(f"`order` must be at most {max(bits, 1)} for {n_points} points, got {order}; lower it")
    small, larger = divmod(bits, order)
    return tuple(1 << (small + (stage < larger)) for stage in range(order))


def dft_factors(digits: Sequence[int], *, inverse: bool = False, dtype: torch.dtype = torch.complex128) -> list[Tensor]:
    """The stages of the transform as those of a Monarch matrix of order p.

        F P = W_1 W_2 .. W_p,   W_t[c; c_t, a_t] = exp(-2 pi i a_t (c_t C + c) / (b_t C)),   C = b_(t+1) .. b_p

    where c is the number with the digits c_(t+1) .. c_p, and P takes x with its digits reversed: the input's place
    (a_1 .. a_p) is sample a_1 + b_1 a_2 + b_1 b_2 a_3 + ... The transform alone is no Monarch matrix.

    Args:
        digits: b_1 .. b_p with product N.
        inverse: Whether the factors are those of the inverse, F^-1 P.
        dtype: Complex dtype.

    Returns:
        W_p .. W_1 in the order of their application and in the shapes of `seqkit.structured.Monarch.factors`: p N b
        numbers for p digits b.

    Source: Dao et al. 2022 (arXiv:2204.00595), section 3.2 for p = 2; Fu et al. 2023 (arXiv:2310.12109) for any order.

    Example:
        >>> [tuple(factor.shape) for factor in dft_factors((4, 2))]
        [(4, 2, 2), (2, 4, 4)]
    """
    sign = 1 if inverse else -1
    stages = []
    for t in reversed(range(len(digits))):
        b, later = digits[t], digits[t + 1 :]
        rest = math.prod(later)
        # Stages number what is changed from the last digit on; the angle needs its value.
        value = torch.arange(rest).view(*later).permute(*reversed(range(len(later)))).reshape(-1) if later else 0
        changed = torch.as_tensor(value, dtype=torch.float64).view(-1, 1, 1)
        new, old = torch.arange(b)[:, None], torch.arange(b)
        turns = ((new * rest + changed) * old % (b * rest)) / (b * rest)
        weight = torch.polar(torch.full_like(turns, 1 / b if inverse else 1), sign * 2 * math.pi * turns)
        stages.append(weight.repeat(math.prod(digits[:t]), 1, 1).to(dtype))
    return stages


def monarch_dft(x: Tensor, digits: Sequence[int] | None = None, *, inverse: bool = False) -> Tensor:
    """The discrete Fourier transform of complex rows, by dense stages.

    Args:
        x: Rows, (..., N), complex.
        digits: b_1 .. b_p with product N; None for those of `split_points`, for powers of two.
        inverse: Whether the inverse is meant, which divides by N.

    Returns:
        What `torch.fft.fft(x)` or `torch.fft.ifft(x)` returns, to rounding.

    Raises:
        ValueError: `x` is not complex, or the digits do not multiply to N.

    Cost: N (b_1 + .. + b_p) complex multiplications a row.

    Example:
        >>> x = torch.randn(64, dtype=torch.complex128)
        >>> bool(torch.allclose(monarch_dft(x, (4, 4, 4)), torch.fft.fft(x)))
        True
    """
    if not x.is_complex() or x.dim() < 1:
        raise ValueError(f"`x` must be complex rows, got {x.dtype} of shape {tuple(x.shape)}; give x + 0j")
    digits = split_points(x.shape[-1]) if digits is None else tuple(digits)
    if math.prod(digits) != x.shape[-1]:
        raise ValueError(f"`digits` must multiply to {x.shape[-1]}, got {digits}; choose others")
    if inverse:
        x = reverse_digits(x, digits[::-1])
        return torch.complex(*from_spectrum(Pair(x.real, x.imag), digits))
    return reverse_digits(torch.complex(*to_spectrum(Pair(x.real, x.imag), digits)), digits)


def reverse_digits(x: Tensor, digits: Sequence[int]) -> Tensor:
    """Puts what lies at a place with these digits, the last one fastest, where the reversed digits say.

    Example:
        >>> reverse_digits(torch.arange(6), (3, 2))
        tensor([0, 2, 4, 1, 3, 5])
    """
    # The spectrum's place (a_1 .. a_p) holds frequency a_1 + b_1 a_2 + ..: frequencies count with a_p slowest.
    rows = x.reshape(-1, *digits)
    return rows.permute(0, *reversed(range(1, rows.dim()))).reshape(x.shape)


def to_spectrum(x: Pair, digits: Sequence[int]) -> Pair:
    """Samples in their order to frequencies with reversed digits, W_p^T .. W_1^T x: no permutation is carried out.

    Args:
        x: Samples, (..., N).
        digits: b_1 .. b_p with product N.

    Returns:
        The spectrum, (..., N): place (a_1 .. a_p) holds frequency a_1 + b_1 a_2 + b_1 b_2 a_3 + ...

    Example:
        >>> spectrum = to_spectrum(Pair(torch.tensor([1.0, 0.0, 0.0, 0.0]), torch.zeros(4)), (2, 2))
        >>> spectrum.re.tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    for t in range(len(digits)):
        b, rest = digits[t], math.prod(digits[t + 1 :])
        x = _turned(_dense(x.re, x.im, b, rest, sign=-1), sign=-1)
        x = Pair(x.re.flatten(-3), x.im.flatten(-3))
    return x


def from_spectrum(x: Pair, digits: Sequence[int]) -> Pair:
    """The inverse of `to_spectrum`, conj(W_1 .. W_p) x / N.

    Example:
        >>> ones = Pair(torch.ones(4), torch.zeros(4))
        >>> from_spectrum(ones, (2, 2)).re.abs().round(decimals=4)
        tensor([1., 0., 0., 0.])
    """
    for t in reversed(range(len(digits))):
        b, rest = digits[t], math.prod(digits[t + 1 :])
        shape = (*x.re.shape[:-1], -1, b, rest)
        turned = _turned(Pair(x.re.reshape(shape), x.im.reshape(shape)), sign=1)
        x = _dense(turned.re.flatten(-3), turned.im.flatten(-3), b, rest, sign=1)
        x = Pair(x.re.flatten(-3), x.im.flatten(-3))
    n_points = math.prod(digits)
    return Pair(x.re / n_points, x.im / n_points)


def _dense(re: Tensor, im: Tensor, b: int, rest: int, *, sign: int) -> Pair:
    """The dense transform of b points of what is viewed as (.., A, b, rest)."""
    place = torch.arange(b, device=re.device)
    angle = (2 * math.pi / b) * (place[:, None] * place % b).double()
    both = torch.cat([angle.cos(), sign * angle.sin()]).to(re.dtype)  # so one product serves both parts
    shape = (*re.shape[:-1], -1, b, rest)
    if rest == 1:  # rows times a matrix, which is symmetric in each half
        parts = [(part.reshape(shape).squeeze(-1) @ both.mT).unsqueeze(-1) for part in (re, im)]
    else:
        parts = [both @ part.reshape(shape) for part in (re, im)]
    (rr, ri), (ir, ii) = (part.chunk(2, dim=-2) for part in parts)
    return Pair(rr - ii, ri + ir)


def _turned(x: Pair, *, sign: int) -> Pair:
    """Multiplies (.., A, b, rest) by the twiddles exp(sign 2 pi i a c / (b rest))."""
    b, rest = x.re.shape[-2:]
    if rest == 1:
        return x
    places = torch.arange(b, device=x.re.device)[:, None] * torch.arange(rest, device=x.re.device)
    angle = (2 * math.pi / (b * rest)) * places.double()
    cos, sin = angle.cos().to(x.re.dtype), (sign * angle.sin()).to(x.re.dtype)
    return Pair(x.re * cos - x.im * sin, x.re * sin + x.im * cos)
