"""LegS memories of whole held series without any step: chunks are projected and joined, all in parallel.

Everything is computed in float64, which costs little beside the polynomials, and rounded once at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from seqkit.hippo.exact import quadrature
from seqkit.hippo.linear_map import linear_map
from seqkit.hippo.polynomials import legendre_table
from seqkit.hippo.timeline import Timeline, readable

__all__ = ["exact_memory", "place", "project_pieces"]

BLOCK = 2**20  # polynomial values made at a time: 8 MiB
STRETCH = 4096  # points of one series at a time: a polynomial's values stay in the nearest cache


def exact_memory(u: Tensor, line: Timeline, state: Tensor, every: int | None) -> Tensor:
    """Coefficients of held series after every `every`-th sample, or at the end, (B, D, K, N).

    Chunks between rows are projected as series of their own by a product each and then joined pairwise, as in a
    parallel prefix sum: 2 K joins in 2 log2 K rounds.

    Args:
        u: Samples, (B, L, D), finite also where they do not count.
        line: When they end.
        state: Coefficients before, (B, D, N), 0 for series that start.
        every: Samples from row to row, or None for one row at the end.

    Cost: N a sample; with several rows N² for each and for each series, and for each the polynomials, N² a timeline.

    Example:
        >>> edges = torch.tensor([[0.0, 1.0, 2.0]], dtype=torch.float64)
        >>> line = Timeline(edges, 1.0, None, edges[:, -1])
        >>> exact_memory(torch.tensor([[[1.0], [3.0]]]), line, torch.zeros(1, 1, 2), None)
        tensor([[[[2.0000, 0.8660]]]])
    """
    (batch, length, width), order = u.shape, state.shape[-1]
    times = len(line.edges)  # 1 where all series share theirs; then they are one longer list of channels
    series = u.transpose(1, 2).reshape(times, -1, length).double()
    before = state.reshape(times, -1, order).double()
    find = _final if every is None else partial(_rows, every=every)
    return find(series, line.edges, before).reshape(batch, width, -1, order).to(u.dtype)


def _final(u: Tensor, edges: Tensor, state: Tensor) -> Tensor:
    """Coefficients at the end, (T, S, N), of series (T, S, L)."""
    end, zero = edges[:, -1], torch.zeros_like(edges[:, 0])
    own = project_pieces(u, edges, zero, end, state.shape[-1])
    if readable(edges) and not state.requires_grad and not bool(edges[:, 0].any()):
        return own  # nothing came before
    return place(state, zero, _share(edges[:, 0], end, 0.0)) + own


def _rows(u: Tensor, edges: Tensor, state: Tensor, every: int) -> Tensor:
    """Coefficients (T, S, K, N) of series (T, S, K every)."""
    count = u.shape[-1] // every
    cuts = edges[:, ::every]
    pieces = torch.cat([edges[:, :-1].reshape(-1, count, every), cuts[:, 1:, None]], dim=-1).flatten(0, 1)
    chunks = u.reshape(*u.shape[:2], count, every).transpose(1, 2).flatten(0, 1)
    own = project_pieces(chunks, pieces, pieces[:, 0], pieces[:, -1], state.shape[-1])
    segments = torch.cat([state.unsqueeze(1), own.view(-1, count, *own.shape[1:])], dim=1)
    ends = torch.cat([torch.zeros_like(cuts[:, :1]), cuts], dim=1)
    return _prefixes(segments, ends)[:, 1:].transpose(1, 2)


def project_pieces(u: Tensor, edges: Tensor, start: Tensor, end: Tensor, order: int) -> Tensor:
    """Projects samples held between edges on the basis of the interval from start to end.

    Args:
        u: Samples, (T, S, L).
        edges: (T, L + 1).
        start: Start of the interval, (T,).
        end: End of the interval, (T,).
        order: Number of coefficients N.

    Returns:
        Coefficients, (T, S, N).

    Example:
        >>> edges = torch.tensor([[1.0, 2.0]])
        >>> project_pieces(torch.tensor([[[1.0]]]), edges, torch.zeros(1), torch.tensor([2.0]), 2)
        tensor([[[0.5000, 0.4330]]])
    """
    times, series, length = u.shape
    width = end - start
    width = torch.where(width > 0, width, torch.ones_like(width))
    y = 2 * (edges - start[:, None]) / width[:, None] - 1
    # All of a few long series a stretch at a time, or many short ones together.
    tall, wide = max(1, BLOCK // (order * (length + 1))), min(length + 1, STRETCH)
    norms = torch.sqrt(2 * torch.arange(order, dtype=u.dtype, device=u.device) + 1)

    def tables() -> Iterator[tuple[slice, slice, Tensor]]:
        for row in range(0, times, tall):
            rows = slice(row, row + tall)
            for first in range(0, length + 1, wide):
                some = slice(first, first + wide)
                yield rows, some, legendre_table(order + 1, y[rows, some]).movedim(0, -1)

    def forth(u: Tensor) -> Tensor:
        # By parts, sums of jumps times antiderivatives at the edges; the latter are (P_{n+1} - P_{n-1}) / (2 s_n).
        jumps = -F.pad(u, (1, 1)).diff(dim=-1)
        sums = u.new_zeros(times, series, order + 1)
        for rows, some, table in tables():
            sums[rows] += jumps[rows, :, some] @ table
        lower = torch.cat([-sums[..., :1], sums[..., : order - 1]], dim=-1)
        return (sums[..., 1:] - lower) / (2 * norms)

    def back(grad: Tensor) -> Tensor:
        scaled = F.pad(grad / (2 * norms), (1, 2))
        sums = scaled[..., :-2] - scaled[..., 2:]
        sums[..., 0] += scaled[..., 1]
        found = grad.new_empty(times, series, length + 1)
        for rows, some, table in tables():
            found[rows, :, some] = sums[rows] @ table.mT
        return found.diff(dim=-1)

    return linear_map(u, forth, back)


def place(c: Tensor, offset: Tensor, share: Tensor) -> Tensor:
    """Coefficients, in a whole, of what a segment of it remembers: E(r) c at offset 0, F(r) c at offset r.

        result_n = share ∫ g_n(offset + share x) Σ_m c_m g_m(x) dx  over [0, 1]

    The signal is read at the N Gauss-Legendre nodes of the segment, which loses nothing, and projected from there: for
    one series N² operations where the matrices E and F cost N³.

    Args:
        c: Coefficients, (T, ..., N).
        offset: Where the segment begins, (T,), in units of the whole.
        share: Its length, (T,).

    Returns:
        Coefficients, as `c`.

    Example:
        >>> place(torch.tensor([[1.0, 0.0]]), torch.tensor([0.5]), torch.tensor([0.5]))
        tensor([[0.5000, 0.4330]])
    """
    order = c.shape[-1]
    nodes, weighted = (value.to(c) for value in quadrature(order))
    norms = torch.sqrt(2 * torch.arange(order, dtype=c.dtype, device=c.device) + 1)
    tall = max(1, BLOCK // order**2)

    def values(rows: slice) -> Tensor:
        y = 2 * (offset[rows, None] + share[rows, None] * nodes) - 1
        return legendre_table(order, y).movedim(0, -1) * (share[rows, None, None] * norms)

    def blocks(c: Tensor, transposed: bool) -> Tensor:
        flat = c.reshape(len(c), c.shape[1:-1].numel(), order)
        result = torch.empty_like(flat)
        for row in range(0, len(c), tall):
            rows = slice(row, row + tall)
            made = values(rows)
            result[rows] = flat[rows] @ made.mT @ weighted if transposed else flat[rows] @ weighted.mT @ made
        return result.view(c.shape)

    return linear_map(c, lambda c: blocks(c, False), lambda grad: blocks(grad, True))


def _prefixes(segments: Tensor, ends: Tensor) -> Tensor:
    """Memories of everything up to each segment's end, (T, K, S, N), from those of the segments.

    Args:
        segments: (T, K, S, N).
        ends: Start of the first segment, which is 0, and end of each, (T, K + 1).
    """
    count = segments.shape[1]
    if count == 1:
        return segments
    pairs, later = count // 2 * 2, (count - 1) // 2
    joined = _join(
        segments[:, 0:pairs:2], segments[:, 1:pairs:2],
        ends[:, 0:pairs:2], ends[:, 1:pairs:2], ends[:, 2 : pairs + 1 : 2],
    )  # fmt: skip
    odd = _prefixes(joined, ends[:, : pairs + 1 : 2])
    known = odd[:, :later]
    even = _join(
        known, segments[:, 2::2], ends[:, :1].expand(-1, later), ends[:, 2:count:2], ends[:, 3 : count + 1 : 2]
    )
    return torch.cat([segments[:, :1], torch.stack([known, even], dim=2).flatten(1, 2), odd[:, later:]], dim=1)


def _join(first: Tensor, second: Tensor, start: Tensor, middle: Tensor, end: Tensor) -> Tensor:
    """Memories (T, K, S, N) of segments from those of two parts, which meet in the middle, (T, K)."""
    share = _share(middle - start, end - start, 1.0).flatten()
    shape = first.shape
    left = place(first.flatten(0, 1), torch.zeros_like(share), share)
    return (left + place(second.flatten(0, 1), share, 1 - share)).view(shape)


def _share(part: Tensor, whole: Tensor, nothing: float) -> Tensor:
    """The quotient, and `nothing` where the whole lasted no time."""
    some = whole > 0
    return torch.where(some, part / torch.where(some, whole, torch.ones_like(whole)), nothing)
