"""`seqkit::monarch` for torch's dispatcher: paths, output shape, gradient."""

from __future__ import annotations

from torch import Tensor

from seqkit.kernels.monarch import cpu
from seqkit.kernels.monarch.reference import monarch_reference
from seqkit.kernels.operator import Path, define_operator

__all__ = ["monarch_op"]


def output(x: Tensor, w1: Tensor, w2: Tensor) -> Tensor:
    """Empty rows (B, s l)."""
    return x.new_empty(x.shape[0], w2.shape[0] * w2.shape[1])


def triton_path() -> Path:
    """Imports Triton when it is first needed."""
    from seqkit.kernels.monarch import triton

    return Path(triton.monarch_forward, triton.monarch_backward)


monarch_op = define_operator(
    "monarch",
    "Tensor x, Tensor w1, Tensor w2",
    paths={"cpu": lambda: Path(cpu.monarch_forward, cpu.monarch_backward), "triton": triton_path},
    outputs=output,
    reference=monarch_reference,
)
