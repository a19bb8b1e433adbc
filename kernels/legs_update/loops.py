"""The sweeps of the LegS memory as compiled loops; `cpu` has the arithmetic of one step.

The recurrence runs along n, and each step needs the one before; but step k+1 may treat coefficient n as soon as step k
has. One series is therefore vectorised over time: at tick i lane j treats step first + j, coefficients m = 2 (i - j)
and m + 1 in the order of the sweep. Stored in reverse, the pairs that the lanes treat at one tick are neighbours, and
where the lanes' tau lie 2 apart, as those of evenly spaced samples do, all lanes divide by the same tau + n + 1.
Many series are vectorised over series, four steps at a time, so that a coefficient is loaded once for four.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numba
import numpy as np

__all__ = ["LONGEST", "many", "one"]

LANES = 256
ROW = 16384 + 72  # a constant distance shows that rows do not overlap; no power of two, or they would share cache sets
LONGEST = 2 * 16384  # coefficients that fit two rows
Array: TypeAlias = Any  # of numpy, contiguous
compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz"})


@compiled
def tick(w: Array, G: Array, twice: Array, first: float, second: float, lanes: int) -> None:
    """One tick of `lanes` neighbours; `first` and `second` are their reciprocals, `twice` holds 2 (n + 1)."""
    for j in range(lanes):
        T = w[j] + G[j]
        new = w[j] + first * (G[j] - twice[j] * T)
        w[j] = new
        running = new + T
        T = w[ROW + j] + running
        new = w[ROW + j] + second * (running - twice[ROW + j] * T)
        w[ROW + j] = new
        G[j] = new + T


@compiled
def tick_dividing(w: Array, G: Array, twice: Array, double: Array, lanes: int) -> None:
    """One tick where the times of the steps follow no rule, so that every lane divides for itself."""
    for j in range(lanes):
        T = w[j] + G[j]
        part = G[j] - twice[j] * T
        new = w[j] + (part + part) / (double[j] + twice[j])
        w[j] = new
        running = new + T
        T = w[ROW + j] + running
        part = running - twice[ROW + j] * T
        new = w[ROW + j] + (part + part) / (double[j] + twice[ROW + j])
        w[ROW + j] = new
        G[j] = new + T


@compiled
def write_rows(flat: Array, row: int, w: Array, place: int, n: int, apart: int, count: int, factor: Array) -> None:
    """Writes coefficients n and n + 1 into `count` rows from `row` on; n falls by twice as much as the place rises."""
    order = len(factor)
    for b in range(2):
        beyond = 1 if n + b >= order else 0  # an odd order's last pair has one coefficient
        here = n + b - 2 * apart * beyond
        target = (row + beyond) * order + here
        source = b * ROW + place + apart * beyond
        for _ in range(count - beyond):
            flat[target] = w[source] * factor[here]
            target += order - 2 * apart
            source += apart
            here -= 2 * apart


@compiled
def add_rows(flat: Array, row: int, w: Array, place: int, n: int, apart: int, count: int, factor: Array) -> None:
    """Adds coefficients n and n - 1 from `count` rows, back from `row`; n rises by twice as much as the place does."""
    order = len(factor)
    for b in range(2):
        beyond = 1 if n - b + 2 * apart * (count - 1) >= order else 0
        here = n - b
        origin = row * order + here
        target = b * ROW + place
        for _ in range(count - beyond):
            w[target] += flat[origin] * factor[here]
            origin += 2 * apart - order
            target += apart
            here += 2 * apart


@compiled
def one(g: Array, tau: Array, state: Array, rows: Array, every: int, factor: Array, ramp: Array, back: bool) -> None:
    """Sweeps over one series: g (L) and state (N) are replaced by their last values, rows (L // every, N) exchanged."""
    length, order, flat = g.size, state.size, rows.reshape(-1)
    half = (order + 1) // 2
    w, G = np.empty(2 * ROW, g.dtype), np.empty(LANES, g.dtype)
    twice, double = np.empty(2 * ROW, g.dtype), np.empty(LANES, g.dtype)
    unit = g.dtype.type(1)
    sign = -unit if back else unit
    start = ramp[2 * half] if back else unit  # n + 1 of the first coefficient
    for m in range(2 * half):
        n, place = 2 * half - 1 - m if back else m, (m % 2) * ROW + half - 1 - m // 2
        w[place] = state[n] if n < order else 0
        twice[place] = ramp[n + 1] + ramp[n + 1]
    for first in range(0, length, LANES):
        lanes = min(LANES, length - first)
        head = tau[length - 1 - first] if back else tau[first]
        even = True
        for j in range(lanes):
            k = length - 1 - first - j if back else first + j
            G[j], double[j] = g[k], tau[k] + tau[k]
            even &= tau[k] == head + sign * ramp[2 * j]
        # Lanes whose sample owns a row are `every` apart; on the way back sample numbers fall.
        after = (length - first) % every if back else (every - 1 - first % every) % every
        for i in range(half + lanes - 1):
            low, high, place = max(0, i - half + 1), min(lanes, i + 1), half - 1 - i
            due = after if after >= low else after + (low - after + every - 1) // every * every
            count = (high - due + every - 1) // every if due < high else 0
            if back and count:
                n = 2 * half - 1 - 2 * (i - due)
                add_rows(flat, (length - 1 - first - due) // every, w, place + due, n, every, count, factor)
            if even:
                below = head + start + sign * ramp[2 * i]
                tick(w[place + low :], G[low:], twice[place + low :], unit / below, unit / (below + sign), high - low)
            else:
                tick_dividing(w[place + low :], G[low:], twice[place + low :], double[low:], high - low)
            if count and not back:
                write_rows(flat, (first + due) // every, w, place + due, 2 * (i - due), every, count, factor)
        for j in range(lanes):
            g[length - 1 - first - j if back else first + j] = G[j]
    for n in range(order):
        m = 2 * half - 1 - n if back else n
        state[n] = w[(m % 2) * ROW + half - 1 - m // 2]


@compiled
def pass_1(w: Array, G: Array, R: float, twice: float) -> None:
    """One coefficient of all series, one step whose times they share."""
    for s in range(len(w)):
        T = w[s] + G[s]
        w[s] += R * (G[s] - twice * T)
        G[s] = w[s] + T


@compiled
def pass_4(w: Array, G: Array, r0: float, r1: float, r2: float, r3: float, twice: float) -> None:
    """One coefficient of all series, four steps whose times they share."""
    for s in range(len(w)):
        new = w[s]
        T = new + G[s]
        new += r0 * (G[s] - twice * T)
        G[s] = new + T
        T = new + G[ROW + s]
        new += r1 * (G[ROW + s] - twice * T)
        G[ROW + s] = new + T
        T = new + G[2 * ROW + s]
        new += r2 * (G[2 * ROW + s] - twice * T)
        G[2 * ROW + s] = new + T
        T = new + G[3 * ROW + s]
        new += r3 * (G[3 * ROW + s] - twice * T)
        G[3 * ROW + s] = new + T
        w[s] = new


@compiled
def pass_dividing(w: Array, G: Array, tau: Array, n_plus_1: float) -> None:
    """One coefficient of all series, one step, each series with its own times."""
    for s in range(len(w)):
        T = w[s] + G[s]
        w[s] += (G[s] - (n_plus_1 + n_plus_1) * T) / (tau[s] + n_plus_1)
        G[s] = w[s] + T


@compiled
def many(g: Array, tau: Array, state: Array, rows: Array, every: int, factor: Array, ramp: Array, back: bool) -> None:
    """Sweeps over series side by side: as `one`, g (S, L), tau (S or 1, L), state (S, N), rows (S, L // every, N)."""
    (n_series, length), order, shared = g.shape, state.shape[1], tau.shape[0] == 1
    w, G = np.empty((order, n_series), g.dtype), np.empty(4 * ROW, g.dtype)
    R, times = np.empty(4 * order, g.dtype), np.empty(n_series, g.dtype)
    unit = g.dtype.type(1)
    for s in range(n_series):
        for n in range(order):
            w[n, s] = state[s, n]
    p = 0
    while p < length:
        k = length - 1 - p if back else p
        if back and (k + 1) % every == 0:
            for s in range(n_series):
                for n in range(order):
                    w[n, s] += rows[s, k // every, n] * factor[n]
        apart = ((k + 1) % every if (k + 1) % every else every) if back else every - k % every
        steps = 4 if shared and min(apart, length - p) >= 4 else 1
        for b in range(steps):
            sample = k - b if back else k + b
            for s in range(n_series):
                G[b * ROW + s] = g[s, sample]
            if shared:
                for n in range(order):
                    R[b * order + n] = unit / (tau[0, sample] + ramp[n + 1])
        if not shared:
            times[:] = tau[:, k]
        for m in range(order):
            n = order - 1 - m if back else m
            if steps == 4:
                pass_4(w[n], G, R[n], R[order + n], R[2 * order + n], R[3 * order + n], ramp[n + 1] + ramp[n + 1])
            elif shared:
                pass_1(w[n], G, R[n], ramp[n + 1] + ramp[n + 1])
            else:
                pass_dividing(w[n], G, times, ramp[n + 1])
        for b in range(steps):
            for s in range(n_series):
                g[s, k - b if back else k + b] = G[b * ROW + s]
        p += steps
        if not back and p % every == 0:
            for s in range(n_series):
                for n in range(order):
                    rows[s, p // every - 1, n] = w[n, s] * factor[n]
    for s in range(n_series):
        for n in range(order):
            state[s, n] = w[n, s]
