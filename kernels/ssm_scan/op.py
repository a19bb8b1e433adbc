"""`seqkit::ssm_scan` and `seqkit::ssm_scan_steps` for torch's dispatcher: paths, output shapes, gradients."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from seqkit.kernels.operator import Path, define_operator
from seqkit.kernels.ssm_scan.reference import ssm_scan_reference, ssm_scan_steps_reference

__all__ = ["ssm_scan_op", "ssm_scan_steps_op"]


def outputs(u: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    """Empty y (B, M, H, L) and final state (B, H, N)."""
    return u.new_empty(u.shape[0], C.shape[0], u.shape[1], u.shape[2]), state.new_empty(state.shape)


def even_cpu() -> Path:
    """Loads the chunked form, and numba where it is installed."""
    from seqkit.kernels.ssm_scan import cpu

    return Path(cpu.ssm_scan_forward, cpu.ssm_scan_backward)


def uneven_cpu() -> Path:
    """Loads the form with a step per sample, and numba where it is installed."""
    from seqkit.kernels.ssm_scan.uneven import cpu

    return Path(cpu.ssm_scan_steps_forward, cpu.ssm_scan_steps_backward)


def even_triton() -> Path:
    """Loads the kernels of the chunked form."""
    from seqkit.kernels.ssm_scan import chunks

    return Path(chunks.ssm_scan_forward, chunks.ssm_scan_backward)


def uneven_triton() -> Path:
    """Loads the kernels with a step per sample."""
    from seqkit.kernels.ssm_scan.uneven import triton

    return Path(triton.ssm_scan_steps_forward, triton.ssm_scan_steps_backward)


ssm_scan_op = define_operator(
    "ssm_scan",
    "Tensor u, Tensor A, Tensor B, Tensor C, Tensor state, Tensor lengths",
    paths={"cpu": even_cpu, "triton": even_triton},
    outputs=outputs,
    reference=ssm_scan_reference,
    n_outputs=2,
    constant=("lengths",),
)

ssm_scan_steps_op = define_operator(
    "ssm_scan_steps",
    "Tensor u, Tensor A, Tensor B, Tensor C, Tensor state, Tensor steps, Tensor lengths, str rule",
    paths={"cpu": uneven_cpu, "triton": uneven_triton},
    outputs=outputs,
    reference=ssm_scan_steps_reference,
    n_outputs=2,
    constant=("steps", "lengths"),
)
