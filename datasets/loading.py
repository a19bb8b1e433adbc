"""The loader of training batches: it knows where in an epoch it stands, and its workers draw nothing twice."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from seqkit.batch import Batch
from seqkit.datasets.order import EpochBatches

__all__ = ["WORKER_START", "TrainingLoader", "as_is", "seeded"]

WORKER_START = "fork" if sys.platform == "linux" else None
"""How worker processes start. Forked ones share the series in memory and start in half a second, where new ones
import torch for seconds and copy every series. They run torch on one thread, and readers use neither OpenMP nor numba,
whose threads do not survive a fork; 100 starts under busy threads of both never hung. Elsewhere torch's own way holds.
"""


class TrainingLoader(DataLoader[Batch]):
    """A loader that goes on within an epoch with the batch after the last one given.

    `state_dict` and `load_state_dict` are what Lightning keeps in a checkpoint; a plain loop may keep them too. The
    epoch counts from `set_epoch` of the sampler and the workers start at the first batch, not at `iter`, so that an
    epoch chosen in between counts.

    Args:
        dataset: What gives a batch for a draw of the sampler.
        options: Options of `torch.utils.data.DataLoader`; `sampler` is an `EpochBatches`.

    Example:
        >>> batches = EpochBatches(np.arange(1, 7), batch_size=2, seed=0)
        >>> class Places:
        ...     def __getitem__(self, draw):
        ...         return draw.places
        >>> first = TrainingLoader(Places(), sampler=batches, batch_size=None)
        >>> given = iter(first)
        >>> _, rest, state = next(given), list(given), {"epoch": 0, "given": 1, "batches": 3, "seed": 0}
        >>> again = TrainingLoader(Places(), sampler=batches, batch_size=None)
        >>> again.load_state_dict(state)
        >>> list(again) == rest
        True
    """

    def __init__(self, dataset: Any, **options: Any) -> None:
        super().__init__(dataset, **options)
        self._given, self._next = 0, 0

    def __iter__(self) -> Any:
        first, self._next = self._next, 0
        self._given = first
        yield from self._from(first)

    def _from(self, first: int) -> Iterator[Batch]:
        own = self.sampler if isinstance(self.sampler, EpochBatches) else None
        if own is not None:
            own.start = first
        batches = super().__iter__()
        if own is not None:
            own.start = 0
        # Lightning puts another sampler around ours to share the batches between processes.
        for batch in batches if own is not None else islice(batches, first, None):
            self._given += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Epoch, batches of it that were given, and what says that another loader would give the same."""
        epoch, seed = getattr(self.sampler, "epoch", 0), getattr(self.sampler, "seed", 0)
        return {"epoch": int(epoch), "given": self._given, "batches": len(self), "seed": int(seed)}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Goes on where `state_dict` stood: with the next batch, or the next epoch.

        Raises:
            ValueError: the state is of another training: other series, batch size or seed.
        """
        mine = self.state_dict()
        for key, what in (("batches", "batches in an epoch"), ("seed", "a seed")):
            if state_dict.get(key) != mine[key]:
                raise ValueError(
                    f"the checkpoint is of a training with {state_dict.get(key)} as {what}, this one has {mine[key]}; "
                    "resume with the same data, batch size and seed"
                )
        done = state_dict["given"] >= state_dict["batches"]
        self._given = self._next = 0 if done else state_dict["given"]
        if hasattr(self.sampler, "set_epoch"):
            self.sampler.set_epoch(state_dict["epoch"] + done)


@contextmanager
def seeded(key: Sequence[int]) -> Iterator[None]:
    """Python's, NumPy's and torch's generators seeded by these numbers, and as they were afterwards.

    So what reading a series draws belongs to its batch: equal with any number of workers, never twice, and the same
    after going on from a checkpoint.

    Example:
        >>> with seeded((0, 1, 2)):
        ...     first = torch.rand(())
        >>> with seeded((0, 1, 2)):
        ...     bool(torch.rand(()) == first)
        True
    """
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 - readers may use it
    words = np.random.SeedSequence([*key]).generate_state(4)
    random.seed(int(words[0]))
    np.random.seed(words[1:3])  # noqa: NPY002
    torch.default_generator.manual_seed(int(words[3]))
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        torch.set_rng_state(before[2])


def as_is(batch: Any) -> Any:
    """A batch comes whole from the data set, so nothing is left to collate."""
    return batch
