"""Queries, keys and values as every form of attention takes them: checked, scaled, and clean past the end."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from seqkit.checks import check_lengths, check_positive, check_positive_int, check_shape

__all__ = ["Heads", "check_heads", "inside", "prepare", "recomputed", "shared"]


class Heads(NamedTuple):
    """Queries, keys and values with heads before positions; G heads of keys serve H heads of queries, in order.

    Args:
        q: Queries times the square root of the scale (B, H, L, D).
        k: Keys times the square root of the scale (B, G, T, D).
        v: Values (B, G, T, V).
        live: Queries before the end of each series (B, 1, L), or None where all are.
        key_live: Keys before the end of each series (B, 1, T), or None where all are.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    live: Tensor | None
    key_live: Tensor | None


def check_heads(q: Tensor, k: Tensor, v: Tensor | None = None, *, causal: bool = False) -> None:
    """Refuses queries, keys and values that do not fit together.

    Raises:
        ValueError: a shape or dtype differs, or attention is causal between series of two lengths.
    """
    check_shape("q", q, ("B", "L", "H", "D"))
    batch, length, heads, size = q.shape
    check_shape("k", k, (batch, "T", "G", size), "keys have the batch and the size of the queries")
    if k.shape[2] < 1 or heads % k.shape[2]:
        raise ValueError(f"heads of `k` must divide those of `q`, got {k.shape[2]} for {heads}; repeat some")
    if v is not None:
        check_shape("v", v, (*k.shape[:3], "V"), "each key has its value")
    for name, one in (("q", q), ("k", k), ("v", v)):
        if one is not None and not (one.is_floating_point() and one.dtype == q.dtype):
            raise ValueError(
                f"`{name}` must have the dtype of `q`, a floating-point one, got {one.dtype} and {q.dtype}"
            )
    if length < 1 or k.shape[1] < 1:
        raise ValueError(f"`q` and `k` must hold at least one position, got {length} and {k.shape[1]}")
    if causal and k.shape[1] != length:
        raise ValueError(
            f"`causal` must be False where `k` has another length ({k.shape[1]}) than `q` ({length}): there is no "
            "order between them; use causal=False"
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


def both_inside(
    q: Tensor, k: Tensor, lengths: Tensor | None, key_lengths: Tensor | None
) -> tuple[Tensor | None, Tensor | None]:
    """Which queries and which keys lie before the ends; keys have the queries' lengths unless they have their own.

    Raises:
        ValueError: lengths are no such lengths, or the keys' are missing where keys are more or fewer than queries.
    """
    if lengths is not None and key_lengths is None and q.shape[1] != k.shape[1]:
        raise ValueError(
            f"`key_lengths` must be given beside `lengths` where `k` has another length ({k.shape[1]}) than `q` "
            f"({q.shape[1]}); pass the number of keys of each series"
        )
    return inside(lengths, q.shape[1], q), inside(lengths if key_lengths is None else key_lengths, k.shape[1], k)


def prepare(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float | None,
    lengths: Tensor | None,
    key_lengths: Tensor | None = None,
    causal: bool = False,
) -> Heads:
    """Checks the arguments, moves heads before positions, scales, and puts zeros past the end of each series.

    Half precision is computed in float32: differences of sums would be lost in it.

    Raises:
        ValueError: shapes, dtypes or lengths do not fit, or `scale` is not above 0.
    """
    check_heads(q, k, v, causal=causal)
    factor = math.sqrt(check_positive("scale", 1 / math.sqrt(q.shape[3]) if scale is None else scale))
    live, key_live = both_inside(q, k, lengths, key_lengths)
    wide = torch.promote_types(q.dtype, torch.float32)
    parts = []
    for x, seen in ((q, live), (k, key_live), (v, key_live)):
        moved = x.transpose(1, 2).to(wide)
        parts.append(moved if seen is None else moved.masked_fill(~seen[..., None], 0))
    return Heads(parts[0] * factor, parts[1] * factor, parts[2], live, key_live)


def shared(x: Tensor, heads: int) -> Tensor:
    """What belongs to the G heads of keys (B, G, ...), for each of `heads` heads of queries."""
    return x if x.shape[1] == heads else x.repeat_interleave(heads // x.shape[1], dim=1)


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
