"""Cases of the diagonal recurrence: ssm_scan with many modes and with one real one, and ssm_step."""

from __future__ import annotations

import torch

from seqkit.bench.case import Case, Grid, Inputs, Setting, Work
from seqkit.bench.cases.systems import FEW, diagonal_legs, normal, series, settings
from seqkit.bench.own import own_forms, reference_output
from seqkit.bench.peers.scans import ACCELERATED_SCAN, ASSOCIATIVE_SCAN, MAMBA_SCAN, OWN_CONVOLUTION, USUAL_CORE
from seqkit.bench.peers.steps import COMPILED_STEP, EAGER_STEP

__all__ = ["FIRST_ORDER_SCAN", "SSM_SCAN", "SSM_STEP"]

CHUNK = 64  # samples joined by one matrix product


def arguments(inputs: Inputs, setting: Setting) -> Inputs:
    """The operator's own names."""
    return inputs


def few(inputs: Inputs) -> Inputs:
    """The first channels of the first series."""
    return {name: value[:1, :FEW] if name in ("u", "state") else value[:FEW] for name, value in inputs.items()}


def make_scan(setting: Setting, generator: torch.Generator) -> Inputs:
    """Random series through LegS' normal part with random outputs."""
    A, B = diagonal_legs(setting["H"], setting["N"])
    u = series(generator, setting["B"], setting["H"], setting["L"])
    return {"u": u, "A": A, "B": B, "C": normal(generator, setting["H"], setting["N"] // 2, cplx=True)}


def scan_work(setting: Setting, backward: bool) -> Work:
    """Chunks of 64 samples: a Toeplitz product and two with the states, 2 (64 + 2 N) a sample; thrice that backward."""
    samples = float(setting["B"]) * setting["H"] * setting["L"]
    operations = 2 * (min(CHUNK, setting["L"]) + 2 * setting["N"]) * samples
    return Work((4 if backward else 1) * operations, traffic=(5 if backward else 2) * samples * setting.itemsize)


SSM_SCAN = Case(
    name="ssm_scan",
    operator="ssm_scan",
    title="diagonal recurrence over whole series",
    against=USUAL_CORE.name,
    grid=Grid(
        tiny=settings((9, 12), B=2, H=3, N=4),
        quick=settings((1024, 4096), B=8, H=128, N=64),
        full=settings((1024, 4096, 16384), B=8, H=128, N=64),
        cuda_quick=settings((1024, 4096), "bfloat16", B=16, H=768, N=64),
        cuda_full=(
            *settings((1024, 4096, 16384, 65536), "bfloat16", B=16, H=768, N=64),
            *settings((1048576,), "bfloat16", B=1, H=768, N=64),
            *settings((1024, 4096, 16384), B=16, H=768, N=64),
        ),
    ),
    make=make_scan,
    forms=(
        *own_forms("ssm_scan", arguments, lambda setting: setting["L"] <= 256),
        *(USUAL_CORE, OWN_CONVOLUTION, MAMBA_SCAN),
    ),
    exact=lambda inputs, setting: reference_output("ssm_scan", arguments, inputs, setting),
    few=few,
    part=(slice(None, 1), slice(None, FEW)),
    work=scan_work,
    memory=settings((16384, 65536, 262144, 1048576), B=1, H=4, N=64),
)


def make_first_order(setting: Setting, generator: torch.Generator) -> Inputs:
    """Random series through one real, slowly forgetting mode a head."""
    H = setting["H"]
    A = torch.linspace(0.9, 0.9999, H, dtype=torch.float64)[:, None] + 0j
    u = series(generator, setting["B"], H, setting["L"])
    return {"u": u, "A": A, "B": (1 - A.real) + 0j, "C": torch.full_like(A, 0.5)}


def first_order_work(setting: Setting, backward: bool) -> Work:
    """Reading the input and writing the output; backward, the output's gradient in, the input once more, one out."""
    samples = float(setting["B"]) * setting["H"] * setting["L"]
    return Work((3 if backward else 1) * 4 * samples, traffic=(5 if backward else 2) * samples * setting.itemsize)


FIRST_ORDER_SCAN = Case(
    name="first_order_scan",
    operator="ssm_scan",
    title="recurrence of one real mode over whole series",
    against=ASSOCIATIVE_SCAN.name,
    grid=Grid(
        tiny=settings((9, 12), B=2, H=3),
        quick=settings((1024, 4096), B=8, H=128),
        full=settings((1024, 4096, 16384), B=8, H=128),
        cuda_quick=settings((1024, 16384), B=8, H=1536),
        cuda_full=settings((1024, 4096, 16384, 65536), B=8, H=1536),
    ),
    make=make_first_order,
    forms=(
        *own_forms("ssm_scan", arguments, lambda setting: setting["L"] <= 256),
        *(ASSOCIATIVE_SCAN, ACCELERATED_SCAN),
    ),
    exact=lambda inputs, setting: reference_output("ssm_scan", arguments, inputs, setting),
    few=few,
    part=(slice(None, 1), slice(None, FEW)),
    work=first_order_work,
)


def make_step(setting: Setting, generator: torch.Generator) -> Inputs:
    """One sample of each stream, and its state."""
    B, H, pairs = setting["B"], setting["H"], setting["N"] // 2
    A_bar, B_bar = diagonal_legs(H, setting["N"])
    C, state = normal(generator, H, pairs, cplx=True), normal(generator, B, H, pairs, cplx=True)
    return {"u": normal(generator, B, H), "A": A_bar, "B": B_bar, "C": C, "D": normal(generator, H), "state": state}


def step_work(setting: Setting, backward: bool) -> Work:
    """Every state read and written, every coefficient read; 20 operations a pair."""
    rows, pairs = float(setting["B"]) * setting["H"], setting["N"] // 2
    numbers = rows * (4 * pairs + 2) + setting["H"] * (6 * pairs + 1)
    return Work(20 * rows * pairs, traffic=numbers * setting.itemsize)


SSM_STEP = Case(
    name="ssm_step",
    operator="ssm_step",
    title="one step of many streams",
    against=EAGER_STEP.name,
    grid=Grid(
        tiny=(Setting({"H": 3, "N": 4, "B": 2}),),
        quick=tuple(Setting({"H": 128, "N": 64, "B": streams}) for streams in (1, 1000)),
        full=tuple(Setting({"H": 128, "N": 64, "B": streams}) for streams in (1, 16, 128, 1000)),
    ),
    make=make_step,
    forms=(*own_forms("ssm_step", arguments, lambda setting: True), EAGER_STEP, COMPILED_STEP),
    exact=lambda inputs, setting: reference_output("ssm_step", arguments, inputs, setting),
    work=step_work,
    passes=(False,),
    unit="steps",
    count=lambda setting: setting["B"],
    axis="B",
)
