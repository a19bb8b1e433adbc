"""XD-operations in place of convolutions: K diag(L w) M x, which starts as the convolution that it replaces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from seqkit.checks import check_choice, check_positive_int
from seqkit.structured.xd.geometry import axes_of
from seqkit.structured.xd.operation import ROLES, OperationMatrix
from seqkit.structured.xd.stack import windows

__all__ = ["XDConv", "XDConv1d", "XDConv2d"]

Depth = int | tuple[int, int, int]


class XDConv(nn.Module):
    """What the operations in one and two dimensions share; `XDConv1d` and `XDConv2d` are to be used.

        y_o = Re K sum_i (L w_oi) * (M x_i) + bias_o

    Args:
        conv: The convolution, whose weight and bias stay its own parameters.
        size: Size of the input along each axis.
        depth: Number of butterflies of K, L and M, or one number for all three.
        causal: "none", or "stack".

    Attributes:
        conv: The convolution; its forward is not called.
        K, L, M: One `OperationMatrix` for each axis.

    Example:
        >>> isinstance(XDConv1d(1, 1, 3, length=8), XDConv), isinstance(XDConv2d(1, 1, 3, size=(8, 8)), XDConv)
        (True, True)
    """

    n_axes = 1
    kind: type[nn.Module] = nn.Conv1d
    conv: Any
    K: Any
    L: Any
    M: Any
    taps: Tensor

    def __init__(self, conv: nn.Module, size: tuple[int, ...], depth: Depth, causal: str) -> None:
        super().__init__()
        check_convolution(conv, self.kind)
        self.depth = check_depth(depth)
        self.conv = conv
        self.size = tuple(check_positive_int("size", one) for one in size)
        self.causal = check_choice("causal", causal, ("none", "stack"))
        self.axes, self.added = axes_of(conv, self.size)
        check_room(self)
        like = next(conv.parameters())
        for role, one in zip(ROLES, self.depth, strict=True):
            made = [OperationMatrix(axis.n, role, one, device=like.device, dtype=like.dtype) for axis in self.axes]
            self.add_module(role, nn.ModuleList(made))
        for number, axis in enumerate(self.axes):
            self.register_buffer(f"reads_{number}", torch.tensor(axis.reads(), device=like.device), persistent=False)
        places = torch.zeros(1, dtype=torch.long)
        for axis in self.axes:
            places = (places[:, None] * axis.n + torch.tensor(axis.taps())).flatten()
        self.register_buffer("taps", places.to(like.device), persistent=False)

    @property
    def weight(self) -> Tensor:
        """The convolution's weight (o, i / groups, kernel...)."""
        return cast("Tensor", self.conv.weight)

    @property
    def bias(self) -> Tensor | None:
        """The convolution's bias (o,), or None."""
        return cast("Tensor | None", self.conv.bias)

    def matrices(self) -> Iterator[OperationMatrix]:
        """K, L and M of every axis."""
        for role in ROLES:
            yield from getattr(self, role)

    @property
    def is_convolution(self) -> bool:
        """Whether no operation is learned or has been: then the layer is the convolution, and is computed by FFT."""
        return all(not one.factors.requires_grad and one.is_start for one in self.matrices())

    def kernel(self) -> Tensor:
        """The weight on the circle, (o, i / groups, n...)."""
        weight = self.weight
        empty = weight.new_zeros((*weight.shape[:2], self.circle))
        filled = empty.index_add(-1, self.taps, weight.flatten(2))
        return filled.reshape(*weight.shape[:2], *(axis.n for axis in self.axes))

    @property
    def circle(self) -> int:
        """Places of all axes together."""
        product = 1
        for axis in self.axes:
            product *= axis.n
        return product

    def spectrum(self) -> Tensor:
        """The diagonal L w, (o, i / groups, n...), in the order in which M gives its numbers."""
        return along(self.L, self.kernel())

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, in, size...) or (in, size...) to what the convolution would give in shape.

        Where zeros are padded, an input shorter than `size` counts as one with zeros behind.

        Raises:
            ValueError: another number of axes or channels, a size that the circle cannot hold, or too short an input.
        """
        return self.evaluate(x, None)

    def evaluate(self, x: Tensor, spectrum: Tensor | None) -> Tensor:
        """The forward pass, with the diagonal where it is known already."""
        if x.dim() == self.n_axes + 1:
            return self.evaluate(x.unsqueeze(0), spectrum)[0]
        check_input(self, x)
        dtype = x.dtype
        x = x.to(self.weight.dtype)
        y = self.stacked(x, spectrum) if self.causal == "stack" else self.whole(x, spectrum)
        if self.bias is not None:
            y = y + self.bias.view(-1, *[1] * self.n_axes)
        return y.to(dtype)

    def stacked(self, x: Tensor, spectrum: Tensor | None) -> Tensor:
        """Each output from a window that ends with the last sample which the convolution would read."""
        axis = self.axes[0]
        x = nn.functional.pad(x, (axis.left, axis.right))
        y = self.whole(windows(x, self.size[0]), spectrum, last=True)[..., 0]
        y = y.reshape(len(x), x.shape[-1], -1).transpose(1, 2)
        return y[..., axis.dilation * (axis.kernel - 1) :]

    def whole(self, x: Tensor, spectrum: Tensor | None, last: bool = False) -> Tensor:
        """K diag(L w) M x without the bias; with `last` only the output that ends with the input's last sample."""
        before = [amount for pair in reversed(self.added) for amount in pair]
        if any(before):
            x = nn.functional.pad(x, before, self.conv.padding_mode)
        counts = [axis.outputs(n) for axis, n in zip(self.axes, x.shape[2:], strict=True)]
        room = [part for axis, n in zip(self.axes, x.shape[2:], strict=True) for part in (axis.n - n, 0)]
        x = nn.functional.pad(x, room[::-1])
        if spectrum is None and self.is_convolution:
            y = self.by_fft(x)
        else:
            found = self.spectrum() if spectrum is None else spectrum
            y = along(self.K, channels(found, along(self.M, x), self.conv.groups)).real
        if last:
            axis = self.axes[0]
            return y[..., [axis.size - 1 - (axis.kernel - 1 - axis.centre) * axis.dilation]]
        for number, count in enumerate(counts):
            y = y.index_select(2 + number, getattr(self, f"reads_{number}")[:count])
        return y

    def by_fft(self, x: Tensor) -> Tensor:
        """The same by torch's transforms of real numbers, while K, L and M are Fourier transforms."""
        shape, axes = x.shape[2:], tuple(range(2, x.dim()))
        mixed = channels(torch.fft.rfftn(self.kernel(), dim=axes), torch.fft.rfftn(x, dim=axes), self.conv.groups)
        y: Tensor = torch.fft.irfftn(mixed, s=shape, dim=axes)
        return y

    def extra_repr(self) -> str:
        """Sizes, as `print` shows them."""
        circles = "x".join(str(axis.n) for axis in self.axes)
        return f"size={self.size}, circle={circles}, depth={self.depth}, causal={self.causal!r}"


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
            >>> conv = nn.Conv2d(1, 1, 3, stride=2)
            >>> XDConv2d.from_convolution(conv, (9, 12))(torch.ones(1, 1, 9, 12)).shape
            torch.Size([1, 1, 4, 5])
        """
        layer = cls.__new__(cls)
        XDConv.__init__(layer, conv, tuple(size), depth, "none")
        return layer


def along(matrices: Any, x: Tensor) -> Tensor:
    """Applies one matrix along each of the last axes, in turn."""
    n_axes = len(matrices)
    for matrix in reversed(list(matrices)):
        x = matrix(x)
        x = x.movedim(-1, -n_axes) if n_axes > 1 else x
    return x


def channels(spectrum: Tensor, x: Tensor, groups: int) -> Tensor:
    """Mixes channels at each frequency: (o, i / groups, n...) and (B, i, n...) to (B, o, n...)."""
    if spectrum.shape[1] == 1 and spectrum.shape[0] == x.shape[1]:
        return spectrum[:, 0] * x
    shape = x.shape[2:]
    one = spectrum.reshape(groups, -1, spectrum.shape[1], shape.numel())
    parts = x.reshape(len(x), groups, -1, shape.numel())
    return torch.einsum("goin,bgin->bgon", one, parts).reshape(len(x), len(spectrum), *shape)


def check_depth(depth: Depth) -> tuple[int, int, int]:
    """One depth for K, L and M each."""
    if isinstance(depth, tuple | list):
        if len(depth) != 3:
            raise ValueError(f"`depth` must be one number or three, for K, L and M, got {len(depth)} numbers")
        k, latent, m = (check_positive_int("depth", one) for one in depth)
        return k, latent, m
    one = check_positive_int("depth", depth)
    return one, one, one


def check_convolution(conv: Any, kind: type[nn.Module]) -> None:
    """Refuses what no operation here equals."""
    if not isinstance(conv, kind):
        raise ValueError(
            f"`conv` must be a {kind.__name__}, got {type(conv).__name__}; operations K diag(L w) M replace "
            "convolutions, not transposed ones, pooling, or layers that depend on their input otherwise"
        )
    weight = conv.weight
    if isinstance(weight, nn.UninitializedParameter):
        raise ValueError("`conv` must know its number of channels, got a lazy layer; run it once before")
    if weight.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"`conv` must have weights of float32 or float64, got {weight.dtype}; convert it with .to")
    if "weight" not in conv._parameters and not nn.utils.parametrize.is_parametrized(conv, "weight"):
        raise ValueError(
            "`conv` must have its weight as a parameter or parametrized, got one that a hook computes before each "
            "call; use torch.nn.utils.parametrizations"
        )


def check_room(layer: XDConv) -> None:
    """Refuses inputs too short for the kernel, and windows that hold no single last output."""
    for axis, one in zip(layer.axes, layer.size, strict=True):
        if axis.outputs(axis.size) < 1:
            raise ValueError(
                f"`size` must hold the kernel, which spans {axis.dilation * (axis.kernel - 1) + 1} samples, got {one} "
                f"with {axis.left} and {axis.right} added; take a longer input or more padding"
            )
    if layer.causal == "stack":
        axis = layer.axes[0]
        if axis.stride != 1 or layer.conv.padding_mode != "zeros":
            raise ValueError(
                f"`conv` must have stride 1 and padding of zeros for causal='stack', got stride {axis.stride} and "
                f"{layer.conv.padding_mode}; take causal='none'"
            )
        if axis.dilation * (axis.kernel - 1) + 1 > axis.size:
            raise ValueError(
                f"`length` must be at least the {axis.dilation * (axis.kernel - 1) + 1} samples that the kernel spans "
                f"for causal='stack', got {axis.size}"
            )


def check_input(layer: XDConv, x: Tensor) -> None:
    """Refuses inputs that the convolution would refuse, and sizes other than the operation's."""
    conv = layer.conv
    if x.dim() != layer.n_axes + 2 or x.shape[1] != conv.in_channels or not x.is_floating_point():
        sizes = ", ".join(str(one) for one in layer.size)
        raise ValueError(
            f"`x` must have shape (B, {conv.in_channels}, {sizes}) and floating numbers, got {tuple(x.shape)} and "
            f"{x.dtype}; give it the channels and axes of the convolution"
        )
    if layer.causal == "stack":
        axis = layer.axes[0]
        if axis.outputs(x.shape[-1]) < 1:
            raise ValueError(f"`x` must hold the kernel's {axis.kernel} taps, got {tuple(x.shape)}; take a longer one")
        return
    for axis, one, given in zip(layer.axes, layer.size, x.shape[2:], strict=True):
        shorter = conv.padding_mode == "zeros" and given < one and axis.outputs(given) >= 1
        if given != one and not shorter:
            raise ValueError(
                f"`x` must have the size {layer.size} that its operation was made for, got {tuple(x.shape[2:])}; "
                "pad or cut it, or make the operation for this size"
            )
