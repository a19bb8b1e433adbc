"""The batches of one pipeline of a run: which series each has, and all of one shape."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor
from torch.nn import functional as F

from seqkit.batch import Batch
from seqkit.datasets.batching import SeriesDataset
from seqkit.datasets.module import SeriesDataModule
from seqkit.datasets.order import Draw, EpochBatches

__all__ = ["PipelineBatches"]


class PipelineBatches:
    """Batches drawn without regard to lengths and padded to the longest series, so that shapes never change.

    With several pipelines each has series of its own, so that each series has one buffer. They make steps of the same
    number and size, so where their number does not divide that of the series, those with one more leave one out in
    each epoch, each series in turn.

    Args:
        module: The data.
        batch_size: Series of a pipeline's batch.
        seed: Seed of the run.
        replica: Number of this pipeline.
        n_replicas: Number of pipelines.
    """

    def __init__(self, module: SeriesDataModule, batch_size: int, seed: int, replica: int, n_replicas: int) -> None:
        self.module, self.info, self.batch_size = module, module.info, batch_size
        self.length = max(int(series.lengths.max()) for part, series in module.sets.items() if part != "test")
        train = module.sets["train"]
        self.places = list(range(replica, len(train), n_replicas))
        each = train.lengths[: len(train) // n_replicas]  # without buckets nothing but their number matters
        self.order = EpochBatches(each, batch_size, seed, bucket=False)
        self.rows = SeriesDataset(train, self.info)

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self.order)

    def __getitem__(self, draw: Draw) -> Batch:
        """The series of a draw."""
        return self.rows[draw]

    def draws(self, epoch: int) -> list[Draw]:
        """The batches of an epoch, by their series' places in the training part."""
        self.order.set_epoch(epoch)
        places = self.places
        if len(places) > len(self.order.lengths):
            out = epoch % len(places)
            places = places[:out] + places[out + 1 :]
        return [Draw([places[k] for k in draw.places], draw.key) for draw in self.order]

    def validation(self) -> Iterator[Batch]:
        """The validation part in batches of a pipeline's size."""
        series = self.module.sets["val"]
        rows = SeriesDataset(series, self.info)
        for start in range(0, len(series), self.batch_size):
            yield rows.__getitems__(range(start, min(start + self.batch_size, len(series))))

    def known(self, batch: Batch) -> dict[str, Tensor]:
        """What every stage is given of a batch by name."""
        known = {"lengths": batch.lengths}
        if batch.timestamps is not None:
            times = batch.timestamps.double()
            missing = self.length - times.shape[1]
            known["timestamps"] = F.pad(times, (0, missing), mode="replicate") if missing else times
        if batch.observed is not None:
            known["observed"] = self.padded(batch.observed)
        return known

    def padded(self, values: Tensor) -> Tensor:
        """Values whose time axis has the length that all batches have."""
        missing = self.length - values.shape[1]
        return values if not missing else F.pad(values, (0, 0) * (values.dim() - 2) + (0, missing))
