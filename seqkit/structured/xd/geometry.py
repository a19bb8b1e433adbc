"""Where a convolution's kernel, input and output lie on the circle of a transform."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["Axis", "axes_of", "pads_of"]


class Axis(NamedTuple):
    """One axis of a convolution on a circle of `n` places.

        y[s] = sum_j w[j] x[(s + (j - centre) dilation) mod n];   output o: y[(o stride - left + centre dilation) mod n]

    Args:
        size: Samples of the input, at places 0 .. size - 1; the others hold zeros.
        n: Places of the circle, a power of two.
        kernel: Taps.
        dilation: Places between taps.
        stride: Samples between outputs.
        left: Zeros before the input.
        right: Zeros after it.

    Example:
        >>> Axis(size=5, n=8, kernel=3, dilation=1, stride=2, left=1, right=1).reads()
        [0, 2, 4]
    """

    size: int
    n: int
    kernel: int
    dilation: int
    stride: int
    left: int
    right: int

    @property
    def centre(self) -> int:
        """The tap that meets the output's own place."""
        return self.kernel // 2

    def taps(self) -> list[int]:
        """Place of each tap on the circle; taps that meet again after a round are added up.

        Example:
            >>> Axis(size=8, n=8, kernel=3, dilation=2, stride=1, left=2, right=2).taps()
            [2, 0, 6]
        """
        return [(self.centre - j) * self.dilation % self.n for j in range(self.kernel)]

    def outputs(self, size: int) -> int:
        """Number of outputs for an input of this size, as `nn.Conv1d` counts them; less than 1 if it is too short.

        Example:
            >>> Axis(size=8, n=8, kernel=3, dilation=1, stride=2, left=0, right=0).outputs(8)
            3
        """
        return (size + self.left + self.right - self.dilation * (self.kernel - 1) - 1) // self.stride + 1

    def reads(self) -> list[int]:
        """Place of each output on the circle."""
        first = self.centre * self.dilation - self.left
        return [(first + o * self.stride) % self.n for o in range(self.outputs(self.size))]


def pads_of(conv: Any) -> list[tuple[int, int]]:
    """Samples that a convolution adds before and after each axis.

    Example:
        >>> from torch import nn
        >>> pads_of(nn.Conv1d(1, 1, 4, padding="same")), pads_of(nn.Conv2d(1, 1, 3, padding=(0, 1)))
        ([(1, 2)], [(0, 0), (1, 1)])
    """
    if conv.padding == "same":
        whole = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
        return [(total // 2, total - total // 2) for total in whole]
    if conv.padding == "valid":
        return [(0, 0) for _ in conv.kernel_size]
    return [(p, p) for p in conv.padding]


def axes_of(conv: Any, size: tuple[int, ...]) -> tuple[list[Axis], list[tuple[int, int]]]:
    """The circle of each axis, and the samples that have to be added to the input first.

    Zeros beyond the input share the rest of the circle, and a circle of the input's own size pads circularly without
    adding anything; other ways of padding are applied to the input before.

    Args:
        conv: An `nn.Conv1d` or `nn.Conv2d`.
        size: Its input's size along each axis.

    Returns:
        An `Axis` for each axis, and how much to pad before and after it (nothing where the circle does it).

    Example:
        >>> from torch import nn
        >>> axes_of(nn.Conv1d(1, 1, 3, padding=1), (15,))[0][0].n, axes_of(nn.Conv1d(1, 1, 3, padding=1), (16,))[0][0].n
        (16, 32)
    """
    pads = pads_of(conv)
    circular = conv.padding_mode == "circular" and all(n & (n - 1) == 0 and n > 1 for n in size)
    explicit = conv.padding_mode != "zeros" and not circular and any(p != (0, 0) for p in pads)
    axes, added = [], []
    for one, (left, right), kernel, dilation, stride in zip(
        size, pads, conv.kernel_size, conv.dilation, conv.stride, strict=True
    ):
        before, after = (left, right) if explicit else (0, 0)
        whole = one + before + after
        needed = whole if circular or explicit else whole + max(left, right)
        n = 1 << max(1, (needed - 1).bit_length())
        axes.append(Axis(whole, n, kernel, dilation, stride, left - before, right - after))
        added.append((before, after))
    return axes, added
