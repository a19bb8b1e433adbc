"""Cuts: sizes, classes, seeds."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from seqkit.datasets import SeriesSet
from seqkit.datasets.splits import cut_indices, cut_series


@pytest.mark.parametrize("n", [2, 3, 10, 101])
@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.99])
@pytest.mark.parametrize("classes", [None, 2, 7])
def test_a_cut_is_a_partition_of_the_wanted_size(n: int, share: float, classes: int | None) -> None:
    labels = None if classes is None else [str(i % classes) for i in range(n)]
    stay, cut = cut_indices(n, share, [0], labels)
    assert sorted([*stay, *cut]) == list(range(n))
    assert len(stay) >= 1
    assert len(cut) >= 1
    most = n if classes is None else n - min(classes, n)  # each class keeps a member
    assert len(cut) == min(min(max(1, round(n * share)), n - 1), most) or most == 0
    assert (np.diff(stay) > 0).all()
    assert (np.diff(cut) > 0).all()


def test_classes_keep_their_shares() -> None:
    labels = ["a"] * 70 + ["b"] * 25 + ["c"] * 4 + ["d"]
    stay, cut = cut_indices(100, 0.2, [1], labels)
    there, gone = Counter(labels[i] for i in stay), Counter(labels[i] for i in cut)
    assert gone["a"] == 14
    assert gone["b"] == 5
    assert gone["c"] == 1
    assert there["d"] == 1  # a class of one stays where it can be learned
    assert len(cut) == 20


def test_cuts_differ_by_seed_only() -> None:
    one, two, other = (cut_indices(50, 0.3, seed)[1].tolist() for seed in ([4, 0], [4, 0], [4, 1]))
    assert one == two != other
    labels = [str(i % 3) for i in range(50)]
    assert cut_indices(50, 0.3, [4], labels)[1].tolist() == cut_indices(50, 0.3, [4], labels)[1].tolist()


def test_every_member_can_be_cut() -> None:
    labels = ["a"] * 6 + ["b"] * 6
    seen = {i for seed in range(40) for i in cut_indices(12, 0.25, [seed], labels)[1].tolist()}
    assert seen == set(range(12))


def test_regression_is_cut_without_classes() -> None:
    series = SeriesSet([np.zeros((2, 1))] * 10, np.arange(10.0))
    stay, cut = cut_series(series, 0.3, [0])
    assert sorted([*stay.names, *cut.names], key=int) == series.names
    assert len(cut) == 3


def test_what_cannot_be_cut_is_refused() -> None:
    with pytest.raises(ValueError, match="1 series cannot be cut"):
        cut_indices(1, 0.5, [0])
    for share in (0, 1, -0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="must lie between 0 and 1"):
            cut_indices(5, share, [0])
