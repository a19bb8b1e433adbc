"""Dashed curves between four points, so that either way of joining them could have been drawn."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from seqkit.datasets.draws import Draws
from seqkit.datasets.rows import Array

__all__ = ["Drawing", "draw_contours", "ink"]

SIDE = 32
MARGIN = 3.0
"""Pixels between a point and the edge."""

APART = 9.0
"""Least distance of two of the four points that may be joined, in pixels."""

CLEAR = 3.5
"""Least distance of two curves, and of parts of one that are not neighbours, in pixels."""

FIRM = (4.0, 10.0)
"""How far a curve keeps the direction in which it leaves a point: length of the handle there, in pixels."""

POINTS = 24
"""Points that a long curve is followed through."""

FINE = 3
"""Points drawn for each of those."""

TRIES = 32
"""Sets of four points that are tried at once."""

DASH, GAP = 2.5, 2.0
"""Pixels along a curve that are drawn, and that are left out."""

QUARTERS = np.array([[0, 0], [0, 1], [1, 1], [1, 0]])
"""Where in the picture the four points lie, in a ring."""

WILD = 2.5
"""How far the direction in which a curve leaves a point may turn from the middle of both neighbours."""

SHORT = 6.5
"""Length of a distracting curve, in pixels."""

_FAR = np.array([(i, j) for j in range(POINTS // 2) for i in range(j - POINTS // 6 + 1)]).T
"""Pairs of every second point of a curve that lie a third of it apart or more."""

_SIDES = ((0, 1), (2, 3), (1, 2), (3, 0))
"""The four points as corners in a ring: the first two sides are one way to join them, the last two the other."""


class Drawing(NamedTuple):
    """Four points, two curves, and short curves that lead nowhere.

    Args:
        corners: The four points (row, column), (4, 2).
        joined: Sides that are drawn, as pairs of corners.
        open: Sides that are not.
        dashes: Points on all dashes, (n, 2).
    """

    corners: Array
    joined: tuple[tuple[int, int], ...]
    open: tuple[tuple[int, int], ...]
    dashes: Array


def draw_contours(draws: Draws, n_short: int) -> Drawing:
    """Draws four points and joins them in one of two ways, each with the same chance.

    A curve leaves a point in a direction that is drawn for the point, whichever neighbour it goes to. Points are taken
    where both ways can be drawn: both have curves within the picture that keep apart. So nothing about the points says
    which of them are joined, and little about what a curve looks like near one.

    Args:
        draws: Random numbers.
        n_short: Short curves to try for; one without a free place is left out.
    """
    while True:
        numbers = draws.shares(TRIES * 20).reshape(TRIES, 20)
        corners = MARGIN + ((SIDE - 1) / 2 - MARGIN) * (QUARTERS + numbers[:, :8].reshape(TRIES, 4, 2))
        drawn, usable = unit(2 * numbers[:, 8:16].reshape(TRIES, 4, 2) - 1)
        inwards, _ = unit(np.roll(corners, 1, axis=1) + np.roll(corners, -1, axis=1) - 2 * corners)
        way, _ = unit(inwards + WILD * drawn)
        handles = corners + (FIRM[0] + (FIRM[1] - FIRM[0]) * numbers[:, 16:, None]) * way
        from_, to = np.array(_SIDES).T
        far = (squares(corners[:, from_], corners[:, to]) > APART * APART).all(1)
        tried = np.flatnonzero(far & usable.all(1))
        curves = bezier(
            corners[tried][:, from_], handles[tried][:, from_], handles[tried][:, to], corners[tried][:, to]
        )
        inside = ((curves > 1) & (curves < SIDE - 2)).all((1, 2, 3))
        good = [i for i in np.flatnonzero(inside).tolist() if all_clear(curves[i])]
        if good:
            break
    first = 2 * int(draws.whole(2, 1)[0])
    chosen = curves[good[0]][first : first + 2]
    phases = draws.shares(2) * GAP
    dashes = [dashed(curve, float(phase)) for curve, phase in zip(chosen, phases, strict=True)]
    dashes += short_curves(draws, n_short, chosen[:, ::2].reshape(-1, 2))
    sides = _SIDES[first : first + 2], _SIDES[2 - first : 4 - first]
    return Drawing(corners[tried[good[0]]], *sides, np.concatenate(dashes))


def unit(way: Array) -> tuple[Array, Array]:
    """Vectors (..., 2) of the square from -1 to 1 by their length, and whether they lie in the circle within it."""
    long = squares(way, np.zeros(2))
    return way / np.sqrt(np.where(long > 0, long, 1))[..., None], (long > 0.01) & (long <= 1)


def bezier(start: Array, first: Array, second: Array, end: Array) -> Array:
    """Cubic Bezier curves by their ends and handles (..., 2), as points (..., POINTS, 2)."""
    t = (np.arange(POINTS) / (POINTS - 1))[:, None]
    s = 1 - t
    start, first, second, end = (one[..., None, :] for one in (start, first, second, end))
    points: Array = s * s * s * start + 3 * s * s * t * first + 3 * s * t * t * second + t * t * t * end
    return points


def all_clear(curves: Array) -> bool:
    """Whether the two curves of each way are apart, and none comes near itself, (4, POINTS, 2)."""
    rough = curves[:, ::2]
    itself = squares(rough[:, _FAR[0]], rough[:, _FAR[1]])
    return bool((itself > CLEAR * CLEAR).all()) and clear(rough[0], rough[1]) and clear(rough[2], rough[3])


def clear(one: Array, other: Array) -> bool:
    """Whether all points of two sets are at least `CLEAR` apart."""
    return bool(squares(one[:, None], other[None]).min() > CLEAR * CLEAR)


def squares(one: Array, other: Array) -> Array:
    """Squared distances over the last axis: products and a sum, which are rounded alike everywhere."""
    difference = one - other
    out: Array = difference[..., 0] * difference[..., 0] + difference[..., 1] * difference[..., 1]
    return out


def dashed(curve: Array, phase: float) -> Array:
    """Points about half a pixel apart on the dashes of a curve through points, (n, 2); the ends are drawn."""
    steps = np.sqrt(squares(curve[1:], curve[:-1]))
    fine = np.arange(FINE) / FINE
    points = (curve[:-1, None] + fine[:, None] * (curve[1:] - curve[:-1])[:, None]).reshape(-1, 2)
    at = (np.concatenate([[0.0], np.cumsum(steps)[:-1]])[:, None] + fine * steps[:, None]).reshape(-1)
    drawn = (at + phase) % (DASH + GAP) < DASH
    near_end = (at < DASH / 2) | (at > at[-1] - DASH / 2)
    kept: Array = points[drawn | near_end]
    return kept


def short_curves(draws: Draws, n: int, taken: Array) -> list[Array]:
    """Up to n bent dashed curves of two dashes, clear of what is there and of each other."""
    out: list[Array] = []
    numbers = draws.shares(8 * n * 8).reshape(8 * n, 4, 2)
    start = 1 + (SIDE - 3) * numbers[:, 0]
    (way, good), (bend, usable) = (unit(2 * numbers[:, k] - 1) for k in (1, 2))
    end = start + SHORT * way
    curves = bezier(start, start + SHORT / 2 * bend, end - SHORT / 2 * unit(2 * numbers[:, 3] - 1)[0], end)
    good &= usable & ((curves > 1) & (curves < SIDE - 2)).all((1, 2))
    for curve in curves[good]:
        if len(out) == n:
            break
        if clear(curve[::2], taken):
            out.append(dashed(curve, 0.0))
            taken = np.concatenate([taken, curve[::2]])
    return out


def ink(points: Array, reach: float) -> Array:
    """How dark each pixel is by its distance to the nearest point: 1 within `reach`, 0 from half a pixel more on.

    Args:
        points: Points (n, 2).
        reach: Pixels.

    Returns:
        Values in [0, 1], (SIDE, SIDE).
    """
    places = np.arange(SIDE, dtype=np.float64)
    down, right = points[:, :1] - places, points[:, 1:] - places
    nearest = ((down * down)[:, :, None] + (right * right)[:, None, :]).min(axis=0)
    dark: Array = np.clip(1 - 2 * (np.sqrt(nearest) - reach), 0, 1)
    return dark
