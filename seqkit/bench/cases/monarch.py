"""Case of the product with a Monarch matrix, which a dense product of the same matrix stands for."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from seqkit.bench.case import Case, Form, Grid, Inputs, Setting, Task, Work
from seqkit.bench.cases.systems import FEW, normal, series
from seqkit.bench.inputs import with_gradient
from seqkit.bench.own import own_forms, reference_output

__all__ = ["MONARCH"]


def sizes(rows: int, *blocks: int) -> tuple[Setting, ...]:
    """L rows times a square matrix of m^2 features in m blocks."""
    return tuple(Setting({"L": rows, "m": m}) for m in blocks)


GRID = Grid(tiny=sizes(5, 3, 4), quick=sizes(256, 16, 32), full=sizes(256, 16, 32, 64))


def make(setting: Setting, generator: torch.Generator) -> Inputs:
    """Random rows and factors."""
    m = setting["m"]
    w1, w2 = (normal(generator, m, m, m) / m**0.5 for _ in range(2))
    return {"x": series(generator, setting["L"], m * m), "w1": w1, "w2": w2}


def arguments(inputs: Inputs, setting: Setting) -> dict[str, Any]:
    """The inputs themselves."""
    return dict(inputs)


def work(setting: Setting, backward: bool) -> Work:
    """Two products of m^3 numbers a row, three times as many with the backward; everything read and written once."""
    L, m = setting["L"], setting["m"]
    once = Work(products=4 * L * m**3, traffic=(2 * L * m**2 + 2 * m**3) * setting.itemsize)
    return once.times(3, 3) if backward else once


def exact(inputs: Inputs, setting: Setting) -> Tensor | None:
    """The reference in float64, of a few rows."""
    return reference_output("monarch", arguments, inputs, setting)


def few(inputs: Inputs) -> Inputs:
    """A few rows."""
    return {**inputs, "x": inputs["x"][:FEW]}


def dense_product(inputs: Inputs, setting: Setting) -> Task:
    """A product with the matrix multiplied out beforehand, whose gradient is that of a dense weight."""
    w1, w2 = inputs["w1"].detach(), inputs["w2"].detach()
    m = len(w1)
    weight = torch.einsum("lsk,klp->slkp", w2, w1).reshape(m * m, m * m)
    leaves = {"x": inputs["x"], "weight": weight.requires_grad_(inputs["x"].requires_grad)}
    return Task(partial(torch.nn.functional.linear, leaves["x"], leaves["weight"]), with_gradient(leaves))


DENSE = Form("dense product", "torch.nn.functional.linear with the whole matrix", dense_product)

MONARCH = Case(
    name="monarch",
    operator="monarch",
    title="product with a Monarch matrix",
    against=DENSE.name,
    grid=GRID,
    make=make,
    forms=(*own_forms("monarch", arguments, lambda setting: setting["L"] <= 4096), DENSE),
    exact=exact,
    few=few,
    part=(slice(None, FEW),),
    work=work,
    axis="m",
)
