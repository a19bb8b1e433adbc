"""Monarch matrices: p block-diagonal matrices with transpositions of the blocks between."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from seqkit.checks import check_positive_int
from seqkit.kernels.backend import check_values
from seqkit.kernels.monarch import monarch
from seqkit.structured.blocks import cut, near_divisor, ranks
from seqkit.structured.matrix import StructuredMatrix, autocast_dtype
from seqkit.structured.monarch_fit import fit_monarch
from seqkit.structured.monarch_weighed import weighed_corner
from seqkit.structured.parameters import draw, parameter
from seqkit.structured.registry import register_structure
from seqkit.structured.stages import apply_stages, stage_shapes

__all__ = ["Monarch"]

SMALL = 1 << 22
"""Products with up to so many multiplications go without the operator, whose call then takes longer than they do."""


@register_structure("monarch")
class Monarch(StructuredMatrix):
    """Monarch matrix of order p: the place of a number is p digits, and each of p stages changes one of them.

        y[a1 .. a(t-1), ct, c(t+1) .. cp] = sum_at W_t[a1 .. a(t-1), c(t+1) .. cp; ct, at] x[a1 .. at, c(t+1) .. cp]

    for t = p .. 1, where a are digits of the input's place and c those of the output's. With p = 2 this is
    M[(s, l), (k, p)] = sum_r W_1[l; s, (k, r)] W_2[k; (r, l), p]: slices over (s, p) of rank r. Sizes that the blocks
    do not divide are padded with zeros and the result is cut: the matrix is the corner of a larger one.

    Args:
        in_features: Columns.
        out_features: Rows.
        n_blocks: Number of blocks k of the input and l of the output: one number for both or a pair (k, l). If None, k
            and the output's block size s are the divisors nearest to the roots of the sizes: for n by n, k l = n and
            about 2 n^1.5 numbers of n^2. For an order above 2 about the p-th roots are taken, and cannot be chosen.
        slice_rank: Rank r of the slices, at most their smaller size. Few large blocks need more than 1:
            n / n_blocks^2 fills blocks of n / n_blocks as in the published layer with 4 blocks.
        order: Number of stages p, at least 2; each costs n^(1 + 1/p).
        device: Device of the parameters.
        dtype: Number type, floating or complex.

    Attributes:
        factors: The p stages in the order in which they are applied; for p = 2 the w1 and w2 of
            `seqkit.kernels.monarch`.

    Raises:
        ValueError: more blocks than numbers, a rank above the slices' smaller size, or options that exclude another.

    Source:
        Dao et al. 2022, Monarch (arXiv:2204.00595), definition 3.1, section 3.2 and theorem 1 for the fit; order p as
        in Fu et al. 2023, Monarch Mixer (arXiv:2310.12109). Differs: the slices' rank is free, the fit serves
        rectangular and padded matrices, any rank and any order, and the start has the variance of `nn.Linear`, not a
        third of it.

    Cost: for p = 2, r (l in + k out) parameters, and twice as many operations a row. The fit computes k l small
        singular value decompositions, O(n^2.5). For p = 2 it is the nearest member; beyond, members are found exactly
        and others by taking one stage off after the other, which need not end at the nearest. Products gain over
        `nn.Linear` from a few hundred rows and features on; docs/structured.md has the sizes.

    Example:
        >>> matrix = Monarch(64, 64)
        >>> matrix.n_parameters, 2 * 64**1.5
        (1024, 1024.0)
        >>> Monarch(64, 64, n_blocks=4, slice_rank=4).density
        0.5
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        n_blocks: int | Sequence[int] | None = None,
        slice_rank: int = 1,
        order: int = 2,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features)
        self.order = check_order(order, n_blocks, slice_rank)
        first, last = pair_of(n_blocks)
        digits_in = cut("in_features", in_features, first, order)
        digits_out = cut("out_features", out_features, last, order)
        if last is not None:  # the output's place is (s, l): its blocks are the last digit
            digits_out = (digits_out[1], digits_out[0])
        self.digits = digits_in, digits_out
        self.slice_rank = check_rank(slice_rank, digits_out[0], digits_in[-1])
        shapes = stage_shapes(digits_in, digits_out, self.slice_rank)
        self.factors = nn.ParameterList(parameter(*shape, device=device, dtype=dtype) for shape in shapes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform factors, each with variance 1 / fan-in, the last a third of it: rows keep the size `nn.Linear` gives.

        An entry of W is a sum of r products of p entries, and padded columns of the input count for nothing.
        """
        digits_in = self.digits[0]
        padded = math.prod(digits_in) / self.in_features
        for stage, weight in enumerate(self.factors):
            last = stage == self.order - 1
            draw(weight, (padded / 3 if last else 1.0) / weight.shape[-1])

    def multiply(self, x: Tensor) -> Tensor:
        """Pads, applies the stages and cuts."""
        digits_in, digits_out = self.digits
        factors: list[Tensor] = list(self.factors)
        narrow = autocast_dtype(factors[0])
        if narrow is not None:
            x, factors = x.to(narrow), [weight.to(narrow) for weight in factors]
        missing = math.prod(digits_in) - self.in_features
        if missing:
            x = nn.functional.pad(x, (0, missing))
        if self.order > 2 or self.is_small(x):
            check_values({"x": x})
            y = apply_stages(x, factors, digits_in, digits_out)
        else:
            y = monarch(x, factors[0], factors[1])
        return y[:, : self.out_features] if math.prod(digits_out) > self.out_features else y

    def is_small(self, x: Tensor) -> bool:
        """Whether plain products on the CPU serve; while a graph is traced they do, for any number of rows."""
        traced = torch.compiler.is_compiling()
        return x.device.type == "cpu" and (traced or x.shape[0] * self.n_parameters <= SMALL)

    def dense(self) -> Tensor:
        """Returns W, (out, in); for two stages from outer products of the slices' factors."""
        if self.order > 2:
            return super().dense()
        w1, w2 = self.factors
        (k, _, p), (n_blocks, s, _) = w1.shape, w2.shape
        left, right = w2.view(n_blocks, s, k, -1), w1.view(k, -1, n_blocks, p)
        whole = torch.einsum("lskr,krlp->slkp", left, right).reshape(s * n_blocks, k * p)
        return whole[: self.out_features, : self.in_features]

    def assign(self, matrix: Tensor, covariance: Tensor | None = None, sweeps: int = 20) -> None:
        """Truncated singular value decompositions of the slices, one stage after the other.

        Args:
            matrix: Dense matrix, (out, in).
            covariance: Of the inputs, (in, in), which then says how much errors count; for order 2. The fit then takes
                blocks of columns in turns.
            sweeps: Largest number of turns, where there is a covariance.
        """
        check_positive_int("sweeps", sweeps)
        if covariance is not None:
            if self.order > 2:
                raise ValueError(f"`covariance` must be None for an order above 2, got one with order {self.order}")
            (k, p), (s, n_blocks) = self.digits
            padded = s * n_blocks, k * p
            matrix = weighed_corner(matrix, padded, (k, n_blocks), self.slice_rank, covariance, sweeps)
        for weight, value in zip(self.factors, fit_monarch(matrix, *self.digits, self.slice_rank), strict=True):
            weight.copy_(value)

    @property
    def exact_fit(self) -> bool:  # type: ignore[override]
        """Whether the order is 2."""
        return self.order == 2

    @property
    def flops(self) -> int:
        """Two for each number of each factor and each row that it meets."""
        digits_in, digits_out = self.digits
        if self.order == 2:
            return 2 * self.n_parameters
        total = 0
        for t in range(self.order):
            total += 2 * math.prod(digits_in[: t + 1]) * math.prod(digits_out[t:])
        return total

    @classmethod
    def candidates(cls, in_features: int, out_features: int) -> list[dict[str, Any]]:
        """Orders from the highest down to 3, then order 2 with ranks up to the slices' smaller size."""
        smaller = min(in_features, out_features)
        found: list[dict[str, Any]] = []
        for order in range(smaller.bit_length() - 1, 2, -1):
            found.append({"order": order})
        if smaller >= 4:
            k, s = (near_divisor(size, size**0.5) for size in (in_features, out_features))
            largest = min(-(-in_features // k), s)
            found += [{"slice_rank": rank} for rank in ranks(largest)]
        return found or [{}]


def check_order(order: int, n_blocks: int | Sequence[int] | None, slice_rank: int) -> int:
    """Refuses orders below 2, and beyond 2 what only order 2 has."""
    if check_positive_int("order", order) < 2:
        raise ValueError("`order` must be at least 2, got 1; a single stage would be block-diagonal")
    if order > 2 and n_blocks is not None:
        raise ValueError(f"`n_blocks` must be None for an order above 2, got {n_blocks!r} with order {order}")
    if order > 2 and slice_rank != 1:
        raise ValueError(f"`slice_rank` must be 1 for an order above 2, got {slice_rank!r} with order {order}")
    return order


def check_rank(slice_rank: int, n_rows: int, n_columns: int) -> int:
    """Refuses ranks that slices of this size cannot have."""
    if check_positive_int("slice_rank", slice_rank) > min(n_rows, n_columns):
        raise ValueError(
            f"`slice_rank` must be at most the slices' smaller size, which are {n_rows} by {n_columns}, got "
            f"{slice_rank}; lower it or use fewer blocks"
        )
    return slice_rank


def pair_of(n_blocks: int | Sequence[int] | None) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
    """Blocks of the input and of the output."""
    if n_blocks is None:
        return None, None
    if isinstance(n_blocks, int):
        return (n_blocks,), (n_blocks,)
    if not isinstance(n_blocks, Sequence) or len(n_blocks) != 2:
        raise ValueError(f"`n_blocks` must be a number, a pair (input, output) or None, got {n_blocks!r}")
    return (n_blocks[0],), (n_blocks[1],)
