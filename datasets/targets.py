"""From targets as people write them to the numbers that a task learns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from seqkit.batch import DataInfo, TaskKind
from seqkit.datasets.series import Array, SeriesSet, Target

__all__ = ["alike", "as_task", "encode_targets", "info_of", "sorted_labels"]


def sorted_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Distinct labels in the order people expect: numbers by value, also inside words.

    Example:
        >>> sorted_labels(["10", "9", "-1"]), sorted_labels(["run 10", "run 9"])
        (('-1', '9', '10'), ('run 9', 'run 10'))
    """
    distinct = sorted(set(labels))
    try:
        return tuple(sorted(distinct, key=float))
    except ValueError:
        return tuple(sorted(distinct, key=_words_and_numbers))


def info_of(name: str, sets: Mapping[str, SeriesSet]) -> DataInfo:
    """What loaded series hold; classes and target are those of the training part.

    Args:
        name: Name of the data set.
        sets: Series by part, with "train" or "all".

    Raises:
        ValueError: no targets, or a part that differs from the training part in channels.

    Example:
        >>> series = SeriesSet([np.zeros((4, 1)), np.zeros((6, 1))], ["b", "a"])
        >>> info_of("toy", {"all": series}).classes
        ('a', 'b')
    """
    series = sets["train"] if "train" in sets else sets["all"]
    target = series.target
    if series.kind is None or target is None:
        raise ValueError(f"{series.origin} has no targets, so there is nothing to learn; give a target for each series")
    for part in sets.values():
        if part.n_channels != series.n_channels:
            raise ValueError(
                f"{series.origin} has {series.n_channels} channels and {part.origin} has {part.n_channels}; "
                "all parts need the same"
            )
    classes: tuple[str, ...] = ()
    n_targets = 1
    if isinstance(target, np.ndarray):
        n_targets = int(target.shape[1])
    elif series.kind == "classification":
        classes = sorted_labels(map(str, target))
    elif _is_text(target[0]):
        classes = sorted_labels(str(one) for labels in target for one in labels)
    else:
        n_targets = int(np.asarray(target[0]).shape[1])
    if len(classes) == 1:
        raise ValueError(
            f"every training series of {series.origin} has the label {classes[0]!r}; two classes are needed at least"
        )
    return DataInfo(
        name=name,
        task=series.kind,
        n_channels=series.n_channels,
        classes=classes,
        n_targets=n_targets,
        sample_rate=series.sample_rate,
        max_length=int(max(part.lengths.max() for part in sets.values())),
        channels=series.channels,
        missing=series.has_missing,
        targets=series.targets if len(series.targets) == n_targets else (),
    )


def encode_targets(series: SeriesSet, info: DataInfo) -> Tensor | list[Tensor] | None:
    """Targets as numbers: class numbers (n,), values (n, T), one tensor per series for sequence targets, or None.

    Args:
        series: Series with targets as their file has them; 3 and "3" are the same label.
        info: What the model was trained on.

    Raises:
        ValueError: a label that training did not have, text where numbers are needed, or another number of values.

    Example:
        >>> info = DataInfo("toy", "classification", n_channels=1, classes=("a", "b"))
        >>> encode_targets(SeriesSet([np.zeros((2, 1))] * 2, ["b", "a"]), info)
        tensor([1, 0])
    """
    series = as_task(series, info.task, labelled=bool(info.classes))
    target = series.target
    if target is None:
        return None
    if isinstance(target, np.ndarray):
        _check_width(target, info, series.origin)
        return torch.from_numpy(np.ascontiguousarray(target, dtype=np.float32))
    numbers = {label: k for k, label in enumerate(info.classes)}
    if info.task == "classification":
        codes = [_code(str(label), name, numbers, info) for label, name in zip(target, series.names, strict=True)]
        return torch.tensor(codes, dtype=torch.int64)
    out = []
    for one, name in zip(target, series.names, strict=True):
        if info.classes:
            out.append(
                torch.tensor([_code(str(label), name, numbers, info) for label in np.asarray(one)], dtype=torch.int64)
            )
        else:
            _check_width(np.asarray(one), info, series.origin)
            out.append(torch.from_numpy(np.ascontiguousarray(one, dtype=np.float32)))
    return out


def as_task(series: SeriesSet, task: TaskKind, *, labelled: bool | None = None) -> SeriesSet:
    """The same series with targets in the form of a task: a small file may look like another one by chance.

    Args:
        series: Series with any target or none.
        task: Form wanted.
        labelled: Whether sequence targets are class labels; None leaves them as they are.

    Raises:
        ValueError: the targets cannot be read that way.

    Example:
        >>> as_task(SeriesSet([np.zeros((2, 1))], np.array([3.0])), "classification").target
        ['3']
    """
    kind, target = series.kind, series.target
    if target is None or (kind == task and task != "sequence"):
        return series
    if task != "sequence" and kind == "sequence":
        raise ValueError(
            f"{series.origin} has a target per sample, {task} needs one per series; check the target column"
        )
    new: Target
    if task == "classification":
        new = [_label(row, series.origin) for row in np.asarray(target)]
    elif task == "regression":
        new = _values(np.asarray(target), series.origin)
    else:
        rows = [np.asarray(one) for one in target]
        if kind != "sequence":  # one target for all samples of a series
            rows = [np.repeat(row[None], length, axis=0) for row, length in zip(rows, series.lengths, strict=True)]
        if labelled is True:
            rows = [row if _is_text(row) else np.array([_label(one, series.origin) for one in row]) for row in rows]
        elif labelled is False:
            rows = [_values(row, series.origin) if _is_text(row) else row for row in rows]
        new = rows
    return SeriesSet(
        values=series.values,
        target=new,
        timestamps=series.timestamps,
        names=series.names,
        sample_rate=series.sample_rate,
        channels=series.channels,
        origin=series.origin,
        targets=series.targets,
    )


def alike(parts: dict[str, SeriesSet]) -> dict[str, SeriesSet]:
    """The parts with targets in the form that the training part has; a small part may look like another task.

    Raises:
        ValueError: the targets of a part cannot be read that way.

    Example:
        >>> train = SeriesSet([np.zeros((2, 1))] * 2, ["0", "1"])
        >>> alike({"train": train, "test": SeriesSet([np.zeros((2, 1))], np.array([1]))})["test"].target
        ['1']
    """
    train = parts.get("train")
    if train is None or train.kind is None or train.target is None:
        return parts
    labelled = _is_text(train.target[0])
    return {part: as_task(series, train.kind, labelled=labelled) for part, series in parts.items()}


def _words_and_numbers(label: str) -> list[tuple[bool, int, str]]:
    parts = (part for part in re.split(r"(\d+)", label) if part)
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


def _is_text(target: object) -> bool:
    return np.asarray(target).dtype.kind in "OUS"


def _label(row: Array, origin: str) -> str:
    if np.size(row) != 1:
        raise ValueError(f"{origin} has {np.size(row)} targets per series, a classification needs one label")
    value = float(np.asarray(row).reshape(()))
    return str(int(value)) if value.is_integer() else str(value)


def _values(labels: Array, origin: str) -> Array:
    try:
        return labels.astype(np.float64)[:, None]
    except ValueError:
        raise ValueError(
            f"{origin} has targets that are not numbers, such as {str(labels[0])!r}; values are needed"
        ) from None


def _code(label: str, name: str, numbers: Mapping[str, int], info: DataInfo) -> int:
    if label not in numbers:
        raise ValueError(
            f"label {label!r} of series {name!r} was not seen in training; known labels are {', '.join(info.classes)}"
        )
    return numbers[label]


def _check_width(target: Array, info: DataInfo, origin: str) -> None:
    if target.shape[1] != info.n_targets:
        raise ValueError(f"the model was trained on {info.n_targets} target values, {origin} has {target.shape[1]}")
