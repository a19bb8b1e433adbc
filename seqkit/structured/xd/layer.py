"""K diag(L w) M x, what operations in place of convolutions of one and two dimensions share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from seqkit.checks import check_choice, check_positive_int
from seqkit.structured.xd.geometry import axes_of
from seqkit.structured.xd.operation import ROLES, OperationMatrix
from seqkit.structured.xd.refusals import Depth, check_convolution, check_depth, check_input, check_room
from seqkit.structured.xd.stack import windows

__all__ = ["XDConv"]


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
        >>> from seqkit.structured.xd import XDConv1d, XDConv2d
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
        for name, table in self._tables(like.device).items():
            self.register_buffer(name, table, persistent=False)

    def _tables(self, device: torch.device) -> dict[str, Tensor]:
        """Places of outputs and taps on the circles."""
        tables = {f"reads_{k}": torch.tensor(axis.reads(), device=device) for k, axis in enumerate(self.axes)}
        places = torch.zeros(1, dtype=torch.long, device=device)
        for axis in self.axes:
            places = (places[:, None] * axis.n + torch.tensor(axis.taps(), device=device)).flatten()
        return tables | {"taps": places}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> XDConv:
        """Makes the tables anew where `to_empty` or a move left them: they are no part of the weights."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, table in self._tables(self.weight.device).items():
            setattr(self, name, table)
        return self

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
