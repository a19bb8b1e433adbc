"""`seqkit::ssm_step` for torch's dispatcher: paths, output shapes, gradients."""

from __future__ import annotations

from seqkit.kernels.operator import define_operator
from seqkit.kernels.ssm_step.paths import empty_outputs, load_path
from seqkit.kernels.ssm_step.reference import ssm_step_reference

__all__ = ["ssm_step_op"]

ssm_step_op = define_operator(
    "ssm_step",
    "Tensor u, Tensor A, Tensor B, Tensor C, Tensor state, Tensor D",
    paths={"cpu": lambda: load_path("cpu"), "triton": lambda: load_path("triton")},
    outputs=empty_outputs,
    reference=ssm_step_reference,
    n_outputs=2,
)
