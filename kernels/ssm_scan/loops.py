"""Compiled loops over chunks: the state and its adjoint, carried in float64."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

__all__ = ["FAST", "carry", "carry_back"]

# Sums may be reordered and products contracted; NaN and infinity keep their meaning.
FAST = {"reassoc", "contract", "nsz", "arcp"}


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def carry(start: int, stop: int, inputs: Any, jump: Any, state: Any, rows: Any) -> None:
    """Writes the state before every chunk behind the samples in `rows`.

    `inputs` (channels, series, chunks, 2N) is what a chunk adds to the state, `rows` (channels, series, chunks, ..)
    is to end in 2N states; `jump` (channels, N) and `state` (series, channels, N) are complex.
    """
    _, n_series, n_chunks, width = inputs.shape
    n_pairs = width // 2
    first = rows.shape[3] - width
    second = first + n_pairs
    x, y, a, b = np.empty(n_pairs), np.empty(n_pairs), np.empty(n_pairs), np.empty(n_pairs)
    for item in range(start, stop):
        h, s = item // n_series, item % n_series
        for n in range(n_pairs):
            a[n], b[n] = jump[h, n].real, jump[h, n].imag
            x[n], y[n] = state[s, h, n].real, state[s, h, n].imag
        for c in range(n_chunks):
            row, add = rows[h, s, c], inputs[h, s, c]
            for n in range(n_pairs):
                re, im = x[n], y[n]
                row[first + n], row[second + n] = re, im
                x[n] = a[n] * re - b[n] * im + add[n]
                y[n] = a[n] * im + b[n] * re + add[n_pairs + n]


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def carry_back(
    start: int, stop: int, first: int, inputs: Any, jump: Any, rows: Any, back: Any, d_state: Any, d_jump: Any
) -> None:
    """Carries the adjoint of the state from the last chunk to the first; writes that after every chunk into `back`.

    `inputs` is what a chunk's outputs add to the adjoint of the state before it, `rows` holds the states at `first`;
    `d_state` (series, channels, N) is the adjoint of the very first state, `d_jump` (channels, series, N) a sum to be
    added up over the series.
    """
    _, n_series, n_chunks, width = inputs.shape
    n_pairs = width // 2
    second, third = first + n_pairs, back.shape[3] - width
    fourth = third + n_pairs
    x, y, a, b = np.empty(n_pairs), np.empty(n_pairs), np.empty(n_pairs), np.empty(n_pairs)
    sum_re, sum_im = np.empty(n_pairs), np.empty(n_pairs)
    for item in range(start, stop):
        h, s = item // n_series, item % n_series
        x[:], y[:], sum_re[:], sum_im[:] = 0, 0, 0, 0
        for n in range(n_pairs):
            a[n], b[n] = jump[h, n].real, jump[h, n].imag
        for c in range(n_chunks - 1, -1, -1):
            row, add, out = rows[h, s, c], inputs[h, s, c], back[h, s, c]
            for n in range(n_pairs):
                re, im = x[n], y[n]
                out[third + n], out[fourth + n] = re, im
                sum_re[n] += re * row[first + n] + im * row[second + n]
                sum_im[n] += im * row[first + n] - re * row[second + n]
                x[n] = a[n] * re + b[n] * im + add[n]
                y[n] = a[n] * im - b[n] * re + add[n_pairs + n]
        for n in range(n_pairs):
            d_state[s, h, n] = complex(x[n], y[n])
            d_jump[h, s, n] = complex(sum_re[n], sum_im[n])
