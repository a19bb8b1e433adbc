"""Convolutions given by their lowest Fourier coefficients, on a circle or a torus of any number of samples."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from seqkit.checks import check_positive_int, check_shape

__all__ = ["SpectralConv1d", "SpectralConv2d"]


class SpectralConv1d(nn.Module):
    """Multiplies the lowest Fourier modes by a matrix each and drops the others: any smooth kernel around the circle.

        y_o = Re sum over |k| < modes of exp(2 pi i k x) sum_i W_oi(k) c_i(k),   c_i(k) the coefficient of x_i

    W(-k) is the conjugate of W(k), and W(0) is real, so that no parameter is without effect. Coefficients are means
    over the samples: the same function sampled more finely gives the same result there.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        modes: Modes kept, the mean among them: k = 0 ... modes - 1.

    Attributes:
        mean: W(0), (out, in), real.
        above: Real and imaginary parts of W(1), W(2), ..., (out, in, modes - 1, 2).

    Raises:
        ValueError: a size below 1.

    Source:
        Li et al. 2021, Fourier neural operator (arXiv:2010.08895), equation 4. Differs: the mean's matrix is real and
        all start as normal numbers of variance 1 / in_channels, not as much smaller uniform ones.

    Cost:
        O((in + out) n log n + in out modes) a series; in out (2 modes - 1) parameters.

    Example:
        >>> layer = SpectralConv1d(2, 3, modes=5)
        >>> layer(torch.zeros(4, 2, 64)).shape, layer(torch.zeros(4, 2, 100)).shape
        (torch.Size([4, 3, 64]), torch.Size([4, 3, 100]))
    """

    def __init__(self, in_channels: int, out_channels: int, modes: int) -> None:
        super().__init__()
        self.modes = check_positive_int("modes", modes)
        sizes = check_positive_int("out_channels", out_channels), check_positive_int("in_channels", in_channels)
        self.mean = nn.Parameter(torch.randn(sizes) / math.sqrt(in_channels))
        self.above = nn.Parameter(_drawn(*sizes, modes - 1))

    def weight(self) -> Tensor:
        """W(k) for k = 0 ... modes - 1, complex, (out, in, modes)."""
        return torch.cat([self.mean[..., None].to(_complex(self.mean)), torch.view_as_complex(self.above)], dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, in, n) to (B, out, n), n at least 2 modes - 1.

        Raises:
            ValueError: another shape, or fewer samples than the modes need.
        """
        check_shape("x", x, ("B", self.mean.shape[1], "n"))
        n = x.shape[-1]
        _check_room(n, self.modes)
        kept = torch.fft.rfft(x, norm="forward")[..., : self.modes]
        y: Tensor = torch.fft.irfft(torch.einsum("oik,bik->bok", self.weight(), kept), n, norm="forward")
        return y

    def extra_repr(self) -> str:
        """Sizes, as `print` shows them."""
        return f"{self.mean.shape[1]}, {self.mean.shape[0]}, modes={self.modes}"


class SpectralConv2d(nn.Module):
    """The same on a torus, with a matrix for each pair of modes along the two axes.

        y_o = Re sum over |j| < modes_1, |k| < modes_2 of exp(2 pi i (j x + k y)) sum_i W_oi(j, k) c_i(j, k)

    W(-j, -k) is the conjugate of W(j, k), and W(0, 0) is real; only one of each pair is a parameter.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        modes: Modes kept along each axis, a number or a pair; the mean is among them.

    Attributes:
        mean: W(0, 0), (out, in), real.
        edge: Real and imaginary parts of W(j, 0) for j = 1, 2, ..., (out, in, modes_1 - 1, 2).
        inside: Those of W(j, k) for k = 1, 2, ... and all j, (out, in, 2 modes_1 - 1, modes_2 - 1, 2), j in the order
            0, 1, ..., modes_1 - 1, -modes_1 + 1, ..., -1.

    Raises:
        ValueError: a size below 1.

    Source:
        Li et al. 2021, Fourier neural operator (arXiv:2010.08895), equation 4. Differs: as `SpectralConv1d`, and
        symmetric, where two corners of the spectrum had matrices of their own, half of which had no effect at k = 0.

    Cost:
        O((in + out) n log n + in out modes_1 modes_2) for n samples; in out (2 modes_1 - 1)(2 modes_2 - 1) parameters.

    Example:
        >>> SpectralConv2d(1, 2, modes=(3, 4))(torch.zeros(5, 1, 16, 8)).shape
        torch.Size([5, 2, 16, 8])
    """

    def __init__(self, in_channels: int, out_channels: int, modes: int | tuple[int, int]) -> None:
        super().__init__()
        first, second = modes if isinstance(modes, tuple) else (modes, modes)
        self.modes = check_positive_int("modes", first), check_positive_int("modes", second)
        sizes = check_positive_int("out_channels", out_channels), check_positive_int("in_channels", in_channels)
        self.mean = nn.Parameter(torch.randn(sizes) / math.sqrt(in_channels))
        self.edge = nn.Parameter(_drawn(*sizes, first - 1))
        self.inside = nn.Parameter(_drawn(*sizes, 2 * first - 1, second - 1))

    def weight(self) -> Tensor:
        """W(j, k) for k from 0, complex, (out, in, 2 modes_1 - 1, modes_2), j as in `inside`."""
        edge = torch.view_as_complex(self.edge)
        at_zero = torch.cat([self.mean[..., None].to(edge.dtype), edge, edge.conj().flip(-1)], dim=-1)
        return torch.cat([at_zero[..., None], torch.view_as_complex(self.inside)], dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, in, n, m) to (B, out, n, m), both at least 2 modes - 1 of their axis.

        Raises:
            ValueError: another shape, or fewer samples than the modes need.
        """
        check_shape("x", x, ("B", self.mean.shape[1], "n", "m"))
        sizes = n, m = x.shape[-2], x.shape[-1]
        first, second = self.modes
        _check_room(n, first)
        _check_room(m, second)
        rows = torch.arange(-first + 1, first, device=x.device).roll(1 - first) % n
        kept = torch.fft.rfft2(x, norm="forward")[..., :second].index_select(-2, rows)
        mixed = torch.einsum("oijk,bijk->bojk", self.weight(), kept)
        spectrum = mixed.new_zeros((*mixed.shape[:2], n, m // 2 + 1))
        spectrum[..., rows, :second] = mixed
        y: Tensor = torch.fft.irfft2(spectrum, s=sizes, norm="forward")
        return y

    def extra_repr(self) -> str:
        """Sizes, as `print` shows them."""
        return f"{self.mean.shape[1]}, {self.mean.shape[0]}, modes={self.modes}"


def _drawn(out_channels: int, in_channels: int, *sizes: int) -> Tensor:
    """Complex normal numbers of variance 1 / in_channels, as pairs."""
    return torch.randn(out_channels, in_channels, *sizes, 2) / math.sqrt(2 * in_channels)


def _complex(like: Tensor) -> torch.dtype:
    return torch.complex128 if like.dtype == torch.float64 else torch.complex64


def _check_room(n: int, modes: int) -> None:
    if n < 2 * modes - 1:
        raise ValueError(
            f"`x` must have at least {2 * modes - 1} samples along an axis of {modes} modes, got {n}; keep fewer modes"
        )
