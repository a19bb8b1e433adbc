"""`seqkit::krylov` for torch's dispatcher: paths, output shape, gradient."""

from __future__ import annotations

from torch import Tensor

from seqkit.kernels.krylov import cpu
from seqkit.kernels.krylov.reference import krylov_reference
from seqkit.kernels.operator import Path, define_operator

__all__ = ["krylov_op"]


def output(A: Tensor, B: Tensor, C: Tensor, length: int) -> Tensor:
    """An empty kernel (H, M, length)."""
    return C.new_empty(C.shape[0], C.shape[1], length)


def triton_path() -> Path:
    """Imports Triton when it is first needed."""
    from seqkit.kernels.krylov import triton

    return Path(triton.krylov_forward, triton.krylov_backward)


krylov_op = define_operator(
    "krylov",
    "Tensor A, Tensor B, Tensor C, int length",
    paths={"cpu": lambda: Path(cpu.krylov_forward, cpu.krylov_backward), "triton": triton_path},
    outputs=output,
    reference=krylov_reference,
)
