"""Queries, keys and values as every form of attention takes them: checked, scaled, and clean past the end."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from seqkit.checks import check_lengths, check_positive, check_positive_int, check_shape

__all__ = ["Heads", "check_heads", "inside", "prepare", "recomputed"]


class Heads(NamedTuple):
    """Queries, keys and values with heads before positions.

    Args:
        q: Queries times the square root of the scale (B, H, L, D).
        k: Keys times the square root of the scale (B, H, L, D).
        v: Values (B, H, L, V).
        live: Positions before the end of each series (B, 1, L), or None where all are.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    live: Tensor | None


def check_heads(q: Tensor, k: Tensor, v: Tensor | None = None) -> None:
    """Refuses queries, keys and values that do not fit together.

    Raises:
        ValueError: a shape or dtype differs.
    """
    check_shape("q", q, ("B", "L", "H", "D"))
    batch, length, heads, size = q.shape
    check_shape("k", k, (batch, length, heads, size), "queries and keys are of one series")
    if v is not None:
        check_shape("v", v, (batch, length, heads, "V"), "values are of the same series as the keys")
    for name, one in (("q", q), ("k", k), ("v", v)):
        if one is not None and not (one.is_floating_point() and one.dtype == q.dtype):
            raise ValueError(
                f"`{name}` must have the dtype of `q`, a floating-point one, got {one.dtype} and {q.dtype}"
            )


def inside(lengths: Tensor | None, length: int, like: Tensor) -> Tensor | None:
    """Which positions lie before the end of each series (B, 1, L), on the device of `like` (B, ...); None where all do.

    Raises:
        ValueError: `lengths` are not whole numbers between 1 and L, one per series.
    """
    if lengths is None:
        return None
    check_lengths(lengths, len(like), length)
    return (torch.arange(length, device=like.device) < lengths.to(like.device)[:, None])[:, None]


def prepare(q: Tensor, k: Tensor, v: Tensor, scale: float | None, lengths: Tensor | None) -> Heads:
    """Checks the arguments, moves heads before positions, scales, and puts zeros past the end of each series.

    Half precision is computed in float32: differences of sums would be lost in it.

    Raises:
        ValueError: shapes, dtypes or lengths do not fit, or `scale` is not above 0.
    """
    check_heads(q, k, v)
    factor = math.sqrt(check_positive("scale", 1 / math.sqrt(q.shape[3]) if scale is None else scale))
    live = inside(lengths, q.shape[1], q)
    wide = torch.promote_types(q.dtype, torch.float32)
    parts = [x.transpose(1, 2).to(wide) for x in (q, k, v)]
    if live is not None:
        parts = [x.masked_fill(~live[..., None], 0) for x in parts]
    return Heads(parts[0] * factor, parts[1] * factor, parts[2], live)


def finish(out: Tensor, like: Tensor, live: Tensor | None) -> Tensor:
    """Back to (B, L, H, V) in the caller's dtype, zero past the end of each series."""
    if live is not None:
        out = out.masked_fill(~live[..., None], 0)
    return out.transpose(1, 2).to(like.dtype)


def rows_at_once(chunk: int | None, length: int, size: int) -> int:
    """Rows to compute at once: as asked, or so many that about four million numbers are held, 16 to 128."""
    if chunk is not None:
        return min(check_positive_int("chunk", chunk), length)
    return max(1, min(length, max(16, min(128, 2**22 // max(size, 1)))))


def recomputed(function: Callable[..., Any], *args: Any) -> Any:
    """Calls `function`; where gradients are wanted, what it computes inside is dropped and computed again for them."""
    wanted = torch.is_grad_enabled() and any(isinstance(arg, Tensor) and arg.requires_grad for arg in args)
    return checkpoint(function, *args, use_reentrant=False, preserve_rng_state=False) if wanted else function(*args)
