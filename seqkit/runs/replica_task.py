"""What one of several processes that share each batch trains on."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor

from seqkit.batch import Batch
from seqkit.models import SequenceModel
from seqkit.runs.loss_share import count_targets
from seqkit.tasks.task import SequenceTask

__all__ = ["ReplicaTask"]


class ReplicaTask(SequenceTask):
    """A task of which each process trains on every `ranks`-th series of a batch.

    Gradients are averaged over the processes; each loss is weighted so that the average is the gradient of the whole
    batch's loss, whatever the batch.

    Args:
        model: As in `SequenceTask`.
        rank: Number of this process.
        ranks: Number of processes.
        options: As in `SequenceTask`.
    """

    def __init__(self, model: SequenceModel, *, rank: int, ranks: int, **options: Any) -> None:
        super().__init__(model, **options)
        self.rank, self.ranks = rank, ranks

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step on this process's part of the batch."""
        info = self.model.info
        # A batch with fewer series than processes leaves some with a row that weighs nothing.
        empty = self.rank >= len(batch.lengths)
        rows = slice(0, 1) if empty else slice(self.rank, None, self.ranks)
        mine = Batch(*(cast("Tensor", None if one is None else one[rows]) for one in batch))
        share = 0.0 if empty else self.ranks * count_targets(info, mine.lengths) / count_targets(info, batch.lengths)
        return share * super().training_step(mine, batch_idx)
