"""Compares the operators with the usual form of the same computation in plain torch, on one CPU thread.

Run from the repository root:  python benchmarks/kernels.py --out benchmarks/results/kernels_cpu.md
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads distort timings on a busy machine
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import datetime
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import Tensor

from seqkit.kernels.cauchy import cauchy
from seqkit.kernels.krylov import krylov
from seqkit.kernels.long_conv import long_conv
from seqkit.kernels.vandermonde import vandermonde

Function = Callable[..., Tensor]
CHANNELS, ORDER = 128, 64


@dataclass
class Row:
    """One line of the table: two functions of the same tensors."""

    name: str
    sizes: str
    peer_name: str
    ours: Function
    peer: Function
    inputs: list[Tensor]
    exact: Function | None = None
    repeats: int = 3


def materialised_vandermonde(length: int) -> Function:
    def kernel(a: Tensor, weight: Tensor) -> Tensor:
        steps = torch.arange(length, dtype=a.real.dtype)
        return 2 * torch.einsum("hmn,hnl->hml", weight, torch.exp(a[..., None] * steps)).real

    return kernel


def power_doubling(length: int) -> Function:
    """The published form: all A^l B, (H, N, L), by multiplying what exists with A^1, A^2, A^4, ..."""

    def kernel(A: Tensor, B: Tensor, C: Tensor) -> Tensor:
        states, power = B.unsqueeze(-1), A
        while states.shape[-1] < length:
            states = torch.cat([states, power @ states], dim=-1)
            power = power @ power
        return C @ states[..., :length]

    return kernel


def naive_cauchy(length: int) -> Function:
    """Cauchy terms over the roots of unity, all held; takes C as if already corrected, so it does less work."""

    def kernel(Lambda: Tensor, P: Tensor, B: Tensor, C: Tensor, dt: Tensor) -> Tensor:
        omega = torch.exp(-2j * torch.pi * torch.arange(length // 2 + 1, dtype=torch.float64) / length)
        omega[-1] = complex(-1, 1e-6)  # the published form meets 1/0 here
        z = (2 * (1 - omega) / (1 + omega)).to(Lambda.dtype)
        scaled = Lambda * dt[:, None]
        left, right = torch.stack([C[:, 0], P.conj()], 1), torch.stack([B, P], 1)
        v = (left[:, :, None] * right[:, None]) * dt[:, None, None, None]
        terms = v[..., None] / (z - scaled[:, None, None, :, None])
        terms = terms + v.conj()[..., None] / (z - scaled.conj()[:, None, None, :, None])
        k = terms.sum(3)
        spectrum = (k[:, 0, 0] - k[:, 0, 1] * k[:, 1, 0] / (1 + k[:, 1, 1])) * (1 + z / 2)
        return torch.fft.irfft(spectrum, n=length).unsqueeze(1)

    return kernel


def plain_fft(u: Tensor, k: Tensor, D: Tensor) -> Tensor:
    length = u.shape[-1]
    spectrum = torch.fft.rfft(u, n=2 * length) * torch.fft.rfft(k, n=2 * length)
    return torch.fft.irfft(spectrum, n=2 * length)[..., :length] + D[:, None] * u


def legs(order: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """HiPPO-LegS: A, and its normal part's eigenvalues, low-rank term and input vector, one of each pair."""
    n = torch.arange(order, dtype=torch.float64)
    A = -torch.sqrt(torch.outer(2 * n + 1, 2 * n + 1)).tril(-1) - torch.diag(n + 1)
    p = (n + 0.5).sqrt()
    skew = A + torch.outer(p, p) + 0.5 * torch.eye(order)
    imag, V = torch.linalg.eigh(-1j * skew.to(torch.complex128))
    keep = imag > 0
    return A, -0.5 + 1j * imag[keep], (V.mH @ p.to(V.dtype))[keep], (V.mH @ (2 * n + 1).sqrt().to(V.dtype))[keep]


def vandermonde_row(length: int) -> Row:
    _, Lambda, _, _ = legs(ORDER)
    dt = torch.logspace(-3, -1, CHANNELS)
    a = (dt[:, None] * Lambda.to(torch.complex64)).contiguous()
    weight = torch.randn(CHANNELS, 1, ORDER // 2, dtype=torch.complex64) * dt[:, None, None]
    return Row(
        "vandermonde",
        f"H=128 N=64 L={length}",
        "materialised exp + einsum, autograd",
        lambda *x: vandermonde(*x, length),
        materialised_vandermonde(length),
        [a, weight],
        lambda *x: vandermonde(*x, length, backend="reference"),
    )


def dense_system(length: int) -> list[Tensor]:
    A, _, _, _ = legs(ORDER)
    step = torch.logspace(-3, -1, CHANNELS, dtype=torch.float64)[:, None, None] / 2
    eye = torch.eye(ORDER, dtype=torch.float64)
    A_bar = torch.linalg.solve(eye - step * A, eye + step * A)
    return [A_bar.float(), torch.randn(CHANNELS, ORDER) / length, torch.randn(CHANNELS, 1, ORDER)]


def krylov_row(length: int) -> Row:
    return Row(
        "krylov",
        f"H=128 N=64 L={length}",
        "power doubling, (H, N, L) held",
        lambda *x: krylov(*x, length),
        power_doubling(length),
        dense_system(length),
        power_doubling(length),
    )


def cauchy_row(length: int) -> Row:
    _, Lambda, P, B = legs(ORDER)
    C = torch.randn(CHANNELS, 1, ORDER // 2, dtype=torch.complex64)
    vectors = [value.to(torch.complex64).repeat(CHANNELS, 1) for value in (Lambda, P, B)]
    return Row(
        "cauchy",
        f"H=128 N=64 L={length}",
        "naive Cauchy sums (no truncation)",
        lambda *x: cauchy(*x, length),
        naive_cauchy(length),
        [*vectors, C, torch.logspace(-3, -1, CHANNELS)],
    )


def conv_row(length: int) -> Row:
    inputs = [torch.randn(8, CHANNELS, length), torch.randn(CHANNELS, length) / length, torch.randn(CHANNELS)]
    return Row(
        "long_conv", f"B=8 H=128 L={length}", "torch rfft, autograd", long_conv, plain_fft, inputs, plain_fft, repeats=7
    )


def measure(row: Row, backward: bool) -> tuple[float, float]:
    """Returns median CPU seconds of ours and of the peer, taken in turns."""
    inputs = [value.detach().requires_grad_(backward) for value in row.inputs]
    times: dict[str, list[float]] = {"ours": [], "peer": []}
    for turn in range(row.repeats + 1):  # the first turn warms up
        for side, function in (("ours", row.ours), ("peer", row.peer)):
            start = time.process_time()
            output = function(*inputs)
            if backward:
                torch.autograd.grad(output, inputs, torch.ones_like(output))
            if turn:
                times[side].append(time.process_time() - start)
            del output
    return statistics.median(times["ours"]), statistics.median(times["peer"])


def errors(row: Row) -> tuple[str, str]:
    """Returns RMS errors relative to float64 of ours and of the peer."""
    if row.exact is None:
        return "-", "-"
    wide = [value.to(torch.complex128 if value.is_complex() else torch.float64) for value in row.inputs]
    exact = row.exact(*wide)
    scale = exact.pow(2).mean().sqrt()
    ours, peer = (
        f"{float((function(*row.inputs) - exact).pow(2).mean().sqrt() / scale):.1e}"
        for function in (row.ours, row.peer)
    )
    return ours, peer


def processor() -> str:
    """Names the CPU by its model, not the machine."""
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        if info.exists()
        else []
    )
    return names[0] if names else platform.machine()


def table(rows: list[Row]) -> str:
    """Measures every row and returns the markdown page."""
    lines = [
        "# Operators on one CPU thread",
        "",
        f"{datetime.datetime.now(tz=datetime.UTC).date()} · {processor()} · torch {torch.__version__.split('+')[0]}, "
        f"Python {platform.python_version()} · 1 thread · float32 · medians of CPU time, ours and peer in turns.",
        "H channels, N state order (N/2 conjugate pairs), errors are RMS relative to float64 of the same inputs.",
        "`cauchy` works in float64 inside and truncates exactly; its peer works in complex64 and takes C as if already",
        "corrected for truncation, so it does less. Forward rows run without autograd.",
        "",
        "| operator | sizes | pass | peer | peer ms | ours ms | ratio | error ours | error peer |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ours_error, peer_error = errors(row)
        for backward in (False, True):
            ours, peer = measure(row, backward)
            what = "fwd+bwd" if backward else "fwd"
            lines.append(
                f"| {row.name} | {row.sizes} | {what} | {row.peer_name} | {peer * 1e3:.1f} | {ours * 1e3:.1f} | "
                f"{peer / ours:.1f} | {ours_error} | {peer_error} |"
            )
            print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="file to write the table to")
    parser.add_argument("--only", default="", help="run only operators whose name contains this")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    makers = {
        "vandermonde": lambda: [vandermonde_row(16384)],
        "krylov": lambda: [krylov_row(4096), krylov_row(16384)],
        "cauchy": lambda: [cauchy_row(1024), cauchy_row(4096)],
        "long_conv": lambda: [conv_row(1024), conv_row(4096), conv_row(16384)],
    }
    page = table([row for name, make in makers.items() if arguments.only in name for row in make()])
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(page)


if __name__ == "__main__":
    main()
