"""Tables of powers, compiled: one exponential a mode, then products."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numba
import numpy as np

__all__ = ["powers"]

Array: TypeAlias = Any  # of numpy, contiguous
compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz"})


@compiled
def powers(start: int, stop: int, a: Array, stride: int, out: Array) -> None:
    """Writes exp(stride l a) into out (H, count, N, 2) for channels start .. stop-1 of a (H, N, 2).

    Products in float64 keep their digits, whatever the type of `a`: the relative error grows by 2e-16 with each.
    """
    count, n_modes = out.shape[1], a.shape[1]
    factor_real, factor_imag = np.empty(n_modes), np.empty(n_modes)
    real, imag = np.empty(n_modes), np.empty(n_modes)
    for h in range(start, stop):
        for n in range(n_modes):
            size, turn = math.exp(stride * float(a[h, n, 0])), stride * float(a[h, n, 1])
            factor_real[n], factor_imag[n] = size * math.cos(turn), size * math.sin(turn)
            real[n], imag[n] = 1.0, 0.0
        for step in range(count):
            row = out[h, step]
            for n in range(n_modes):
                row[n, 0], row[n, 1] = real[n], imag[n]
                product = real[n] * factor_real[n] - imag[n] * factor_imag[n]
                imag[n] = real[n] * factor_imag[n] + imag[n] * factor_real[n]
                real[n] = product
