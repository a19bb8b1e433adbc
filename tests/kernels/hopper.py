"""Compiles the Triton kernels for a Hopper GPU on a machine without one, as their own launchers call them.

Triton's interpreter shows that a kernel computes the right thing, not that it compiles. This script takes the
launchers' real calls, compiles each kernel for compute capability 9.0 and launches nothing: results are garbage.

    python tests/kernels/hopper.py [OPERATOR ...]    prints a JSON line a kernel: shared memory, registers, stack,
                                                     and instructions in loops that spill; or an operator's error
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import traceback
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


def cauchy() -> None:
    from seqkit.kernels.cauchy.triton import cauchy_sums_backward, cauchy_sums_forward

    v = torch.zeros(8, 4, 32, dtype=torch.complex128)
    Lambda, z = v[:, 0] - 1, torch.ones(8193, dtype=torch.complex128)
    cauchy_sums_backward(cauchy_sums_forward(v, Lambda, z), v, Lambda, z)


CALLS["cauchy"] = cauchy


def legs_update() -> None:
    from seqkit.kernels.legs_update.triton import legs_update_backward, legs_update_forward

    for n_series, order in ((1024, 256), (4096, 32), (8, 2048)):
        u, tau, state = torch.zeros(n_series, 64), torch.ones(1, 64), torch.zeros(n_series, order)
        legs_update_backward(legs_update_forward(u, tau, state, 64), u, tau, state, 64)


CALLS["legs_update"] = legs_update


def long_conv() -> None:
    from seqkit.kernels.long_conv.triton import long_conv_backward, long_conv_forward

    none = torch.zeros(0)
    cases = [(1, length, torch.float32, False) for length in (128, 512, 1024, 2048, 16384, 65536)]
    for n_outputs, length, dtype, gated in [*cases, (2, 1000, torch.bfloat16, True), (2, 9000, torch.float16, True)]:
        u, k = torch.zeros(4, 2, length, dtype=dtype), torch.zeros(n_outputs, 2, length)
        gate = torch.zeros(4, n_outputs, 2, length, dtype=dtype) if gated else none
        lengths = torch.full((4,), length) if gated else none
        y = long_conv_forward(u, k, gate, lengths, 0)
        long_conv_backward(y, u, k, gate, lengths, 0)


CALLS["long_conv"] = long_conv


def lti_memory() -> None:
    from seqkit.kernels.lti_memory.triton import lti_memory_backward, lti_memory_forward

    for n_systems, n_series, order, length, every in (
        (1, 1024, 64, 4096, 4096),
        (128, 8, 128, 1000, 1),
        (1, 64, 5, 30, 30),
    ):
        u, state = torch.zeros(n_systems, n_series, length), torch.zeros(n_systems, n_series, order)
        args = u, torch.zeros(n_systems, order, order), torch.zeros(n_systems, order), state, True, every
        lti_memory_backward(lti_memory_forward(*args), *args)


CALLS["lti_memory"] = lti_memory


def ssm_step() -> None:
    from seqkit.kernels.ssm_step import paths

    for leading, A, C, dtype in (
        ((1000, 128), (128, 32), (128, 1, 32), torch.float32),
        ((4, 64, 128), (4, 1, 128, 32), (4, 1, 128, 1, 32), torch.bfloat16),
        ((64, 128), (64, 128, 16), (128, 3, 16), torch.float32),
        ((8, 4), (4, 500), (4, 2, 500), torch.float16),
    ):
        modes = [torch.zeros(shape, dtype=torch.complex64) for shape in (A, A, C, (*leading, A[-1]))]
        D = torch.zeros(C[-2])
        operands = (torch.zeros(leading, dtype=dtype), *modes, D)
        layout, ready = paths.find_layout(torch.Size(leading), operands)
        y, new = torch.zeros(*leading, C[-2], dtype=dtype), modes[3].clone()
        kernels = paths.module("triton")
        kernels.advance(layout, ready[:5], ready[5], y, new)
        kernels.differentiate(layout, (ready[0].float(), *ready[1:5]), y.float(), new)


CALLS["ssm_step"] = ssm_step


def ssm_scan() -> None:
    from seqkit.kernels.ssm_scan import chunks
    from seqkit.kernels.ssm_scan.uneven import triton as uneven

    for n_pairs, n_outputs, dtype in ((32, 1, torch.float32), (32, 1, torch.bfloat16), (64, 2, torch.float32)):
        A, C = torch.zeros(64, n_pairs, dtype=torch.complex128), torch.zeros(n_outputs, 64, n_pairs) + 0j
        u, state = torch.zeros(16, 64, 2048, dtype=dtype), torch.zeros(16, 64, n_pairs) + 0j
        lengths, steps = torch.full((16,), 2048), torch.ones(16, 2048)
        y, _ = chunks.ssm_scan_forward(u, A, A, C, state, lengths)
        chunks.ssm_scan_backward(y, state, u, A, A, C, state, lengths)
        if dtype == torch.float32:
            rule = "bilinear" if n_outputs == 1 else "zero_order_hold"
            uneven.ssm_scan_steps_forward(u, A, A, C, state, steps, lengths, rule)
            uneven.ssm_scan_steps_backward(y, state, u, A, A, C, state, steps, lengths, rule)


CALLS["ssm_scan"] = ssm_scan


def monarch() -> None:
    from seqkit.kernels.monarch.triton import monarch_backward, monarch_forward

    for blocks, size, dtype in ((64, 64, torch.float32), (4, 1024, torch.bfloat16), (3, 5, torch.float32)):
        rank = max(1, size // blocks)
        x = torch.zeros(1000, blocks * size, dtype=dtype)
        w1 = torch.zeros(blocks, rank * blocks, size, dtype=dtype)
        w2 = torch.zeros(blocks, size, blocks * rank, dtype=dtype)
        monarch_backward(monarch_forward(x, w1, w2), x, w1, w2)


CALLS["monarch"] = monarch


def block_product() -> None:
    from seqkit.kernels.block_product.triton import block_product_backward, block_product_forward
    from seqkit.structured.pixelfly_mask import neighbours

    for side, dtype in ((64, torch.float32), (128, torch.bfloat16), (5, torch.float16)):
        x, blocks = torch.zeros(1000, 16 * side, dtype=dtype), torch.zeros(16, side, 3 * side, dtype=dtype)
        columns = neighbours(16, 2)
        block_product_backward(block_product_forward(x, blocks, columns), x, blocks, columns)


CALLS["block_product"] = block_product


def attention_at(size: int, dtype: torch.dtype, options: str) -> None:
    from seqkit.kernels.attention import alibi_slopes, butterfly_mask
    from seqkit.kernels.attention.triton.backward import attention_backward
    from seqkit.kernels.attention.triton.forward import attention_forward

    none, seed, mask = torch.zeros(0, dtype=torch.int64), torch.tensor(3), butterfly_mask(1024, 2, tile=128)
    lists = (*mask[2:], *mask.tile) if options in ("mask", "all") else (*[none] * 3, none.bool(), *[none] * 3, 0, 0)
    packed = torch.tensor([[0, 0, 300, 0, 300], [0, 300, 1024, 300, 1024]]) if options == "all" else none
    slopes = alibi_slopes(4).float() if options == "all" else none.float()
    numbers = (20, 0, True, 5.0, 0.125, 0.1) if options == "all" else (-1, 0, True, 0.0, 0.125, 0.0)
    others = (slopes, seed, packed, *lists, *numbers)
    q, k = torch.zeros(1, 1024, 4, size, dtype=dtype), torch.zeros(1, 1024, 2, size, dtype=dtype)
    out, lse = attention_forward(q, k, k, *others)
    attention_backward(out, lse, q, k, k, *others, out, lse)


def attention() -> None:
    attention_at(64, torch.bfloat16, "causal")
    attention_at(128, torch.float16, "mask")


def attention_wide() -> None:
    attention_at(256, torch.bfloat16, "causal")
    attention_at(200, torch.bfloat16, "causal")
    attention_at(256, torch.float32, "causal")


def attention_all() -> None:
    attention_at(64, torch.bfloat16, "all")
    attention_at(64, torch.float32, "causal")


CALLS["attention"] = attention
CALLS["attention, wide heads"] = attention_wide
CALLS["attention, all options"] = attention_all


def butterfly() -> None:
    from seqkit.kernels.butterfly.triton import butterfly_backward, butterfly_forward

    for n, n_blocks in ((64, 2), (1024, 1), (8192, 1)):
        x, twiddle = torch.zeros(64, n), torch.zeros(1, n_blocks, n.bit_length() - 1, n // 2, 2, 2)
        butterfly_backward(butterfly_forward(x, twiddle, False), x, twiddle, False)


CALLS["butterfly"] = butterfly


def quantise() -> None:
    from seqkit.kernels.quantise.triton import dequantise_rows, quantise_rows

    x, seed = torch.zeros(8, 100_000), torch.tensor(3)
    for bits, group, stochastic, fit in (
        (1, 64, False, False),
        (2, 64, False, True),
        (4, 64, True, False),
        (8, 512, False, False),
    ):
        data = quantise_rows(x, seed, bits, group, stochastic, fit)
        dequantise_rows(data, x, x.shape[1], bits, group)


CALLS["quantise"] = quantise

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


def spills_in_loops(cubin: bytes) -> int:
    """Instructions between a branch back and its target that move a register to or from the stack."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [BINARIES / "nvdisasm", "-c", file.name]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    found = (re.match(r"\s*(\.L_x_\d+):", line) for line in lines)
    targets = {match[1]: place for place, match in enumerate(found) if match}
    found = (re.search(r"\bBRA\b.*`\((\.L_x_\d+)\)", line) for line in lines)
    loops = [(targets[match[1]], place) for place, match in enumerate(found) if match and match[1] in targets]
    moved = [place for place, line in enumerate(lines) if re.search(r"\b(STL|LDL)\b", line)]
    return sum(any(start < place < end for start, end in loops) for place in moved)


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
            found[-1]["spills"] = spills_in_loops(cubin) if found[-1]["stack"] else 0
        return kernel

    JITFunction.run = compile_only
    return found


def main(names: list[str]) -> None:
    driver.set_active(Hopper())
    found = compile_instead_of_launching()
    for name in names or CALLS:
        try:
            CALLS[name]()
        except Exception:  # the next operator is looked at all the same
            print(json.dumps({"operator": name, "error": traceback.format_exc()}), flush=True)
        while found:
            print(json.dumps({"operator": name, **found.pop(0)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
