"""One sample through 32 filters side by side, whatever time it closes.

A block of 32 filters of the same kind works in one array `P` of lanes: row r of lane w lies at 32 r + w. With one array
and fixed distances the compiler sees that the rows do not overlap and turns each loop over lanes into vectors.

States are held in units of powers of h, the gain of a stage at a training step: of m stages the state of stage j in
units of h^(m - j), the input in units of h^m. At that step a stage then adds its inputs as they are, which saves two
products. The first channel comes in with the step itself, so that series of one channel need no loop for their inputs.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

__all__ = ["gain", "gains", "is_plain", "mixed", "step", "unmixed"]

W = 32
MANY = 4  # samples that pass through a block at once where their steps are equal: states then stay in registers
A_RE, A_IM, H, DECAY, TURN, C_RE, C_IM, SCALE, STATE = 0, 1, 2, 3, 4, 5, 6, 7, 8
PREVIOUS, HIGHEST, LAST = STATE + 8, STATE + 9, STATE + 10  # rows 16, 17 and 18
INPUT, OUTPUT, MIX, SUM, LIMITS, COUNTS = 19, 23, 27, 28, 29, 37  # inputs and outputs have a row for each of MANY
EXTRA = 45  # eight thresholds have fixed rows, further ones follow from EXTRA on
GROUP = 8
HALF = 4  # thresholds that are looked at in one loop
TINY = np.float32(1e-20)  # keeps a filter at rest above the slow denormal numbers
LEAST = np.float32(1e-8)  # unit of states where h is less: its powers would get lost
Array = npt.NDArray[Any]
compiled = numba.njit(cache=True, nogil=True, fastmath={"contract", "nsz"})


@compiled
def gain(decay: Any, span: Any) -> Any:
    """Share of its input that a stage takes in: h = tanh(decay span / 2)."""
    size = math.exp(-decay * span)
    return np.float32((1.0 - size) / (1.0 + size))


@compiled
def gains(P: Array, span: Any) -> None:
    """Writes a = exp((i turn - decay) span), and h in units of that of a training step, for a step of `span`."""
    for w in range(W):
        size = math.exp(-P[W * DECAY + w] * span)
        angle = P[W * TURN + w] * span
        P[W * A_RE + w] = np.float32(size * math.cos(angle))
        P[W * A_IM + w] = np.float32(size * math.sin(angle))
        P[W * H + w] = gain(P[W * DECAY + w], span) / max(LEAST, gain(P[W * DECAY + w], 1.0))


@compiled
def is_plain(P: Array) -> bool:
    """Whether row H is 1 throughout, as at a training step: a stage then adds its inputs as they are."""
    plain = True
    for w in range(W):
        plain = plain and P[W * H + w] == 1
    return plain


@compiled
def first_stage(ar: Any, ai: Any, h: Any, sr: Any, si: Any, old: Any, new: Any) -> tuple[Any, Any]:
    """One leaky integrator of a real input: a (s + h v_old) + h v_new."""
    pr = sr + h * old
    return (h * new - ai * si) + ar * pr, ar * si + ai * pr


@compiled
def stage(
    ar: Any, ai: Any, h: Any, sr: Any, si: Any, old_r: Any, old_i: Any, new_r: Any, new_i: Any
) -> tuple[Any, Any]:
    """One leaky integrator: a (s + h v_old) + h v_new."""
    pr, pi = sr + h * old_r, si + h * old_i
    return (h * new_r - ai * pi) + ar * pr, (h * new_i + ar * pi) + ai * pr


@compiled
def step_1(ar: Any, ai: Any, h: Any, s: Any, old: Any, new: Any) -> tuple[Any, ...]:
    """A sample through one stage."""
    return first_stage(ar, ai, h, s[0], s[1], old, new)


@compiled
def step_2(ar: Any, ai: Any, h: Any, s: Any, old: Any, new: Any) -> tuple[Any, ...]:
    """A sample through two stages."""
    n0, j0 = first_stage(ar, ai, h, s[0], s[1], old, new)
    n1, j1 = stage(ar, ai, h, s[2], s[3], s[0], s[1], n0, j0)
    return n0, j0, n1, j1


@compiled
def step_3(ar: Any, ai: Any, h: Any, s: Any, old: Any, new: Any) -> tuple[Any, ...]:
    """A sample through three stages."""
    n0, j0 = first_stage(ar, ai, h, s[0], s[1], old, new)
    n1, j1 = stage(ar, ai, h, s[2], s[3], s[0], s[1], n0, j0)
    n2, j2 = stage(ar, ai, h, s[4], s[5], s[2], s[3], n1, j1)
    return n0, j0, n1, j1, n2, j2


@compiled
def step_4(ar: Any, ai: Any, h: Any, s: Any, old: Any, new: Any) -> tuple[Any, ...]:
    """A sample through four stages."""
    n0, j0 = first_stage(ar, ai, h, s[0], s[1], old, new)
    n1, j1 = stage(ar, ai, h, s[2], s[3], s[0], s[1], n0, j0)
    n2, j2 = stage(ar, ai, h, s[4], s[5], s[2], s[3], n1, j1)
    n3, j3 = stage(ar, ai, h, s[6], s[7], s[4], s[5], n2, j2)
    return n0, j0, n1, j1, n2, j2, n3, j3


@compiled
def one_stage(P: Array, v: Any) -> None:
    """One sample through blocks of one stage."""
    for w in range(W):
        ar, ai, cr, ci = P[w], P[W * A_IM + w], P[W * C_RE + w], P[W * C_IM + w]
        h, share = P[W * H + w], P[W * MIX + w]
        old, new = P[W * PREVIOUS + w], share * v + P[W * INPUT + w]
        s = (
            P[W * STATE + w],
            P[W * (STATE + 1) + w],
        )
        s = step_1(ar, ai, h, s, old, new)
        P[W * OUTPUT + w] = cr * s[0] - ci * s[1]
        P[W * PREVIOUS + w] = new
        P[W * STATE + w] = s[0]
        P[W * (STATE + 1) + w] = s[1]


@compiled
def two_stages(P: Array, v: Any) -> None:
    """One sample through blocks of two stages."""
    for w in range(W):
        ar, ai, cr, ci = P[w], P[W * A_IM + w], P[W * C_RE + w], P[W * C_IM + w]
        h, share = P[W * H + w], P[W * MIX + w]
        old, new = P[W * PREVIOUS + w], share * v + P[W * INPUT + w]
        s = (
            P[W * STATE + w],
            P[W * (STATE + 1) + w],
            P[W * (STATE + 2) + w],
            P[W * (STATE + 3) + w],
        )
        s = step_2(ar, ai, h, s, old, new)
        P[W * OUTPUT + w] = cr * s[2] - ci * s[3]
        P[W * PREVIOUS + w] = new
        P[W * STATE + w] = s[0]
        P[W * (STATE + 1) + w] = s[1]
        P[W * (STATE + 2) + w] = s[2]
        P[W * (STATE + 3) + w] = s[3]


@compiled
def three_stages(P: Array, v: Any) -> None:
    """One sample through blocks of three stages."""
    for w in range(W):
        ar, ai, cr, ci = P[w], P[W * A_IM + w], P[W * C_RE + w], P[W * C_IM + w]
        h, share = P[W * H + w], P[W * MIX + w]
        old, new = P[W * PREVIOUS + w], share * v + P[W * INPUT + w]
        s = (
            P[W * STATE + w],
            P[W * (STATE + 1) + w],
            P[W * (STATE + 2) + w],
            P[W * (STATE + 3) + w],
            P[W * (STATE + 4) + w],
            P[W * (STATE + 5) + w],
        )
        s = step_3(ar, ai, h, s, old, new)
        P[W * OUTPUT + w] = cr * s[4] - ci * s[5]
        P[W * PREVIOUS + w] = new
        P[W * STATE + w] = s[0]
        P[W * (STATE + 1) + w] = s[1]
        P[W * (STATE + 2) + w] = s[2]
        P[W * (STATE + 3) + w] = s[3]
        P[W * (STATE + 4) + w] = s[4]
        P[W * (STATE + 5) + w] = s[5]


@compiled
def four_stages(P: Array, v: Any) -> None:
    """One sample through blocks of four stages."""
    for w in range(W):
        ar, ai, cr, ci = P[w], P[W * A_IM + w], P[W * C_RE + w], P[W * C_IM + w]
        h, share = P[W * H + w], P[W * MIX + w]
        old, new = P[W * PREVIOUS + w], share * v + P[W * INPUT + w]
        s = (
            P[W * STATE + w],
            P[W * (STATE + 1) + w],
            P[W * (STATE + 2) + w],
            P[W * (STATE + 3) + w],
            P[W * (STATE + 4) + w],
            P[W * (STATE + 5) + w],
            P[W * (STATE + 6) + w],
            P[W * (STATE + 7) + w],
        )
        s = step_4(ar, ai, h, s, old, new)
        P[W * OUTPUT + w] = cr * s[6] - ci * s[7]
        P[W * PREVIOUS + w] = new
        P[W * STATE + w] = s[0]
        P[W * (STATE + 1) + w] = s[1]
        P[W * (STATE + 2) + w] = s[2]
        P[W * (STATE + 3) + w] = s[3]
        P[W * (STATE + 4) + w] = s[4]
        P[W * (STATE + 5) + w] = s[5]
        P[W * (STATE + 6) + w] = s[6]
        P[W * (STATE + 7) + w] = s[7]


@compiled
def step(P: Array, stages: int, rows: Array, k: int, first: int) -> None:
    """Sample k through a block: column `first` of `rows`, which holds the first channel, and what `mixed` wrote."""
    v = rows[k, first]
    if stages == 1:
        one_stage(P, v)
    elif stages == 2:
        two_stages(P, v)
    elif stages == 3:
        three_stages(P, v)
    else:
        four_stages(P, v)


@compiled
def unmixed(P: Array) -> None:
    """Writes the inputs of each lane without any channel: the first comes in with the step, others by `mixed`."""
    for w in range(W):
        rest = TINY * P[W * SCALE + w]
        P[W * INPUT + w] = rest
        P[W * (INPUT + 1) + w] = rest
        P[W * (INPUT + 2) + w] = rest
        P[W * (INPUT + 3) + w] = rest


@compiled
def mixed(P: Array, rows: Array, k: int, first: int, mix: Array) -> None:
    """Writes what the second channel and those after it bring each lane at sample k, in the unit of the states."""
    for w in range(W):
        P[W * INPUT + w] = TINY * P[W * SCALE + w]
    for c in range(1, mix.shape[0]):
        value = rows[k, first + c]
        for w in range(W):
            P[W * INPUT + w] += mix[c, w] * P[W * SCALE + w] * value
