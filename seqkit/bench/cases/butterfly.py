"""Case of the product with a butterfly matrix, which a dense product of the same matrix stands for."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from seqkit.bench.case import Case, Form, Grid, Inputs, Setting, Task, Work
from seqkit.bench.cases.systems import FEW, normal, series
from seqkit.bench.inputs import with_gradient
from seqkit.bench.own import own_forms, reference_output
from seqkit.kernels.butterfly.reference import butterfly_reference

__all__ = ["BUTTERFLY"]


def sizes(rows: int, *levels: int) -> tuple[Setting, ...]:
    """L rows of 2^m features, a decreasing and an increasing block of m levels."""
    return tuple(Setting({"L": rows, "m": m}) for m in levels)


GRID = Grid(tiny=sizes(5, 3, 4), quick=sizes(256, 8, 10), full=sizes(256, 8, 10, 12))


def make(setting: Setting, generator: torch.Generator) -> Inputs:
    """Random rows, and 2 by 2 factors that keep their size on average."""
    m = setting["m"]
    twiddle = normal(generator, 2, m, 2 ** (m - 1), 2, 2) / 2**0.5
    return {"x": series(generator, setting["L"], 2**m), "twiddle": twiddle}


def arguments(inputs: Inputs, setting: Setting) -> dict[str, Any]:
    """The inputs themselves, the decreasing block first."""
    return dict(inputs)


def work(setting: Setting, backward: bool) -> Work:
    """Three operations a number and level, 6 L n m, thrice with the backward; everything read and written once."""
    L, m = setting["L"], setting["m"]
    n = 2**m
    once = Work(products=6 * L * n * m, traffic=(2 * L * n + 4 * n * m) * setting.itemsize)
    return once.times(3, 3) if backward else once


def exact(inputs: Inputs, setting: Setting) -> Tensor | None:
    """The reference in float64, of a few rows."""
    return reference_output("butterfly", arguments, inputs, setting)


def few(inputs: Inputs) -> Inputs:
    """A few rows."""
    return {**inputs, "x": inputs["x"][:FEW]}


def dense_product(inputs: Inputs, setting: Setting) -> Task:
    """A product with the matrix multiplied out beforehand, whose gradient is that of a dense weight."""
    eye = torch.eye(2 ** setting["m"], dtype=inputs["x"].dtype, device=inputs["x"].device)
    weight = butterfly_reference(eye, inputs["twiddle"].detach().unsqueeze(0), False).reshape(eye.shape).mT.contiguous()
    leaves = {"x": inputs["x"], "weight": weight.requires_grad_(inputs["x"].requires_grad)}
    return Task(partial(torch.nn.functional.linear, leaves["x"], leaves["weight"]), with_gradient(leaves))


DENSE = Form("dense product", "torch.nn.functional.linear with the whole matrix", dense_product)

BUTTERFLY = Case(
    name="butterfly",
    operator="butterfly",
    title="product with two blocks of butterfly factors",
    against=DENSE.name,
    grid=GRID,
    make=make,
    forms=(*own_forms("butterfly", arguments, lambda setting: setting["L"] <= 4096), DENSE),
    exact=exact,
    few=few,
    part=(slice(None, FEW),),
    work=work,
    axis="m",
)
