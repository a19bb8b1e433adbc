"""Case of the long convolution."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from seqkit.bench.case import Case, Grid, Inputs, Setting, Work
from seqkit.bench.cases.systems import normal, series, settings
from seqkit.bench.own import own_forms
from seqkit.bench.peers.convolution import FLASH_FFT, RFFT, rfft_convolution

__all__ = ["LONG_CONV", "fft_work"]

GRID = Grid(
    tiny=settings((9, 12), B=2, H=3),
    quick=settings((1024, 4096), B=8, H=128),
    full=settings((1024, 4096, 16384), B=8, H=128),
    cuda_quick=(*settings((1024, 4096), B=64, H=768), *settings((4096,), "bfloat16", B=64, H=768)),
    cuda_full=(
        *settings((256, 1024, 4096, 8192, 16384, 32768), B=64, H=768),
        *settings((256, 1024, 4096, 8192, 16384, 32768), "bfloat16", B=64, H=768),
    ),
)
CURVE = settings((16384, 65536, 262144, 1048576), B=1, H=4)


def make(setting: Setting, generator: torch.Generator) -> Inputs:
    """Random series, kernel and skip weights."""
    B, H, L = setting["B"], setting["H"], setting["L"]
    k = series(generator, H, L) / math.sqrt(L)
    return {"u": series(generator, B, H, L), "k": k, "D": normal(generator, H)}


def fft_work(setting: Setting, backward: bool) -> Work:
    """Real transforms of 2 L points: of inputs, kernel and outputs, and of as many again and one more backward."""
    B, H, L = setting["B"], setting["H"], setting["L"]
    signals, kernels = (5, 3) if backward else (2, 1)
    one = 2.5 * 2 * L * math.log2(2 * L)
    numbers = (5 * B + 3) if backward else (2 * B + 1)
    return Work(fft=H * (signals * B + kernels) * one, traffic=numbers * H * L * setting.itemsize)


def exact(inputs: Inputs, setting: Setting) -> Tensor:
    """Padded transforms in float64: for these lengths the plain sum would take hours, and its error is as small."""
    return rfft_convolution(**inputs)


def few(inputs: Inputs) -> Inputs:
    """Two channels of two series."""
    return {"u": inputs["u"][:2, :2], "k": inputs["k"][:2], "D": inputs["D"][:2]}


LONG_CONV = Case(
    name="long_conv",
    operator="long_conv",
    title="causal convolution with a kernel as long as the series",
    against=RFFT.name,
    grid=GRID,
    make=make,
    forms=(
        *own_forms("long_conv", lambda inputs, setting: inputs, lambda setting: setting["L"] <= 256),
        RFFT,
        FLASH_FFT,
    ),
    exact=exact,
    few=few,
    part=(slice(None, 2), slice(None, 2)),
    work=fft_work,
    memory=CURVE,
)
