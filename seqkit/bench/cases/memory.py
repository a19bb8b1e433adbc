"""Cases of HiPPO memories: legs_update and lti_memory."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from seqkit.bench.case import Case, Grid, Inputs, Setting, Work
from seqkit.bench.cases.systems import series, settings
from seqkit.bench.own import own_forms, reference_output
from seqkit.bench.peers.memory import DENSE_LEGS, DENSE_STEPS
from seqkit.hippo import discretize, transition
from seqkit.kernels.legs_update import legs_update

__all__ = ["LEGS_UPDATE", "LTI_MEMORY"]

LONGEST_REFERENCE = 4096  # samples, a dense solve each


def make_series(setting: Setting, generator: torch.Generator) -> Inputs:
    """Random series, (B, L)."""
    return {"u": series(generator, setting["B"], setting["L"])}


def first(inputs: Inputs) -> Inputs:
    """The first series."""
    return {**inputs, "u": inputs["u"][:1]}


def legs_arguments(inputs: Inputs, setting: Setting) -> dict[str, Any]:
    """Series and order."""
    return {**inputs, "order": setting["N"]}


def legs_work(setting: Setting, backward: bool) -> Work:
    """Four multiply-adds for each coefficient and sample, as many again backward with the states made once more."""
    B, N, L = setting["B"], setting["N"], setting["L"]
    once = 8.0 * B * N * L
    return Work(products=(3 if backward else 1) * once, traffic=(2 if backward else 1) * B * L * setting.itemsize)


def exact_legs(inputs: Inputs, setting: Setting) -> Tensor | None:
    """The reference; for very long ones the loops in float64, which tests hold to it."""
    if setting["L"] <= LONGEST_REFERENCE:
        return reference_output("legs_update", legs_arguments, inputs, setting)
    return legs_update(**legs_arguments(inputs, setting), backend="cpu") if setting.dtype != "float64" else None


LEGS_UPDATE = Case(
    name="legs_update",
    operator="legs_update",
    title="HiPPO-LegS memory of whole series",
    against=DENSE_LEGS.name,
    grid=Grid(
        tiny=settings((9, 12), B=2, N=4),
        quick=(*settings((1000, 100_000), B=1, N=256), *settings((1000,), B=64, N=256)),
        full=(
            *settings((1000, 1_000_000), B=1, N=256),
            *settings((1000, 1_000_000), "float64", B=1, N=256),
            *settings((2000,), B=64, N=256),
        ),
        cuda_quick=settings((1000,), B=10_000, N=256),
        cuda_full=settings((1000,), B=100_000, N=256),
    ),
    make=make_series,
    forms=(*own_forms("legs_update", legs_arguments, lambda setting: setting["B"] * setting["L"] <= 4096), DENSE_LEGS),
    exact=exact_legs,
    few=first,
    part=(slice(None, 1),),
    work=legs_work,
    unit="steps",
    count=lambda setting: setting["B"] * setting["L"],
    memory=settings((16384, 65536, 262144, 1048576), B=4, N=64),
)


def make_lti(setting: Setting, generator: torch.Generator) -> Inputs:
    """Random series, and LegT with a window of 500 samples."""
    A, B = transition("legt", setting["N"])
    A_bar, B_bar = discretize(A, B, 0.002)
    return {**make_series(setting, generator), "A_bar": A_bar, "B_bar": B_bar}


def lti_arguments(inputs: Inputs, setting: Setting) -> Inputs:
    """The operator's own names."""
    return inputs


def lti_work(setting: Setting, backward: bool) -> Work:
    """One product of the samples with powers of A_bar times B_bar, and the squarings that make these, once."""
    B, N, L = setting["B"], setting["N"], setting["L"]
    once = 2.0 * B * N * L + 2.0 * N**3 * math.log2(L)
    return Work(products=(3 if backward else 1) * once, traffic=(2 if backward else 1) * B * L * setting.itemsize)


LTI_MEMORY = Case(
    name="lti_memory",
    operator="lti_memory",
    title="time-invariant memory of whole series",
    against=DENSE_STEPS.name,
    grid=Grid(
        tiny=settings((9, 12), B=2, N=4),
        quick=settings((1024, 4096), B=64, N=64),
        full=(*settings((1024, 4096, 16384), B=64, N=64), *settings((4096,), B=64, N=256)),
        cuda_quick=settings((4096,), B=1024, N=64),
        cuda_full=settings((1024, 4096, 16384), B=1024, N=64),
    ),
    make=make_lti,
    forms=(*own_forms("lti_memory", lti_arguments, lambda setting: setting["L"] <= 1024), DENSE_STEPS),
    exact=lambda inputs, setting: reference_output("lti_memory", lti_arguments, inputs, setting),
    few=first,
    part=(slice(None, 1),),
    work=lti_work,
    unit="steps",
    count=lambda setting: setting["B"] * setting["L"],
    memory=settings((16384, 65536, 262144, 1048576), B=4, N=64),
)
