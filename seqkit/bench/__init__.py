"""Benchmarks: operators and layers against their usual forms and against what the machine allows."""

from __future__ import annotations

from seqkit.bench.benchmark import BenchResult, bench
from seqkit.bench.curves import bench_memory

__all__ = ["BenchResult", "bench", "bench_memory"]
