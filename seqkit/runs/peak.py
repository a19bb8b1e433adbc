"""The most memory that this process has held."""

from __future__ import annotations

import importlib
import sys

import torch

__all__ = ["peak_memory_mib"]


def peak_memory_mib() -> dict[str, float]:
    """Peak memory so far in MiB: "process" for all of it, and "cuda" for tensors on the GPU where one was used.

    Example:
        >>> peak_memory_mib()["process"] > 10
        True
    """
    peaks: dict[str, float] = {}
    if sys.platform != "win32":  # which has no such count
        resource = importlib.import_module("resource")
        unit = 1 if sys.platform == "darwin" else 1024
        peaks["process"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, 1)
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        peaks["cuda"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return peaks
