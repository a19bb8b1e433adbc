"""A part of a batch's share of the batch's loss, for trainings that see a batch in parts."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from seqkit.batch import DataInfo

__all__ = ["count_targets", "loss_share"]


def count_targets(info: DataInfo, lengths: Tensor) -> int:
    """Targets of a batch that count: one for each series, or for each sample of it; the loss is a mean over them.

    Example:
        >>> info = DataInfo("toy", "sequence", n_channels=1)
        >>> count_targets(info, torch.tensor([3, 5]))
        8
    """
    return int(lengths.sum()) if info.task == "sequence" else len(lengths)


def loss_share(
    info: DataInfo,
    outputs: Tensor,
    target: Tensor,
    lengths: Tensor,
    *,
    count: int,
    scale: Tensor | None = None,
    smoothing: float = 0.0,
) -> Tensor:
    """Sum of the losses of some series over `count` targets; added up over a batch it is the loss of `SequenceTask`.

    Args:
        info: What is predicted.
        outputs: Scores or values, (n, K), or (n, L, K) for sequence targets.
        target: Targets of these series.
        lengths: Samples of these series.
        count: Targets of the whole batch.
        scale: Standard deviation of each predicted value, (T,).
        smoothing: Share of a class target spread over all classes.

    Example:
        >>> info = DataInfo("toy", "classification", n_channels=1, classes=("a", "b"))
        >>> out, target = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 1])
        >>> parts = [loss_share(info, out[k : k + 1], target[k : k + 1], torch.ones(1), count=2) for k in (0, 1)]
        >>> bool((parts[0] + parts[1] - F.cross_entropy(out, target)).abs() < 1e-6)
        True
    """
    if info.task == "sequence":
        if not info.classes and target.shape == outputs.shape[:2]:
            target = target[..., None]
        inside = torch.arange(outputs.shape[1], device=outputs.device) < lengths.to(outputs.device)[:, None]
        outputs, target = outputs[inside], target[: len(inside), : inside.shape[1]][inside]
    if info.classes:
        return F.cross_entropy(outputs, target.long(), label_smoothing=smoothing, reduction="sum") / count
    target = target.to(outputs.dtype).reshape(outputs.shape)
    if scale is not None:
        outputs, target = outputs / scale, target / scale
    return F.mse_loss(outputs, target, reduction="sum") / (count * outputs.shape[-1])
