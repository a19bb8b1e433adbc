"""`seqkit::vandermonde` for torch's dispatcher: paths, output shape, gradient."""

from __future__ import annotations

from torch import Tensor

from seqkit.kernels.operator import Path, define_operator
from seqkit.kernels.vandermonde.reference import vandermonde_reference

__all__ = ["vandermonde_op"]


def output(a: Tensor, weight: Tensor, length: int) -> Tensor:
    """An empty kernel (H, M, length)."""
    return weight.new_empty(weight.shape[0], weight.shape[1], length, dtype=weight.dtype.to_real())


def cpu_path() -> Path:
    """Loads the path for CPUs, and numba with it where it is installed."""
    from seqkit.kernels.vandermonde import cpu

    return Path(cpu.vandermonde_forward, cpu.vandermonde_backward)


def triton_path() -> Path:
    """Imports Triton when it is first needed."""
    from seqkit.kernels.vandermonde import triton

    return Path(triton.vandermonde_forward, triton.vandermonde_backward)


vandermonde_op = define_operator(
    "vandermonde",
    "Tensor a, Tensor weight, int length",
    paths={"cpu": cpu_path, "triton": triton_path},
    outputs=output,
    reference=vandermonde_reference,
)
