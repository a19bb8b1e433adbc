"""Case of the product with kept blocks of a matrix, which a dense product with zeros in between stands for."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from seqkit.bench.case import Case, Form, Grid, Inputs, Setting, Task, Work
from seqkit.bench.cases.systems import FEW, normal, series
from seqkit.bench.inputs import with_gradient
from seqkit.bench.own import own_forms, reference_output

__all__ = ["BLOCK_PRODUCT"]

KEPT = 3


def sizes(rows: int, *blocks: tuple[int, int]) -> tuple[Setting, ...]:
    """L rows times a square matrix of n by n blocks with p numbers a side, 3 kept in each row of blocks."""
    return tuple(Setting({"L": rows, "n": n, "p": p}) for n, p in blocks)


GRID = Grid(
    tiny=sizes(5, (4, 3), (8, 2)),
    quick=sizes(256, (16, 32), (16, 64)),
    full=sizes(256, (16, 32), (16, 64), (32, 64), (32, 128)),
)


def make(setting: Setting, generator: torch.Generator) -> Inputs:
    """Random rows and blocks; the diagonal and neighbours whose numbers differ in one of the two lowest bits."""
    n, p = setting["n"], setting["p"]
    rows = torch.arange(n)
    blocks = normal(generator, n, p, KEPT * p) / (KEPT * p) ** 0.5
    return {
        "x": series(generator, setting["L"], n * p),
        "blocks": blocks,
        "columns": torch.stack([rows, rows ^ 1, rows ^ 2], dim=1),
    }


def arguments(inputs: Inputs, setting: Setting) -> dict[str, Any]:
    """The inputs themselves."""
    return dict(inputs)


def work(setting: Setting, backward: bool) -> Work:
    """3 p products of n p numbers a row, three times as many with the backward; everything read and written once."""
    L, n, p = setting["L"], setting["n"], setting["p"]
    once = Work(products=2 * L * n * KEPT * p**2, traffic=(2 * L * n * p + n * KEPT * p**2) * setting.itemsize)
    return once.times(3, 3) if backward else once


def exact(inputs: Inputs, setting: Setting) -> Tensor | None:
    """The reference in float64, of a few rows."""
    return reference_output("block_product", arguments, inputs, setting)


def few(inputs: Inputs) -> Inputs:
    """A few rows."""
    return {**inputs, "x": inputs["x"][:FEW]}


def dense_product(inputs: Inputs, setting: Setting) -> Task:
    """A product with the whole matrix, made beforehand, whose gradient is that of a dense weight."""
    n, p = setting["n"], setting["p"]
    rows = torch.arange(n, device=inputs["x"].device)[:, None]
    grid = inputs["x"].new_zeros(n, n, p, p)
    grid[rows, inputs["columns"]] = inputs["blocks"].detach().view(n, p, KEPT, p).transpose(1, 2)
    weight = grid.transpose(1, 2).reshape(n * p, n * p)
    leaves = {"x": inputs["x"], "weight": weight.requires_grad_(inputs["x"].requires_grad)}
    return Task(partial(torch.nn.functional.linear, leaves["x"], leaves["weight"]), with_gradient(leaves))


DENSE = Form("dense product", "torch.nn.functional.linear with the whole matrix, zeros and all", dense_product)

BLOCK_PRODUCT = Case(
    name="block_product",
    operator="block_product",
    title="product with kept blocks of a matrix",
    against=DENSE.name,
    grid=GRID,
    make=make,
    forms=(*own_forms("block_product", arguments, lambda setting: setting["L"] <= 4096), DENSE),
    exact=exact,
    few=few,
    part=(slice(None, FEW),),
    work=work,
    axis="p",
)
