"""HiPPO memories: how much of a long signal they keep, and how fast, beside the paper's figures and its own C++.

    python benchmarks/hippo.py --published PATH/csrc --out benchmarks/results/hippo_cpu.md

`--published` is the folder `csrc` of a clone of github.com/HazyResearch/hippo-code; it is built in a temporary folder,
which takes minutes, and left out without the argument. `--quick` shrinks everything to see that it runs.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is imported
os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seqkit.bench.machine import describe_machine, headline
from seqkit.hippo import HiPPOMemory

ORDER = 256
SECONDS = 100.0
REPORT = """# HiPPO memories

{machine}

## What they keep

The paper's function approximation: white noise in the band up to 1 Hz, rms 0.5, over 100 s. {length:,} samples, {draws}
draws (torch seed 0); the coefficients after the last sample give the whole signal back. The paper reports 0.02 for
LegS and 0.25 for an LSTM. LegS leaves what the best polynomial of degree 255 leaves, most of it in the highest fifth
of the band, which differs between draws. The noise repeats after 100 s, which only the Fourier modes
can use. The LSTM has the easier task, fewer samples, and little time: its figure says no more than that its memory
must be learnt.

{quality}

## How fast

{length:,} samples a call (256 series: {each:,} each), all forms in turns in one run, {rounds} rounds, CPU time. The
published loop is `legs_function_approx_trapezoidal` of HazyResearch/hippo-code, built with -O3 -march=native.

{speed}
"""
Forms = dict[str, tuple[float, Callable[[], object]]]


def noise(draws: int, length: int, seed: int) -> Tensor:
    """White noise of rms 0.5 in the band up to 1 Hz, over 100 s, (draws, L, 1)."""
    count = int(SECONDS)
    spectrum = torch.zeros(draws, length // 2 + 1, dtype=torch.complex128)
    generator = torch.Generator().manual_seed(seed)
    spectrum[:, 1 : count + 1] = torch.randn(draws, count, dtype=torch.complex128, generator=generator)
    signal = torch.fft.irfft(spectrum, n=length)
    return (0.5 * signal / signal.square().mean(dim=1, keepdim=True).sqrt()).unsqueeze(-1)


def error(memory: HiPPOMemory, u: Tensor) -> Tensor:
    """Mean squared error of each reconstruction of the whole past, in the middles of the holds."""
    length = u.shape[1]
    c = memory.project(u, rate=SECONDS / length)
    middles = (torch.arange(length, dtype=torch.float64) + 0.5) * (SECONDS / length)
    return (memory.reconstruct(c, middles, elapsed=SECONDS) - u).square().mean(dim=(1, 2))


def lstm_error(budget: float, samples: int) -> tuple[float, int]:
    """Error of an LSTM that reads noise and gives it back from its last state, after `budget` seconds of training."""
    torch.manual_seed(0)
    lstm, decoder = nn.LSTM(1, ORDER, batch_first=True), nn.Linear(ORDER, samples)
    optimizer = torch.optim.Adam([*lstm.parameters(), *decoder.parameters()], lr=1e-3)

    def loss(seed: int) -> Tensor:
        u = noise(32, samples, seed).float()
        return (decoder(lstm(u)[1][0][0]) - u[..., 0]).square().mean()

    began, steps = time.process_time(), 0
    while time.process_time() - began < budget:
        optimizer.zero_grad()
        loss(1000 + steps).backward()
        optimizer.step()
        steps += 1
    with torch.no_grad():
        return statistics.mean(float(loss(seed)) for seed in range(4)), steps


def approximation(length: int, draws: int, budget: float) -> list[str]:
    """The paper's experiment as a table."""
    u = noise(draws, length, 0)
    forms: dict[str, tuple[str, HiPPOMemory]] = {
        "LegS, midpoint": ("whole past", HiPPOMemory(ORDER)),
        "LegS, exact": ("whole past", HiPPOMemory(ORDER, rule="exact")),
        "LegS, reciprocal (published rule)": ("whole past", HiPPOMemory(ORDER, rule="reciprocal")),
        "LegT (and LMU, the same memory)": ("window 100 s", HiPPOMemory(ORDER, "legt", window=SECONDS)),
        "Fourier, of which the noise is made": ("window 100 s", HiPPOMemory(ORDER, "fourier", window=SECONDS)),
    }
    scales = {scale: HiPPOMemory(ORDER, "lagt", window=SECONDS / scale) for scale in (200, 400, 800, 1600, 3200)}
    tried = {scale: float(error(memory, u[:2]).mean()) for scale, memory in scales.items()}
    best = min(tried, key=lambda scale: tried[scale])
    forms["LagT"] = (f"fades over {SECONDS / best:g} s, the best of 5", scales[best])
    lines = ["| memory of 256 numbers | reach | MSE, mean | of single draws |", "|---|---|---|---|"]
    for name, (reach, memory) in forms.items():
        found = error(memory, u)
        lines.append(
            f"| {name} | {reach} | {float(found.mean()):.4f} | {float(found.min()):.3f} to {float(found.max()):.3f} |"
        )
    samples = 500
    value, steps = lstm_error(budget, samples)
    trained = f"LSTM of 256 units, {steps} batches of 32 in {budget:.0f} s"
    lines.append(f"| {trained} | the signal as {samples} samples | {value:.4f} | |")
    lines.append("| always 0 | | 0.2500 | |")
    return lines


def published(folder: Path, build: str) -> Any:
    """The authors' extension, compiled for this machine."""
    from torch.utils.cpp_extension import load

    sources = [str(folder / name) for name in ("hippo.cpp", "hippolegs.cpp", "hippolegt.cpp")]
    return load("hippo", sources, extra_cflags=["-O3", "-march=native"], build_directory=build)


def in_turns(forms: Forms, rounds: int) -> dict[str, tuple[float, float]]:
    """Steps a second of each form, median and best of CPU times; they take turns and share the machine's moods."""
    times: dict[str, list[float]] = {name: [] for name in forms}
    for _, run in forms.values():
        run()
    for _ in range(rounds):
        for name, (_, run) in forms.items():
            began = time.process_time()
            run()
            times[name].append(time.process_time() - began)
    return {name: (forms[name][0] / statistics.median(t), forms[name][0] / min(t)) for name, t in times.items()}


def throughput(length: int, rounds: int, peer: Any) -> list[str]:
    """Steps a second of the online update at N = 256."""
    single = torch.randn(length, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    many = torch.randn(256, max(10, length // 250), 1)
    blocks = {rule: HiPPOMemory(ORDER, rule=rule) for rule in ("midpoint", "reciprocal", "exact")}
    legt = HiPPOMemory(ORDER, "legt", window=length / 2)
    lstm = nn.LSTM(1, ORDER, batch_first=True)
    some, count = torch.randn(1, max(10, length // 50), 1), float(length)

    def project(rule: str, dtype: torch.dtype) -> tuple[float, Callable[[], object]]:
        u = single.to(dtype)[None, :, None]
        return count, lambda: blocks[rule].project(u)

    forms: Forms = {
        "LegS midpoint, float64": project("midpoint", torch.float64),
        "LegS reciprocal, float64": project("reciprocal", torch.float64),
        "LegS midpoint, float32": project("midpoint", torch.float32),
        "LegS exact, final coefficients, float64": project("exact", torch.float64),
        "LegS midpoint, 256 series, float32": (float(many.numel()), lambda: blocks["midpoint"].project(many)),
        "LegT, final coefficients, float64": (count, lambda: legt.project(single[None, :, None])),
        "LSTM of 256 units (torch), float32": (float(some.numel()), lambda: lstm(some)),
    }
    if peer is not None:
        for dtype in (torch.float64, torch.float32):
            u = single.to(dtype)
            name = f"published C++ loop, {str(dtype)[6:]}"
            forms[name] = (count, lambda u=u: peer.legs_function_approx_trapezoidal(u, ORDER))
    with torch.no_grad():
        found = in_turns(forms, rounds)
        if peer is not None:
            theirs = peer.legs_function_approx_trapezoidal(single, ORDER)
            ours = blocks["reciprocal"].project(single[None, :, None])[0, 0]
            agreement = float((theirs - ours).norm() / ours.norm())
    lines = [
        "| N = 256, one core | steps/s, median | best | over the paper's 470,000 | over the published loop |",
        "|---|---|---|---|---|",
    ]
    base = found.get("published C++ loop, float64")
    for name, (median, best) in found.items():
        against = f"{median / base[0]:.1f}" if base else "not built"
        lines.append(f"| {name} | {median:,.0f} | {best:,.0f} | {median / 470_000:.1f} | {against} |")
    if peer is not None:
        lines += ["", f"The reciprocal rule and the published loop agree to {agreement:.0e} (float64)."]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--published", type=Path, default=None, help="the folder csrc of hippo-code")
    parser.add_argument("--budget", type=float, default=120.0, help="seconds of CPU time to train the LSTM for")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    torch.set_num_threads(1)
    length, draws, rounds = (20_000, 2, 3) if args.quick else (1_000_000, 12, 9)
    with tempfile.TemporaryDirectory() as folder:
        peer = None if args.published is None else published(args.published, folder)
        speed = throughput(length, rounds, peer)
    quality = approximation(length, draws, 2.0 if args.quick else args.budget)
    text = REPORT.format(
        machine=headline(describe_machine("cpu", 1, tuned=False)),
        length=length,
        draws=draws,
        rounds=rounds,
        each=length // 250,
        quality="\n".join(quality),
        speed="\n".join(speed),
    )
    print(text)
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text)


if __name__ == "__main__":
    main()
