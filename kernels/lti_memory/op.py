"""`seqkit::lti_memory` for torch's dispatcher: paths, output shape, gradient."""

from __future__ import annotations

import importlib

from torch import Tensor

from seqkit.kernels.lti_memory import cpu
from seqkit.kernels.lti_memory.reference import lti_memory_reference
from seqkit.kernels.operator import Path, define_operator

__all__ = ["lti_memory_op"]


def output(u: Tensor, A_bar: Tensor, B_bar: Tensor, state: Tensor, carry: bool, every: int) -> Tensor:
    """Empty rows (H, S, L // every, N)."""
    return state.new_empty(*state.shape[:2], u.shape[2] // every, state.shape[2])


def with_triton() -> Path:
    """The kernels, loaded on their first use."""
    kernels = importlib.import_module("seqkit.kernels.lti_memory.triton")
    return Path(kernels.lti_memory_forward, kernels.lti_memory_backward)


lti_memory_op = define_operator(
    "lti_memory",
    "Tensor u, Tensor A_bar, Tensor B_bar, Tensor state, bool carry, int every",
    paths={"cpu": lambda: Path(cpu.lti_memory_forward, cpu.lti_memory_backward), "triton": with_triton},
    outputs=output,
    reference=lti_memory_reference,
)
