"""XD-operations in place of convolutions: K diag(L w) M x, which starts as the convolution that it replaces."""

from __future__ import annotations

from typing import Any

from torch import nn

from seqkit.structured.xd.layer import XDConv
from seqkit.structured.xd.refusals import Depth

__all__ = ["XDConv1d", "XDConv2d"]


class XDConv1d(XDConv):
    """An operation K diag(L w) M in place of a convolution over time, which it equals at first.

        y_o = Re K sum_i (L w_oi) * (M x_i) + bias_o

    K, L and M are products of butterflies shared by all channels: parameters of the operation, not of the weights. They
    start as Fourier transforms, and as long as their `requires_grad` is False and they have not been changed, the layer
    is computed as an FFT convolution. Learned ones reach convolutions of permuted samples, Fourier neural operators and
    filters in other fast bases. The length is fixed: a shorter input counts as one with zeros behind.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Taps.
        length: Samples of the input, or of a window with `causal="stack"`.
        depth: Number of butterflies of K, L and M, or one number for all: 1 holds the convolution, 3 permutations too.
        causal: "none", or "stack": every output from a window of `length` samples that ends with the last sample the
            convolution would read, as learned operations look ahead; `length` times the cost.
        **options: Options of `nn.Conv1d`, such as `padding`, `stride`, `dilation`, `groups`, `bias`.

    Raises:
        ValueError: a size, depth or causality that cannot be, or a convolution that no such operation holds.

    Source: Roberts et al. 2021, XD-operations (arXiv:2103.15798). Differs: dilation, stride and padding are places on a
        circle and need no depth, factors are real pairs, and the frequency bias and the channel gates of its first
        version are left out.

    Cost: O((in + out) n log n + in out n) a series, where n is the power of two above length + padding; 2 n log2 n
        complex parameters for each butterfly.

    Example:
        >>> import torch
        >>> layer = XDConv1d(2, 3, 5, length=16, padding=2, depth=3)
        >>> x = torch.randn(4, 2, 16)
        >>> bool(torch.allclose(layer(x), layer.conv(x), atol=1e-5))
        True
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        length: int,
        *,
        depth: Depth = 1,
        causal: str = "none",
        **options: Any,
    ) -> None:
        super().__init__(nn.Conv1d(in_channels, out_channels, kernel_size, **options), (length,), depth, causal)

    @classmethod
    def from_convolution(cls, conv: nn.Conv1d, length: int, *, depth: Depth = 1, causal: str = "none") -> XDConv1d:
        """The operation that equals a given convolution, with the same weight and bias parameters.

        Args:
            conv: Any `nn.Conv1d` of float32 or float64; parametrized weights stay parametrized.
            length: Samples of its input.
            depth: As above.
            causal: As above.

        Raises:
            ValueError: as above.

        Example:
            >>> conv = nn.Conv1d(1, 1, 3, dilation=2)
            >>> XDConv1d.from_convolution(conv, 10).weight is conv.weight
            True
        """
        layer = cls.__new__(cls)
        XDConv.__init__(layer, conv, (length,), depth, causal)
        return layer


class XDConv2d(XDConv):
    """An operation K diag(L w) M in place of a convolution of images, with one matrix of each kind for each axis.

        y_o = Re (K_h x K_w) sum_i ((L_h x L_w) w_oi) * ((M_h x M_w) x_i) + bias_o

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Taps, a number or a pair.
        size: Height and width of the input.
        depth: As in `XDConv1d`.
        **options: Options of `nn.Conv2d`.

    Raises:
        ValueError: a size or depth that cannot be, or a convolution that no such operation holds.

    Source: as `XDConv1d`.

    Cost: as `XDConv1d`, with n the places of both axes; parameters add up and do not multiply.

    Example:
        >>> import torch
        >>> layer = XDConv2d(1, 2, 3, size=(8, 8), padding=1)
        >>> x = torch.randn(4, 1, 8, 8)
        >>> bool(torch.allclose(layer(x), layer.conv(x), atol=1e-5))
        True
    """

    n_axes = 2
    kind = nn.Conv2d

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        size: tuple[int, int],
        *,
        depth: Depth = 1,
        **options: Any,
    ) -> None:
        super().__init__(nn.Conv2d(in_channels, out_channels, kernel_size, **options), size, depth, "none")

    @classmethod
    def from_convolution(cls, conv: nn.Conv2d, size: tuple[int, int], *, depth: Depth = 1) -> XDConv2d:
        """The operation that equals a given convolution, with the same weight and bias parameters.

        Args:
            conv: Any `nn.Conv2d` of float32 or float64.
            size: Height and width of its input.
            depth: As in `XDConv1d`.

        Raises:
            ValueError: as above.

        Example:
            >>> import torch
            >>> conv = nn.Conv2d(1, 1, 3, stride=2)
            >>> XDConv2d.from_convolution(conv, (9, 12))(torch.ones(1, 1, 9, 12)).shape
            torch.Size([1, 1, 4, 5])
        """
        layer = cls.__new__(cls)
        XDConv.__init__(layer, conv, tuple(size), depth, "none")
        return layer
