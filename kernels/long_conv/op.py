"""`seqkit::long_conv` for torch's dispatcher: paths, output shape, gradient."""

from __future__ import annotations

from torch import Tensor

from seqkit.kernels.long_conv.reference import long_conv_reference
from seqkit.kernels.operator import Path, define_operator

__all__ = ["long_conv_op"]


def output(u: Tensor, k: Tensor, gate: Tensor, lengths: Tensor, center: int) -> Tensor:
    """An empty result (B, M, H, L)."""
    return u.new_empty(u.shape[0], k.shape[0], u.shape[1], u.shape[2])


def cpu_path() -> Path:
    """Loads the path for CPUs, and numba with it where it is installed."""
    from seqkit.kernels.long_conv import cpu

    return Path(cpu.long_conv_forward, cpu.long_conv_backward)


def triton_path() -> Path:
    """Loads the Triton kernels, which a machine without Triton cannot."""
    from seqkit.kernels.long_conv import triton

    return Path(triton.long_conv_forward, triton.long_conv_backward)


# A gate that is not there is an empty tensor, and so are lengths: torch's schemas have no gradient of an absent one.
long_conv_op = define_operator(
    "long_conv",
    "Tensor u, Tensor k, Tensor gate, Tensor lengths, int center",
    paths={"cpu": cpu_path, "triton": triton_path},
    outputs=output,
    reference=long_conv_reference,
    constant=["lengths"],
)
