"""The chunked form around the Triton kernels: tables before, their gradients after, in torch."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.kernels.ssm_scan.ends import final_state, final_state_backward, last_chunk, newest
from seqkit.kernels.ssm_scan.tables import TableGradients, Tables, make_tables, pairs, tables_backward, unpair
from seqkit.kernels.ssm_scan.triton import sweep_chunks, table_sums

__all__ = ["ssm_scan_backward", "ssm_scan_forward"]


def chunk_size(n_pairs: int) -> int:
    """Samples per chunk: longer chunks go fewer times around the loop, and the tables stay in one core's memory."""
    return 64 if n_pairs <= 32 else 32


def oriented(tables: Tables, n_outputs: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns T (H, M, Q, Q), W (H, M, Q, 2N) and V (H, 1, 2N, Q), rows first."""
    out = tables.out.view(*tables.out.shape[:2], n_outputs, size).permute(0, 2, 3, 1)
    return out[..., :size].contiguous(), out[..., size:].contiguous(), tables.into.unsqueeze(1)


def ssm_scan_forward(
    u: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor]:
    """Returns y (B, M, H, L) and the state after sample `lengths` (B, H, N) for even steps; A, B are complex128."""
    n_outputs, _, n_pairs = C.shape
    if u.numel() == 0:
        return u.new_empty(u.shape[0], n_outputs, *u.shape[1:]), state.clone()
    u, size = u.contiguous(), chunk_size(n_pairs)
    tables = make_tables(A, B, C, size, torch.float32)
    at = last_chunk(lengths, size)
    start = pairs(state.transpose(0, 1), -1)
    y, _, last = sweep_chunks(u.unsqueeze(1), *oriented(tables, n_outputs, size), tables.jump, start, at)
    return y, final_state(tables, newest(u, lengths, size), last, lengths - at * size)


def ssm_scan_backward(
    grad: Tensor, grad_state: Tensor, u: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor, lengths: Tensor
) -> tuple[Tensor, ...]:
    """Returns the gradients of u, A, B, C and state: states forwards, adjoints in reverse, then the tables' sums."""
    n_outputs, _, n_pairs = C.shape
    if u.numel() == 0:
        return tuple(torch.zeros_like(value) for value in (u, A, B, C, state))
    u, grad, size = u.contiguous(), grad.contiguous(), chunk_size(n_pairs)
    tables = make_tables(A, B, C, size, torch.float32)
    t, w, v = oriented(tables, n_outputs, size)
    at = last_chunk(lengths, size)
    used = lengths - at * size
    start = pairs(state.transpose(0, 1), -1)
    one = t[:, :1].contiguous(), w[:, :1].contiguous()  # one output is enough to follow the states, and none is made
    _, states, last = sweep_chunks(u.unsqueeze(1), *one, v, tables.jump, start, at, write=False, keep=True)
    injected = pairs((grad_state * tables.powers[..., used].permute(2, 0, 1).conj()).transpose(0, 1), -1)
    turned = t.mT.contiguous(), v.mT.contiguous(), w.mT.contiguous()
    parts, adjoints, d_start = sweep_chunks(
        grad, *turned, tables.jump.conj().resolve_conj(), injected, at, reverse=True, keep=True
    )
    dt, dw, dv, dj = table_sums(u, grad, states[0], adjoints, size)
    out = torch.cat([dt, dw], -1).permute(0, 3, 1, 2).flatten(2)
    zero = torch.zeros_like(tables.powers)
    d_tables = TableGradients(zero, unpair(dj.sum(1), -1), dv.sum(1), out.contiguous())
    du = parts.sum(1) if n_outputs > 1 else parts.squeeze(1)
    final_state_backward(grad_state, tables, newest(u, lengths, size), last, used, lengths, du, d_tables)
    return du, *tables_backward(tables, B, C, d_tables), unpair(d_start.sum(0), -1).transpose(0, 1).contiguous()
