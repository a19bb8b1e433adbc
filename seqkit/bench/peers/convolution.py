"""The usual forms of a convolution with a kernel as long as the series."""

from __future__ import annotations

import importlib
from functools import partial

import torch
from torch import Tensor

from seqkit.bench.case import Form, Inputs, Setting, Task
from seqkit.bench.inputs import with_gradient
from seqkit.bench.peers import plain_form
from seqkit.bench.peers.installed import refuse_missing

__all__ = ["FLASH_FFT", "RFFT", "rfft_convolution"]


def rfft_convolution(u: Tensor, k: Tensor, D: Tensor) -> Tensor:
    """Three padded real FFTs and the skip, differentiated by autograd: y = k * u + D u for u (B, H, L), k (H, L).

    Example:
        >>> rfft_convolution(torch.ones(1, 1, 2), torch.ones(1, 2), torch.zeros(1)).round()
        tensor([[[1., 2.]]])
    """
    size = 2 * u.shape[-1]
    spectrum = torch.fft.rfft(u, n=size) * torch.fft.rfft(k, n=size)
    y: Tensor = torch.fft.irfft(spectrum, n=size)[..., : u.shape[-1]] + D[:, None] * u
    return y


def rfft_of_any_precision(inputs: Inputs, setting: Setting) -> Tensor:
    """The same with half precision lifted to float32 around the transforms, as layers do."""
    u = inputs["u"]
    wide = u.float() if u.dtype.itemsize < 4 else u
    return rfft_convolution(wide, inputs["k"], inputs["D"]).to(u.dtype)


def prepare_flash(inputs: Inputs, setting: Setting) -> Task:
    """FlashFFTConv at the power of two that holds a causal convolution; it takes half-precision signals."""
    size = 1 << (2 * setting["L"] - 1).bit_length()
    u = inputs["u"]
    module = importlib.import_module("flashfftconv").FlashFFTConv(size, dtype=u.dtype).to(u.device)

    def call(u: Tensor, k: Tensor, D: Tensor) -> Tensor:
        y: Tensor = module(u, k)
        return y + D[:, None].to(u.dtype) * u

    return Task(partial(call, **inputs), with_gradient(inputs))


def refuse_flash(inputs: Inputs, setting: Setting, backward: bool) -> str | None:
    """Its kernels serve half precision on CUDA devices."""
    missing = refuse_missing("flashfftconv")
    if missing:
        return missing
    u = inputs["u"]
    return None if u.device.type == "cuda" and u.dtype.itemsize == 2 else "it takes half precision on CUDA devices only"


RFFT = plain_form("torch rfft, autograd", "padded torch.fft.rfft and irfft, n = 2 L", rfft_of_any_precision)
FLASH_FFT = Form("flashfftconv", "HazyResearch/flash-fft-conv", prepare_flash, refuse_flash)
