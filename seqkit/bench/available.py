"""How much memory is left: what would not fit is left out with its reason, instead of ending the process."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch

from seqkit.bench.case import Inputs, Setting

__all__ = ["available_bytes", "unless_it_fits", "words_for_bytes"]

SHARE = 0.7  # of what is available: others use this machine, too


def available_bytes(device: str = "cpu") -> int:
    """Memory that a computation could take now.

    Example:
        >>> available_bytes() > 0
        True
    """
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    info = Path("/proc/meminfo")
    if info.exists():
        lines = [line.split() for line in info.read_text().splitlines()]
        return next(int(words[1]) * 1024 for words in lines if words[0] == "MemAvailable:")
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def words_for_bytes(number: float) -> str:
    """Words an amount of memory.

    Example:
        >>> words_for_bytes(3 * 2**30), words_for_bytes(1500 * 1024)
        ('3.0 GiB', '1.5 MiB')
    """
    gib = number / 2**30
    return f"{gib:.1f} GiB" if gib >= 1 else f"{number / 2**20:.1f} MiB"


def unless_it_fits(holds: Callable[[Setting, bool], float]) -> Callable[[Inputs, Setting, bool], str | None]:
    """Makes a refusal of what would not fit into memory.

    Args:
        holds: Takes a setting and whether the backward pass is included; estimates the bytes held at the peak.

    Example:
        >>> unless_it_fits(lambda setting, backward: 2**60)({}, Setting({}), False)
        'it would hold 1073741824.0 GiB'
    """

    def refuse(inputs: Inputs, setting: Setting, backward: bool) -> str | None:
        device = next(iter(inputs.values())).device.type if inputs else "cpu"
        needed = holds(setting, backward)
        return f"it would hold {words_for_bytes(needed)}" if needed > SHARE * available_bytes(device) else None

    return refuse
