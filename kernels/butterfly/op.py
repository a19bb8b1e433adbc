"""`seqkit::butterfly` for torch's dispatcher: paths, output shape, gradient."""

from __future__ import annotations

from torch import Tensor

from seqkit.kernels.butterfly.reference import butterfly_reference
from seqkit.kernels.operator import Path, define_operator

__all__ = ["butterfly_op"]


def output(x: Tensor, twiddle: Tensor, increasing: bool) -> Tensor:
    """An empty result (B, S, n)."""
    return x.new_empty(x.shape[0], twiddle.shape[0], x.shape[1])


def cpu_path() -> Path:
    """Imports numba when it is first needed."""
    from seqkit.kernels.butterfly import cpu

    return Path(cpu.butterfly_forward, cpu.butterfly_backward)


def triton_path() -> Path:
    """Imports Triton when it is first needed."""
    from seqkit.kernels.butterfly import triton

    return Path(triton.butterfly_forward, triton.butterfly_backward)


butterfly_op = define_operator(
    "butterfly",
    "Tensor x, Tensor twiddle, bool increasing",
    paths={"cpu": cpu_path, "triton": triton_path},
    outputs=output,
    reference=butterfly_reference,
)
