"""From series to a trained model: cut, build, train, calibrate."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import lightning as L
import numpy as np
import torch
from rich.console import Console
from torch import Tensor
from torch.nn import functional as F

from seqkit.batch import Batch, DataInfo
from seqkit.checks import check_positive
from seqkit.datasets.batching import loader, training_loader
from seqkit.datasets.series import SeriesSet
from seqkit.datasets.splits import cut_series
from seqkit.datasets.statistics import Statistics, statistics_of
from seqkit.estimators.sizes import Sizes
from seqkit.estimators.start import start_from
from seqkit.estimators.watch import CallFunctions, TimeLimit
from seqkit.models import SequenceModel
from seqkit.nn import ClassHead, SharePool, ValueHead
from seqkit.runs.fitting import fit_task
from seqkit.runs.inference import run_model
from seqkit.tasks.callbacks import History, Progress, SeededSteps
from seqkit.tasks.progress import ProgressLine
from seqkit.tasks.task import SequenceTask

__all__ = ["Learned", "Manner", "check_spacing", "copied", "learn", "scale_scores"]


@dataclass(frozen=True)
class Manner:
    """How a training goes about, beside its sizes.

    Args:
        seed: Seed of weights, cuts, order and dropout.
        time_limit: Seconds for all of it; None for no limit.
        class_weight: Weight of each class; None for equal ones.
        callbacks: Lightning's callbacks, or functions of an epoch's metrics.
        device: "auto", "cpu" or "cuda".
        verbose: Whether to show what was chosen and how far it is.
        began: Time on the monotonic clock from which the limit counts.

    Raises:
        ValueError: a time limit that is not positive, or a callback that cannot be called.

    Example:
        >>> Manner(seed=0).device
        'auto'
    """

    seed: int
    time_limit: float | None = None
    class_weight: list[float] | None = None
    callbacks: Sequence[L.Callback | Callable[[dict[str, float]], object]] = ()
    device: str = "auto"
    verbose: bool = False
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Refuses what would only be met after an epoch."""
        if self.time_limit is not None:
            check_positive("time_limit", self.time_limit)
        for one in self.callbacks:
            if not (isinstance(one, L.Callback) or callable(one)):
                raise ValueError(f"`callbacks` must be Lightning callbacks or functions of the metrics, got {one!r}")


@dataclass(frozen=True)
class Learned:
    """What came out of a training.

    Args:
        model: The model, on the CPU, in evaluation mode.
        history: Metrics of each epoch.
        stopped_by: "epochs", "patience", "time_limit" or "callback".
        temperature: What the scores were divided by to calibrate them; 1 without validation series.

    Example:
        >>> Learned.__name__
        'Learned'
    """

    model: SequenceModel
    history: list[dict[str, float]]
    stopped_by: str
    temperature: float


def learn(
    series: SeriesSet, info: DataInfo, sizes: Sizes, manner: Manner, previous: SequenceModel | None = None
) -> Learned:
    """Trains a model on series.

    With validation series the weights of the best epoch are kept, or of a start from data that no epoch betters, and
    the scores of classes are divided by the temperature that makes these series most likely; without, the weights of
    the last step stay as they are.

    Args:
        series: Series with targets.
        info: What they are.
        sizes: Sizes of model and training.
        manner: Everything else.
        previous: Model to go on from instead of fresh weights; it is not changed.

    Raises:
        ValueError: options that the mixer refuses, or uneven times with a mixer that has no notion of time.
        FloatingPointError: the training diverged.

    Source:
        Guo et al. 2017, On calibration of modern neural networks, for the temperature.

    Example:
        >>> from seqkit.estimators.sizes import DataShape, choose_sizes
        >>> series = SeriesSet([np.zeros((5, 1)), np.ones((5, 1))], ["a", "b"])
        >>> info = DataInfo("toy", "classification", n_channels=1, classes=("a", "b"))
        >>> sizes = choose_sizes(DataShape(2, 5.0, 1, True), "s4d", {"d_model": 4, "epochs": 1})
        >>> learn(series, info, sizes, Manner(seed=0)).stopped_by
        'epochs'
    """
    train, held_out = series, None
    if sizes.validation and len(series) > 1:
        train, held_out = cut_series(series, sizes.validation, [manner.seed, 1])
    model = _fresh(train, info, sizes, manner) if previous is None else copied(previous)
    check_spacing(model, series)
    console = Console(stderr=True) if manner.verbose else None
    _say(console, sizes, train, held_out)
    history = History(sizes.patience)
    limit = TimeLimit(_seconds_left(manner))
    functions = [one for one in manner.callbacks if not isinstance(one, L.Callback)]
    called = CallFunctions(functions, history)
    given = [one for one in manner.callbacks if isinstance(one, L.Callback)]
    task = SequenceTask(
        model,
        learning_rate=sizes.learning_rate,
        weight_decay=sizes.weight_decay,
        label_smoothing=sizes.label_smoothing,
        input_noise=sizes.input_noise,
        class_weight=manner.class_weight,
    )
    if held_out is not None and isinstance(model.pool, SharePool):
        _count_start(history, task, loader(held_out, info, batch_size=4 * sizes.batch_size))
    fit_task(
        task,
        epochs=sizes.epochs,
        callbacks=[
            SeededSteps(manner.seed),
            history,
            limit,
            called,
            *given,
            Progress(history, ProgressLine(console)),
        ],
        train=training_loader(train, info, batch_size=sizes.batch_size, seed=manner.seed),
        validation=None if held_out is None else loader(held_out, info, batch_size=4 * sizes.batch_size),
        device=manner.device,
    )
    model = model.cpu().eval()
    if held_out is not None and any("val_loss" in row for row in history.rows):
        model.load_state_dict(history.best_weights)
    temperature = 1.0
    if held_out is not None and info.classes:
        temperature = _calibrate(model, held_out, sizes.batch_size, manner.device)
    return Learned(model, history.rows, _reason(history, limit, called, sizes), temperature)


def check_spacing(model: SequenceModel, series: SeriesSet) -> None:
    """Refuses uneven times for a model that has no notion of time.

    Raises:
        ValueError: the mixer cannot use the times.
    """
    if series.timestamps is not None and not model.uses_rate:
        raise ValueError(
            f"the samples of {series.origin} are not evenly spaced in time, or series differ in their rate, and "
            f"{model.config.name} has no notion of the sampling step; resample them or choose a state-space mixer"
        )


def _fresh(train: SeriesSet, info: DataInfo, sizes: Sizes, manner: Manner) -> SequenceModel:
    model = SequenceModel.from_config(sizes.model, info, seed=manner.seed)
    with np.errstate(invalid="ignore"):  # a channel that no series has a value of: held at its mean, 0
        mean, std = statistics_of(train.values, gaps=train.has_missing)
    model.input_norm.set_statistics(mean, torch.where(std.isnan(), torch.ones(()), std))
    if isinstance(model.head, ValueHead):
        model.head.set_statistics(*_target_statistics(train))
    start_from(model, train, manner.seed, manner.class_weight)
    return model


@torch.no_grad()
def _count_start(history: History, task: SequenceTask, held_out: Iterable[Batch]) -> None:
    """Lets the weights before the first step compete: a start from data may be better than any epoch."""
    task.eval()
    found = [(float(task.loss(batch)[0]), len(batch.lengths)) for batch in held_out]
    task.train()
    history.best_loss = sum(loss * count for loss, count in found) / sum(count for _, count in found)
    history.best_weights = {key: value.detach().clone() for key, value in task.model.state_dict().items()}


def _target_statistics(train: SeriesSet) -> Statistics:
    assert isinstance(train.target, np.ndarray)  # a regression's
    return statistics_of([train.target])


def copied(model: SequenceModel) -> SequenceModel:
    """A model of the same weights, on the CPU, in training mode."""
    out = SequenceModel.from_config(model.config, model.info, seed=0)
    out.load_state_dict(model.state_dict())
    return out.train()


def _seconds_left(manner: Manner) -> float:
    if manner.time_limit is None:
        return float("inf")
    return max(1e-9, manner.time_limit - (time.monotonic() - manner.began))


def _reason(history: History, limit: TimeLimit, called: CallFunctions, sizes: Sizes) -> str:
    if limit.reached:
        return "time_limit"
    if called.stopped:
        return "callback"
    if history.stopped and len(history.rows) < sizes.epochs:
        return "patience"
    return "epochs" if len(history.rows) == sizes.epochs else "callback"


def _calibrate(model: SequenceModel, held_out: SeriesSet, batch_size: int, device: str) -> float:
    """Divides the head's weights by the temperature, so that all forms of the model give calibrated scores."""
    outputs = run_model(model, loader(held_out, model.info, batch_size=4 * batch_size), device=device)
    assert outputs.target is not None  # they are training series
    temperature = _temperature(outputs.scores, outputs.target)
    scale_scores(model, 1 / temperature)
    return temperature


def scale_scores(model: SequenceModel, factor: float) -> None:
    """Multiplies the scores of a classifier."""
    assert isinstance(model.head, ClassHead)
    with torch.no_grad():
        model.head.linear.weight.mul_(factor)
        model.head.linear.bias.mul_(factor)


def _temperature(scores: Tensor, target: Tensor) -> float:
    """The temperature, from 1/20 to 20, at which the targets are most likely."""
    grid = torch.logspace(-1.3, 1.3, 105, dtype=torch.float64)
    # Every score counts one more mistake spread over all series: few series, all right, would make it 0.
    losses = torch.stack(
        [F.cross_entropy(scores.double() / t, target, label_smoothing=1 / (len(target) + 1)) for t in grid]
    )
    return float(grid[losses.argmin()])


def _say(console: Console | None, sizes: Sizes, train: SeriesSet, held_out: SeriesSet | None) -> None:
    if console is None:
        return
    lengths = train.lengths
    held = "" if held_out is None else f", {len(held_out)} held out"
    console.print(
        f"{len(train)} series{held}, {train.n_channels} channels, {lengths.min()} to {lengths.max()} samples",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip
    shown = "  ".join(f"{key} {value}" for key, value in sizes.shown().items() if value is not None)
    console.print(shown, highlight=False, markup=False, soft_wrap=True)
