"""A model in one flat array of weights and one table of places, and a stream in one row.

Heads lie side by side in tiles of 16, so that a vector of the machine holds the same mode of several heads and no sum
runs across a vector; maps lie in tiles of 32 outputs, input by input. What is missing to a full tile is 0.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from seqkit.kernels.stack_step.stack import (
    ACTIVATIONS,
    NORMS,
    OUTPUTS,
    POOLS,
    RULES,
    Block,
    Dense,
    Diagonal,
    Linear,
    LowRank,
    Norm,
    Stack,
    StackState,
    discrete,
    order_of,
    pooled_width,
)

__all__ = ["COEFFICIENTS", "LANES", "WIDE", "Packed", "load_rows", "pack", "rows_of"]

LANES, WIDE, COEFFICIENTS = 16, 32, 6
# Places in the table: of the model, then of each block from BLOCKS on. A map takes two (weight, bias), a norm four.
CHANNELS, INPUTS, WIDTH, PADDED, N_OUT, N_BLOCKS, READS, POOL, SHARES, MEAN, STD = range(11)
ENCODER, NORM, HEAD, SCALE, OFFSET, HELD, MOST, N_LEVELS, LEVELS, FARTHEST, BLOCKS = (
    11,
    13,
    17,
    19,
    20,
    21,
    22,
    23,
    24,
    25,
    26,
)
KIND, MODES, M, RANK, RULE, MAIN, MORE, PULL, PUSH, LAMBDA, STEP, SKIP = range(12)
MIX, OWN_NORM, ACTIVATION, OUTPUT, OUT, X, RECORD = 12, 14, 18, 19, 20, 22, 24
KINDS = (Diagonal, LowRank, Dense)


class Packed(NamedTuple):
    """A model for the loops, beside the one that it was made from.

    Args:
        stack: The model.
        table: Sizes and places, int64.
        weights: All numbers, flat.
        width: Numbers of a stream's row.
        rate: Step that diagonal systems are discretised with.
    """

    stack: Stack
    table: Tensor
    weights: Tensor
    width: int
    rate: float


class Pile:
    """Gathers tensors, each at a place that is a whole number of vectors."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.parts: list[Tensor] = []
        self.size = 0
        self.dtype = dtype

    def add(self, value: Tensor) -> int:
        """Returns the place of a tensor."""
        flat = value.detach().to(self.dtype).reshape(-1)
        flat = F.pad(flat, (0, -len(flat) % LANES))
        place, self.size = self.size, self.size + len(flat)
        self.parts.append(flat)
        return place

    def vector(self, value: Tensor) -> int:
        """Returns the place of a vector, filled up with zeros to a multiple of 32."""
        return self.add(F.pad(value.detach().to(self.dtype), (0, -len(value) % WIDE)))

    def linear(self, linear: Linear, halves: int = 1, rows: int = 1) -> tuple[int, int]:
        """Returns the places of a map in tiles and of its bias.

        Args:
            linear: The map.
            halves: Parts of the outputs that are filled up each by itself.
            rows: Likewise of the inputs.
        """
        weight = spread(spread(linear.weight.detach(), 0, halves, WIDE), 1, rows, WIDE if rows > 0 else 2)
        bias = spread(linear.bias.detach(), 0, halves, WIDE)
        return self.add(weight.view(-1, WIDE, weight.shape[1]).transpose(1, 2)), self.add(bias)

    def norm(self, norm: Norm) -> list[int]:
        """Kind, and places of weight, bias and eps."""
        if norm.kind == "none":
            return [0, 0, 0, 0]
        eps = norm.weight.new_full((1,), norm.eps)
        return [NORMS.index(norm.kind), self.vector(norm.weight), self.vector(norm.bias), self.add(eps)]


def spread(value: Tensor, dim: int, parts: int, multiple: int) -> Tensor:
    """Fills each of some equal parts up with zeros to a multiple."""
    pieces = []
    for piece in value.chunk(max(parts, 1), dim):
        missing = -piece.shape[dim] % multiple
        pieces.append(torch.cat([piece, piece.new_zeros(*piece.shape[:dim], missing, *piece.shape[dim + 1 :])], dim))
    return torch.cat(pieces, dim)


def tiles(*parts: Tensor) -> Tensor:
    """Real parts (H, P) side by side in tiles of 16 heads, (T, P, parts, 16)."""
    stacked = torch.stack(parts, 1)
    stacked = F.pad(stacked, (0, 0, 0, 0, 0, -len(stacked) % LANES))
    return stacked.view(-1, LANES, *stacked.shape[1:]).permute(0, 3, 2, 1)


def pack(stack: Stack, rate: float = 1.0) -> Packed:
    """Lays a model out for the loops.

    Args:
        stack: The model.
        rate: Time from sample to sample, in units of the training step, that diagonal systems are discretised with; the
            other ones come discrete.

    Example:
        >>> one, line = torch.ones(1), Linear(torch.ones(1, 1), torch.zeros(1))
        >>> stack = Stack(0 * one, one, line, (), Norm("none", one, 0 * one, 0.0), "mean", line, one, 0 * one, False)
        >>> pack(stack).width  # what is pooled and how many samples were, in float64, and what is held
        32
    """
    pile = Pile(stack.mean.dtype)
    channels, inputs = len(stack.mean), stack.encoder.weight.shape[1]
    width, n_out = len(stack.encoder.bias), len(stack.head.bias)
    table = [channels, inputs + inputs % 2, width, -(-width // WIDE) * WIDE, n_out, len(stack.blocks)]
    table += [int(inputs > channels), POOLS.index(stack.pool), int(stack.shares), pile.add(stack.mean)]
    table += [pile.add(stack.std), *pile.linear(stack.encoder, rows=0), *pile.norm(stack.norm)]
    parts = pooled_width(stack) // width
    table += [*pile.linear(stack.head, rows=parts), pile.vector(stack.scale), pile.vector(stack.offset)]
    place = held = pooled_size(stack)
    place += channels + -channels % LANES
    table += [held, max((most(block) for block in stack.blocks), default=0), *levels_places(pile, stack)]
    for block in stack.blocks:
        table += [*system_places(pile, block, rate), *block_places(pile, block), place, 0]
        place += state_size(block, width)
    return Packed(stack, torch.tensor(table), torch.cat(pile.parts), place, rate)


def levels_places(pile: Pile, stack: Stack) -> list[int]:
    """Number of levels, and places of slopes, offsets, units, centres and scales in turn, and of the last limit."""
    levels, width = stack.levels, len(stack.encoder.bias)
    if levels is None:
        return [0, 0, 0]
    rows = [value.reshape(-1, width) for value in levels[:5]]
    rows[2], rows[4] = rows[2] - 1, rows[4] - 1  # channels that fill up are divided by 1
    full = [F.pad(row, (0, -width % WIDE)) for row in rows]
    full[2], full[4] = full[2] + 1, full[4] + 1
    return [len(levels.slope), pile.add(torch.cat(full)), pile.add(levels.unit.new_full((1,), levels.farthest))]


def most(block: Block) -> int:
    """Numbers that a block's system needs beside the state: coefficients of a tile, or two vectors of a dense state."""
    order = order_of(block.system)
    return COEFFICIENTS * LANES * order // 2 if block.system.B.is_complex() else 2 * (order + -order % WIDE)


def system_places(pile: Pile, block: Block, rate: float) -> list[int]:
    """A system's part of the record, from KIND to SKIP."""
    system, order = block.system, order_of(block.system)
    skip = pile.add(F.pad(block.D.T, (0, -len(block.D) % WIDE)))
    kind, outputs = KINDS.index(type(system)), block.D.shape[1]
    if isinstance(system, Dense):
        ahead = F.pad(system.A, (0, -order % LANES, 0, -order % WIDE))
        ahead = ahead.view(len(ahead), -1, WIDE, ahead.shape[-1]).transpose(2, 3)
        ends = [pile.add(F.pad(value, (0, -order % WIDE))) for value in (system.B, system.C)]
        return [kind, order, outputs, 0, 0, pile.add(ahead), *ends, 0, 0, 0, skip]
    A, B = discrete(system, rate) if isinstance(system, Diagonal) else (system.A, system.B)
    C = 2 * system.C
    main = pile.add(tiles(A.real, A.imag, B.real, B.imag, C[:, 0].real, C[:, 0].imag))
    more = pile.add(beside(C))
    if isinstance(system, LowRank):
        pull, push = pile.add(beside(2 * system.V)), pile.add(beside(system.Q))
        return [kind, order // 2, outputs, system.V.shape[1], 0, main, more, pull, push, 0, 0, skip]
    alone = pile.add(tiles(system.Lambda.real, system.Lambda.imag, system.B.real, system.B.imag))
    rule = RULES.index(system.rule)
    return [kind, order // 2, outputs, 0, rule, main, more, 0, 0, alone, pile.vector(system.dt), skip]


def beside(value: Tensor) -> Tensor:
    """Several weights a head, (H, K, P) complex, as (T, K, P, 2, 16)."""
    return torch.stack([tiles(one.real, one.imag) for one in value.unbind(1)], 1)


def block_places(pile: Pile, block: Block) -> list[int]:
    """The rest of the record, up to X."""
    mix = [-1, -1] if block.mix is None else pile.linear(block.mix, rows=block.D.shape[1])
    out = [-1, -1] if block.out is None else pile.linear(block.out, halves=2 if block.output == "gated" else 1)
    act, output = ACTIVATIONS.index(block.activation), OUTPUTS.index(block.output)
    return [*mix, *pile.norm(block.norm), act, output, *out]


def pooled_size(stack: Stack) -> int:
    """Numbers in a row for what pooling remembers: a value a channel and the samples so far, both in float64."""
    if stack.pool == "none":
        return 0
    numbers = (pooled_width(stack) + 1) * (2 if stack.mean.dtype == torch.float32 else 1)
    return numbers + -numbers % LANES


def state_size(block: Block, width: int) -> int:
    """Numbers in a row for a block's state."""
    order = order_of(block.system)
    if block.system.B.is_complex():
        return (width + -width % LANES) * order
    return width * (order + -order % LANES)


def load_rows(packed: Packed, rows: Tensor) -> StackState:
    """The states that lie in rows (n, width), as tensors of their own.

    Example:
        >>> one, line = torch.ones(1), Linear(torch.ones(1, 1), torch.zeros(1))
        >>> stack = Stack(0 * one, one, line, (), Norm("none", one, 0 * one, 0.0), "mean", line, one, 0 * one, False)
        >>> packed = pack(stack)
        >>> load_rows(packed, torch.zeros(2, packed.width)).held.shape
        torch.Size([2, 1])
    """
    stack, width = packed.stack, len(packed.stack.encoder.bias)
    place, layers = int(packed.table[HELD]), []
    wide = pooled_width(stack)
    value, seen = rows.new_zeros(len(rows), wide, dtype=torch.float64), torch.zeros(len(rows), dtype=torch.int64)
    if stack.pool != "none":
        pooled = rows[:, :place].contiguous().view(torch.float64)
        value, seen = pooled[:, :wide].clone(), pooled[:, wide].long()
    held = rows[:, place : place + len(stack.mean)].clone()
    place += len(stack.mean) + -len(stack.mean) % LANES
    for block in stack.blocks:
        size, order = state_size(block, width), order_of(block.system)
        part, place = rows[:, place : place + size], place + size
        if block.system.B.is_complex():
            part = part.view(len(rows), -1, order // 2, 2, LANES).permute(0, 1, 4, 3, 2)
            layers.append(part.reshape(len(rows), -1, order)[:, :width].contiguous())
        else:
            layers.append(part.view(len(rows), width, -1)[:, :, :order].contiguous())
    return StackState(tuple(layers), value, seen, held)


def rows_of(packed: Packed, state: StackState) -> Tensor:
    """Rows (n, width) that hold these states; the reverse of `load_rows`.

    Example:
        >>> one, line = torch.ones(1), Linear(torch.ones(1, 1), torch.zeros(1))
        >>> stack = Stack(0 * one, one, line, (), Norm("none", one, 0 * one, 0.0), "mean", line, one, 0 * one, False)
        >>> packed = pack(stack)
        >>> state = load_rows(packed, torch.zeros(2, packed.width))
        >>> rows_of(packed, state).shape
        torch.Size([2, 32])
    """
    stack, n, width = packed.stack, len(state.held), len(packed.stack.encoder.bias)
    parts = []
    if stack.pool != "none":
        pooled = torch.cat([state.value, state.seen[:, None].double()], 1).view(state.held.dtype)
        parts.append(F.pad(pooled, (0, -pooled.shape[1] % LANES)))
    parts.append(F.pad(state.held, (0, -state.held.shape[1] % LANES)))
    for block, layer in zip(stack.blocks, state.layers, strict=True):
        order = order_of(block.system)
        if block.system.B.is_complex():
            full = F.pad(layer, (0, 0, 0, -width % LANES)).view(n, -1, LANES, 2, order // 2)
            parts.append(full.permute(0, 1, 4, 3, 2).reshape(n, -1))
        else:
            parts.append(F.pad(layer, (0, -order % LANES)).reshape(n, -1))
    return torch.cat(parts, 1)
