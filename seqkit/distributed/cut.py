"""One end of a cut between two stages: what it sends and receives with, and what of it a checkpoint keeps."""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from seqkit.distributed.channel import Receiver, Sender
from seqkit.distributed.codec import DeltaCodec
from seqkit.distributed.compression import Compression
from seqkit.distributed.meter import WireMeter
from seqkit.distributed.store import MessageStore

__all__ = ["CutEnd"]

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class CutEnd:
    """The end of a cut that passes activations on, or the one that takes them.

    Args:
        compression: How messages are compressed.
        number: Number of the cut: it follows the stage of that number.
        shape: Shape of one sample's activation.
        sends: Whether it is the end that sends activations and takes gradients.
        seed: Seed of what this end draws; both ends may have the same.
        folder: Folder for the buffer, or None for memory.

    Example:
        >>> ends = [CutEnd(Compression(), 0, (8, 4), sends=sends) for sends in (True, False)]
        >>> ids, x = torch.arange(3), torch.randn(3, 8, 4)
        >>> bool((ends[1].receiver.decode(ids, ends[0].sender.encode(ids, x)) == x).all())
        True
        >>> ends[0].store.digest() == ends[1].store.digest()
        True
    """

    def __init__(
        self,
        compression: Compression,
        number: int,
        shape: tuple[int, ...],
        *,
        sends: bool,
        seed: int = 0,
        folder: str | Path | None = None,
    ) -> None:
        self.number = number
        self.sends = sends
        self.generators = {
            kind: torch.Generator().manual_seed((seed * 1009 + number) * 2 + k)
            for k, kind in enumerate(("activations", "gradients"))
        }
        self.store: MessageStore | None = None
        if compression.mode == "delta" and compression.forward < 16:
            place = None if folder is None else Path(folder) / f"cut{number}-{'sender' if sends else 'receiver'}"
            self.store = MessageStore(shape, _DTYPES[compression.store], place)
        there = DeltaCodec(
            compression.forward, compression.group, compression.rounding, generator=self.generators["activations"]
        )
        back = DeltaCodec(compression.backward, compression.group, "stochastic", generator=self.generators["gradients"])
        name = f"cut {number}"
        self.sender = Sender(there, shape, self.store, name=name) if sends else None
        self.receiver = None if sends else Receiver(there, shape, self.store, name=name)
        self.sender_of_gradients = None if sends else Sender(back, shape, name=f"{name}, gradients")
        self.receiver_of_gradients = Receiver(back, shape, name=f"{name}, gradients") if sends else None
        self._reported = WireMeter()

    def known(self, ids: Tensor) -> bytes:
        """Which of these samples the buffer knows, to be compared with the other end."""
        return b"" if self.store is None else self.store.seen(ids).numpy().tobytes()

    def prefetch(self, ids: Tensor) -> None:
        """Begins to read what the buffer has of these samples, where it lies on disk."""
        if self.store is not None and self.store.on_disk:
            self.store.prefetch(ids)

    @property
    def bits(self) -> int:
        """Bits of an activation's change at present."""
        return self._activations.side.codec.bits

    def set_bits(self, bits: int) -> None:
        """Changes the bits of activations' changes; the other end must do the same between the same two steps."""
        old = self._activations.side.codec
        self._activations.side.codec = DeltaCodec(bits, old.group, old.rounding, old.generator, old.scale)

    def measured(self) -> WireMeter:
        """What activations took since the last call."""
        meter = self._activations.meter
        found = WireMeter(**{name: value - getattr(self._reported, name) for name, value in asdict(meter).items()})
        self._reported = WireMeter(**asdict(meter))
        return found

    def state_dict(self) -> dict[str, Any]:
        """State of what is drawn, the bits, and what was counted; the buffer is saved by `save`."""
        drawn = {kind: generator.get_state() for kind, generator in self.generators.items()}
        counted = {"meter": asdict(self._activations.meter), "reported": asdict(self._reported)}
        return {**drawn, "bits": self.bits, **counted}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes what `state_dict` gave."""
        for kind, generator in self.generators.items():
            generator.set_state(state[kind])
        self.set_bits(state["bits"])
        self._activations.meter, self._reported = WireMeter(**state["meter"]), WireMeter(**state["reported"])

    def save(self, folder: Path) -> None:
        """Writes the buffer, whole or not at all."""
        if self.store is not None:
            self.store.save(folder / self._name)

    def load(self, folder: Path) -> str:
        """Takes a saved buffer and returns its digest; where there is none, all samples are unseen."""
        if self.store is None:
            return ""
        self.store.load(folder / self._name)
        return self.store.digest()

    def forget(self) -> None:
        """Makes all samples unseen."""
        if self.store is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a folder that holds nothing, which is meant
                with tempfile.TemporaryDirectory() as empty:
                    self.store.load(Path(empty) / "none")

    @property
    def _activations(self) -> Sender | Receiver:
        """What sends or receives activations."""
        return cast("Sender | Receiver", self.sender or self.receiver)

    @property
    def _name(self) -> str:
        return f"cut{self.number}-{'sender' if self.sends else 'receiver'}"

    @property
    def nbytes(self) -> int:
        """Bytes that the buffer takes: samples x their shape x bytes of a number."""
        return 0 if self.store is None else self.store.nbytes
