"""Reading a block of rows of a head, in Triton."""

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["load_rows"]


@triton.jit
def load_rows(
    base, start, step, within, inside, GUARDED: tl.constexpr, SIZE: tl.constexpr, D: tl.constexpr, UPCAST: tl.constexpr
):  # fmt: skip
    """Rows `start` + `within` of a head, which lie `step` apart, with columns up to D; 0 outside.

    The start counts in 64 bits, a tile's own places in 32. With UPCAST rows become float32: Triton's interpreter
    computes wrongly in bfloat16.
    """
    d = tl.arange(0, D)
    at = base + start.to(tl.int64) * step + (within[:, None] * step + d[None, :])
    if GUARDED:
        rows = tl.load(at, mask=inside[:, None] & (d < SIZE)[None, :], other=0.0)
    elif SIZE < D:
        rows = tl.load(at, mask=(d < SIZE)[None, :], other=0.0)
    else:
        rows = tl.load(at)
    if UPCAST:
        rows = rows.to(tl.float32)
    return rows
