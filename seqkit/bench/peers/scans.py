"""Other ways through a diagonal recurrence: the usual convolution, our own, scans of torch and of other packages."""

from __future__ import annotations

import importlib
from functools import partial

import torch
from torch import Tensor

from seqkit.bench.available import unless_it_fits
from seqkit.bench.case import Form, Inputs, Setting, Task
from seqkit.bench.inputs import with_gradient
from seqkit.bench.peers import plain_form
from seqkit.bench.peers.convolution import rfft_convolution
from seqkit.bench.peers.installed import refuse_missing
from seqkit.bench.peers.kernels import materialised
from seqkit.kernels.long_conv import long_conv
from seqkit.kernels.vandermonde import vandermonde

__all__ = ["ACCELERATED_SCAN", "ASSOCIATIVE_SCAN", "MAMBA_SCAN", "OWN_CONVOLUTION", "USUAL_CORE"]


def usual_core(inputs: Inputs, setting: Setting) -> Tensor:
    """The usual S4D core: all exponentials, their sum, and three padded FFTs; u (B, H, L), A, B, C (H, N)."""
    u, A, B, C = (inputs[name] for name in ("u", "A", "B", "C"))
    kernel = materialised(A.log(), (C * B).unsqueeze(1), setting["L"]).squeeze(1)
    wide = u.float() if u.dtype.itemsize < 4 else u
    return rfft_convolution(wide, kernel, kernel.new_zeros(len(kernel))).to(u.dtype)


def own_convolution(inputs: Inputs, setting: Setting) -> Tensor:
    """The kernel by `vandermonde` and the convolution by `long_conv`."""
    u, A, B, C = (inputs[name] for name in ("u", "A", "B", "C"))
    return long_conv(u, vandermonde(A.log(), (C * B).unsqueeze(1), setting["L"]).squeeze(1))


def core_bytes(setting: Setting, backward: bool) -> float:
    """A few arrays (H, N, L) of the kernel, a dozen (B, H, 2 L) of the convolution; N real numbers are N/2 pairs."""
    B, H, N, L = (setting[letter] for letter in "BHNL")
    return H * L * max(4, setting.itemsize) * ((5 if backward else 2) * N + (24 if backward else 12) * B)


def join(left: tuple[Tensor, Tensor], right: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Two steps x <- a x + b in one."""
    return left[0] * right[0], left[1] * right[0] + right[1]


def associative(u: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """One real mode a head by torch's associative scan over gates and inputs, (B, H, L) each."""
    scan = importlib.import_module("torch._higher_order_ops.associative_scan").associative_scan
    mode = "pointwise" if u.is_cuda else "generic"
    gates = A.real.unsqueeze(0).expand(u.shape).contiguous()
    states: Tensor = scan(join, (gates, B.real * u), dim=2, combine_mode=mode)[1]
    return 2 * C.real * states


def prepare_associative(inputs: Inputs, setting: Setting) -> Task:
    """On a CUDA device inside a compiled function, which fuses the scan; the first call compiles."""
    torch.compiler.reset()
    call = torch.compile(associative, dynamic=False) if inputs["u"].is_cuda else associative
    return Task(partial(call, **inputs), with_gradient(inputs))


def prepare_accelerated(inputs: Inputs, setting: Setting) -> Task:
    """`accelerated_scan.warp.scan(gates, tokens)`, (B, H, L) each."""
    scan = importlib.import_module("accelerated_scan.warp").scan

    def call(u: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
        gates = A.real.to(u.dtype).unsqueeze(0).expand(u.shape).contiguous()
        states: Tensor = scan(gates, (B.real * u).contiguous())
        return 2 * C.real * states

    return Task(partial(call, **inputs), with_gradient(inputs))


def refuse_accelerated(inputs: Inputs, setting: Setting, backward: bool) -> str | None:
    """Its kernels serve powers of two from 32 to 65536 on CUDA devices."""
    missing = refuse_missing("accelerated_scan")
    if missing:
        return missing
    L = setting["L"]
    fits = 32 <= L <= 65536 and L & (L - 1) == 0
    return None if inputs["u"].is_cuda and fits else "it takes powers of two from 32 to 65536 on CUDA devices"


def prepare_mamba(inputs: Inputs, setting: Setting) -> Task:
    """`selective_scan_fn` with a step of 1 everywhere; complex modes stand for conjugate pairs there, too."""
    scan = importlib.import_module("mamba_ssm.ops.selective_scan_interface").selective_scan_fn

    def call(u: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
        y: Tensor = scan(u, torch.ones_like(u), A.log(), B, C)
        return y

    return Task(partial(call, **inputs), with_gradient(inputs))


def refuse_mamba(inputs: Inputs, setting: Setting, backward: bool) -> str | None:
    """Its kernels serve CUDA devices."""
    missing = refuse_missing("mamba_ssm")
    if missing:
        return missing
    return None if inputs["u"].is_cuda else "it runs on CUDA devices"


USUAL_CORE = plain_form(
    "materialised kernel + torch rfft",
    "the standalone S4D of state-spaces/s4: kernel of all exponentials, torch.fft, autograd",
    usual_core,
    unless_it_fits(core_bytes),
)
OWN_CONVOLUTION = plain_form("own kernel + long_conv", "vandermonde and long_conv of this toolkit", own_convolution)
ASSOCIATIVE_SCAN = Form(
    "torch associative_scan", "torch._higher_order_ops.associative_scan, compiled on CUDA devices", prepare_associative
)
ACCELERATED_SCAN = Form(
    "accelerated_scan", "proger/accelerated-scan, warp kernels", prepare_accelerated, refuse_accelerated
)
MAMBA_SCAN = Form("mamba_ssm", "state-spaces/mamba, selective_scan_fn", prepare_mamba, refuse_mamba)
