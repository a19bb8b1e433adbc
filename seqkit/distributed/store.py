"""Message buffers: the last value of every sample at a cut, in memory or on disk, with the next ones read ahead."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from seqkit.checks import check_positive_int, check_shape
from seqkit.distributed.read_ahead import ReadAhead
from seqkit.distributed.rows import FileRows, MemoryRows
from seqkit.distributed.store_files import read_folder, write_folder
from seqkit.kernels.quantise import dequantise, quantise, row_bytes

__all__ = ["Id", "MessageStore", "as_ids"]

Id = int | str
DTYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
FIRST = 64  # rows of a store that grows


def as_ids(ids: Iterable[Id] | Tensor) -> tuple[Id, ...]:
    """Samples' names, whole numbers or strings, each once.

    Raises:
        ValueError: another type, or a sample twice.

    Example:
        >>> as_ids(torch.tensor([3, 5]))
        (3, 5)
    """
    given = tuple(ids.tolist()) if isinstance(ids, Tensor) else tuple(ids)
    for one in given:
        if isinstance(one, bool) or not isinstance(one, (int, str)):
            raise ValueError(
                f"`ids` must be whole numbers or strings, got {one!r}; name samples by their place in the set"
            )
    if len(set(given)) != len(given):
        twice = next(one for one in given if given.count(one) > 1)
        raise ValueError(f"`ids` must name each sample once, got {twice!r} twice; draw a batch without repeats")
    return given


class MessageStore:
    """The last value that crossed a cut, for every sample; both ends of a cut hold one, with the same contents.

    A sample that was never written is unseen, and reading it is refused: it is never taken for zeros.

    Args:
        shape: Shape of a sample's value, such as (T, d).
        dtype: torch.float32, or torch.bfloat16 for half the memory; values are rounded when they are written.
        path: Folder for a file `messages.rows` that holds the rows; left out, they are in memory (pinned, where CUDA
            is). One store a folder.
        capacity: Most samples; memory or file is taken at once. Left out, it doubles when it is full.
        bits: Left out, values are held as `dtype`. 2 to 6 or 8: they are held in as many bits, quantised.
        group: Numbers that share a step where `bits` is given.

    Raises:
        ValueError: an option is out of range, or another store uses the folder.

    Source: Wang et al. 2022, AC-SGD (arXiv:2206.01299), section 3.1: the message buffer. Differs: each sample has a
        bit that says whether it was seen.

    Cost: capacity x row bytes, T d itemsize a row; `nbytes` is that number.

    Example:
        >>> store = MessageStore((2,), capacity=10)
        >>> stored = store.write([7], torch.tensor([[1.0, 2.0]]))
        >>> store.seen([7, 8])
        tensor([ True, False])
        >>> store.read([7]), store.nbytes
        (tensor([[1., 2.]]), 80)
    """

    def __init__(
        self,
        shape: Sequence[int],
        dtype: torch.dtype = torch.float32,
        path: str | Path | None = None,
        capacity: int | None = None,
        *,
        bits: int | None = None,
        group: int = 64,
    ) -> None:
        if dtype not in DTYPES:
            raise ValueError(f"`dtype` must be torch.float32 or torch.bfloat16, got {dtype}; float16 overflows")
        if bits is not None and bits not in (2, 3, 4, 5, 6, 8):
            raise ValueError(f"`bits` must be 2 to 6 or 8, or None for `dtype` as it is, got {bits!r}")
        if bits is not None and dtype != torch.float32:
            raise ValueError(
                f"`dtype` must be left at torch.float32 where `bits` is given, got {dtype}; drop one of them"
            )
        if capacity is not None:
            check_positive_int("capacity", capacity)
        self.shape, self.dtype, self.capacity, self.bits, self.group = tuple(shape), dtype, capacity, bits, group
        self.length = math.prod(self.shape)
        self.row_bytes = self.length * dtype.itemsize if bits is None else row_bytes(self.length, bits, group)
        first = capacity or FIRST
        self.rows = MemoryRows(first, self.row_bytes) if path is None else FileRows(Path(path), first, self.row_bytes)
        self.slots: dict[Id, int] = {}
        self.ahead = ReadAhead()

    def __len__(self) -> int:
        return len(self.slots)

    def __repr__(self) -> str:
        held = DTYPES[self.dtype] if self.bits is None else f"{self.bits} bits"
        return f"MessageStore({self.shape}, {held}, {len(self)} samples, {self.nbytes} bytes)"

    @property
    def nbytes(self) -> int:
        """Bytes taken: rows x row bytes, the size of the file where there is one."""
        return self.rows.data.numel()

    @property
    def on_disk(self) -> bool:
        """Whether the rows are in a file."""
        return isinstance(self.rows, FileRows)

    def seen(self, ids: Iterable[Id] | Tensor) -> Tensor:
        """Which samples were written, (n,) bool.

        Example:
            >>> MessageStore((2,)).seen([0])
            tensor([False])
        """
        return torch.tensor([one in self.slots for one in as_ids(ids)], dtype=torch.bool)

    def read(self, ids: Iterable[Id] | Tensor) -> Tensor:
        """Values of samples, (n, *shape), float32, on the CPU.

        Raises:
            KeyError: a sample was never written.

        Example:
            >>> store = MessageStore(())
            >>> store.write(["a"], torch.ones(1))
            tensor([1.])
            >>> store.read(["a"])
            tensor([1.])
        """
        slots = self.known(as_ids(ids))
        return self.decoded(self.ahead.take(slots, self.rows.data)).view(-1, *self.shape)

    def write(self, ids: Iterable[Id] | Tensor, values: Tensor) -> Tensor:
        """Sets values of samples, and returns them as they will be read, rounded to what is held: float32, on the CPU.

        Args:
            ids: Samples.
            values: (n, *shape), of any device.

        Raises:
            ValueError: the shape differs, or the store is full.

        Example:
            >>> MessageStore((), torch.bfloat16).write([0], torch.tensor([1.001]))
            tensor([1.])
        """
        given = as_ids(ids)
        check_shape("values", values, (len(given), *self.shape))
        data = self.encoded(values.detach().reshape(len(given), self.length).float())
        slots = [self.slot(one) for one in given]
        self.ahead.forget(slots)
        self.set_rows(slots, data)
        return self.decoded(data).view(-1, *self.shape)

    def prefetch(self, ids: Iterable[Id] | Tensor) -> None:
        """Begins to read samples in the background; those never written are left out, `read` takes what is there.

        What is written afterwards counts: a sample read ahead and then written is read again.

        Example:
            >>> store = MessageStore((1,))
            >>> _ = store.write([1], torch.ones(1, 1))
            >>> store.prefetch([1, 2])
            >>> store.read([1])
            tensor([[1.]])
        """
        self.ahead.begin([self.slots[one] for one in as_ids(ids) if one in self.slots], self.rows.data)

    def flush(self) -> None:
        """Waits for reads ahead and has the system write the file's pages.

        Example:
            >>> MessageStore((1,)).flush()
        """
        self.ahead.wait()
        self.rows.flush()

    def close(self) -> None:
        """Ends the thread that reads ahead and lets go of the file, which stays.

        Example:
            >>> MessageStore((1,)).close()
        """
        self.ahead.close()
        self.rows.close()

    def digest(self) -> str:
        """SHA-256 of all samples and their bytes, whatever order they came in: equal at both ends of a cut.

        Example:
            >>> MessageStore((1,)).digest() == MessageStore((1,)).digest()
            True
        """
        total = hashlib.sha256()
        for one in sorted(self.slots, key=lambda key: (isinstance(key, str), key)):
            total.update(repr(one).encode())
            total.update(self.rows.data[self.slots[one]].numpy().data)
        return total.hexdigest()

    def save(self, folder: str | Path) -> None:
        """Writes the samples to a folder, whole or not at all, with a checksum.

        Example:
            >>> import tempfile
            >>> MessageStore((1,)).save(tempfile.mkdtemp())
        """
        self.flush()
        write_folder(Path(folder), self.described(), self.slots, self.rows.data)

    def load(self, folder: str | Path) -> int:
        """Takes the samples of a folder in place of its own and returns how many there are.

        Where the folder holds none, all samples become unseen, with a warning: the next visit sends them in full. The
        other end must do the same; `digest` tells.

        Raises:
            ValueError: the folder is of a store of another shape or type, or its checksum differs.

        Example:
            >>> import tempfile
            >>> folder = tempfile.mkdtemp()
            >>> MessageStore((1,)).save(folder)
            >>> MessageStore((1,)).load(folder)
            0
        """
        self.clear()
        ids, data = read_folder(Path(folder), self.described())
        for start in range(0, len(ids), 64):
            part = ids[start : start + 64]
            self.set_rows([self.slot(one) for one in part], data[start : start + len(part)])
        return len(ids)

    def clear(self) -> None:
        """Makes all samples unseen; memory or file stays as large.

        Example:
            >>> store = MessageStore((1,))
            >>> _ = store.write([1], torch.ones(1, 1))
            >>> store.clear()
            >>> len(store)
            0
        """
        self.ahead.wait()
        self.ahead.forget(list(self.slots.values()))
        self.slots = {}

    def described(self) -> dict[str, object]:
        """What a folder must be of."""
        kind = {"dtype": DTYPES[self.dtype]} if self.bits is None else {"bits": self.bits, "group": self.group}
        return {"shape": list(self.shape), **kind}

    def known(self, ids: tuple[Id, ...]) -> list[int]:
        """Rows of samples that were written."""
        unseen = [one for one in ids if one not in self.slots]
        if unseen:
            raise KeyError(f"`ids` must be samples that were written, got {unseen[0]!r}; ask `seen` first")
        return [self.slots[one] for one in ids]

    def slot(self, one: Id) -> int:
        """The row of a sample, a new one where it has none."""
        found = self.slots.get(one)
        if found is not None:
            return found
        if len(self.slots) == len(self.rows.data):
            if self.capacity is not None:
                raise ValueError(
                    f"`capacity` must be at least the number of samples, got {self.capacity} and one more, {one!r}; "
                    "raise it or leave it out"
                )
            self.ahead.wait()
            self.rows.grow(2 * len(self.rows.data))
        self.slots[one] = len(self.slots)
        return self.slots[one]

    def set_rows(self, slots: Sequence[int], data: Tensor) -> None:
        """Copies bytes (n, W) row by row: torch's `index_copy_` of bytes is fifteen times slower."""
        for slot, row in zip(slots, data, strict=True):
            self.rows.data[slot].copy_(row)

    def encoded(self, values: Tensor) -> Tensor:
        """Bytes (n, W) of values (n, length)."""
        if self.bits is not None:
            return quantise(values, self.bits, self.group).cpu()
        return values.to(self.dtype).contiguous().cpu().view(torch.uint8).view(len(values), self.row_bytes)

    def decoded(self, data: Tensor) -> Tensor:
        """Values (n, length), float32, of bytes (n, W)."""
        if self.bits is not None:
            return dequantise(data, self.length, self.bits, self.group)
        return data.view(self.dtype).float()
