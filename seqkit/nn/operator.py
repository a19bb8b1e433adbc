"""Networks from functions to functions on a grid: one frame around Fourier layers or convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn

from seqkit.checks import check_positive_int, check_shape
from seqkit.nn.fourier import SpectralConv1d, SpectralConv2d
from seqkit.nn.norm import InputNorm
from seqkit.nn.statistics import check_statistics

__all__ = ["NeuralOperator", "relative_l2"]

HIDDEN = 128
"""Width of the projection's hidden layer, as published."""


class NeuralOperator(nn.Module):
    """Lifts a function to many channels, lets layers move it over places, and projects it down.

        v_0 = P [a, x],   v_{l+1} = gelu(S_l v_l + W_l v_l + b_l),   u = Q v_n

    S_l is a layer over places and W_l a matrix at each place by itself; P is linear, Q a perceptron, and after the last
    layer there is no gelu. x are the coordinates of the places, from 0 to 1 (1 excluded). With `SpectralConv1d` or
    `SpectralConv2d` this is the Fourier neural operator, with small convolutions the network that searches for
    operations set out from.

    Args:
        in_channels: Channels C of the input function.
        out_channels: Channels T of the output function.
        layers: The S_l, each from (B, width, places...) to the same shape.
        width: Channels between.
        n_axes: Axes of places, 1 or 2.

    Attributes:
        input_norm: Standardises the input; `set_statistics` gives it the numbers.
        mean, std: Those of the target, (T,); the output is in its units.

    Raises:
        ValueError: no layers, or a size out of range.

    Source:
        Li et al. 2021, Fourier neural operator (arXiv:2010.08895), figure 2.

    Cost:
        That of its layers, and O(width^2) at each place.

    Example:
        >>> burgers = NeuralOperator.fourier(1, 1, modes=8, width=16)
        >>> burgers(torch.zeros(2, 64, 1)).shape, burgers(torch.zeros(2, 256, 1)).shape
        (torch.Size([2, 64, 1]), torch.Size([2, 256, 1]))
        >>> darcy = NeuralOperator.convolutional(1, 1, kernel_size=3, n_axes=2, width=16, periodic=False)
        >>> darcy(torch.zeros(2, 16, 16, 1)).shape
        torch.Size([2, 16, 16, 1])
    """

    def __init__(
        self, in_channels: int, out_channels: int, layers: Sequence[nn.Module], *, width: int, n_axes: int = 1
    ) -> None:
        super().__init__()
        if not layers:
            raise ValueError("`layers` must hold at least one layer over places, got none; give some")
        if n_axes not in (1, 2):
            raise ValueError(f"`n_axes` must be 1 or 2, got {n_axes!r}; there are layers for these")
        self.n_axes = n_axes
        self.input_norm = InputNorm(in_channels)
        self.register_buffer("mean", torch.zeros(check_positive_int("out_channels", out_channels)))
        self.register_buffer("std", torch.ones(out_channels))
        self.mean: Tensor
        self.std: Tensor
        self.lift = nn.Linear(in_channels + n_axes, check_positive_int("width", width))
        self.layers = nn.ModuleList(layers)
        self.skips = nn.ModuleList(nn.Linear(width, width) for _ in layers)
        self.project = nn.Sequential(nn.Linear(width, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, out_channels))

    @classmethod
    def fourier(
        cls,
        in_channels: int,
        out_channels: int,
        *,
        modes: int | tuple[int, int],
        width: int = 32,
        n_layers: int = 4,
        n_axes: int = 1,
    ) -> NeuralOperator:
        """The Fourier neural operator: it takes grids of any size that hold its modes.

        Args:
            in_channels: Channels of the input.
            out_channels: Channels of the output.
            modes: Modes kept, the mean among them; a pair for two axes, if they differ.
            width: Channels between.
            n_layers: Layers over places.
            n_axes: Axes of places, 1 or 2.

        Raises:
            ValueError: a size out of range, or a pair of modes for one axis.
        """
        if n_axes == 1 and isinstance(modes, tuple):
            raise ValueError(f"`modes` must be one number for one axis, got {modes}; give a pair with n_axes=2 only")
        count = range(check_positive_int("n_layers", n_layers))
        if n_axes == 1:
            layers: list[nn.Module] = [SpectralConv1d(width, width, cast("int", modes)) for _ in count]
        else:
            layers = [SpectralConv2d(width, width, modes) for _ in count]
        return cls(in_channels, out_channels, layers, width=width, n_axes=n_axes)

    @classmethod
    def convolutional(
        cls,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int,
        width: int = 32,
        n_layers: int = 4,
        n_axes: int = 1,
        periodic: bool = True,
    ) -> NeuralOperator:
        """The same network with a small convolution in place of each Fourier layer.

        Args:
            in_channels: Channels of the input.
            out_channels: Channels of the output.
            kernel_size: Taps along each axis, an odd number.
            width: Channels between.
            n_layers: Layers over places.
            n_axes: Axes of places, 1 or 2.
            periodic: Whether the last place is a neighbour of the first; otherwise zeros lie beyond both.

        Raises:
            ValueError: a size out of range.
        """
        if check_positive_int("kernel_size", kernel_size) % 2 == 0:
            raise ValueError(f"`kernel_size` must be odd, to have a middle, got {kernel_size}; take one more")
        kind = nn.Conv2d if n_axes == 2 else nn.Conv1d
        mode: Literal["circular", "zeros"] = "circular" if periodic else "zeros"
        # Without a bias of its own, as the Fourier layer: the matrix beside it has one.
        layers = [
            kind(width, width, kernel_size, padding=kernel_size // 2, padding_mode=mode, bias=False)
            for _ in range(check_positive_int("n_layers", n_layers))
        ]
        return cls(in_channels, out_channels, layers, width=width, n_axes=n_axes)

    def set_statistics(self, inputs: Tensor, targets: Tensor) -> None:
        """Takes means and deviations of training functions: inputs (n, places..., C), targets (n, places..., T).

        Raises:
            ValueError: other channels, or values that are not finite or all alike.
        """
        self.input_norm.set_statistics(*_statistics(inputs))
        mean, std = _statistics(targets)
        check_statistics(mean, std, len(self.mean))
        self.mean.copy_(mean)
        self.std.copy_(std)

    def forward(self, a: Tensor) -> Tensor:
        """Maps functions on a grid, (B, places..., C), to functions there, (B, places..., T).

        Raises:
            ValueError: another shape, or a grid that a layer refuses.
        """
        check_shape("a", a, ("B", *("n", "m")[: self.n_axes], len(self.input_norm.mean)))
        v = self.lift(torch.cat([self.input_norm(a), self._coordinates(a)], dim=-1))
        for number, (layer, skip) in enumerate(zip(self.layers, self.skips, strict=True)):
            v = layer(v.movedim(-1, 1)).movedim(1, -1) + skip(v)
            if number < len(self.layers) - 1:
                v = nn.functional.gelu(v)
        return cast("Tensor", self.project(v) * self.std + self.mean)

    def _coordinates(self, a: Tensor) -> Tensor:
        """Places from 0 to 1 along each axis, (B, places..., n_axes)."""
        sizes = a.shape[1:-1]
        axes = [torch.arange(n, device=a.device, dtype=self.mean.dtype) / n for n in sizes]
        grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
        return grid.expand(len(a), *grid.shape)


def relative_l2(outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean over functions of |output - target| / |target|, norms over all places and channels.

    Args:
        outputs: Functions on a grid, (B, ...).
        targets: Those that they should be, the same shape; none of them 0 everywhere.

    Returns:
        One number, 0 where all agree.

    Raises:
        ValueError: shapes that differ.

    Source:
        The loss and the measure of Li et al. 2021 (arXiv:2010.08895).

    Example:
        >>> relative_l2(torch.full((2, 4), 1.5), torch.ones(2, 4)).item()
        0.5
    """
    check_shape("outputs", outputs, targets.shape, "one value for each of the targets")
    difference, size = (outputs - targets).flatten(1).norm(dim=1), targets.flatten(1).norm(dim=1)
    error: Tensor = (difference / size).mean()
    return error


def _statistics(values: Tensor) -> tuple[Tensor, Tensor]:
    flat = values.flatten(0, -2).double()
    return flat.mean(0).float(), flat.std(0, correction=0).float()
