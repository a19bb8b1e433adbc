"""Settings of the process that make torch faster on CPUs; asked for, never done on import."""

from __future__ import annotations

import ctypes
import sys

import torch

__all__ = ["tune_cpu"]

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # glibc's malloc.h


def tune_cpu(*, threads: int | None = None) -> list[str]:
    """Tunes this process for training on a CPU; call it once at the start.

    - glibc gives every block above 32 MiB back to the system at once, and each new one is paged in anew; memory kept
      by the process makes large layers 1.6 to 2 times faster.
    - States that have decayed below 1e-38 slow the processor down; they are flushed to 0.

    Waiting threads that spin ruin two-thread runs on a busy machine, but that can only be set before torch is
    imported: set the environment variable OMP_WAIT_POLICY=passive.

    Args:
        threads: Threads that torch uses; unchanged if None.

    Returns:
        What was done, one sentence each.

    Raises:
        ValueError: `threads` is not a whole number of at least 1; then nothing was changed.

    Example:
        >>> done = tune_cpu(threads=1)
        >>> done[-1]
        'torch uses 1 thread(s)'
    """
    # Worded here and not in seqkit.checks: this file may import nothing of the toolkit.
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise ValueError(f"`threads` must be a whole number of at least 1, got {threads!r}")
    done = []
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None and mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, -1):
            done.append("malloc keeps large blocks")
    if torch.set_flush_denormal(True):
        done.append("denormal numbers are flushed to 0")
    if threads is not None:
        torch.set_num_threads(threads)
        done.append(f"torch uses {threads} thread(s)")
    return done
