"""Case of attention under a causal window, which torch's own serves with a whole matrix."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from seqkit.bench.case import Case, Grid, Inputs, Setting, Work
from seqkit.bench.cases.systems import series, settings
from seqkit.bench.own import own_forms, reference_output
from seqkit.bench.peers.attention import MASKED, width

__all__ = ["ATTENTION"]

GRID = Grid(
    tiny=settings((9, 12), B=2, H=3, D=4),
    quick=settings((1024, 2048), B=1, H=4, D=64),
    full=settings((1024, 2048, 8192), B=1, H=4, D=64),
)


def make(setting: Setting, generator: torch.Generator) -> Inputs:
    """Random queries, keys and values."""
    shape = setting["B"], setting["L"], setting["H"], setting["D"]
    return {name: series(generator, *shape) for name in ("q", "k", "v")}


def arguments(inputs: Inputs, setting: Setting) -> dict[str, Any]:
    """Causal, and a window before each sample."""
    return {**inputs, "causal": True, "window": width(setting)}


def work(setting: Setting, backward: bool) -> Work:
    """Two products for each visible score forward and seven with the backward; tensors read and written once."""
    B, H, L, D = (setting[letter] for letter in "BHLD")
    before = width(setting)
    scores = B * H * (L * (before + 1) - before * (before + 1) / 2)
    products, numbers = (7, 11) if backward else (2, 4)
    return Work(products=2 * products * D * scores, traffic=numbers * B * H * L * D * setting.itemsize)


def exact(inputs: Inputs, setting: Setting) -> Tensor | None:
    """The whole matrix in float64, where it is small."""
    return reference_output("attention", arguments, inputs, setting) if setting["L"] <= 2048 else None


def few(inputs: Inputs) -> Inputs:
    """One head of one series."""
    return {name: value[:1, :, :1] for name, value in inputs.items()}


ATTENTION = Case(
    name="attention",
    operator="attention",
    title="exact attention under a causal window",
    against=MASKED.name,
    grid=GRID,
    make=make,
    forms=(*own_forms("attention", arguments, lambda setting: setting["L"] <= 2048), MASKED),
    exact=exact,
    few=few,
    part=(slice(None, 1), slice(None), slice(None, 1)),
    work=work,
)
