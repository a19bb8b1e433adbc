"""Known operations as exact members: convolutions of permuted samples, Fourier neural operators."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.structured.butterflies.routes import check_permutation
from seqkit.structured.butterflies.transforms import identities, swapping
from seqkit.structured.xd.layer import XDConv
from seqkit.structured.xd.operation import OperationMatrix, starting_factors

__all__ = ["fourier_taps", "set_fourier_operator", "set_input_permutation"]


def set_input_permutation(layer: XDConv, permutation: Tensor, axis: int = 0) -> None:
    """Makes an operation the convolution of permuted samples, y = conv(x[permutation]), exactly: M = F P.

    Args:
        layer: An operation with M of depth 3, or of 5 and more, or of an even depth from 4 on.
        permutation: Whole numbers 0 .. size - 1 in any order.
        axis: Which axis is permuted.

    Raises:
        ValueError: not a permutation of the axis, or M is not deep enough.

    Example:
        >>> from seqkit.structured.xd import XDConv1d
        >>> layer = XDConv1d(1, 1, 3, length=8, padding=1, depth=(1, 1, 3))
        >>> order, x = torch.randperm(8), torch.randn(1, 1, 8)
        >>> set_input_permutation(layer, order)
        >>> bool(torch.allclose(layer(x), layer.conv(x[..., order]), atol=1e-5))
        True
    """
    places, size = check_permutation(permutation.cpu()), layer.axes[axis].size
    if len(places) != size:
        raise ValueError(f"`permutation` must hold the {size} places of the axis, got {len(places)}")
    matrix: OperationMatrix = layer.M[axis]
    order = torch.tensor([*places, *range(size, matrix.n)])
    matrix.assign(behind_permutation(matrix, order, starting_factors(matrix.n, "M", 1)[0]))


def behind_permutation(matrix: OperationMatrix, order: Tensor, last: Tensor) -> Tensor:
    """Factors of a matrix of role L or M: a permutation, and a decreasing block behind it."""
    begin = 1 - matrix.depth % 2  # its first block with decreasing strides
    if matrix.depth < begin + 3:
        raise ValueError(
            f"`depth` of {matrix.role} must be at least 3 for a permutation before a transform, got {matrix.depth}"
        )
    factors = identities(matrix.n, matrix.depth)
    factors[begin : begin + 2] = swapping(order)
    factors[-1] = last
    return factors


def fourier_taps(layer: XDConv) -> list[tuple[int, int | None]]:
    """Which taps are the real and the imaginary part of each Fourier mode of `set_fourier_operator`.

    Returns:
        For mode 0, 1, .. the tap of the real part and that of the imaginary part; mode 0 is real.

    Example:
        >>> from seqkit.structured.xd import XDConv1d
        >>> fourier_taps(XDConv1d(1, 1, 5, length=8, padding=2, padding_mode="circular"))
        [(0, None), (2, 1), (4, 3)]
    """
    taps = layer.axes[0].taps()
    tap_at = {place: tap for tap, place in enumerate(taps)}
    pairs = [(tap_at[place], tap_at[place + 1]) for place in taps if place % 2 == 0 and place + 1 in tap_at]
    (alone,) = set(range(len(taps))) - {tap for pair in pairs for tap in pair}
    return [(alone, None), *sorted(pairs)]


def set_fourier_operator(layer: XDConv) -> None:
    """Makes an operation a Fourier neural operator's spectral convolution: weights are its complex modes.

        y = irfft(R rfft(x)),   R the mode numbers that `fourier_taps` names, 0 for the modes above

    K and M stay Fourier transforms; L takes pairs of taps to a mode and its conjugate, w and w' to w + i w' and
    w - i w', and puts them where M has these frequencies.

    Args:
        layer: An operation in one dimension with circular padding of half a kernel, a power of two of samples, an odd
            number of taps, and an even depth from 4 on for L.

    Raises:
        ValueError: another layer.

    Source: Li et al. 2021, Fourier neural operator (arXiv:2010.08895), as section 3 of Roberts et al. 2021
        (arXiv:2103.15798) has it. Differs: only the half of the modes that real outputs need.

    Example:
        >>> from seqkit.structured.xd import XDConv1d
        >>> options = {"padding": 2, "padding_mode": "circular", "depth": (1, 4, 1), "bias": False}
        >>> layer, x = XDConv1d(1, 1, 5, length=8, **options), torch.randn(1, 1, 8)
        >>> set_fourier_operator(layer)
        >>> modes = torch.fft.rfft(layer(x)) / torch.fft.rfft(x)
        >>> bool(torch.allclose(modes[0, 0, 0].real, layer.weight[0, 0, 0], atol=1e-5))
        True
    """
    axis, latent = layer.axes[0], layer.L[0]
    kernel = axis.kernel
    if layer.n_axes != 1 or axis.n != axis.size or kernel % 2 == 0 or kernel > axis.n - 1 or axis.dilation != 1:
        raise ValueError(
            "`layer` must be an operation in one dimension on a circle of its own size, with an odd kernel of dilation "
            f"1, got {layer}; pad circularly, a power of two of samples"
        )
    if latent.depth % 2 or latent.depth < 4:
        raise ValueError(f"`depth` of L must be even and at least 4 for Fourier modes, got {latent.depth}")
    taps, pairs = axis.taps(), fourier_taps(layer)
    n, places, source = axis.n, [0] * axis.n, {0: taps[pairs[0][0]]}
    for mode, (real, imaginary) in enumerate(pairs[1:], 1):
        assert imaginary is not None
        source[mode], source[n - mode] = taps[real], taps[imaginary]
    spare = iter(sorted(set(range(n)) - set(source.values())))
    bits = n.bit_length() - 1
    for frequency in range(n):
        # M gives frequency f at the place that reads its digits backwards.
        turned = int(format(frequency, f"0{bits}b")[::-1], 2)
        places[turned] = source[frequency] if frequency in source else next(spare)
    factors = identities(n, latent.depth)
    pair = torch.tensor([[1, 1j], [1, -1j]], dtype=torch.complex128)
    for real, _ in pairs[1:]:
        factors[0, 0, taps[real] // 2] = pair  # the first block has increasing strides: pairs of neighbours first
    factors[1:3] = swapping(torch.tensor(places))
    latent.assign(factors)
