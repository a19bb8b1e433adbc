"""Cases of the convolution kernels: vandermonde, krylov, cauchy."""

from __future__ import annotations

import math
from typing import Any

import torch

from seqkit.bench.case import Case, Grid, Inputs, Setting, Work
from seqkit.bench.cases.systems import FEW, dense_legs, diagonal_legs, normal, settings, step_sizes
from seqkit.bench.own import own_forms, reference_output
from seqkit.bench.peers.kernels import MATERIALISED, NAIVE_CAUCHY, POWER_DOUBLING
from seqkit.hippo import nplr

__all__ = ["CAUCHY", "KRYLOV", "VANDERMONDE"]

GRID = Grid(
    tiny=settings((9, 12), H=2, N=4),
    quick=settings((1024, 4096), H=128, N=64),
    full=settings((1024, 4096, 16384), H=128, N=64),
    cuda_quick=settings((16384,), H=768, N=64),
    cuda_full=settings((1024, 4096, 16384), H=768, N=64),
)
CURVE = settings((16384, 65536, 262144, 1048576), H=4, N=64)
PART = (slice(None, FEW),)


def sized(inputs: Inputs, setting: Setting) -> dict[str, Any]:
    """The inputs and the length: what these operators take."""
    return {**inputs, "length": setting["L"]}


def few(inputs: Inputs) -> Inputs:
    """The first channels."""
    return {name: value[:FEW] for name, value in inputs.items()}


def written(setting: Setting, backward: bool) -> float:
    """Bytes of the kernel, and of its gradient where that is read."""
    return (2 if backward else 1) * setting["H"] * setting["L"] * setting.itemsize


def make_vandermonde(setting: Setting, generator: torch.Generator) -> Inputs:
    """Exponents of LegS' normal part and random weights of the size that a layer starts with."""
    A_bar, B_bar = diagonal_legs(setting["H"], setting["N"])
    weight = normal(generator, setting["H"], 1, setting["N"] // 2, cplx=True) * B_bar[:, None]
    return {"a": A_bar.log(), "weight": weight}


def vandermonde_work(setting: Setting, backward: bool) -> Work:
    """One real product of inner size N forward; backward one for the weights and one for the exponents."""
    return Work(products=(3 if backward else 1) * 2 * products(setting), traffic=written(setting, backward))


def products(setting: Setting) -> float:
    """H N L."""
    return float(setting["H"]) * setting["N"] * setting["L"]


VANDERMONDE = Case(
    name="vandermonde",
    operator="vandermonde",
    title="kernel of a diagonal system",
    against=MATERIALISED.name,
    grid=GRID,
    make=make_vandermonde,
    forms=(*own_forms("vandermonde", sized, lambda setting: setting["L"] <= 4096), MATERIALISED),
    exact=lambda inputs, setting: reference_output("vandermonde", sized, inputs, setting),
    few=few,
    part=PART,
    work=vandermonde_work,
    memory=CURVE,
)


def make_krylov(setting: Setting, generator: torch.Generator) -> Inputs:
    """LegS, dense and discretised by the bilinear rule, with a random output matrix."""
    A_bar, B_bar = dense_legs(setting["H"], setting["N"])
    return {"A": A_bar, "B": B_bar, "C": normal(generator, setting["H"], 1, setting["N"])}


def krylov_work(setting: Setting, backward: bool) -> Work:
    """Baby and giant steps: log2 L products of N x N matrices, N x sqrt(L) blocks of both sides, and their product."""
    H, N, L = setting["H"], setting["N"], setting["L"]
    squarings, blocks, joined = math.log2(L) * 2 * N**3, 2 * 2 * N * N * math.sqrt(L), 2 * N * L
    return Work(products=(3 if backward else 1) * H * (squarings + blocks + joined), traffic=written(setting, backward))


KRYLOV = Case(
    name="krylov",
    operator="krylov",
    title="kernel of a dense system",
    against=POWER_DOUBLING.name,
    grid=GRID,
    make=make_krylov,
    forms=(*own_forms("krylov", sized, lambda setting: setting["L"] <= 1024), POWER_DOUBLING),
    exact=lambda inputs, setting: reference_output("krylov", sized, inputs, setting),
    few=few,
    part=PART,
    work=krylov_work,
    memory=CURVE,
)


def make_cauchy(setting: Setting, generator: torch.Generator) -> Inputs:
    """LegS as normal plus low rank, with a random output matrix."""
    system, H = nplr("legs", setting["N"]), setting["H"]
    vectors = {"Lambda": system.Lambda, "P": system.P[0], "B": system.B}
    repeated = {name: value.repeat(H, 1) for name, value in vectors.items()}
    return {**repeated, "C": normal(generator, H, 1, setting["N"] // 2, cplx=True), "dt": step_sizes(H)}


def cauchy_work(setting: Setting, backward: bool) -> Work:
    """Four sums of N/2 pairs, as a diagonal system's kernel with as many outputs; closing the loop is not counted."""
    return Work(products=(3 if backward else 1) * 4 * 2 * products(setting), traffic=written(setting, backward))


CAUCHY = Case(
    name="cauchy",
    operator="cauchy",
    title="kernel of a normal-plus-low-rank system",
    against=NAIVE_CAUCHY.name,
    grid=GRID,
    make=make_cauchy,
    forms=(*own_forms("cauchy", sized, lambda setting: setting["L"] <= 1024), NAIVE_CAUCHY),
    exact=lambda inputs, setting: reference_output("cauchy", sized, inputs, setting),
    few=few,
    part=PART,
    work=cauchy_work,
    memory=CURVE,
)
