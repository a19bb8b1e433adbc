"""Reads rows in the background; a row that is written meanwhile is read again."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

__all__ = ["ReadAhead"]


class ReadAhead:
    """Rows on their way into memory, by one thread, which is started on first use.

    Of what was read and never taken the last two readings are kept, so that memory does not grow.

    Example:
        >>> data, ahead = torch.arange(6, dtype=torch.uint8).view(3, 2), ReadAhead()
        >>> ahead.begin([2, 0], data)
        >>> ahead.take([0, 1], data)
        tensor([[0, 1],
                [2, 3]], dtype=torch.uint8)
        >>> ahead.close()
    """

    def __init__(self) -> None:
        self.thread: ThreadPoolExecutor | None = None
        self.coming: dict[int, tuple[Future[Tensor], int]] = {}
        self.taken, self.missed = 0, 0
        """Rows that were taken from what was read ahead, and those that had to be read at once."""

    def begin(self, slots: Sequence[int], data: Tensor) -> None:
        """Begins to read rows `slots` of `data`.

        Example:
            >>> ReadAhead().begin([], torch.zeros(1, 1))
        """
        wanted = [slot for slot in slots if slot not in self.coming]
        if not wanted:
            return
        if self.thread is None:
            self.thread = ThreadPoolExecutor(1, "seqkit-read-ahead")
        kept = list(dict.fromkeys(future for future, _ in self.coming.values()))[-1:]
        self.coming = {slot: one for slot, one in self.coming.items() if one[0] in kept}
        future = self.thread.submit(gather, data, wanted)
        self.coming.update({slot: (future, place) for place, slot in enumerate(wanted)})

    def take(self, slots: Sequence[int], data: Tensor) -> Tensor:
        """Returns rows `slots`, those that were read ahead from there and the others from `data`.

        Example:
            >>> ReadAhead().take([0], torch.zeros(1, 1))
            tensor([[0.]])
        """
        found = [self.coming.pop(slot, None) for slot in slots]
        self.missed += found.count(None)
        self.taken += len(found) - found.count(None)
        if not any(found):
            return gather(data, slots)
        futures = {one[0] for one in found if one}
        if len(futures) == 1 and all(found):
            rows = next(iter(futures)).result()
            places = [one[1] for one in found if one]
            return rows if places == list(range(len(rows))) else gather(rows, places)
        out = data.new_empty(len(slots), data.shape[1])
        for place, one in enumerate(found):
            out[place] = data[slots[place]] if one is None else one[0].result()[one[1]]
        return out

    def forget(self, slots: Sequence[int]) -> None:
        """Drops what was read of rows that are about to be written.

        Example:
            >>> ReadAhead().forget([3])
        """
        for slot in slots:
            self.coming.pop(slot, None)

    def wait(self) -> None:
        """Waits until all reads have ended.

        Example:
            >>> ReadAhead().wait()
        """
        for future, _ in list(self.coming.values()):
            future.result()

    def close(self) -> None:
        """Ends the thread.

        Example:
            >>> ReadAhead().close()
        """
        self.coming.clear()
        if self.thread is not None:
            self.thread.shutdown()
            self.thread = None


def gather(data: Tensor, slots: Sequence[int]) -> Tensor:
    """Rows `slots` of `data`, in pinned memory where CUDA is."""
    out = data.new_empty(len(slots), data.shape[1], pin_memory=torch.cuda.is_available())
    return torch.index_select(data, 0, torch.tensor(slots, dtype=torch.int64), out=out)
