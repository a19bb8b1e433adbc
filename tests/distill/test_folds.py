"""Folds: nobody labels what it was trained on, nor a group or a stretch of time that touches it."""

import numpy as np
import pytest

from seqkit.distill import Folds, group_folds, in_sample_fold, k_folds, time_folds


@pytest.mark.parametrize("labels", [None, "classes"])
def test_every_sample_is_labelled_once_by_a_teacher_trained_on_all_others(labels):
    y = np.random.default_rng(0).integers(3, size=53)
    folds = k_folds(53, 5, labels=None if labels is None else y)
    assert np.array_equal(np.sort(np.concatenate([folds.members(k) for k in range(5)])), np.arange(53))
    for k, train in enumerate(folds.train):
        assert np.array_equal(np.sort(np.concatenate([train, folds.members(k)])), np.arange(53))
    sizes = [len(folds.members(k)) for k in range(5)]
    assert max(sizes) - min(sizes) <= 1
    if labels:
        counts = np.array([np.bincount(y[folds.members(k)], minlength=3) for k in range(5)])
        assert (counts.max(axis=0) - counts.min(axis=0)).max() <= 1


def test_the_fold_of_a_sample_goes_with_its_id_and_not_with_its_place():
    random = np.random.default_rng(0)
    ids, labels = np.array([f"s{i}" for i in range(40)]), random.integers(2, size=40)
    first, order = k_folds(ids, 4, labels=labels, seed=3), random.permutation(40)
    again = k_folds(ids[order], 4, labels=labels[order], seed=3)
    assert np.array_equal(first.fold[order], again.fold)
    assert not np.array_equal(first.fold, k_folds(ids, 4, labels=labels, seed=4).fold)


def test_groups_are_never_on_both_sides_and_folds_are_of_like_size():
    groups = np.random.default_rng(0).integers(20, size=300)
    folds = group_folds(groups, 5)
    for k, train in enumerate(folds.train):
        assert not set(groups[train]) & set(groups[folds.members(k)])
        assert len(train) + len(folds.members(k)) == 300
    sizes = [len(folds.members(k)) for k in range(5)]
    assert max(sizes) <= 1.2 * min(sizes)


@pytest.mark.parametrize("forward_only", [False, True])
def test_no_training_window_shares_a_sample_or_a_value_to_forecast_with_a_labelled_one(forward_only):
    series = np.repeat(["a", "b"], [60, 45])
    starts = np.concatenate([np.arange(60), np.arange(45)]).astype(float)
    folds = time_folds(starts, 4, lookback=3, horizon=2, series=series, forward_only=forward_only)
    used = [{(series[i], int(starts[i]) + s) for s in range(5)} for i in range(105)]
    for k, train in enumerate(folds.train):
        labelled = set().union(*(used[i] for i in folds.members(k)))
        assert not any(used[i] & labelled for i in train)
        if forward_only:
            for one in "ab":
                mine = folds.members(k)[series[folds.members(k)] == one]
                assert starts[train[series[train] == one]].max() + 5 <= starts[mine].min()
    without = np.flatnonzero(folds.fold < 0)
    assert len(without) == ((15 + 12) if forward_only else 0)  # the first block of each series


def test_a_purged_block_lies_whole_and_the_embargo_is_no_larger_than_it_must():
    folds = time_folds(range(30), 3, lookback=2, horizon=1)
    assert folds.members(1).tolist() == list(range(10, 20))
    assert folds.train[1].tolist() == [*range(8), *range(22, 30)]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: k_folds(3, 5), "`n_folds` must be at most the number of samples, 3, got 5"),
        (lambda: k_folds(9, 1), "`n_folds` must be a whole number of at least 2"),
        (lambda: k_folds(["a", "a", "b"], 2), "`ids` must all differ, got 'a' twice"),
        (lambda: k_folds(4, 2, labels=[0, 1]), "`labels` must hold one label for each of 4 samples, got 2"),
        (lambda: group_folds(["a", "b"], 3), "number of groups, 2, got 3"),
        (lambda: time_folds(range(6), 2, lookback=-1, horizon=0), "`lookback` must be a finite number"),
        (lambda: time_folds(range(6), 2, lookback=5, horizon=5), "has no sample to train on; use fewer folds"),
        (lambda: Folds(np.zeros(2, int), (np.arange(2),)), "fold 0 labels samples that its teacher is trained on"),
    ],
)
def test_folds_that_cannot_be_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_the_plain_fold_says_that_it_is_in_sample():
    folds = in_sample_fold(4)
    assert folds.in_sample
    assert folds.train[0].tolist() == folds.members(0).tolist() == [0, 1, 2, 3]
