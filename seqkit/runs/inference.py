"""Outputs of a model over a set of series, and metrics from them; no trainer is needed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from seqkit.batch import Batch, DataInfo
from seqkit.checks import NotFiniteError, check_choice
from seqkit.datasets.naive import naive_forecasts
from seqkit.datasets.series import SeriesSet
from seqkit.datasets.source import PARTS
from seqkit.datasets.targets import encode_targets
from seqkit.models import SequenceModel

__all__ = [
    "SPLITS",
    "Outputs",
    "confusion",
    "measure",
    "measure_naive",
    "new_gaps",
    "pick_device",
    "run_model",
    "to_device",
    "told_rate",
]

SPLITS = (*PARTS, "all")
NOT_FINITE = (
    "the model gives NaN or infinite values: its training diverged (lower learning_rate and train anew), or the series "
    "have extreme values"
)


class Outputs(NamedTuple):
    """Raw outputs of a model, series after series.

    Args:
        scores: Scores or values, (n, n_outputs); for sequence targets all samples in a row.
        target: Class numbers or values in the same order, or None.
        lengths: Samples of each series.
    """

    scores: Tensor
    target: Tensor | None
    lengths: Tensor


def pick_device(name: str, precision: str = "32") -> torch.device:
    """The device meant by "auto", "cpu" or "cuda".

    Args:
        name: One of the three.
        precision: What it must be able to do.

    Raises:
        ValueError: another name, "cuda" where there is none, or a precision that only "cuda" has.

    Example:
        >>> pick_device("cpu").type
        'cpu'
    """
    check_choice("device", name, ("auto", "cpu", "cuda"))
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device 'cuda' was asked for, but torch finds no CUDA device; use device=auto or cpu")
    device = torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
    if precision == "16-mixed" and device.type != "cuda":
        raise ValueError("precision '16-mixed' needs a CUDA device; use precision=bf16-mixed or 32")
    return device


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with all its tensors on a device.

    Example:
        >>> batch = Batch(torch.zeros(1, 3, 2), None, torch.tensor([3]))
        >>> to_device(batch, torch.device("cpu")).values.shape
        torch.Size([1, 3, 2])
    """
    return Batch(
        batch.values.to(device),
        None if batch.target is None else batch.target.to(device),
        batch.lengths.to(device),
        None if batch.timestamps is None else batch.timestamps.to(device),
        None if batch.observed is None else batch.observed.to(device),
    )


@torch.no_grad()
def run_model(
    model: SequenceModel, batches: Iterable[Batch], *, sample_rate: float | None = None, device: str = "auto"
) -> Outputs:
    """Runs a model over batches in evaluation mode.

    Args:
        model: The model; it comes back on the device and in the mode it had.
        batches: Batches in the order wanted.
        sample_rate: Samples per second of the series; None for that of the training data.
        device: "auto", "cpu" or "cuda".

    Raises:
        ValueError: series that do not fit the model.
        FloatingPointError: an output is NaN or infinite.
    """
    where, home, was_training = pick_device(device), next(model.parameters()).device, model.training
    model.to(where).eval()
    scores, targets, lengths = [], [], []
    try:
        for batch in batches:
            there = to_device(batch, where)
            try:
                out = model(
                    there.values,
                    there.lengths,
                    sample_rate=sample_rate,
                    timestamps=there.timestamps,
                    observed=there.observed,
                ).cpu()
            except NotFiniteError as error:  # from inside the network: samples are checked when they are read
                raise FloatingPointError(NOT_FINITE) from error
            target = batch.target
            if model.pool is None:
                inside = torch.arange(out.shape[1]) < batch.lengths[:, None]
                out, target = out[inside], None if target is None else target[inside]
            scores.append(out)
            lengths.append(batch.lengths)
            if target is not None:
                targets.append(target)
    finally:
        model.to(home).train(was_training)
    outputs = Outputs(torch.cat(scores).float(), torch.cat(targets) if targets else None, torch.cat(lengths))
    if not bool(outputs.scores.isfinite().all()):
        raise FloatingPointError(NOT_FINITE)
    return outputs


def measure(outputs: Outputs, info: DataInfo) -> dict[str, float]:
    """Metrics of outputs with targets.

    Returns:
        "accuracy" and "loss" (cross-entropy) for classes; "rmse", "mae" and "loss" (mean squared error) for values,
        in the target's units.

    Raises:
        ValueError: there are no targets.

    Example:
        >>> info = DataInfo("toy", "classification", n_channels=1, classes=("a", "b"))
        >>> measure(Outputs(torch.tensor([[2.0, 0.0]]), torch.tensor([0]), torch.tensor([5])), info)["accuracy"]
        1.0
    """
    if outputs.target is None:
        raise ValueError("the data have no targets, so there is nothing to measure; use `seqkit predict` instead")
    scores, target = outputs.scores, outputs.target
    if info.classes:
        accuracy = (scores.argmax(dim=-1) == target).double().mean()
        return {"accuracy": float(accuracy), "loss": float(F.cross_entropy(scores, target))}
    error = (scores - target.reshape(scores.shape)).double()
    mse = error.square().mean()
    return {"rmse": float(mse.sqrt()), "mae": float(error.abs().mean()), "loss": float(mse)}


def measure_naive(series: SeriesSet, info: DataInfo) -> dict[str, dict[str, float]]:
    """Metrics of the naive forecasts of windows, by method, to hold a model's against; empty for other series.

    Example:
        >>> info = DataInfo("toy", "classification", n_channels=1, classes=("a", "b"))
        >>> measure_naive(SeriesSet([np.zeros((9, 1))], ["a"]), info)
        {}
    """
    out = {}
    for name, values in naive_forecasts(series).items():
        target = encode_targets(series, info)
        assert isinstance(target, Tensor)  # windows have values as targets
        out[name] = measure(Outputs(torch.from_numpy(values), target, torch.from_numpy(series.lengths)), info)
    return out


def confusion(outputs: Outputs, info: DataInfo) -> np.ndarray[Any, Any]:
    """Confusion matrix (K, K): rows are true classes, columns predicted ones.

    Example:
        >>> info = DataInfo("toy", "classification", n_channels=1, classes=("a", "b"))
        >>> confusion(Outputs(torch.tensor([[0.0, 1.0]]), torch.tensor([0]), torch.tensor([5])), info).tolist()
        [[0, 1], [0, 0]]
    """
    k = len(info.classes)
    target = outputs.target if outputs.target is not None else torch.empty(0, dtype=torch.int64)
    pairs = target * k + outputs.scores.argmax(dim=-1)
    return torch.bincount(pairs, minlength=k * k).reshape(k, k).numpy()


def new_gaps(model: SequenceModel, series: SeriesSet) -> tuple[str, ...]:
    """A note where values are missing that were not in training: the model never learned from held ones.

    Example:
        >>> from seqkit.models import ModelConfig
        >>> info = DataInfo("toy", "classification", n_channels=1, classes=("a", "b"))
        >>> model = SequenceModel.from_config(ModelConfig.preset("gru", d_model=4, n_layers=1), info)
        >>> len(new_gaps(model, SeriesSet([np.array([[1.0], [np.nan]])])))
        1
    """
    if model.info.missing or not series.has_missing:
        return ()
    return ("values are missing, as none was in training; the last observed one of each channel is held",)


def told_rate(
    model: SequenceModel, series: SeriesSet, *, sample_rate: float | None, subsample: int = 1, hide_rate: bool = False
) -> tuple[float | None, tuple[str, ...]]:
    """Sample rate to tell the model, or None for that of its training data, and notes on the choice.

    Args:
        model: The model.
        series: The series as they go in; their own rate counts if none is given.
        sample_rate: Rate given by the user, before subsampling.
        subsample: Every how many samples was kept.
        hide_rate: Whether to tell nothing.

    Raises:
        ValueError: a rate for series whose samples each have a time of their own.

    Example:
        >>> from seqkit.models import ModelConfig
        >>> info = DataInfo("toy", "classification", n_channels=1, classes=("a", "b"), sample_rate=100.0)
        >>> model = SequenceModel.from_config(ModelConfig.preset("gru", d_model=4, n_layers=1), info)
        >>> rate, notes = told_rate(model, SeriesSet([np.zeros((9, 1))]), sample_rate=50.0)
        >>> rate, notes[0][:40]
        (None, 'gru has no notion of the sampling step, ')
    """
    if series.timestamps is not None:
        if sample_rate is not None:
            raise ValueError(
                f"{series.origin} says when each sample was taken, so it takes no sample_rate; leave it out"
            )
        if hide_rate:
            return None, ("the samples are not evenly spaced in time, which the model was not told",)
    base = model.info.sample_rate or 1.0
    if sample_rate is not None:
        rate = sample_rate / subsample
    else:
        rate = series.sample_rate if series.sample_rate is not None else base / subsample
    if abs(rate / base - 1) < 1e-9:
        return None, ()
    unit = "Hz" if model.info.sample_rate is not None else "samples per training sample"
    if hide_rate:
        return None, (f"the series have {rate:g} {unit} and the model was trained on {base:g}, which it was not told",)
    if not model.uses_rate:
        return None, (
            f"{model.config.name} has no notion of the sampling step, so it could not be told that the series have "
            f"{rate:g} {unit} instead of {base:g}",
        )
    return rate, ()
