"""Targets as numbers: order of classes, unknown labels, and files that look like another task."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from seqkit.batch import DataInfo
from seqkit.datasets import SeriesSet, encode_targets
from seqkit.datasets.targets import as_task, info_of, sorted_labels

CLASSES = DataInfo("toy", "classification", n_channels=1, classes=("1", "2", "10"))
VALUES = DataInfo("toy", "regression", n_channels=1)
STEPS = DataInfo("toy", "sequence", n_channels=1)
STEP_CLASSES = DataInfo("toy", "sequence", n_channels=1, classes=("0", "1"))


def three(target: object) -> SeriesSet:
    return SeriesSet([np.zeros((2, 1)), np.zeros((3, 1)), np.zeros((1, 1))], target, origin="new.csv")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("labels", "order"),
    [
        (["10", "9", "1"], ("1", "9", "10")),
        (["1.5", "-2", "1e1"], ("-2", "1.5", "1e1")),
        (["walk", "Run", "run"], ("Run", "run", "walk")),
        (["s10", "s9", "s1"], ("s1", "s9", "s10")),
        (["2a", "10a", "b"], ("2a", "10a", "b")),
        (["b", "a", "a"], ("a", "b")),
    ],
)
def test_labels_are_sorted_as_people_sort(labels: list[str], order: tuple[str, ...]) -> None:
    assert sorted_labels(labels) == order


def test_labels_become_their_places() -> None:
    encoded = encode_targets(three(["10", "1", "2"]), CLASSES)
    assert isinstance(encoded, torch.Tensor)
    assert encoded.dtype == torch.int64
    assert encoded.tolist() == [2, 0, 1]


def test_an_unknown_label_is_named() -> None:
    words = "label 'x' of series '1' was not seen in training; known labels are 1, 2, 10"
    with pytest.raises(ValueError, match=words):
        encode_targets(three(["1", "x", "2"]), CLASSES)
    with pytest.raises(ValueError, match="label '2' of series '1' was not seen"):
        encode_targets(three([np.array(["0", "1"]), np.array(["0", "2", "0"]), np.array(["1"])]), STEP_CLASSES)


def test_numbers_and_text_are_read_as_the_task_needs() -> None:
    assert encode_targets(three(np.array([10.0, 1.0, 2.0])), CLASSES).tolist() == [2, 0, 1]  # type: ignore[union-attr]
    assert encode_targets(three(["3", "4", "5"]), VALUES).tolist() == [[3], [4], [5]]  # type: ignore[union-attr]
    steps = encode_targets(three(["0", "1", "1"]), STEP_CLASSES)  # constant in each series of a small file
    assert isinstance(steps, list)
    assert [one.tolist() for one in steps] == [[0, 0], [1, 1, 1], [1]]
    steps = encode_targets(three(["0.5", "1", "2"]), STEPS)
    assert isinstance(steps, list)
    assert [one.tolist() for one in steps] == [[[0.5], [0.5]], [[1], [1], [1]], [[2]]]
    assert encode_targets(three(None), CLASSES) is None


@pytest.mark.parametrize(
    ("target", "info", "words"),
    [
        (["a", "b", "c"], VALUES, "new.csv has targets that are not numbers, such as 'a'"),
        ([np.zeros(2), np.zeros(3), np.zeros(1)], VALUES, "a target per sample, regression needs one per series"),
        ([np.zeros(2), np.zeros(3), np.zeros(1)], CLASSES, "a target per sample, classification"),
        (np.zeros((3, 2)), VALUES, "trained on 1 target values, new.csv has 2"),
        (np.zeros((3, 2)), CLASSES, "2 targets per series, a classification needs one"),
    ],
)
def test_targets_of_another_task_are_refused(target: object, info: DataInfo, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        encode_targets(three(target), info)


def test_info_takes_classes_from_training_and_length_from_all() -> None:
    train = SeriesSet([np.zeros((4, 2))] * 2, ["b", "a"], sample_rate=5.0)
    test = SeriesSet([np.zeros((9, 2))], ["z"])
    info = info_of("toy", {"train": train, "test": test})
    assert info == DataInfo("toy", "classification", 2, ("a", "b"), sample_rate=5.0, max_length=9)
    values = SeriesSet([np.zeros((4, 1))] * 2, np.zeros((2, 3)))
    assert info_of("toy", {"all": values}).n_targets == 3


def test_info_refuses_what_cannot_be_learned() -> None:
    with pytest.raises(ValueError, match="no targets"):
        info_of("toy", {"all": three(None)})
    with pytest.raises(ValueError, match=r"every training series of new.csv has the label 'a'"):
        info_of("toy", {"all": three(["a", "a", "a"])})
    with pytest.raises(ValueError, match=r"has 1 channels and .* has 2"):
        info_of("toy", {"train": three(["a", "b", "c"]), "test": SeriesSet([np.zeros((2, 2))], ["a"])})


def test_as_task_leaves_fitting_targets_alone() -> None:
    series = three(["1", "2", "10"])
    assert as_task(series, "classification") is series
