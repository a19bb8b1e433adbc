"""Whole layers: S4D as it is usually written in plain torch, and torch's own recurrent layers of the same shape."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from seqkit.bench.available import unless_it_fits
from seqkit.bench.case import Form, Inputs, Setting, Task
from seqkit.bench.inputs import with_gradient
from seqkit.bench.peers import plain_form
from seqkit.bench.peers.convolution import rfft_convolution
from seqkit.bench.peers.kernels import materialised

__all__ = ["GRU", "LSTM", "USUAL_S4D", "usual_s4d"]


def usual_s4d(inputs: Inputs, setting: Setting) -> Tensor:
    """Kernel of all exponentials, zero-order hold, three padded FFTs, skip; (B, L, H) in and out.

    Example:
        >>> from seqkit.bench.cases.layer import S4D_LAYER
        >>> setting = S4D_LAYER.grid.tiny[0]
        >>> usual_s4d(S4D_LAYER.make(setting, torch.Generator()), setting).shape[1] == setting["L"]
        True
    """
    Lambda = torch.complex(-inputs["log_damping"].exp(), inputs["frequency"])
    exponent = Lambda * inputs["log_dt"].exp()[:, None]
    B, C = (torch.complex(*inputs[name].chunk(2, dim=-1)) for name in ("B", "C"))
    weight = C * (B * (exponent.exp() - 1) / Lambda)[:, None]
    u = inputs["u"].transpose(1, 2)
    kernel = materialised(exponent, weight, setting["L"]).squeeze(1)
    return rfft_convolution(u, kernel, inputs["D"].squeeze(1)).transpose(1, 2)


def held(setting: Setting, backward: bool) -> float:
    """Bytes: a few arrays (H, N, L) of the kernel, a dozen (B, H, 2 L) of the convolution."""
    B, H, N, L = (setting[letter] for letter in "BHNL")
    return H * L * setting.itemsize * ((5 if backward else 2) * N + (24 if backward else 12) * B)


def prepare_recurrent(kind: type[nn.LSTM] | type[nn.GRU], inputs: Inputs, setting: Setting) -> Task:
    """One layer as wide as the input, batch first, with torch's own starting weights."""
    u = inputs["u"]
    layer = kind(setting["H"], setting["H"], batch_first=True).to(u.device, u.dtype)
    return Task(partial(layer, u), (*with_gradient({"u": u}), *layer.parameters()))


USUAL_S4D = plain_form(
    "usual S4D in torch",
    "the standalone S4D of state-spaces/s4: materialised kernel, torch.fft; without its dropout and output map",
    usual_s4d,
    unless_it_fits(held),
)
LSTM = Form("nn.LSTM", "torch.nn.LSTM of equal width", partial(prepare_recurrent, nn.LSTM), same=False)
GRU = Form("nn.GRU", "torch.nn.GRU of equal width", partial(prepare_recurrent, nn.GRU), same=False)
