"""The trials of a correction's weight: what each costs on labels, and the file that keeps them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch.nn import functional as F

from seqkit.datasets.batching import loader
from seqkit.datasets.series import SeriesSet
from seqkit.files import write_whole
from seqkit.models import SequenceModel
from seqkit.nn import ValueHead
from seqkit.runs.config import RunConfig
from seqkit.runs.inference import run_model

__all__ = ["losses_of", "read_trials", "write_trials"]


def losses_of(model: SequenceModel, series: SeriesSet, config: RunConfig) -> list[float]:
    """Loss of each series on its label: cross-entropy, or the squared error in units of the target's deviation."""
    outputs = run_model(
        model, loader(series, model.info, batch_size=config.data.batch_size), device=config.training.device
    )
    assert outputs.target is not None  # the validation part has labels
    if model.info.classes:
        return [float(one) for one in F.cross_entropy(outputs.scores, outputs.target, reduction="none")]
    assert isinstance(model.head, ValueHead)  # without classes the builder gives no other head
    error = (outputs.scores - outputs.target.reshape(outputs.scores.shape)) / model.head.scale.cpu()
    return [float(one) for one in error.square().mean(dim=-1)]


def read_trials(file: Path, n: int) -> dict[str, list[float]]:
    """Losses on n series by c, as they were kept.

    Raises:
        ValueError: a damaged file.
    """
    try:
        tried = dict(json.loads(file.read_text(encoding="utf-8")))
        whole = all(len(losses) == n and np.isfinite(losses).all() for losses in tried.values())
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file} is damaged ({error}); remove it, and c is chosen anew") from error
    if not whole:
        raise ValueError(f"{file} is damaged: a finite loss of each of {n} series is wanted; remove it")
    return tried


def write_trials(file: Path, tried: Mapping[str, list[float]]) -> None:
    """Keeps the losses by c, whole or not at all.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "choice.json"
        >>> write_trials(file, {"0.1": [1.0, 2.0]})
        >>> read_trials(file, 2)
        {'0.1': [1.0, 2.0]}
    """
    text = json.dumps(tried) + "\n"
    write_whole(file, lambda path: path.write_text(text, encoding="utf-8"))
