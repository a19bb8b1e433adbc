"""exp, erf and what activations are made of, in arithmetic alone for float32: then loops over them become vectors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import extending
from numba.core import cgutils, types

__all__ = ["gelu", "sigmoid"]

intrinsic: Callable[[Any], Any] = extending.intrinsic
overload: Callable[..., Any] = extending.overload
ir: Any = cgutils.ir  # type: ignore[attr-defined]
compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz"})
f = np.float32
ONE, HALF = f(1), f(0.5)
LOG2_E, LN2_HIGH, LN2_LOW, LARGEST, LOWEST = f(1.44269504), f(0.693359375), f(-2.12194440e-4), f(88.0), f(-87.0)
# exp(r) on |r| <= ln 2 / 2, to 2e-8.
E2, E3, E4, E5, E6, E7 = (
    f(c) for c in (0.5, 1.6666665459e-1, 4.1665795894e-2, 8.3334519073e-3, 1.3981999507e-3, 1.9875691500e-4)
)
# erf(x) = x P(x^2) / Q(x^2) on |x| <= 4, to 4e-7 of the value; beyond it is 1 in float32.
FURTHEST, ROOT_HALF = f(4.0), f(0.70710678)
P0, P1, P2, P3, P4, P5, P6 = (
    f(c)
    for c in (
        *(-1.60960333262415e-02, -2.95459980854025e-03, -7.34990630326855e-04, -5.69250639462346e-05),
        *(-2.10102402082508e-06, 2.77068142495902e-08, -2.72614225801306e-10),
    )
)
Q0, Q1, Q2, Q3, Q4 = (
    f(c)
    for c in (
        -1.42647390514189e-02,
        -7.37332916720468e-03,
        -1.68282697438203e-03,
        -2.13374055278905e-04,
        -1.45660718464996e-05,
    )
)


@intrinsic
def two_to(typing: Any, power: Any) -> Any:
    """2 to a whole power, given as float32 between -126 and 127."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(32)
        whole = builder.add(builder.fptosi(args[0], word), ir.Constant(word, 127))
        return builder.bitcast(builder.shl(whole, ir.Constant(word, 23)), ir.FloatType())

    return types.float32(types.float32), build


@compiled
def exp_single(x: Any) -> Any:
    """Exp in float32, within 88 of 0."""
    x = min(max(x, LOWEST), LARGEST)
    power = np.floor(x * LOG2_E + HALF)
    r = x - power * LN2_HIGH - power * LN2_LOW
    tail = ((((E7 * r + E6) * r + E5) * r + E4) * r + E3) * r + E2
    return (tail * r * r + r + ONE) * two_to(power)


@compiled
def erf_single(x: Any) -> Any:
    """Erf in float32."""
    x = min(max(x, -FURTHEST), FURTHEST)
    s = x * x
    p = (((((P6 * s + P5) * s + P4) * s + P3) * s + P2) * s + P1) * s + P0
    q = (((Q4 * s + Q3) * s + Q2) * s + Q1) * s + Q0
    return x * p / q


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)); compiled for the type of x."""
    return 1 / (1 + math.exp(-x))


def gelu(x: Any) -> Any:
    """X times the share of a normal distribution below x; compiled for the type of x."""
    return 0.5 * x * (1 + math.erf(x * math.sqrt(0.5)))


@overload(sigmoid, strict=False)
def _(x: Any) -> Any:
    if x == types.float32:
        return lambda x: ONE / (ONE + exp_single(-x))
    return lambda x: 1.0 / (1.0 + math.exp(-x))


@overload(gelu, strict=False)
def _(x: Any) -> Any:
    if x == types.float32:
        return lambda x: HALF * x * (ONE + erf_single(x * ROOT_HALF))
    return lambda x: 0.5 * x * (1.0 + math.erf(x * 0.7071067811865476))
