"""`seqkit::long_conv` for torch's dispatcher: paths, output shape, gradient."""

from __future__ import annotations

from torch import Tensor

from seqkit.kernels.long_conv import cpu
from seqkit.kernels.long_conv.reference import long_conv_reference
from seqkit.kernels.operator import Path, define_operator

__all__ = ["long_conv_op"]


def output(u: Tensor, k: Tensor) -> Tensor:
    """An empty result (B, M, H, L)."""
    return u.new_empty(u.shape[0], k.shape[0], u.shape[1], u.shape[2])


long_conv_op = define_operator(
    "long_conv",
    "Tensor u, Tensor k",
    paths={"cpu": lambda: Path(cpu.long_conv_forward, cpu.long_conv_backward)},
    outputs=output,
    reference=long_conv_reference,
)
