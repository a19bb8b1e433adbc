"""Case of a whole S4D layer against the usual one and against recurrent layers of the same shape."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from seqkit.bench.case import Case, Form, Grid, Inputs, Setting, Task, Work
from seqkit.bench.cases.convolution import fft_work
from seqkit.bench.cases.kernels import vandermonde_work
from seqkit.bench.cases.systems import normal, series, settings, step_sizes
from seqkit.bench.inputs import with_gradient
from seqkit.bench.peers.layers import GRU, LSTM, USUAL_S4D, usual_s4d
from seqkit.hippo import diagonal_start
from seqkit.ssm import S4D

__all__ = ["S4D_LAYER"]

GRID = Grid(
    tiny=settings((9, 12), B=2, H=3, N=4),
    quick=settings((1024, 4096), B=8, H=128, N=64),
    full=settings((1024, 4096, 16384), B=8, H=128, N=64),
    cuda_quick=settings((1024, 4096), B=16, H=768, N=64),
    cuda_full=settings((1024, 4096, 16384), B=16, H=768, N=64),
)


def make(setting: Setting, generator: torch.Generator) -> Inputs:
    """Random series, and the layer's parameters by their names: LegS' normal part, random outputs."""
    H, N = setting["H"], setting["N"]
    Lambda, B = diagonal_start("legs", N)
    return {
        "u": series(generator, setting["B"], setting["L"], H),
        "log_damping": (-Lambda.real).log().repeat(H, 1),
        "frequency": Lambda.imag.repeat(H, 1),
        "B": torch.cat([B.real, B.imag]).repeat(H, 1),
        "C": normal(generator, H, 1, N),
        "D": normal(generator, H, 1),
        "log_dt": step_sizes(H).log(),
    }


def prepare(inputs: Inputs, setting: Setting) -> Task:
    """The layer of this toolkit with these parameters."""
    u = inputs["u"]
    layer = S4D(setting["H"], order=setting["N"], discretization="zero_order_hold").to(u.device, u.dtype)
    layer.load_state_dict({name: value for name, value in inputs.items() if name != "u"})
    return Task(partial(layer, u), (*with_gradient({"u": u}), *layer.parameters()))


def work(setting: Setting, backward: bool) -> Work:
    """The kernel's and the convolution's."""
    kernel, convolution = vandermonde_work(setting, backward), fft_work(setting, backward)
    return Work(kernel.products, convolution.fft, kernel.traffic + convolution.traffic)


def exact(inputs: Inputs, setting: Setting) -> Tensor:
    """The usual form in float64."""
    return usual_s4d(inputs, setting)


S4D_LAYER = Case(
    name="s4d_layer",
    operator="S4D",
    title="a whole S4D layer",
    against=USUAL_S4D.name,
    grid=GRID,
    make=make,
    forms=(
        Form("auto", "seqkit.ssm.S4D", prepare, own=True, chosen=lambda inputs, setting: True),
        USUAL_S4D,
        LSTM,
        GRU,
    ),
    exact=exact,
    few=lambda inputs: {**inputs, "u": inputs["u"][:1]},
    part=(slice(None, 1),),
    work=work,
    memory=settings((1024, 4096, 16384), B=8, H=128, N=64),
)
