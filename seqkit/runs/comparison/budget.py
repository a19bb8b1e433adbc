"""How many epochs fit a budget, measured on a few steps."""

from __future__ import annotations

import time
from itertools import islice

import torch

from seqkit.datasets.module import SeriesDataModule
from seqkit.runs.config import RunConfig
from seqkit.runs.inference import pick_device, to_device
from seqkit.runs.training import build_model
from seqkit.tasks.task import SequenceTask

__all__ = ["epochs_within", "parse_duration"]

ENOUGH_STEPS, ENOUGH_SECONDS = 12, 6.0
FORWARD_SHARE = 1 / 3
"""Of the time of a training step: a validation batch is only run forward."""

_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def parse_duration(text: str, name: str = "budget") -> float:
    """Seconds that a duration such as "90", "90s", "10m" or "2h" means; `name` is what an error calls it.

    Raises:
        ValueError: something else, or nothing positive.

    Example:
        >>> parse_duration("10m"), parse_duration("1.5h"), parse_duration("20")
        (600.0, 5400.0, 20.0)
    """
    number = text.strip().lower().rstrip("hmins ")
    unit = text.strip().lower()[len(number) :].strip() or "s"
    try:
        seconds = float(number) * _UNITS[unit]
    except (ValueError, KeyError):
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"`{name}` must be a time such as 90s, 10m or 2h, got {text!r}")
    return seconds


def epochs_within(config: RunConfig, module: SeriesDataModule, seconds: float) -> int:
    """Epochs that a training has time for: those of the configuration at most, and 1 at least.

    The learning rate follows its whole course over them, so that a model with little time still ends well.

    Args:
        config: What is to be trained.
        module: Its data.
        seconds: Time for the training.

    Cost:
        A dozen training steps, six seconds at most beyond the first; the first is not counted, since loops are compiled
        in it.
    """
    device = pick_device(config.training.device, config.training.precision)
    times = []
    with torch.random.fork_rng(devices=[]):
        task = SequenceTask(build_model(config, module), learning_rate=config.training.learning_rate).to(device)
        optimizer = torch.optim.AdamW(task.parameters(), lr=0.0)
        spent = 0.0
        for batch in islice(module.train_dataloader(), ENOUGH_STEPS):
            began = time.perf_counter()
            optimizer.zero_grad()
            torch.autograd.backward(task.loss(to_device(batch, device))[0])
            optimizer.step()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - began)
            spent += times[-1] if len(times) > 1 else 0.0
            if spent > ENOUGH_SECONDS:
                break
    counted = sorted(times[1:] or times)
    step = sum(counted) / len(counted)
    steps = len(module.train_dataloader())
    share = len(module.sets["val"]) / max(1, len(module.sets["train"])) if "val" in module.sets else 0.0
    epoch = step * steps * (1 + FORWARD_SHARE * share)
    return max(1, min(config.training.epochs, int(seconds / epoch)))
