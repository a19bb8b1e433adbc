"""The network of a forecaster, which learns what the linear part leaves over, and its training."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from torch import Tensor
from torch.nn import functional as F

from seqkit.batch import DataInfo
from seqkit.datasets.rows import Array
from seqkit.estimators.base import is_true
from seqkit.estimators.forecast_sizes import ForecastSizes
from seqkit.estimators.forecast_windows import WindowSet
from seqkit.models import SequenceModel
from seqkit.runs.inference import pick_device
from seqkit.tasks.param_groups import param_groups
from seqkit.tasks.progress import ProgressLine
from seqkit.tasks.task import warmup_cosine

__all__ = ["Course", "Trained", "build_network", "run_network", "train_network"]

Row = dict[str, float]


class Course(NamedTuple):
    """How a training goes about.

    Args:
        seed: Seed of order and dropout.
        until: Epochs to train; the learning rate comes down over all that the sizes name.
        deadline: Time on the monotonic clock to be done by; infinite for none.
        learning_rate: Peak learning rate.
        decay: Whether the learning rate warms up and comes down.
        device: "auto", "cpu" or "cuda".
        callbacks: Called with the metrics of each epoch; True ends the training.
        console: Where progress goes; None for nowhere.

    Example:
        >>> Course(0, 5, math.inf, 0.01).decay
        True
    """

    seed: int
    until: int
    deadline: float
    learning_rate: float
    decay: bool = True
    device: str = "auto"
    callbacks: Sequence[Callable[[Row], object]] = ()
    console: Console | None = None


class Trained(NamedTuple):
    """What came out.

    Args:
        history: Metrics of each epoch.
        stopped_by: Why it ended.
        added: What the network added to the held-out windows before any epoch and after each, (m, H, T).
    """

    history: list[Row]
    stopped_by: str
    added: list[Array]


class _Data(NamedTuple):
    values: Tensor
    observed: Tensor | None
    target: Tensor
    base: Tensor

    def rows(self, places: Tensor) -> _Data:
        return _Data(*(None if one is None else one[places] for one in self))  # type: ignore[arg-type]


def build_network(windows: WindowSet, sizes: ForecastSizes, seed: int) -> SequenceModel:
    """A fresh network from a window to the values of all steps, which gives 0 before it is trained.

    Example:
        >>> build_network.__name__
        'build_network'
    """
    values, observed = _inputs(windows)
    info = DataInfo(
        "forecast",
        "regression",
        n_channels=values.shape[-1],
        n_targets=windows.target.shape[1] * windows.target.shape[2],
        missing=observed is not None,
    )
    network = SequenceModel.from_config(sizes.model, info, seed=seed)
    with torch.no_grad():
        network.head.linear.weight.zero_()
        network.head.linear.bias.zero_()
    return network.eval()


@torch.no_grad()
def run_network(network: SequenceModel, windows: WindowSet, device: str = "cpu") -> Array:
    """What the network adds, (m, H, T), in units of each window."""
    values, observed = _inputs(windows)
    where = pick_device(device)
    network.to(where).eval()
    try:
        out = _added(network, values.to(where), None if observed is None else observed.to(where))
    finally:
        network.cpu()
    return np.asarray(out.cpu().double().numpy()).reshape(-1, *windows.target.shape[1:])


def train_network(
    network: SequenceModel,
    windows: WindowSet,
    base: Array,
    sizes: ForecastSizes,
    course: Course,
    held_out: tuple[WindowSet, Array] | None = None,
) -> Trained:
    """Trains the network in place on what the linear part leaves over; the loss is Huber's, in units of each window.

    With held-out windows it ends where their loss has not become smaller for as many epochs as the sizes say.

    Args:
        network: The network.
        windows: Training windows.
        base: Forecasts of the linear part for them, (m, H, T).
        sizes: Sizes of the training.
        course: Everything else.
        held_out: Windows that it does not learn from, and the linear part's forecasts for them.

    Raises:
        FloatingPointError: the training diverged.
    """
    where = pick_device(course.device)
    data = _Data(*(None if one is None else one.to(where) for one in _data(windows, base)))  # type: ignore[arg-type]
    check = None
    if held_out is not None:
        check = _Data(*(None if one is None else one.to(where) for one in _data(*held_out)))  # type: ignore[arg-type]
    network.to(where)
    try:
        with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []):
            torch.manual_seed(course.seed) if where.type == "cuda" else torch.default_generator.manual_seed(course.seed)
            return _epochs(network, data, check, sizes, course)
    finally:
        network.cpu().eval()


def _epochs(network: SequenceModel, data: _Data, check: _Data | None, sizes: ForecastSizes, course: Course) -> Trained:
    groups = param_groups(network, learning_rate=course.learning_rate, weight_decay=sizes.weight_decay)
    optimizer = torch.optim.AdamW(groups)
    per_epoch = math.ceil(len(data.values) / sizes.batch_size)
    total = max(1, sizes.epochs * per_epoch)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: warmup_cosine(step, total, 0.1) if course.decay else 1.0
    )
    order = torch.Generator().manual_seed(course.seed)
    rows: list[Row] = []
    best, best_loss, added = 0, math.inf, []
    if check is not None:
        best_loss, found = _looked_at(network, check)
        added.append(found)
    line, stopped_by = ProgressLine(course.console), "epochs"
    line.start(epochs=course.until)
    try:
        for epoch in range(course.until):
            began = time.monotonic()
            row: Row = {"epoch": epoch + 1, "train_loss": _one_epoch(network, data, sizes, order, optimizer, schedule)}
            if check is not None:
                row["val_loss"], found = _looked_at(network, check)
                added.append(found)
                if row["val_loss"] < best_loss:
                    best, best_loss = epoch + 1, row["val_loss"]
            row["seconds"] = time.monotonic() - began
            rows.append(row)
            line.epoch(epoch, row)
            line.move(epoch + 1)
            asked = [is_true(call(dict(row))) for call in course.callbacks]  # all of them are called
            if any(asked):
                stopped_by = "callback"
            elif epoch + 1 < course.until and time.monotonic() + row["seconds"] > course.deadline:
                stopped_by = "time_limit"
            elif check is not None and sizes.patience is not None and epoch + 1 - best >= sizes.patience:
                stopped_by = "patience"
            if stopped_by != "epochs":
                break
    finally:
        line.stop()
    return Trained(rows, stopped_by, added)


def _one_epoch(
    network: SequenceModel, data: _Data, sizes: ForecastSizes, order: torch.Generator, optimizer: Any, schedule: Any
) -> float:
    network.train()
    losses = []
    for places in _batches(len(data.values), sizes.batch_size, order, data.values.device):
        optimizer.zero_grad(set_to_none=True)
        loss = _loss(network, data.rows(places))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())
    mean = float(torch.stack(losses).mean())
    if not math.isfinite(mean):
        raise FloatingPointError("the training loss became NaN or infinite; lower learning_rate")
    return mean


def _batches(n: int, size: int, order: torch.Generator, where: torch.device) -> Iterator[Tensor]:
    for places in torch.randperm(n, generator=order).split(size):  # type: ignore[no-untyped-call]
        yield places.to(where)


def _loss(network: SequenceModel, data: _Data) -> Tensor:
    return _error(data, network(data.values, observed=data.observed))


def _error(data: _Data, added: Tensor) -> Tensor:
    seen = data.target.isfinite()
    error = F.smooth_l1_loss(
        (data.base + added.reshape(data.target.shape))[seen], data.target[seen], beta=1.0, reduction="sum"
    )  # what was not observed weighs nothing
    return error / seen.sum().clamp(min=1)


@torch.no_grad()
def _looked_at(network: SequenceModel, data: _Data) -> tuple[float, Array]:
    """Loss on windows, and what the network adds to them, (m, H, T)."""
    network.eval()
    added = _added(network, data.values, data.observed)
    return float(_error(data, added)), np.asarray(added.cpu().numpy()).reshape(data.target.shape)


def _added(network: SequenceModel, values: Tensor, observed: Tensor | None) -> Tensor:
    """Outputs, (m, H T), a part of the windows at a time."""
    return torch.cat(
        [
            network(values[k : k + 512], observed=None if observed is None else observed[k : k + 512])
            for k in range(0, len(values), 512)
        ]
    )


def _data(windows: WindowSet, base: Array) -> _Data:
    values, observed = _inputs(windows)
    return _Data(values, observed, torch.from_numpy(windows.target).float(), torch.from_numpy(base).float())


def _inputs(windows: WindowSet) -> tuple[Tensor, Tensor | None]:
    """Samples (m, L, C) and which were observed: with values known ahead, the steps ahead belong to the series."""
    m, _, n_channels = windows.y.shape
    y = torch.from_numpy(windows.y).float()
    if windows.X.shape[-1] == 0:
        observed = y.isfinite()
        return torch.nan_to_num(y), None if bool(observed.all()) else observed
    horizon = windows.target.shape[1]
    y = torch.cat([y, y.new_full((m, horizon, n_channels), math.nan)], dim=1)
    values = torch.cat([y, torch.from_numpy(windows.X).float()], dim=2)
    return torch.nan_to_num(values), values.isfinite()
