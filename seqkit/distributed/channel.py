"""The two ends of a cut: what is sent is the coded change of a sample since its last visit, and both remember it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from seqkit.checks import NotFiniteError, check_shape
from seqkit.distributed.codec import DeltaCodec
from seqkit.distributed.message import DELTA, DIRECT, FULL, Header, pack_message, read_message, short
from seqkit.distributed.meter import WireMeter
from seqkit.distributed.store import Id, MessageStore, as_ids

__all__ = ["Receiver", "Sender"]


class Side:
    """What both ends know: how samples are coded, of what shape they are, and which of them were seen."""

    def __init__(self, codec: DeltaCodec, shape: Sequence[int], store: MessageStore | None, name: str) -> None:
        if store is not None and store.shape != tuple(shape):
            raise ValueError(
                f"`store` must hold samples {tuple(shape)}, got {store.shape}; make it with the cut's shape"
            )
        self.codec, self.shape, self.store, self.name = codec, tuple(shape), store, name
        self.length = math.prod(self.shape)

    def coded(self, ids: tuple[Id, ...]) -> Tensor:
        """Which samples are coded, (n,) bool; the others are sent in full."""
        if self.codec.bits == 32:
            return torch.zeros(len(ids), dtype=torch.bool)
        return torch.ones(len(ids), dtype=torch.bool) if self.store is None else self.store.seen(ids)

    def header(self, ids: tuple[Id, ...], coded: Tensor, step: int) -> Header:
        """The header of a message."""
        kind = (self.codec.bits, self.codec.group, self.store is not None)
        sizes = (len(ids), len(ids) - int(coded.sum()), self.length, self.codec.row_bytes(self.length))
        return Header(*kind, *sizes, step, ids, self.name)

    def wire_bytes(self, ids: Iterable[Id] | Tensor) -> int:
        """Bytes of the next message of these samples."""
        given = as_ids(ids)
        return self.header(given, self.coded(given), 0).size

    def base(self, ids: tuple[Id, ...], device: torch.device) -> Tensor | None:
        """Rows of the buffer, (n, length), or None where there is none."""
        if self.store is None or not ids:
            return None
        return self.store.read(ids).view(len(ids), self.length).to(device)

    def remember(self, ids: tuple[Id, ...], rows: Tensor) -> Tensor:
        """Writes rows to the buffer and returns them as it holds them, on their own device."""
        if self.store is None:
            return rows
        return self.store.write(ids, rows.view(-1, *self.shape)).view(len(rows), self.length).to(rows.device)


class Sender:
    """The sending end of a cut.

        first visit of a sample: m = x, sent in float32
        later ones:              m = m + Q(x - m), sent as Q(x - m); where |x - m| > |x|, m = Q(x)

    Args:
        codec: Q.
        shape: Shape of a sample, such as (T, d).
        store: Buffer of the m; left out, every sample is coded directly: m = Q(x), without memory.
        name: Of the cut and direction, for errors.

    Source: Wang et al. 2022, AC-SGD (arXiv:2206.01299), algorithm 1. Differs: the sample falls back to direct coding
        where its history is of no use; messages name their samples and have a checksum.

    Example:
        >>> a, b = MessageStore((64,)), MessageStore((64,))
        >>> sender, receiver = Sender(DeltaCodec(4), (64,), a), Receiver(DeltaCodec(4), (64,), b)
        >>> x = torch.randn(2, 64)
        >>> torch.equal(receiver.decode([0, 1], sender.encode([0, 1], x)), x)
        True
        >>> blob = sender.encode([0, 1], x + 0.1)
        >>> len(blob) < x.numel() * 4 / 3
        True
        >>> bool((receiver.decode([0, 1], blob) - x - 0.1).abs().max() < 0.01)
        True
    """

    def __init__(
        self, codec: DeltaCodec, shape: Sequence[int], store: MessageStore | None = None, *, name: str = "cut"
    ) -> None:
        self.side = Side(codec, shape, store, name)
        self.meter = WireMeter()

    def wire_bytes(self, ids: Iterable[Id] | Tensor) -> int:
        """Bytes of the next message of these samples, as both ends know them before it is made.

        Example:
            >>> Sender(DeltaCodec(8), (64,)).wire_bytes([0])
            115
        """
        return self.side.wire_bytes(ids)

    def encode(self, ids: Iterable[Id] | Tensor, x: Tensor, *, step: int = 0) -> Tensor:
        """Makes the message of samples and remembers what the receiver will hold.

        Args:
            ids: Names of the samples, whole numbers or strings, each once.
            x: Their values, (n, *shape), of any device and float type.
            step: A number that the receiver must give too, so that a lost message shows.

        Returns:
            Bytes, (wire_bytes(ids),), uint8, on the device of `x`.

        Raises:
            NotFiniteError: a value is NaN or infinite; nothing is remembered.
            ValueError: the shape differs.

        Example:
            >>> Sender(DeltaCodec(8), (64,)).encode([0], torch.zeros(1, 64)).shape
            torch.Size([115])
        """
        side, given = self.side, as_ids(ids)
        check_shape("x", x, (len(given), *side.shape))
        rows = x.detach().reshape(len(given), side.length).float()
        size = torch.linalg.vector_norm(rows, dim=1)
        if not bool(size.isfinite().all()):
            check_rows(side.name, given, rows)
        coded = side.coded(given)
        header = side.header(given, coded, step)
        flags = [FULL] * len(given)
        full, data = rows, torch.empty(0, header.coded, dtype=torch.uint8, device=x.device)
        if bool(coded.any()):
            places = coded.nonzero().view(-1)
            full = rows[(~coded).to(rows.device)]
            names = tuple(given[i] for i in places.tolist())
            data, kinds = self.changes(names, pick(rows, places), pick(size, places))
            for place, kind in zip(places.tolist(), kinds, strict=True):
                flags[place] = kind
        if len(full):
            side.remember(tuple(one for one, is_coded in zip(given, coded.tolist(), strict=True) if not is_coded), full)
        blob = pack_message(header, flags, full, data)
        self.meter.count(len(blob), len(given), side.length, header.full)
        return blob

    def state_dict(self) -> dict[str, Any]:
        """What the next message depends on beside the buffer: the state of the codec's random numbers, or None.

        Example:
            >>> Sender(DeltaCodec(8), (64,)).state_dict()
            {'generator': None}
        """
        generator = self.side.codec.generator
        return {"generator": None if generator is None else generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a state; the buffer is loaded by itself.

        Raises:
            ValueError: the state has random numbers and this sender none, or the other way round.

        Example:
            >>> Sender(DeltaCodec(8), (64,)).load_state_dict({"generator": None})
        """
        generator = self.side.codec.generator
        if (state["generator"] is None) != (generator is None):
            raise ValueError(f"{self.side.name}: `state` must be of a sender with the same rounding; make it alike")
        if generator is not None:
            generator.set_state(state["generator"])

    def changes(self, ids: tuple[Id, ...], rows: Tensor, size: Tensor) -> tuple[Tensor, list[int]]:
        """Codes samples that both ends know, given their norms; returns bytes (n, W) and how each was sent."""
        side, codec = self.side, self.side.codec
        base = side.base(ids, rows.device)
        if base is None:
            target, change, kinds = rows, size, [DIRECT] * len(ids)
        else:
            target = rows - base
            change = torch.linalg.vector_norm(target, dim=1)
            worse = change > size
            kinds = [DIRECT if one else DELTA for one in worse.tolist()]
            if DIRECT in kinds:
                keep = worse.unsqueeze(-1)
                target, base = torch.where(keep, rows, target), torch.where(keep, 0, base)
                change = torch.where(worse, size, change)
                self.meter.direct_rows += kinds.count(DIRECT)
        data = codec.encode_rows(target)
        held = side.remember(ids, codec.decode_rows(data, side.length, onto=base))
        spent = None if base is None else target  # fresh memory would cost more than the difference
        lost = torch.sub(rows, held, out=spent)
        self.meter.measure(size, change, torch.linalg.vector_norm(lost, dim=1))
        return data, kinds


class Receiver:
    """The receiving end of a cut: takes the sender's messages and holds the same buffer.

    Args:
        codec: As the sender's.
        shape: As the sender's.
        store: Its own buffer, where the sender has one.
        name: Of the cut and direction, for errors.

    Example:
        >>> receiver = Receiver(DeltaCodec(8), (64,))
        >>> blob = Sender(DeltaCodec(8), (64,)).encode([5], torch.ones(1, 64))
        >>> len(blob) == receiver.wire_bytes([5])
        True
        >>> receiver.decode([5], blob).shape
        torch.Size([1, 64])
    """

    def __init__(
        self, codec: DeltaCodec, shape: Sequence[int], store: MessageStore | None = None, *, name: str = "cut"
    ) -> None:
        self.side = Side(codec, shape, store, name)
        self.meter = WireMeter()

    def wire_bytes(self, ids: Iterable[Id] | Tensor) -> int:
        """Bytes of the next message of these samples, known before it comes.

        Example:
            >>> Receiver(DeltaCodec(32), (64,)).wire_bytes([0, 1])
            562
        """
        return self.side.wire_bytes(ids)

    def decode(self, ids: Iterable[Id] | Tensor, blob: Tensor, *, step: int = 0) -> Tensor:
        """Reads a message, adds the changes to the buffer and returns it: m, (n, *shape), float32, on its device.

        Args:
            ids: The samples that are expected.
            blob: The message.
            step: The number that the sender gave.

        Raises:
            MessageError: the message is broken, or not the one expected; the buffer is as it was.

        Example:
            >>> blob = Sender(DeltaCodec(32), (2,)).encode([0], torch.ones(1, 2), step=4)
            >>> Receiver(DeltaCodec(32), (2,)).decode([0], blob, step=4)
            tensor([[1., 1.]])
        """
        side, given = self.side, as_ids(ids)
        coded = side.coded(given)
        header = side.header(given, coded, step)
        flags, full, data = read_message(blob, header)
        known = [place for place, is_coded in enumerate(coded.tolist()) if is_coded]
        new = [place for place, is_coded in enumerate(coded.tolist()) if not is_coded]
        if known:
            names = tuple(given[place] for place in known)
            base = side.base(names, blob.device)
            direct = torch.tensor([flags[place] == DIRECT for place in known], device=blob.device)
            if base is not None and bool(direct.any()):
                base = torch.where(direct.unsqueeze(-1), 0, base)
            coded_rows = side.remember(names, side.codec.decode_rows(data, side.length, onto=base))
            self.meter.direct_rows += int(direct.sum()) if base is not None else 0
        if new:
            full = side.remember(tuple(given[place] for place in new), full)
        if known and new:
            out = torch.empty(len(given), side.length, device=blob.device)
            out[known], out[new] = coded_rows, full
        else:
            out = coded_rows if known else full
        self.meter.count(len(blob), len(given), side.length, header.full)
        return out.view(-1, *side.shape)


def check_rows(name: str, ids: tuple[Id, ...], rows: Tensor) -> None:
    """Refuses NaN and infinite values before they reach a buffer."""
    bad = (~rows.isfinite()).any(-1).nonzero().view(-1).tolist()
    if bad:
        raise NotFiniteError(
            f"{name}: `x` must be finite, got NaN or infinite values for samples {short([ids[i] for i in bad])}; "
            "lower the learning rate or clip gradients"
        )


def pick(rows: Tensor, places: Tensor) -> Tensor:
    """Rows at places; all of them without a copy."""
    return rows if len(places) == len(rows) else rows[places.to(rows.device)]
