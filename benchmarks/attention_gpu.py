"""Attention on a CUDA device in five minutes: our Triton kernels, and torch's FlashAttention, cuDNN, FlexAttention.

    python benchmarks/attention_gpu.py                  # writes results/attention_gpu.md
    python benchmarks/attention_gpu.py --seconds 120    # what fits in two minutes, in order of interest; prints alone
    python benchmarks/attention_gpu.py --tune           # times other tile sizes of each kernel, for triton/sizes.py

bfloat16, 16,384 samples and 2,048 numbers of all heads together. TFLOP/s count 4 B N^2 H d forward, 2.5 times that
backward and half of it under causality, whatever a form computes. Medians; the device's cache is emptied between calls.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from seqkit.kernels.attention import attention, mask_of_tiles

RESULTS = Path(__file__).parent / "results" / "attention_gpu.md"
SAMPLES, WIDTH, TILE = 16384, 2048, 128
LENGTHS = (4096, 16384, 1024, 2048, 8192)
COMPILED = (4096, 16384)  # FlexAttention is compiled anew for each length
DENSITIES = (0.1, 0.05, 0.25)
Form = Callable[[Tensor, Tensor, Tensor], Tensor]


def heads(
    length: int, size: int, ours: bool, samples: int = SAMPLES, dtype: torch.dtype = torch.bfloat16
) -> list[Tensor]:
    """Queries, keys and values: (B, L, H, D) for ours, (B, H, L, D) for the others."""
    torch.manual_seed(0)
    shape = max(1, samples // length), length, WIDTH // size, size
    made = [torch.randn(shape, device="cuda", dtype=dtype) for _ in range(3)]
    return [(one if ours else one.transpose(1, 2).contiguous()).requires_grad_() for one in made]


def sdpa(backend: SDPBackend, causal: bool) -> Form:
    def call(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        with sdpa_kernel(backend):
            return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)

    return call


def flex(block_mask: object) -> Form:
    from torch.nn.attention.flex_attention import flex_attention

    compiled = torch.compile(flex_attention, dynamic=False)
    return lambda q, k, v: compiled(q, k, v, block_mask=block_mask)


def flex_causal(length: int) -> Form:
    from torch.nn.attention.flex_attention import create_block_mask

    return flex(create_block_mask(lambda b, h, i, j: i >= j, None, None, length, length, device="cuda"))


def median_ms(call: Callable[[], object]) -> float:
    from triton.testing import do_bench

    return do_bench(call, warmup=10, rep=60, return_mode="median")


def both_ms(form: Form, tensors: list[Tensor]) -> tuple[float, float]:
    """Milliseconds of a forward and of a backward."""
    with torch.no_grad():
        forward = median_ms(lambda: form(*tensors))
    out = form(*tensors)
    grad = torch.randn_like(out)
    return forward, median_ms(lambda: torch.autograd.grad(out, tensors, grad, retain_graph=True))


def forms(length: int, causal: bool) -> Iterator[tuple[str, bool, Callable[[], Form]]]:
    """Name, whether the layout is ours, and how to make it."""
    yield "ours", True, lambda: lambda q, k, v: attention(q, k, v, causal=causal, backend="triton")
    yield "torch, flash", False, lambda: sdpa(SDPBackend.FLASH_ATTENTION, causal)
    yield "torch, cuDNN", False, lambda: sdpa(SDPBackend.CUDNN_ATTENTION, causal)
    if length in COMPILED:
        yield "FlexAttention", False, lambda: flex_causal(length) if causal else flex(None)


def check() -> list[str]:
    """Largest errors beside the plain form in the same precision, both against float64."""
    lines = ["| precision | head size | output, ours | output, plain | gradients, ours | gradients, plain |"]
    lines.append("|---|---:|---:|---:|---:|---:|")
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        for size in (64, 128):
            tensors = heads(1000, size, True, samples=1000, dtype=dtype)
            tensors = [one[:, :, :4].detach().requires_grad_() for one in tensors]
            wide = [one.detach().double().requires_grad_() for one in tensors]

            def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
                scores = torch.einsum("brhd,bthd->bhrt", q, k) / q.shape[-1] ** 0.5
                hidden = torch.ones(scores.shape[-2:], device="cuda", dtype=torch.bool).triu(1)
                return torch.einsum("bhrt,bthd->brhd", scores.masked_fill(hidden, -torch.inf).softmax(-1), v)

            found = []
            for form, given in ((plain, wide), (attention_causal, tensors), (plain, tensors)):
                out = form(*given)
                found.append([out.detach(), *torch.autograd.grad(out, given, torch.ones_like(out) * out.detach())])
            errors = [
                [float((a.double() - b).abs().max()) for a, b in zip(one, found[0], strict=True)] for one in found[1:]
            ]
            numbers = (errors[0][0], errors[1][0], max(errors[0][1:]), max(errors[1][1:]))
            lines.append(f"| {str(dtype)[6:]} | {size} | " + " | ".join(f"{number:.1e}" for number in numbers) + " |")
    return ["## Errors", "", *lines, ""]


def attention_causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return attention(q, k, v, causal=True, backend="triton")


def dense(deadline: float) -> list[str]:
    lines = ["## Dense", "", "TFLOP/s forward / backward.", ""]
    lines += ["| head size | causal | N | form | forward | backward |", "|---:|---|---:|---|---:|---:|"]
    for length in LENGTHS:
        for size in (64, 128):
            for causal in (False, True):
                for name, ours, make in forms(length, causal):
                    if time.monotonic() > deadline:
                        return [*lines, "", "The time was over before the other sizes.", ""]
                    try:
                        forward, backward = both_ms(make(), heads(length, size, ours))
                    except RuntimeError as error:  # a peer that does not serve this device
                        lines.append(f"| {size} | {causal} | {length:,} | {name} | {str(error).splitlines()[0]} | |")
                        continue
                    work = 4 * SAMPLES * length * WIDTH / (2 if causal else 1) / 1e9
                    cells = f"{work / forward:.0f} | {2.5 * work / backward:.0f}"
                    lines.append(f"| {size} | {causal} | {length:,} | {name} | {cells} |")
                    print(lines[-1], flush=True)
    return [*lines, ""]


def sparse(deadline: float, size: int = 64, length: int = 16384) -> list[str]:
    """Masks of drawn tiles: time of the mask's making and of attention, beside FlexAttention's and the whole matrix."""
    from torch.nn.attention.flex_attention import create_block_mask

    n_tiles = length // TILE
    lines = [
        "## Block-sparse",
        "",
        f"N = {length:,}, head size {size}, drawn tiles of {TILE} by {TILE}; milliseconds.",
        "",
    ]
    lines += [
        "| tiles | form | mask | forward | backward | dense flash / (mask + forward) |",
        "|---:|---|---:|---:|---:|---:|",
    ]
    base = both_ms(sdpa(SDPBackend.FLASH_ATTENTION, False), heads(length, size, False))
    lines.append(f"| 100% | torch, flash | | {base[0]:.3f} | {base[1]:.3f} | 1.0 |")
    make_mask = torch.compile(create_block_mask, dynamic=False)
    for density in DENSITIES:
        numbers = torch.rand(n_tiles, n_tiles, generator=torch.Generator().manual_seed(1))
        tiles = (numbers < numbers.flatten().quantile(density)).cuda()

        def rule(b: Tensor, h: Tensor, i: Tensor, j: Tensor, tiles: Tensor = tiles) -> Tensor:
            return tiles[i // TILE, j // TILE]

        def ours_mask(tiles: Tensor = tiles):
            return mask_of_tiles(tiles, (length, length), TILE)

        def flex_mask(rule: Callable = rule):
            return make_mask(rule, None, None, length, length, device="cuda", BLOCK_SIZE=TILE)

        cases = [
            ("ours", ours_mask, lambda mask: lambda q, k, v: attention(q, k, v, mask=mask, backend="triton")),
            ("FlexAttention", flex_mask, flex),
        ]
        for name, build, form in cases:
            if time.monotonic() > deadline:
                return [*lines, "", "The time was over before the other densities.", ""]
            mask_ms = median_ms(build)
            forward, backward = both_ms(form(build()), heads(length, size, name == "ours"))
            cells = f"{mask_ms:.3f} | {forward:.3f} | {backward:.3f} | {base[0] / (mask_ms + forward):.1f}"
            lines.append(f"| {density:.0%} | {name} | {cells} |")
            print(lines[-1], flush=True)
    return [*lines, ""]


def memory(size: int = 64) -> list[str]:
    """Growth of the device's memory in a forward and a backward of one head."""
    lines = ["## Peak memory", "", f"Beyond inputs, MiB; one head of {size}, bfloat16.", ""]
    lines += ["| N | ours | torch, flash | plain |", "|---:|---:|---:|---:|"]

    def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return (q @ k.mT * size**-0.5).softmax(-1) @ v

    for length in [2**power for power in range(10, 17)]:
        row = []
        for form, ours in ((attention_causal, True), (sdpa(SDPBackend.FLASH_ATTENTION, True), False), (plain, False)):
            if form is plain and length > 32768:
                row.append("-")
                continue
            tensors = [
                one.detach()[:1, :, :1] if ours else one.detach()[:1, :1] for one in heads(length, size, ours, length)
            ]
            tensors = [one.contiguous().requires_grad_() for one in tensors]
            torch.cuda.synchronize()
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            torch.autograd.grad(form(*tensors).float().sum(), tensors)
            row.append(f"{(torch.cuda.max_memory_allocated() - before) / 2**20:,.1f}")
        lines.append(f"| {length:,} | " + " | ".join(row) + " |")
    return [*lines, ""]


def tune(deadline: float) -> None:
    """Prints the time of each kernel at other tile sizes; the first of each group is the table's."""
    from seqkit.kernels.attention.triton import sizes

    shapes = ((32, 128), (64, 64), (64, 128), (128, 32), (128, 64), (128, 128))
    for size in (64, 128):
        for causal in (True, False):
            tensors = heads(4096, size, True)
            for name, table in (("forward", sizes.FORWARD), ("keys", sizes.OF_KEYS), ("queries", sizes.OF_QUERIES)):
                kept = table[size]
                others = [sizes.Sizes(q, k, w, s) for q, k in shapes for w in (4, 8) for s in (2, 3)]
                for one in [kept[0], *others]:
                    if time.monotonic() > deadline:
                        table[size] = kept
                        print("The time was over.")
                        return
                    table[size] = (one, kept[1])
                    try:
                        times = both_ms(
                            lambda q, k, v, c=causal: attention(q, k, v, causal=c, backend="triton"), tensors
                        )
                    except Exception as error:  # too large for the device's shared memory
                        print(size, causal, name, tuple(one), type(error).__name__, flush=True)
                        continue
                    print(size, causal, name, tuple(one), f"{times[name != 'forward']:.3f} ms", flush=True)
                table[size] = kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, help="when to stop measuring; 280 and a written table if not given")
    parser.add_argument("--tune", action="store_true", help="time tile sizes instead")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("attention_gpu.py needs a CUDA device, and none is here; benchmarks/attention.py measures the CPU")
        sys.exit(0)
    start, limit = time.monotonic(), options.seconds or 280
    if options.tune:
        tune(start + limit)
        return
    lines = [*check(), *sparse(start + 0.4 * limit), *memory(), *dense(start + limit)]
    print("\n".join(lines))
    if options.seconds is None:
        import triton

        head = [
            "# Attention on a GPU",
            "",
            f"Made by `benchmarks/attention_gpu.py` on {datetime.date.today()}: {torch.cuda.get_device_name()}, "
            f"torch {torch.__version__}, triton {triton.__version__}, CUDA {torch.version.cuda}.",
            "",
        ]
        RESULTS.write_text("\n".join([*head, *lines]), encoding="utf-8")


if __name__ == "__main__":
    main()
