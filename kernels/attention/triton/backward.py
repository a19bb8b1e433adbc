"""The backward: what each row's terms are, then keys' gradients by tiles of keys, queries' by tiles of queries."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from seqkit.kernels.attention.triton.call import Call, call_of
from seqkit.kernels.attention.triton.keys import gradients_of_keys
from seqkit.kernels.attention.triton.queries import gradient_of_queries
from seqkit.kernels.attention.triton.sizes import padded

__all__ = ["attention_backward"]


@triton.jit
def attention_bwd_rows_kernel(
    grad, grad_lse, out, lse, own, offset, n_rows, n_queries, n_heads,
    SIZE: tl.constexpr, E: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Computes y . dy - dlse of each query, and its lse in base 2, infinite where it sees nothing; both (B, H, R)."""
    at = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    e, there = tl.arange(0, E), at < n_rows
    both = there[:, None] & (e < SIZE)[None, :]
    dy = tl.load(grad + at[:, None] * SIZE + e[None, :], mask=both, other=0.0).to(tl.float32)
    y = tl.load(out + at[:, None] * SIZE + e[None, :], mask=both, other=0.0).to(tl.float32)
    found = tl.load(lse + at, mask=there, other=0.0)
    dead = found == float("-inf")
    term = tl.sum(dy * y, 1) - tl.load(grad_lse + at, mask=there, other=0.0)
    head, time = at % n_heads, at // n_heads
    target = (time // n_queries * n_heads + head) * n_queries + time % n_queries
    tl.store(own + target, tl.where(dead, 0.0, term), mask=there)
    tl.store(offset + target, tl.where(dead, float("inf"), found * 1.4426950408889634), mask=there)


def attention_backward(
    grad: Tensor, grad_lse: Tensor, q: Tensor, k: Tensor, v: Tensor, *others: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of q, k and v; the last two arguments are the outputs of `attention_forward`."""
    out, lse = others[-2:]
    call = call_of(q, k, v, *others[:-2])
    if call.empty:
        return torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
    with torch.cuda.device_of(q):
        own, offset = row_terms(grad, grad_lse, out, lse, call)
        dk, dv = gradients_of_keys(grad, own, offset, call)
        dq = gradient_of_queries(grad, own, offset, call)
    return dq.to(q.dtype), dk.to(k.dtype), dv.to(v.dtype)


def row_terms(grad: Tensor, grad_lse: Tensor, out: Tensor, lse: Tensor, call: Call) -> tuple[Tensor, Tensor]:
    """Runs the pre-pass: one number of each query that its scores' gradients lack, and its lse, (B, H, R) each."""
    n_rows, n_queries, n_heads, size = out.shape
    own, offset = (lse.new_empty(n_rows, n_heads, n_queries) for _ in range(2))
    rows = 64
    attention_bwd_rows_kernel[(triton.cdiv(lse.numel(), rows),)](
        grad, grad_lse, out, lse, own, offset, lse.numel(), n_queries, n_heads,
        SIZE=size, E=padded(size), ROWS=rows, num_warps=4,
    )  # fmt: skip
    return own, offset
