"""`seqkit::attention` for torch's dispatcher: paths, output shapes, gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from seqkit.kernels.attention.reference import attention_reference
from seqkit.kernels.backend import HALF
from seqkit.kernels.operator import Path, define_operator

__all__ = ["attention_op"]


def outputs(q: Tensor, k: Tensor, v: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    """Empty output (B, R, H, E) and log sum exp (B, R, H)."""
    wide = torch.float32 if q.dtype in HALF else q.dtype
    return q.new_empty(*q.shape[:3], v.shape[-1]), q.new_empty(q.shape[:3], dtype=wide)


def cpu_path() -> Path:
    """Loads the tiled form."""
    from seqkit.kernels.attention import cpu

    return Path(cpu.attention_forward, cpu.attention_backward)


def triton_path() -> Path:
    """Loads the Triton kernels, which a machine without Triton cannot."""
    from seqkit.kernels.attention.triton import backward, forward

    return Path(forward.attention_forward, backward.attention_backward)


# What is not there is an empty tensor: torch's schemas have no gradient of an absent one.
attention_op = define_operator(
    "attention",
    "Tensor q, Tensor k, Tensor v, Tensor slopes, Tensor seed, Tensor segments, Tensor row_starts, Tensor columns, "
    "Tensor partial, Tensor bits, Tensor column_starts, Tensor rows, Tensor entries, int tile_rows, int tile_columns, "
    "int left, int right, bool at_end, float softcap, float scale, float dropout",
    paths={"cpu": cpu_path, "triton": triton_path},
    outputs=outputs,
    reference=attention_reference,
    n_outputs=2,
    constant=(
        *("slopes", "seed", "segments", "row_starts", "columns", "partial", "bits"),
        *("column_starts", "rows", "entries"),
    ),
    keep_outputs=True,
)
