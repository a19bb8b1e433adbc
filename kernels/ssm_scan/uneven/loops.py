"""Compiled loops where every sample has its own step: tiles of time whose states are held, all in float64.

    x_k = x_{k-1} + P_k (lambda x_{k-1} + B u_k),   P_k = r_k phi(r_k lambda)

Rules by number: 0 zero_order_hold, 1 bilinear, 2 backward_euler.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from seqkit.kernels.ssm_scan.loops import FAST

__all__ = ["advance_steps", "retrace_steps"]

TILE = 64
TINY = 1e-200  # below this square of |lambda| the quotient (e^z - 1) / lambda is its limit r
NEAR = 2.0**-16  # below this |z|^2 the slope is summed as a series
INVERSE = np.array([0.0, *(1 / k for k in range(1, 10))])


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def hold_tile(rule: int, halvings: int, a: Any, b: Any, steps: Any, p: Any, q: Any) -> None:
    """Fills p + i q with r phi(r lambda), lambda = a + i b, for every step r of a tile; rules as in `STEP_RULES`.

    Zero-order hold: m(z) = e^z - 1 is a short series at z / 2^halvings and doubles by m(2z) = m (m + 2), which loses
    nothing at z near 0, needs no sine of a large angle and ends at -1 for the fastest decays.
    """
    n_pairs = a.shape[0]
    scale = 0.5**halvings
    for k in range(steps.shape[0]):
        r = steps[k]
        if rule != 0:
            weight = r * (0.5 if rule == 1 else 1.0)
            for n in range(n_pairs):
                re, im = 1 - weight * a[n], -weight * b[n]
                factor = r / (re * re + im * im)
                p[k, n] = factor * re
                q[k, n] = -factor * im
            continue
        for n in range(n_pairs):
            x, y = r * scale * a[n], r * scale * b[n]
            re, im = 1.0, 0.0
            for term in range(9, 1, -1):
                re, im = 1 + (x * re - y * im) * INVERSE[term], (x * im + y * re) * INVERSE[term]
            p[k, n], q[k, n] = x * re - y * im, x * im + y * re
        for _ in range(halvings):
            for n in range(n_pairs):
                re, im = p[k, n], q[k, n]
                p[k, n], q[k, n] = re * (re + 2) - im * im, 2 * im * (re + 1)
        for n in range(n_pairs):
            size = a[n] * a[n] + b[n] * b[n]
            re, im = p[k, n], q[k, n]
            p[k, n] = (re * a[n] + im * b[n]) / size if size > TINY else r
            q[k, n] = (im * a[n] - re * b[n]) / size if size > TINY else 0.0


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def march(u: Any, a: Any, b: Any, drive_re: Any, drive_im: Any, p: Any, q: Any, x: Any, y: Any) -> None:
    """Runs x_k = x_{k-1} + (p + i q) (lambda x_{k-1} + B u_k) from x[0], y[0] over a tile; keeps every state."""
    for k in range(u.shape[0]):
        now = u[k]
        for n in range(a.shape[0]):
            re, im = x[k, n], y[k, n]
            w = a[n] * re - b[n] * im + drive_re[n] * now
            v = a[n] * im + b[n] * re + drive_im[n] * now
            x[k + 1, n] = re + p[k, n] * w - q[k, n] * v
            y[k + 1, n] = im + p[k, n] * v + q[k, n] * w


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def advance_steps(
    start: int,
    stop: int,
    rule: int,
    halvings: int,
    u: Any,
    A: Any,
    B: Any,
    C: Any,
    state: Any,
    steps: Any,
    lengths: Any,
    out: Any,
    final: Any,
) -> None:
    """Writes y (series, M, channels, L) and the final states for items start .. stop-1 of series times channels."""
    (_, n_channels, length), (n_outputs, _, n_pairs) = u.shape, C.shape
    a, b, drive_re, drive_im = np.empty(n_pairs), np.empty(n_pairs), np.empty(n_pairs), np.empty(n_pairs)
    p, q = np.empty((TILE, n_pairs)), np.empty((TILE, n_pairs))
    x, y = np.empty((TILE + 1, n_pairs)), np.empty((TILE + 1, n_pairs))
    for item in range(start, stop):
        s, h = item // n_channels, item % n_channels
        for n in range(n_pairs):
            a[n], b[n], drive_re[n], drive_im[n] = A[h, n].real, A[h, n].imag, B[h, n].real, B[h, n].imag
            x[0, n], y[0, n] = state[s, h, n].real, state[s, h, n].imag
        for first in range(0, length, TILE):
            count = min(TILE, length - first)
            hold_tile(rule, halvings, a, b, steps[s, first : first + count], p, q)
            march(u[s, h, first : first + count], a, b, drive_re, drive_im, p, q, x, y)
            for m in range(n_outputs):
                for k in range(count):
                    total = 0.0
                    for n in range(n_pairs):
                        total += C[m, h, n].real * x[k + 1, n] - C[m, h, n].imag * y[k + 1, n]
                    out[s, m, h, first + k] = 2 * total
            last = lengths[s] - first
            if 0 < last <= count:
                for n in range(n_pairs):
                    final[s, h, n] = complex(x[last, n], y[last, n])
            for n in range(n_pairs):
                x[0, n], y[0, n] = x[count, n], y[count, n]


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def slope_tile(rule: int, a: Any, b: Any, steps: Any, p: Any, q: Any, dp: Any, dq: Any) -> None:
    """Fills dp + i dq with the derivative of p + i q by lambda.

    bilinear: P^2 / 2     backward_euler: P^2     zero_order_hold: r P + (r - P) / lambda
    """
    for k in range(steps.shape[0]):
        r = steps[k]
        if rule != 0:
            weight = 0.5 if rule == 1 else 1.0
            for n in range(a.shape[0]):
                re, im = p[k, n], q[k, n]
                dp[k, n], dq[k, n] = weight * (re * re - im * im), 2 * weight * re * im
            continue
        for n in range(a.shape[0]):
            re, im = r - p[k, n], -q[k, n]
            size = a[n] * a[n] + b[n] * b[n]
            if size * r * r < NEAR:  # the difference has lost its digits: -r^2 (1/2 + z/6 + z^2/24 ..)
                x, y = r * a[n], r * b[n]
                re, im = 1.0, 0.0
                for term in range(8, 2, -1):
                    re, im = 1 + (x * re - y * im) * INVERSE[term], (x * im + y * re) * INVERSE[term]
                re, im = -0.5 * r * r * re, -0.5 * r * r * im
            else:
                re, im = (re * a[n] + im * b[n]) / size, (im * a[n] - re * b[n]) / size
            dp[k, n], dq[k, n] = r * p[k, n] + re, r * q[k, n] + im


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def march_back(
    u: Any,
    a: Any,
    b: Any,
    drive_re: Any,
    drive_im: Any,
    p: Any,
    q: Any,
    dp: Any,
    dq: Any,
    x: Any,
    y: Any,
    gx: Any,
    gy: Any,
    sums: Any,
    du: Any,
) -> None:
    """Takes the adjoint gx + i gy of the states, x[1:] and y[1:] direct ones added in, from a tile's end to its start.

    On entry gx[k + 1] + i gy[k + 1] is what the outputs and the final state give to the state after sample k, and
    gx[count] holds the adjoint from later tiles too; on return gx[0] is the adjoint of the tile's first state. `sums`
    (4, N) grows by the gradients of lambda and B, `du` receives those of the samples.
    """
    for k in range(u.shape[0] - 1, -1, -1):
        now, total = u[k], 0.0
        for n in range(a.shape[0]):
            re, im = x[k, n], y[k, n]
            g, h = gx[k + 1, n], gy[k + 1, n]
            w = a[n] * re - b[n] * im + drive_re[n] * now
            v = a[n] * im + b[n] * re + drive_im[n] * now
            dw, dv = p[k, n] * g + q[k, n] * h, p[k, n] * h - q[k, n] * g
            s, t = g * w + h * v, h * w - g * v  # the adjoint of p + i q
            total += dw * drive_re[n] + dv * drive_im[n]
            sums[0, n] += dw * re + dv * im + dp[k, n] * s + dq[k, n] * t
            sums[1, n] += dv * re - dw * im + dp[k, n] * t - dq[k, n] * s
            sums[2, n] += dw * now
            sums[3, n] += dv * now
            gx[k, n] += g + a[n] * dw + b[n] * dv
            gy[k, n] += h + a[n] * dv - b[n] * dw
        du[k] = total


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def retrace_steps(
    start: int,
    stop: int,
    rule: int,
    halvings: int,
    u: Any,
    A: Any,
    B: Any,
    C: Any,
    state: Any,
    steps: Any,
    lengths: Any,
    grad: Any,
    grad_final: Any,
    du: Any,
    d_A: Any,
    d_B: Any,
    d_C: Any,
    d_state: Any,
) -> None:
    """Writes the gradients for items start .. stop-1: du, d_state, and per series d_A, d_B, d_C.

    Runs forwards once and keeps one state a tile, then takes the tiles in reverse and runs each again.
    """
    (_, n_channels, length), (n_outputs, _, n_pairs) = u.shape, C.shape
    a, b, drive_re, drive_im = np.empty(n_pairs), np.empty(n_pairs), np.empty(n_pairs), np.empty(n_pairs)
    p, q, dp, dq = (
        np.empty((TILE, n_pairs)),
        np.empty((TILE, n_pairs)),
        np.empty((TILE, n_pairs)),
        np.empty((TILE, n_pairs)),
    )
    x, y = np.empty((TILE + 1, n_pairs)), np.empty((TILE + 1, n_pairs))
    gx, gy = np.empty((TILE + 1, n_pairs)), np.empty((TILE + 1, n_pairs))
    n_tiles = (length + TILE - 1) // TILE
    kept = np.empty((n_tiles, 2, n_pairs))
    sums = np.empty((4, n_pairs))
    for item in range(start, stop):
        s, h = item // n_channels, item % n_channels
        for n in range(n_pairs):
            a[n], b[n], drive_re[n], drive_im[n] = A[h, n].real, A[h, n].imag, B[h, n].real, B[h, n].imag
            x[0, n], y[0, n] = state[s, h, n].real, state[s, h, n].imag
        for tile in range(n_tiles):
            first = tile * TILE
            count = min(TILE, length - first)
            kept[tile, 0], kept[tile, 1] = x[0], y[0]
            if tile < n_tiles - 1:
                hold_tile(rule, halvings, a, b, steps[s, first : first + count], p, q)
                march(u[s, h, first : first + count], a, b, drive_re, drive_im, p, q, x, y)
                x[0], y[0] = x[count], y[count]
        gx[0], gy[0], sums[:] = 0.0, 0.0, 0.0
        d_C[s, :, h] = 0.0
        for tile in range(n_tiles - 1, -1, -1):
            first = tile * TILE
            count = min(TILE, length - first)
            x[0], y[0] = kept[tile, 0], kept[tile, 1]
            hold_tile(rule, halvings, a, b, steps[s, first : first + count], p, q)
            slope_tile(rule, a, b, steps[s, first : first + count], p, q, dp, dq)
            march(u[s, h, first : first + count], a, b, drive_re, drive_im, p, q, x, y)
            gx[count], gy[count] = gx[0], gy[0]
            gx[:count], gy[:count] = 0.0, 0.0
            last = lengths[s] - first
            if 0 < last <= count:
                for n in range(n_pairs):
                    gx[last, n] += grad_final[s, h, n].real
                    gy[last, n] += grad_final[s, h, n].imag
            for m in range(n_outputs):
                for n in range(n_pairs):
                    re, im, sum_re, sum_im = 2 * C[m, h, n].real, 2 * C[m, h, n].imag, 0.0, 0.0
                    for k in range(count):
                        g = grad[s, m, h, first + k]
                        gx[k + 1, n] += g * re
                        gy[k + 1, n] -= g * im
                        sum_re += g * x[k + 1, n]
                        sum_im += g * y[k + 1, n]
                    d_C[s, m, h, n] += complex(2 * sum_re, -2 * sum_im)
            march_back(
                u[s, h, first : first + count],
                a,
                b,
                drive_re,
                drive_im,
                p,
                q,
                dp,
                dq,
                x,
                y,
                gx,
                gy,
                sums,
                du[s, h, first : first + count],
            )
        for n in range(n_pairs):
            d_A[s, h, n], d_B[s, h, n] = complex(sums[0, n], sums[1, n]), complex(sums[2, n], sums[3, n])
            d_state[s, h, n] = complex(gx[0, n], gy[0, n])
