"""What a table of measurements says about where it was made: kind of hardware and versions, never a host's name."""

from __future__ import annotations

import datetime
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

__all__ = ["describe_machine", "headline"]


def describe_machine(device: str, threads: int, tuned: bool) -> dict[str, Any]:
    """Facts about this machine and process.

    Args:
        device: "cpu" or "cuda".
        threads: Threads that torch uses.
        tuned: Whether `seqkit.tune_cpu()` was called.

    Example:
        >>> describe_machine("cpu", 1, False)["threads"]
        1
    """
    return {
        "date": str(datetime.datetime.now(tz=datetime.UTC).date()),
        "processor": processor(),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "python": platform.python_version(),
        **{package: installed(package) for package in ("torch", "numba", "triton")},
        "threads": threads,
        "tuned": tuned,
    }


def headline(machine: dict[str, Any]) -> str:
    """The facts on one line.

    Example:
        >>> headline({"date": "2026-01-02", "processor": "P", "device": "cpu", "python": "3.11.1", "torch": "2.11.0",
        ...           "numba": None, "triton": "3.6.0", "threads": 1, "tuned": False})
        '2026-01-02 · P · Python 3.11.1, torch 2.11.0, numba not installed, triton 3.6.0 · 1 thread'
    """
    versions = ", ".join(f"{name} {machine[name] or 'not installed'}" for name in ("torch", "numba", "triton"))
    threads = f"{machine['threads']} thread{'' if machine['threads'] == 1 else 's'}"
    parts = [machine["date"], machine["processor"], f"Python {machine['python']}, {versions}", threads]
    parts.insert(2, machine["device"])
    parts.append("with seqkit.tune_cpu()" if machine["tuned"] else "")
    return " · ".join(part for part in parts if part and part != "cpu")


def installed(package: str) -> str | None:
    """Version without what a build adds to it."""
    try:
        return version(package).split("+")[0]
    except PackageNotFoundError:
        return None


def processor() -> str:
    """The processor's model, as the system names it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
