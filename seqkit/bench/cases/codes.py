"""The case of quantised messages: rows written in a few bits and read back."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from seqkit.bench.case import Case, Form, Grid, Inputs, Setting, Task, Work
from seqkit.bench.cases.systems import FEW, normal, settings
from seqkit.bench.own import chosen, own_forms
from seqkit.bench.peers.codes import ROUNDED
from seqkit.kernels.quantise import dequantise, quantise, row_bytes

__all__ = ["QUANTISE"]

SIZES = {"R": 8, "bits": 4, "group": 64}


def make_rows(setting: Setting, generator: torch.Generator) -> Inputs:
    """Random rows, (R, L)."""
    return {"x": normal(generator, setting["R"], setting["L"])}


def arguments(inputs: Inputs, setting: Setting) -> dict[str, Any]:
    """What `quantise` takes; codes are of float32 whatever is measured."""
    return {"x": inputs["x"].float(), "bits": setting["bits"], "group": setting["group"]}


def there_and_back(inputs: Inputs, setting: Setting, backend: str) -> Tensor:
    """The rows as the receiver has them."""
    data = quantise(**arguments(inputs, setting), backend=backend)
    found = dequantise(data, setting["L"], setting["bits"], setting["group"], backend=backend)
    return found.to(inputs["x"].dtype)


def prepare(path: str, inputs: Inputs, setting: Setting) -> Task:
    """Binds both operators to a backend; what they take by themselves is called as people call it."""
    backend = "auto" if chosen("quantise", arguments, path, inputs, setting) else path
    return Task(partial(there_and_back, inputs, setting, backend), ())


def both_ways(form: Form) -> Form:
    """The form of `quantise`, followed by `dequantise`."""
    return replace(form, prepare=partial(prepare, form.name))


def work(setting: Setting, backward: bool) -> Work:
    """Six operations a number; rows read and written once, their codes written and read."""
    numbers = float(setting["R"]) * setting["L"]
    codes = setting["R"] * row_bytes(setting["L"], setting["bits"], setting["group"])
    return Work(6 * numbers, traffic=2 * numbers * setting.itemsize + 2 * codes)


QUANTISE = Case(
    name="quantise",
    operator="quantise",
    title="messages in 4 bits, written and read",
    against=ROUNDED.name,
    grid=Grid(
        tiny=settings((16, 48), R=3, bits=4, group=8),
        quick=settings((32_768,), "float32", **SIZES),
        full=settings((4096, 32_768, 262_144), "float32", **SIZES),
        cuda_quick=settings((262_144,), "float32", **{**SIZES, "R": 64}),
        cuda_full=settings((32_768, 262_144, 1_048_576), "float32", **{**SIZES, "R": 64}),
    ),
    make=make_rows,
    forms=(*map(both_ways, own_forms("quantise", arguments, lambda setting: True)), ROUNDED),
    exact=lambda inputs, setting: there_and_back(inputs, setting, "reference"),
    few=lambda inputs: {"x": inputs["x"][:FEW]},
    part=(slice(None, FEW),),
    work=work,
    passes=(False,),
)
