"""The product of rows with a block-sparse matrix that keeps as many blocks in each row of blocks as in each column."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.checks import check_shape
from seqkit.kernels.backend import HALF, check_dtypes, check_values, choose_backend, triton_refusal
from seqkit.kernels.block_product.op import block_product_op
from seqkit.kernels.block_product.reference import block_product_reference

__all__ = ["block_product"]

SIDE = 16
SMALL = f"tiles of its products are {SIDE} numbers wide, and smaller blocks would leave most of them empty"
COMPLEX = "its kernels are for real numbers, and `x` is complex"


def block_product(x: Tensor, blocks: Tensor, columns: Tensor, backend: str = "auto") -> Tensor:
    """Multiplies rows by a matrix of which each row of blocks keeps K blocks: y = x W^T.

        y[i, a] = sum_(m, c) blocks[i, a, (m, c)] x[columns[i, m], c]

    Indices in one place run in the order written, the last fastest. Each column of the table is a permutation, so each
    column of blocks has K kept ones too: flat block butterflies, with i xor 2^m, or bands that wrap around.

    Args:
        x: Rows, (..., n q): n blocks of q numbers.
        blocks: Kept blocks, (n, p, K q): those of p by q numbers of a row of blocks side by side.
        columns: Column of each kept block, whole numbers, (n, K), each column of the table a permutation of 0 .. n - 1.
        backend: "auto", "reference" (the sums above), "cpu" (blocks of `x` are gathered and multiplied in one batch) or
            "triton" (blocks are read where they lie).

    Returns:
        Rows, (..., n p), of the dtype of `x`.

    Raises:
        TypeError: a dtype is not float32, float64, bfloat16, float16, complex64 or complex128, or that of `x` and
            `blocks` differs, or `columns` are no whole numbers.
        ValueError: the shapes do not fit together, a value is not finite, a column of the table is no permutation (on
            the CPU; elsewhere looking would wait for the device), or the backend is unknown or cannot serve.

    Source:
        Chen et al. 2021, Pixelated Butterfly (arXiv:2112.00029), block-sparse products with a fixed pattern. Differs:
        any permutations and rectangular blocks; gradients of blocks that are not kept do not exist.

    Cost and backends: 2 n K p q operations a row. Backends: reference; cpu, which copies x K times; triton, for
        float32, bfloat16 and float16, without copies, which "auto" takes from blocks of 16 numbers a side on. Sums are
        of float32 or wider and in a fixed order: gradients are the same in each run. Autocast does not reach inside.

    Example:
        >>> columns = torch.tensor([[0, 1], [1, 0], [2, 3], [3, 2]])
        >>> block_product(torch.ones(1, 8), torch.ones(4, 3, 4), columns).shape
        torch.Size([1, 12])
    """
    check_types(x, blocks, columns)
    check_shape("blocks", blocks, ("n", "p", "K q"), "give each row of blocks its blocks side by side")
    check_shape("columns", columns, (blocks.shape[0], "K"), "name the column of each kept block")
    (n_blocks, _, wide), kept = blocks.shape, columns.shape[1]
    if blocks.numel() == 0 or kept == 0:
        raise ValueError(
            f"`blocks` must keep at least one number a row, got {tuple(blocks.shape)} with {kept} kept blocks; drop it"
        )
    if wide % kept:
        raise ValueError(
            f"`blocks` must be (n, p, K q) for the K = {kept} of `columns`, got {tuple(blocks.shape)}; {wide} numbers "
            f"do not fill {kept} blocks"
        )
    if x.dim() < 1 or x.shape[-1] != n_blocks * (wide // kept):
        raise ValueError(
            f"`x` must have shape (..., {n_blocks * (wide // kept)}) to fit `blocks`, got {tuple(x.shape)}"
        )
    check_values({"x": x, "blocks": blocks})
    check_table(columns)
    refusal = COMPLEX if x.is_complex() else triton_refusal(x, halves=True)
    like = x.new_empty(0, dtype=torch.float32) if x.dtype in HALF else x  # Triton's kernels read half precision
    small = x.device.type == "cuda" and min(blocks.shape[1], wide // kept) < SIDE
    refused = {} if refusal is None else {"triton": refusal}
    path = choose_backend(backend, like, refused, slower=SMALL if small else None)
    rows = x.reshape(-1, x.shape[-1]).resolve_conj()
    if path == "reference":
        y = block_product_reference(rows, blocks, columns)
    else:
        y = block_product_op(rows.contiguous(), blocks.resolve_conj().contiguous(), columns.contiguous(), path)
    return y.reshape(*x.shape[:-1], y.shape[-1])


def check_types(x: Tensor, blocks: Tensor, columns: Tensor) -> None:
    """Refuses dtypes that the paths do not take, and mixtures."""
    if columns.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"`columns` must be int64 or int32, got {columns.dtype}; convert it with .long()")
    if columns.device != x.device:
        raise ValueError(f"`columns` must be on {x.device} like `x`, got {columns.device}")
    named = {"x": x, "blocks": blocks}
    if x.dtype not in HALF:
        check_dtypes(*(({}, named) if x.is_complex() else (named, {})))
        return
    if blocks.dtype != x.dtype:
        raise TypeError(f"`blocks` must have the precision of `x` ({x.dtype}), got {blocks.dtype}; convert one of them")
    if blocks.device != x.device:
        raise ValueError(f"`blocks` must be on {x.device} like `x`, got {blocks.device}")


def check_table(columns: Tensor) -> None:
    """Refuses a table whose columns are no permutations, where looking costs nothing."""
    if torch.compiler.is_compiling() or columns.device.type != "cpu" or type(columns) is not Tensor:
        return
    wanted = torch.arange(len(columns)).unsqueeze(1)
    wrong = (columns.sort(0).values != wanted).any(0).nonzero()
    if len(wrong):
        place = int(wrong[0])
        raise ValueError(
            f"`columns` must have a permutation of 0 to {len(columns) - 1} in each column, got "
            f"{columns[:, place].tolist()} in column {place}; each column of blocks keeps as many as each row"
        )
