"""The cut of 70, 15 and 15 % that the state-space papers make of BIDMC: scikit-learn's, number for number."""

from __future__ import annotations

import math

import numpy as np

from seqkit.checks import check_positive_int
from seqkit.datasets.series import Array

__all__ = ["pooled_parts"]


def pooled_parts(n: int) -> dict[str, Array]:
    """Places of "train" (70 %), "val" and "test" (15 % each) among n things, in the order of the draw.

    Args:
        n: Number of things to cut, at least 4, so that every part has one.

    Raises:
        ValueError: fewer than 4.

    Source:
        The released code of Gu et al. 2021 (arXiv:2110.13985): `train_test_split` of scikit-learn with `test_size=0.3,
        random_state=0`, then of what was cut off with `test_size=0.5, random_state=1`, of which the second half is
        the test part. The same places come from numpy's own generator.

    Example:
        >>> {part: places.tolist() for part, places in pooled_parts(8).items()}
        {'train': [7, 3, 0, 5, 4], 'val': [2], 'test': [6, 1]}
    """
    if check_positive_int("n", n) < 4:
        raise ValueError(f"`n` must be at least 4, so that each of the three parts has one, got {n}")
    train, rest = _cut(n, 0.3, seed=0)
    val, test = _cut(len(rest), 0.5, seed=1)
    return {"train": train, "val": rest[val], "test": rest[test]}


def _cut(n: int, share: float, seed: int) -> tuple[Array, Array]:
    """What stays and what is cut off; scikit-learn rounds the latter up and takes it from the front."""
    order = np.random.RandomState(seed).permutation(n)
    wanted = math.ceil(share * n)
    return order[wanted:], order[:wanted]
