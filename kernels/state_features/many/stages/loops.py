"""Four samples that each close a training step through 32 filters of one to four stages.

The states of a stage stay in registers for four samples. What a sample meets there is p = s + v_old, the state and the
input before, so that neither is needed any longer. The functions are put into the loops that call them: a call for
every four samples costs a tenth of the time.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy.typing as npt

from seqkit.kernels.state_features.lanes.loops import A_IM, C_IM, C_RE, INPUT, MIX, OUTPUT, PREVIOUS, STATE, W

__all__ = ["four_stages_many", "one_stage_many", "three_stages_many", "two_stages_many"]

Array = npt.NDArray[Any]
compiled = numba.njit(cache=True, nogil=True, fastmath={"contract", "nsz"})
inlined = numba.njit(cache=True, nogil=True, fastmath={"contract", "nsz"}, inline="always")


@compiled
def first_plain(ar: Any, ai: Any, pr: Any, pi: Any, new: Any) -> tuple[Any, Any]:
    """One leaky integrator of a real input where h is 1: a p + v_new, p being s + v_old."""
    return (new - ai * pi) + ar * pr, ai * pr + ar * pi


@compiled
def plain(ar: Any, ai: Any, pr: Any, pi: Any, new_r: Any, new_i: Any) -> tuple[Any, Any]:
    """One leaky integrator where h is 1: a p + v_new, p being s + v_old."""
    return (new_r - ai * pi) + ar * pr, (new_i + ai * pr) + ar * pi


@compiled
def plain_1(ar: Any, ai: Any, p: Any, new: Any) -> tuple[Any, Any]:
    """A sample through one stage where h is 1: what the next sample meets, s + v, and the states s."""
    n0, j0 = first_plain(ar, ai, p[0], p[1], new)
    return (n0 + new, j0), (n0, j0)


@compiled
def plain_2(ar: Any, ai: Any, p: Any, new: Any) -> tuple[Any, Any]:
    """A sample through two stages where h is 1: what the next sample meets, s + v, and the states s."""
    n0, j0 = first_plain(ar, ai, p[0], p[1], new)
    n1, j1 = plain(ar, ai, p[2], p[3], n0, j0)
    return (n0 + new, j0, n1 + n0, j1 + j0), (n0, j0, n1, j1)


@compiled
def plain_3(ar: Any, ai: Any, p: Any, new: Any) -> tuple[Any, Any]:
    """A sample through three stages where h is 1: what the next sample meets, s + v, and the states s."""
    n0, j0 = first_plain(ar, ai, p[0], p[1], new)
    n1, j1 = plain(ar, ai, p[2], p[3], n0, j0)
    n2, j2 = plain(ar, ai, p[4], p[5], n1, j1)
    return (n0 + new, j0, n1 + n0, j1 + j0, n2 + n1, j2 + j1), (n0, j0, n1, j1, n2, j2)


@compiled
def plain_4(ar: Any, ai: Any, p: Any, new: Any) -> tuple[Any, Any]:
    """A sample through four stages where h is 1: what the next sample meets, s + v, and the states s."""
    n0, j0 = first_plain(ar, ai, p[0], p[1], new)
    n1, j1 = plain(ar, ai, p[2], p[3], n0, j0)
    n2, j2 = plain(ar, ai, p[4], p[5], n1, j1)
    n3, j3 = plain(ar, ai, p[6], p[7], n2, j2)
    return (n0 + new, j0, n1 + n0, j1 + j0, n2 + n1, j2 + j1, n3 + n2, j3 + j2), (n0, j0, n1, j1, n2, j2, n3, j3)


@inlined
def one_stage_many(P: Array, v0: Any, v1: Any, v2: Any, v3: Any) -> None:
    """Four samples through blocks of one stage."""
    for w in range(W):
        ar, ai, cr, ci = P[w], P[W * A_IM + w], P[W * C_RE + w], P[W * C_IM + w]
        share = P[W * MIX + w]
        p = (
            P[W * STATE + w] + P[W * PREVIOUS + w],
            P[W * (STATE + 1) + w],
        )
        new = share * v0 + P[W * INPUT + w]
        p, s = plain_1(ar, ai, p, new)
        P[W * OUTPUT + w] = cr * s[0] - ci * s[1]
        new = share * v1 + P[W * (INPUT + 1) + w]
        p, s = plain_1(ar, ai, p, new)
        P[W * (OUTPUT + 1) + w] = cr * s[0] - ci * s[1]
        new = share * v2 + P[W * (INPUT + 2) + w]
        p, s = plain_1(ar, ai, p, new)
        P[W * (OUTPUT + 2) + w] = cr * s[0] - ci * s[1]
        new = share * v3 + P[W * (INPUT + 3) + w]
        p, s = plain_1(ar, ai, p, new)
        P[W * (OUTPUT + 3) + w] = cr * s[0] - ci * s[1]
        P[W * PREVIOUS + w] = new
        P[W * STATE + w] = s[0]
        P[W * (STATE + 1) + w] = s[1]


@inlined
def two_stages_many(P: Array, v0: Any, v1: Any, v2: Any, v3: Any) -> None:
    """Four samples through blocks of two stages."""
    for w in range(W):
        ar, ai, cr, ci = P[w], P[W * A_IM + w], P[W * C_RE + w], P[W * C_IM + w]
        share = P[W * MIX + w]
        p = (
            P[W * STATE + w] + P[W * PREVIOUS + w],
            P[W * (STATE + 1) + w],
            P[W * (STATE + 2) + w] + P[W * STATE + w],
            P[W * (STATE + 3) + w] + P[W * (STATE + 1) + w],
        )
        new = share * v0 + P[W * INPUT + w]
        p, s = plain_2(ar, ai, p, new)
        P[W * OUTPUT + w] = cr * s[2] - ci * s[3]
        new = share * v1 + P[W * (INPUT + 1) + w]
        p, s = plain_2(ar, ai, p, new)
        P[W * (OUTPUT + 1) + w] = cr * s[2] - ci * s[3]
        new = share * v2 + P[W * (INPUT + 2) + w]
        p, s = plain_2(ar, ai, p, new)
        P[W * (OUTPUT + 2) + w] = cr * s[2] - ci * s[3]
        new = share * v3 + P[W * (INPUT + 3) + w]
        p, s = plain_2(ar, ai, p, new)
        P[W * (OUTPUT + 3) + w] = cr * s[2] - ci * s[3]
        P[W * PREVIOUS + w] = new
        P[W * STATE + w] = s[0]
        P[W * (STATE + 1) + w] = s[1]
        P[W * (STATE + 2) + w] = s[2]
        P[W * (STATE + 3) + w] = s[3]


@inlined
def three_stages_many(P: Array, v0: Any, v1: Any, v2: Any, v3: Any) -> None:
    """Four samples through blocks of three stages."""
    for w in range(W):
        ar, ai, cr, ci = P[w], P[W * A_IM + w], P[W * C_RE + w], P[W * C_IM + w]
        share = P[W * MIX + w]
        p = (
            P[W * STATE + w] + P[W * PREVIOUS + w],
            P[W * (STATE + 1) + w],
            P[W * (STATE + 2) + w] + P[W * STATE + w],
            P[W * (STATE + 3) + w] + P[W * (STATE + 1) + w],
            P[W * (STATE + 4) + w] + P[W * (STATE + 2) + w],
            P[W * (STATE + 5) + w] + P[W * (STATE + 3) + w],
        )
        new = share * v0 + P[W * INPUT + w]
        p, s = plain_3(ar, ai, p, new)
        P[W * OUTPUT + w] = cr * s[4] - ci * s[5]
        new = share * v1 + P[W * (INPUT + 1) + w]
        p, s = plain_3(ar, ai, p, new)
        P[W * (OUTPUT + 1) + w] = cr * s[4] - ci * s[5]
        new = share * v2 + P[W * (INPUT + 2) + w]
        p, s = plain_3(ar, ai, p, new)
        P[W * (OUTPUT + 2) + w] = cr * s[4] - ci * s[5]
        new = share * v3 + P[W * (INPUT + 3) + w]
        p, s = plain_3(ar, ai, p, new)
        P[W * (OUTPUT + 3) + w] = cr * s[4] - ci * s[5]
        P[W * PREVIOUS + w] = new
        P[W * STATE + w] = s[0]
        P[W * (STATE + 1) + w] = s[1]
        P[W * (STATE + 2) + w] = s[2]
        P[W * (STATE + 3) + w] = s[3]
        P[W * (STATE + 4) + w] = s[4]
        P[W * (STATE + 5) + w] = s[5]


@inlined
def four_stages_many(P: Array, v0: Any, v1: Any, v2: Any, v3: Any) -> None:
    """Four samples through blocks of four stages."""
    for w in range(W):
        ar, ai, cr, ci = P[w], P[W * A_IM + w], P[W * C_RE + w], P[W * C_IM + w]
        share = P[W * MIX + w]
        p = (
            P[W * STATE + w] + P[W * PREVIOUS + w],
            P[W * (STATE + 1) + w],
            P[W * (STATE + 2) + w] + P[W * STATE + w],
            P[W * (STATE + 3) + w] + P[W * (STATE + 1) + w],
            P[W * (STATE + 4) + w] + P[W * (STATE + 2) + w],
            P[W * (STATE + 5) + w] + P[W * (STATE + 3) + w],
            P[W * (STATE + 6) + w] + P[W * (STATE + 4) + w],
            P[W * (STATE + 7) + w] + P[W * (STATE + 5) + w],
        )
        new = share * v0 + P[W * INPUT + w]
        p, s = plain_4(ar, ai, p, new)
        P[W * OUTPUT + w] = cr * s[6] - ci * s[7]
        new = share * v1 + P[W * (INPUT + 1) + w]
        p, s = plain_4(ar, ai, p, new)
        P[W * (OUTPUT + 1) + w] = cr * s[6] - ci * s[7]
        new = share * v2 + P[W * (INPUT + 2) + w]
        p, s = plain_4(ar, ai, p, new)
        P[W * (OUTPUT + 2) + w] = cr * s[6] - ci * s[7]
        new = share * v3 + P[W * (INPUT + 3) + w]
        p, s = plain_4(ar, ai, p, new)
        P[W * (OUTPUT + 3) + w] = cr * s[6] - ci * s[7]
        P[W * PREVIOUS + w] = new
        P[W * STATE + w] = s[0]
        P[W * (STATE + 1) + w] = s[1]
        P[W * (STATE + 2) + w] = s[2]
        P[W * (STATE + 3) + w] = s[3]
        P[W * (STATE + 4) + w] = s[4]
        P[W * (STATE + 5) + w] = s[5]
        P[W * (STATE + 6) + w] = s[6]
        P[W * (STATE + 7) + w] = s[7]
