"""A tensor as few bytes and back: the quantiser of activations, of their changes and of gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from seqkit.checks import check_choice
from seqkit.kernels.quantise import dequantise, quantise, row_bytes

__all__ = ["BITS", "DeltaCodec"]

BITS = (*range(1, 9), 16, 32)


class DeltaCodec:
    """Codes rows of numbers in `bits` bits each, with a step of two bytes for each group of numbers.

        step = max |x| / (2^(bits-1) - 1) rounded up to bfloat16,   Q(x) = step round(x / step)

    A row is one sample, all its dimensions flattened. Decoding gives the same bits on every device, so that copies of a
    buffer to which decoded changes are added stay equal. At 16 bits numbers are bfloat16, at 32 they are float32, as
    they are; neither has steps.

    Args:
        bits: 1 to 8, 16 or 32.
        group: Numbers that share a step, a multiple of 8.
        rounding: "nearest" for what is remembered (a buffer or error feedback makes up for the error), "stochastic",
            without bias, for what is not. Where both ends add up changes, stochastic rounding at 2 bits does not
            settle.
        generator: Random numbers for stochastic rounding; left out, torch's own. Only the sender draws.
        scale: "absmax" as above; "minimax", for rounding to nearest: max |x| / (2^(bits-1) - 1/2), the step whose
            largest error is smallest; "auto" takes "minimax" where it can.

    Raises:
        ValueError: an option is out of range, or "minimax" is asked for where it has no use.

    Source: Wang et al. 2022, AC-SGD (arXiv:2206.01299). Differs from its code: see `seqkit.kernels.quantise`. The
        step "minimax" is ours: at 2 bits it takes a third off the error of buffers, for the same bytes.

    Cost: ceil(n bits / 8) + 2 ceil(n / group) bytes for a row of n numbers.

    Example:
        >>> codec = DeltaCodec(4, group=8, scale="absmax")
        >>> blob = codec.encode(torch.tensor([[1.0, -7.0, 3.4]]))
        >>> len(blob) == codec.wire_bytes((1, 3)) == 4
        True
        >>> codec.decode(blob, (1, 3))
        tensor([[ 1., -7.,  3.]])
    """

    def __init__(
        self,
        bits: int,
        group: int = 64,
        rounding: str = "nearest",
        generator: torch.Generator | None = None,
        scale: str = "auto",
    ) -> None:
        if isinstance(bits, bool) or bits not in BITS:
            raise ValueError(f"`bits` must be a whole number from 1 to 8, or 16 or 32, got {bits!r}")
        if isinstance(group, bool) or not isinstance(group, int) or group < 8 or group % 8 or group > 65528:
            raise ValueError(f"`group` must be a multiple of 8 up to 65528, got {group!r}")
        check_choice("rounding", rounding, ("nearest", "stochastic"))
        check_choice("scale", scale, ("auto", "absmax", "minimax"))
        if scale == "auto":
            scale = "minimax" if rounding == "nearest" else "absmax"
        if scale == "minimax" and rounding != "nearest":
            raise ValueError(
                '`scale` must be "absmax" with stochastic rounding, got "minimax"; cut numbers would have a bias'
            )
        self.bits, self.group, self.rounding, self.generator, self.scale = bits, group, rounding, generator, scale

    def __repr__(self) -> str:
        options = f"group={self.group}, rounding={self.rounding!r}, scale={self.scale!r}" if self.bits <= 8 else ""
        return f"DeltaCodec({self.bits}{', ' if options else ''}{options})"

    def row_bytes(self, length: int) -> int:
        """Bytes of a row of `length` numbers.

        Example:
            >>> DeltaCodec(2, group=32).row_bytes(64)
            20
        """
        return length * self.bits // 8 if self.bits > 8 else row_bytes(length, self.bits, self.group)

    def wire_bytes(self, shape: Sequence[int]) -> int:
        """Bytes of `encode` for a tensor of a shape, rows first.

        Example:
            >>> DeltaCodec(2, group=32).wire_bytes((3, 8, 8))
            60
        """
        return shape[0] * self.row_bytes(math.prod(shape[1:]))

    def encode_rows(self, x: Tensor) -> Tensor:
        """Bytes of rows, (R, W) uint8, of x (R, n), float32.

        Raises:
            ValueError: a value is NaN or infinite, on the CPU.

        Example:
            >>> DeltaCodec(8).encode_rows(torch.ones(2, 64)).shape
            torch.Size([2, 66])
        """
        if self.bits > 8:
            wide = x.bfloat16() if self.bits == 16 else x
            return wide.contiguous().view(torch.uint8).view(len(x), self.row_bytes(x.shape[1]))
        seed = None
        if self.rounding == "stochastic":
            seed = torch.randint(2**62, (), generator=self.generator, device=getattr(self.generator, "device", None))
        return quantise(x, self.bits, self.group, seed=seed, scale=self.scale)

    def decode_rows(self, data: Tensor, length: int, onto: Tensor | None = None) -> Tensor:
        """Rows (R, n), float32, of bytes (R, W), added to `onto` (R, n) where it is given.

        Example:
            >>> codec = DeltaCodec(8)
            >>> codec.decode_rows(codec.encode_rows(torch.zeros(1, 2)), 2, onto=torch.ones(1, 2))
            tensor([[1., 1.]])
        """
        if self.bits > 8:
            dtype = torch.bfloat16 if self.bits == 16 else torch.float32
            rows = data.contiguous().view(-1).clone().view(dtype).view(len(data), length).float()
            return rows if onto is None else onto + rows
        return dequantise(data, length, self.bits, self.group, onto=onto)

    def encode(self, delta: Tensor) -> Tensor:
        """Bytes of a tensor (n, ...), row after row, as one uint8 tensor.

        Example:
            >>> DeltaCodec(32).encode(torch.ones(2, 3)).shape
            torch.Size([24])
        """
        return self.encode_rows(delta.detach().reshape(len(delta), -1).float()).reshape(-1)

    def decode(self, blob: Tensor, shape: Sequence[int]) -> Tensor:
        """The tensor of a shape, float32, from what `encode` gave.

        Raises:
            ValueError: the number of bytes does not belong to this shape and this codec.

        Example:
            >>> DeltaCodec(32).decode(DeltaCodec(32).encode(torch.ones(1, 2)), (1, 2))
            tensor([[1., 1.]])
        """
        wanted = self.wire_bytes(shape)
        if blob.dim() != 1 or len(blob) != wanted:
            raise ValueError(
                f"`blob` must have shape ({wanted},) for {self} and a tensor {tuple(shape)}, got {tuple(blob.shape)}"
            )
        return self.decode_rows(blob.view(shape[0], -1), math.prod(shape[1:])).view(*shape)
