"""`seqkit::cauchy_sums` for torch's dispatcher: paths, output shape, gradient."""

from __future__ import annotations

from torch import Tensor

from seqkit.kernels.cauchy import sums
from seqkit.kernels.operator import Path, define_operator

__all__ = ["cauchy_sums_op"]


def output(v: Tensor, Lambda: Tensor, z: Tensor) -> Tensor:
    """Empty sums (H, O, J)."""
    return v.new_empty(v.shape[0], v.shape[1], z.shape[0])


def triton_path() -> Path:
    """Imports Triton when it is first needed."""
    from seqkit.kernels.cauchy import triton

    return Path(triton.cauchy_sums_forward, triton.cauchy_sums_backward)


cauchy_sums_op = define_operator(
    "cauchy_sums",
    "Tensor v, Tensor Lambda, Tensor z",
    paths={"cpu": lambda: Path(sums.cauchy_sums_forward, sums.cauchy_sums_backward), "triton": triton_path},
    outputs=output,
    reference=sums.cauchy_sums_reference,
    constant=("z",),
)
