"""Answers of a streaming model after every sample, from one parallel pass."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.batch import Batch
from seqkit.models import SequenceModel
from seqkit.nn import LastPool, MaxPool, MeanPool

__all__ = ["answers_after_each_sample", "prefix_scores"]

POOLS = (MeanPool, LastPool, MaxPool)


def answers_after_each_sample(model: SequenceModel) -> bool:
    """Whether `prefix_scores` serves a model: its pooling is a mean, a maximum or the last sample.

    Example:
        >>> from seqkit.batch import DataInfo
        >>> from seqkit.models import ModelConfig
        >>> info = DataInfo("toy", "classification", n_channels=1, classes=("a", "b"))
        >>> answers_after_each_sample(SequenceModel.from_config(ModelConfig.preset("hippo_legs"), info))
        False
    """
    return isinstance(model.pool, POOLS)


def prefix_scores(model: SequenceModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """What a model would have said after each sample, had the series ended there: as `step` gives it.

    A student that learns from all of them answers early in a stream as well as at its end. A loss that is linear in the
    target, such as cross-entropy at temperature 1, is right for every prefix, though the teacher saw the whole series:
    the mean of what it says, given a prefix, is what is known after that prefix. Of logarithms this does not hold.

    Args:
        model: A model that pools by a mean, a maximum or the last sample.
        batch: Series (B, L, C).

    Returns:
        Scores or values after each sample, (B, L, n_outputs), and which of them are inside a series, bool (B, L).

    Raises:
        ValueError: another pooling, or one target per sample, where `forward` gives them already.

    Source:
        The tower property of conditional expectations.

    Example:
        >>> from seqkit.batch import DataInfo
        >>> from seqkit.models import ModelConfig
        >>> info = DataInfo("toy", "classification", n_channels=1, classes=("a", "b"))
        >>> model = SequenceModel.from_config(ModelConfig.preset("gru", d_model=4, n_layers=1), info).eval()
        >>> batch = Batch(torch.randn(1, 9, 1), None, torch.tensor([9]))
        >>> scores, inside = prefix_scores(model, batch)
        >>> bool(torch.allclose(scores[:, -1], model(batch.values), atol=1e-6))
        True
    """
    if not answers_after_each_sample(model):
        pool = "none" if model.pool is None else model.config.pool
        raise ValueError(
            f"answers after each sample need pool mean, max or last, got {pool}; learn from the end of the series only"
        )
    x = model.course(batch.values, batch.lengths, timestamps=batch.timestamps, observed=batch.observed)
    inside = torch.arange(x.shape[1], device=x.device) < batch.lengths.to(x.device)[:, None]
    if isinstance(model.pool, MeanPool):
        count = torch.arange(1, x.shape[1] + 1, device=x.device, dtype=x.dtype)
        x = x.cumsum(dim=1) / count[:, None]
    elif isinstance(model.pool, MaxPool):
        x = x.cummax(dim=1).values
    return model.head(model.readout(x)), inside
