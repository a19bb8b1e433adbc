"""What happens to a tile of products before it is exponentiated, and dropout's counter; in Triton.

Queries and keys are given as whole numbers that broadcast, so the same lines serve tiles of queries by keys and tiles
of keys by queries.
"""

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["bits_of", "dropout_key", "shaped", "stays", "visible"]

GOLDEN = tl.constexpr(0x9E3779B9)


@triton.jit
def tanh(x, EXACT: tl.constexpr):
    """Hyperbolic tangent; near 0 by a polynomial where its last digits matter (Cephes' tanhf, Moshier)."""
    power = tl.exp2(-2.8853900817779268 * tl.abs(x))
    far = (1.0 - power) / (1.0 + power)
    out = tl.where(x < 0, -far, far)
    if EXACT:
        z = x * x
        near = 2.06390887954e-2 - 5.70498872745e-3 * z
        near = near * z - 5.37397155531e-2
        near = near * z + 1.33314422036e-1
        near = near * z - 3.33332819422e-1
        out = tl.where(tl.abs(x) < 0.625, x + x * z * near, out)
    return out


@triton.jit
def shaped(
    products, i, j, shift, slope, factor, bound, HAS_CAP: tl.constexpr, HAS_SLOPES: tl.constexpr, EXACT: tl.constexpr
):  # fmt: skip
    """Scores in base 2 of products of queries i and keys j, and the cap's hyperbolic tangents."""
    scores = products * factor
    bent = scores
    if HAS_CAP:
        bent = tanh(scores / bound, EXACT)
        scores = bent * bound
    if HAS_SLOPES:
        scores -= slope * tl.abs(i + shift - j).to(tl.float32)
    return scores, bent


@triton.jit
def visible(i, j, shift, first_key, end_key, left, right, HAS_LEFT: tl.constexpr, HAS_RIGHT: tl.constexpr):
    """Whether query i sees key j."""
    out = (j >= first_key) & (j < end_key)
    if HAS_LEFT:
        out = out & (j - i >= shift - left)
    if HAS_RIGHT:
        out = out & (j - i <= shift + right)
    return out


@triton.jit
def bits_of(bits, number, i, j, row, column, end_query, end_key, HEIGHT: tl.constexpr, WIDTH: tl.constexpr):
    """What tile (row, column) of a block mask says of queries i and keys j; read below the two ends alone."""
    at = bits + number.to(tl.int64) * (HEIGHT * WIDTH)
    inside = (i >= row * HEIGHT) & (i < end_query) & (j >= column * WIDTH) & (j < end_key)
    return tl.load(at + (i - row * HEIGHT) * WIDTH + (j - column * WIDTH), mask=inside, other=0) != 0


@triton.jit
def mixed(x):
    """The bijection of 32 bits of dropout.py."""
    x = (x ^ (x >> 16)) * 0x7FEB352D
    x = (x ^ (x >> 15)) * 0x846CA68B
    return x ^ (x >> 16)


@triton.jit
def dropout_key(seed, number):
    """The number that dropout's choices for a head follow from, by row * n_heads + head."""
    value = tl.load(seed)
    key = mixed(mixed(value.to(tl.uint32) ^ GOLDEN) + (value >> 32).to(tl.uint32))
    return mixed(key + number.to(tl.uint32) * GOLDEN)


@triton.jit
def stays(key, i, j, threshold):
    """Whether the weights of queries i and keys j stay; the same bits as `kept` of dropout.py."""
    numbers = mixed(mixed(key + i.to(tl.uint32) * GOLDEN) + j.to(tl.uint32) * GOLDEN)
    return numbers >= tl.cast(threshold, tl.uint32)
