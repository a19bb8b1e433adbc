"""`seqkit::legs_update` for torch's dispatcher: paths, output shape, gradient."""

from __future__ import annotations

import importlib

from torch import Tensor

from seqkit.kernels.legs_update import cpu
from seqkit.kernels.legs_update.reference import legs_update_reference
from seqkit.kernels.operator import Path, define_operator

__all__ = ["legs_update_op"]


def output(u: Tensor, tau: Tensor, state: Tensor, every: int) -> Tensor:
    """Empty rows (S, L // every, N)."""
    return state.new_empty(u.shape[0], u.shape[1] // every, state.shape[1])


def with_triton() -> Path:
    """The kernels, loaded on their first use."""
    kernels = importlib.import_module("seqkit.kernels.legs_update.triton")
    return Path(kernels.legs_update_forward, kernels.legs_update_backward)


legs_update_op = define_operator(
    "legs_update",
    "Tensor u, Tensor tau, Tensor state, int every",
    paths={"cpu": lambda: Path(cpu.legs_update_forward, cpu.legs_update_backward), "triton": with_triton},
    outputs=output,
    reference=legs_update_reference,
    constant=("tau",),
)
