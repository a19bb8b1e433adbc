"""Compiles the Triton kernels for a Hopper GPU on a machine without one, as their own launchers call them.

Triton's interpreter shows that a kernel computes the right thing, not that it compiles. This script takes the
launchers' real calls, compiles each kernel for compute capability 9.0 and launches nothing: results are garbage.

    python tests/kernels/hopper.py [OPERATOR ...]    prints a JSON line a kernel: shared memory, registers, stack
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ.pop("TRITON_INTERPRET", None)  # kernels must be defined as compiled ones

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

# Operator -> calls of its launchers at sizes people use. A row starts a line with CALLS["NAME"]: a test looks for that.
CALLS: dict[str, Callable[[], None]] = {}


def krylov() -> None:
    from seqkit.kernels.krylov.triton import krylov_backward, krylov_forward

    for n_outputs, length in ((1, 16384), (3, 1000)):
        A, B, C = torch.zeros(8, 64, 64), torch.zeros(8, 64), torch.zeros(8, n_outputs, 64)
        krylov_backward(krylov_forward(A, B, C, length), A, B, C, length)


CALLS["krylov"] = krylov


def vandermonde() -> None:
    from seqkit.kernels.vandermonde.triton import vandermonde_backward, vandermonde_forward

    for n_outputs, n_pairs, length in ((1, 32, 16384), (3, 5, 100)):
        a = torch.zeros(8, n_pairs, dtype=torch.complex64)
        weight = torch.zeros(8, n_outputs, n_pairs, dtype=torch.complex64)
        vandermonde_backward(vandermonde_forward(a, weight, length), a, weight, length)


CALLS["vandermonde"] = vandermonde

BINARIES = Path(triton.__file__).parent / "backends/nvidia/bin"


class Hopper:
    """Stands in for a driver: names the target and has nothing to launch on."""

    utils = None

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")


def resources(cubin: bytes) -> dict[str, int]:
    """Registers and stack of a compiled kernel; a stack means that registers spill."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [BINARIES / "cuobjdump", "--dump-resource-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {key.lower(): int(value) for key, value in re.findall(r"\b(REG|STACK):(\d+)", text)}


def compile_instead_of_launching() -> list[dict[str, object]]:
    """Replaces launching by compiling; the list it returns grows by an entry for each new binary."""
    found: list[dict[str, object]] = []
    seen: set[bytes] = set()
    run = JITFunction.run

    def compile_only(self, *args, grid, warmup, **kwargs):
        kernel = run(self, *args, grid=grid, warmup=True, **kwargs)
        cubin = kernel.asm["cubin"]
        if cubin not in seen:
            seen.add(cubin)
            found.append({"kernel": self.__name__, "shared": kernel.metadata.shared, **resources(cubin)})
        return kernel

    JITFunction.run = compile_only
    return found


def main(names: list[str]) -> None:
    driver.set_active(Hopper())
    found = compile_instead_of_launching()
    for name in names or CALLS:
        CALLS[name]()
        while found:
            print(json.dumps({"operator": name, **found.pop(0)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
