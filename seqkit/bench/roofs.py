"""What this machine can do at most: the roofs that floors are computed from."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import torch

from seqkit.bench.case import Work
from seqkit.bench.clock import cpu_clock

__all__ = ["CACHED", "Roofs", "floor_seconds", "measure_roofs"]

CACHED = 1 << 20  # traffic up to this many bytes stays in a core's own cache
SECONDS = 0.2  # for each roof


class Roofs(NamedTuple):
    """Measured rates.

    Args:
        products: Operations a second of a square matrix product.
        fft: Operations a second of batched real transforms of 2048 points, 2.5 n log2 n each.
        memory: Bytes a second, read and written, of a copy far larger than any cache.
        cache: The same for a copy within a core's own cache; on a CUDA device that of memory.
    """

    products: float
    fft: float
    memory: float
    cache: float


def best_seconds(call: Callable[[], object], device: str, seconds: float = SECONDS) -> float:
    """Smallest time of one call among those that fit into `seconds`: a roof is what was reached, not the usual."""
    waits: Callable[[], object] = torch.cuda.synchronize if device == "cuda" else lambda: None
    clock = time.perf_counter if device == "cuda" else cpu_clock()
    call()
    waits()
    best, began = math.inf, time.perf_counter()
    while time.perf_counter() - began < seconds:
        start = clock()
        for _ in range(3):
            call()
        waits()
        best = min(best, (clock() - start) / 3)
    return best


def measure_roofs(device: str = "cpu", dtype: torch.dtype = torch.float32, seconds: float = SECONDS) -> Roofs:
    """Measures the roofs of this machine, in about a second, with as many threads as torch has now.

    Args:
        device: "cpu" or "cuda".
        dtype: float32, float64 or bfloat16; transforms are at least float32. On a CUDA device float32 products are
            measured with TF32 allowed, since kernels may use it.
        seconds: Time for each of the four.

    Example:
        >>> measure_roofs(seconds=0.01).products > 1e8
        True
    """
    n, points, rows = (4096, 2048, 8192) if device == "cuda" else (768, 2048, 64)
    products = product_rate(n, device, dtype, seconds)
    signal = torch.ones(rows, points, device=device, dtype=dtype if dtype.itemsize >= 4 else torch.float32)
    fft = rows * 2.5 * points * math.log2(points) / best_seconds(lambda: torch.fft.rfft(signal), device, seconds)
    memory = copy_rate(1 << (30 if device == "cuda" else 26), device, seconds)
    cache = memory if device == "cuda" else copy_rate(CACHED // 2, device, seconds)
    return Roofs(products, fft, memory, max(cache, memory))


def product_rate(n: int, device: str, dtype: torch.dtype, seconds: float) -> float:
    """Operations a second of a product of n x n matrices."""
    a, b, out = (torch.ones(n, n, device=device, dtype=dtype) for _ in range(3))
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        return 2 * n**3 / best_seconds(lambda: torch.mm(a, b, out=out), device, seconds)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def copy_rate(size: int, device: str, seconds: float) -> float:
    """Bytes a second, read and written, of copying `size` bytes into memory that is already there."""
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.ones_like(source)
    return 2 * size / best_seconds(lambda: target.copy_(source), device, seconds)


def floor_seconds(work: Work, roofs: Roofs) -> float:
    """Time below which a computation cannot go here: its operations, or its traffic, whichever takes longer.

    Example:
        >>> floor_seconds(Work(products=2e9, traffic=8e8), Roofs(1e9, 1e9, 1e9, 1e9))
        2.0
    """
    copying = roofs.cache if work.traffic <= CACHED else roofs.memory
    return max(work.products / roofs.products + work.fft / roofs.fft, work.traffic / copying)
