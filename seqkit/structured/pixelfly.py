"""Pixelfly: a flat block butterfly and a low rank, mixed by a trained number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from seqkit.checks import check_positive_int
from seqkit.structured.covariance import steadied
from seqkit.structured.matrix import StructuredMatrix, autocast_dtype
from seqkit.structured.parameters import draw, parameter
from seqkit.structured.pixelfly_fit import fit_low_rank_outside
from seqkit.structured.pixelfly_mask import butterfly_mask, check_factors, neighbours
from seqkit.structured.pixelfly_product import flat_product
from seqkit.structured.pixelfly_weighed import weighed_pixelfly
from seqkit.structured.registry import register_structure

__all__ = ["Pixelfly"]


@register_structure("pixelfly")
class Pixelfly(StructuredMatrix):
    """Block-sparse matrix with a fixed mask, and a low rank beside it: W = g B + (1 - g) U V.

    B has nb by nb blocks, nb a power of two, and keeps s + 1 in each row and column: (i, j) with i = j or i xor j one
    of 1, 2, 4, .., 2^(s-1). Blocks are as tall and as wide as the sizes ask, out / nb by in / nb, so a mask over a
    rectangle is the square one stretched, and its density is (s + 1) / nb whatever the sizes. Sizes that nb does not
    divide are padded with zeros and cut; `mask_density` is that of the matrix itself, `density` counts all numbers
    stored.

    Args:
        in_features: Columns.
        out_features: Rows.
        block_size: Smallest side that a block may have: nb is the largest power of two that leaves the smaller of both
            sizes so much a block. If None, nb is 16, or less where the matrix is smaller, the published setting.
        n_factors: s, from 0 to log2 nb. If None, 2, the published setting, or less so that half of the blocks stay out.
        rank: Rank of U V, from 0 to the smaller size. If None, 32, the published setting, but at most a sixteenth of
            the smaller size and at least 1.
        device: Device of the parameters.
        dtype: Number type, floating or complex.

    Attributes:
        blocks: Kept blocks, (nb, out / nb, (s + 1) in / nb): those of a row side by side in the order of `columns`.
        columns: Column of each kept block, (nb, s + 1).
        U: (out, rank), absent for rank 0.
        V: (rank, in), absent for rank 0.
        gate: g, one number that starts at 1/2, absent for rank 0.

    Raises:
        ValueError: blocks larger than the matrix, more factors than log2 nb, or a rank above the smaller size.

    Source:
        Chen et al. 2021, Pixelated Butterfly (arXiv:2112.00029). The paper's g is one trained number for a layer, and
        so is this one; its code has a gate for each token, with which the layer is no matrix and has no dense view.
        Differs: blocks are rectangles, where the code marks square tiles that its stretched mask touches and so gets
        more than it says; half of a new matrix's variance lies in each term.

    Cost: (s + 1) / nb out in + rank (in + out) + 1 parameters, and twice as many operations a row. Blocks should have
        32 numbers a side or more for speed; docs/structured.md has times. The fit takes O(in out min(in, out)) once and
        O(in out rank) for each sweep. For rank 0 it is the nearest member. Beyond, U V and B are projected in turns,
        which never raises the error but may end at a local minimum; members whose rank is small beside the
        blocks left out are found to rounding.

    Example:
        >>> matrix = Pixelfly(512, 2048)
        >>> matrix.blocks.shape, matrix.rank, matrix.mask_density
        (torch.Size([16, 128, 96]), 32, 0.1875)
    """

    columns: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        block_size: int | None = None,
        n_factors: int | None = None,
        rank: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features)
        smaller = min(in_features, out_features)
        self.n_blocks = blocks_of(block_size, smaller)
        most = self.n_blocks.bit_length() - 1
        self.n_factors = max(0, min(2, most - 1)) if n_factors is None else check_factors(n_factors, self.n_blocks)
        self.rank = max(1, min(32, smaller // 16)) if rank is None else check_rank(rank, smaller)
        self.block_shape = -(-out_features // self.n_blocks), -(-in_features // self.n_blocks)
        height, width = self.block_shape
        kept = (self.n_factors + 1) * width
        self.blocks = parameter(self.n_blocks, height, kept, device=device, dtype=dtype)
        if self.rank:
            self.U = parameter(out_features, self.rank, device=device, dtype=dtype)
            self.V = parameter(self.rank, in_features, device=device, dtype=dtype)
            self.gate = parameter(1, device=device, dtype=dtype)
        # Sizes and options give the table again, so it is no part of the weights.
        self.register_buffer("columns", neighbours(self.n_blocks, self.n_factors, device), persistent=False)
        self.reset_parameters()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Pixelfly:
        """Makes the table anew where `to_empty` or a move left it: it is no part of the weights that are loaded."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.columns = neighbours(self.n_blocks, self.n_factors, self.blocks.device)
        return self

    def _load_from_state_dict(self, *args: Any) -> None:
        """Brings the table to where the weights are, also where they were assigned to a layer on the device meta."""
        super()._load_from_state_dict(*args)
        if self.columns.device != self.blocks.device:
            self.columns = neighbours(self.n_blocks, self.n_factors, self.blocks.device)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Uniform blocks and factors; with g = 1/2 each term gives a row half of the variance that `nn.Linear` does."""
        entry = 1 / (3 * self.in_features)
        share = 2 if self.rank else 1  # a half of the variance, by g^2 = 1/4
        draw(self.blocks, share * entry / self.mask_density)
        if self.rank:
            draw(self.V, 1 / self.in_features)
            draw(self.U, share / (3 * self.rank))
            self.gate.fill_(0.5)

    def multiply(self, x: Tensor) -> Tensor:
        """Pads, multiplies by the kept blocks, cuts, and adds the low rank."""
        blocks: Tensor = self.blocks
        narrow = autocast_dtype(blocks)
        if narrow is not None:
            x, blocks = x.to(narrow), blocks.to(narrow)
        missing = self.n_blocks * self.block_shape[1] - self.in_features
        rows = nn.functional.pad(x, (0, missing)) if missing else x.contiguous()
        y = flat_product(rows, blocks, self.columns)
        if y.shape[1] > self.out_features:
            y = y[:, : self.out_features]
        if not self.rank:
            return y
        low = nn.functional.linear(nn.functional.linear(x, self.V), (1 - self.gate) * self.U)
        return self.gate.to(y.dtype) * y + low

    def dense(self) -> Tensor:
        """Returns W, (out, in), zero where neither term reaches."""
        (height, width), nb = self.block_shape, self.n_blocks
        parts = self.blocks.view(nb, height, -1, width).transpose(1, 2)
        rows = torch.arange(nb, device=parts.device)[:, None].expand_as(self.columns)
        grid = parts.new_zeros(nb, nb, height, width).index_put((rows, self.columns), parts)
        flat = grid.transpose(1, 2).reshape(nb * height, nb * width)[: self.out_features, : self.in_features]
        return self.gate * flat + (1 - self.gate) * (self.U @ self.V) if self.rank else flat

    def mask(self) -> Tensor:
        """Entries that B may have, bool, (out, in)."""
        mask = butterfly_mask(self.n_blocks, self.n_factors).to(self.columns.device)
        for dim, size in enumerate(self.block_shape):
            mask = mask.repeat_interleave(size, dim)
        return mask[: self.out_features, : self.in_features]

    @property
    def mask_density(self) -> float:
        """Entries that B may have by those of W, exactly: padding counts for nothing."""
        heights, widths = (
            [max(0, min(size, whole - block * size)) for block in range(self.n_blocks)]
            for size, whole in zip(self.block_shape, (self.out_features, self.in_features), strict=True)
        )
        strides = [0] + [1 << level for level in range(self.n_factors)]
        inside = sum(heights[i] * widths[i ^ stride] for i in range(self.n_blocks) for stride in strides)
        return inside / (self.in_features * self.out_features)

    @torch.no_grad()
    def assign(self, matrix: Tensor, covariance: Tensor | None = None, sweeps: int = 200) -> None:
        """Projects on both terms in turns; g becomes 1/2 and the terms take its place.

        Args:
            matrix: Dense matrix, (out, in).
            covariance: Of the inputs, (in, in), which then says how much errors count.
            sweeps: Largest number of turns.
        """
        check_positive_int("sweeps", sweeps)
        rest = matrix
        if covariance is not None:
            steady = steadied(covariance, matrix)
            rest, left, right, _ = weighed_pixelfly(matrix, self.mask(), self.rank, steady, sweeps)
        elif self.rank:
            left, right, _ = fit_low_rank_outside(matrix, self.mask(), self.rank, sweeps)
            rest = matrix - left @ right
        if self.rank:
            rest = 2 * rest
            self.U.copy_(2 * left)
            self.V.copy_(right)
            self.gate.fill_(0.5)
        (height, width), nb = self.block_shape, self.n_blocks
        rest = nn.functional.pad(rest, (0, nb * width - self.in_features, 0, nb * height - self.out_features))
        grid = rest.view(nb, height, nb, width).transpose(1, 2)
        rows = torch.arange(nb, device=rest.device)[:, None]
        self.blocks.copy_(grid[rows, self.columns].transpose(1, 2).reshape(self.blocks.shape))

    @property
    def exact_fit(self) -> bool:  # type: ignore[override]
        """Whether the rank is 0."""
        return self.rank == 0

    @property
    def flops(self) -> int:
        """Two for each number of the kept blocks and of the low rank, and the mixture of both."""
        mixing = 3 * self.out_features if self.rank else 0
        return 2 * (self.blocks.numel() + self.rank * (self.in_features + self.out_features)) + mixing

    @classmethod
    def candidates(cls, in_features: int, out_features: int) -> list[dict[str, Any]]:
        """Up to 32 blocks a side and all but the last numbers of factors, a quarter of the numbers in the low rank."""
        smaller = min(in_features, out_features)
        found: list[tuple[float, dict[str, Any]]] = []
        for bits in range(1, min(5, smaller.bit_length() - 1) + 1):
            for n_factors in range(bits):
                share = (n_factors + 1) / (1 << bits)
                rank = min(
                    smaller, max(1, round(share * in_features * out_features / 3 / (in_features + out_features)))
                )
                found.append((share, {"block_size": smaller >> bits, "n_factors": n_factors, "rank": rank}))
        return [options for _, options in sorted(found, key=lambda one: one[0])] or [{"rank": 0}]


def blocks_of(block_size: int | None, smaller: int) -> int:
    """Number of blocks a side, a power of two."""
    if block_size is None:
        return min(16, 1 << (smaller.bit_length() - 1))
    if check_positive_int("block_size", block_size) > smaller:
        raise ValueError(f"`block_size` must be at most the smaller size, {smaller}, got {block_size}; lower it")
    return 1 << ((smaller // block_size).bit_length() - 1)


def check_rank(rank: int, smaller: int) -> int:
    """Refuses what is no rank of the low-rank term."""
    if not isinstance(rank, int) or isinstance(rank, bool) or not 0 <= rank <= smaller:
        raise ValueError(f"`rank` must be a whole number from 0 to the smaller size, {smaller}, got {rank!r}")
    return rank
