"""The bytes of a message: a header that names what it is, a flag for each sample, full samples, coded samples."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["DELTA", "DIRECT", "FULL", "HEADER", "Header", "MessageError", "pack_message", "read_message"]

MAGIC = b"SKM1"
LAYOUT = struct.Struct("<4sBBHIIIIQQII")  # magic, bits, remembers, group, rows, full rows, step, 0, length, ids, crc, 0
HEADER = LAYOUT.size
CRC_AT = HEADER - 8

FULL, DELTA, DIRECT = 0, 1, 2
"""How a sample was sent: in float32, as a coded change of the buffer, or coded without the buffer."""


class MessageError(ValueError):
    """A message is not the one that was expected: broken, of another step, of other samples or other options."""


@dataclass(frozen=True)
class Header:
    """What both ends know of a message before it is sent.

    Args:
        bits: Bits of a coded number.
        group: Numbers that share a step.
        remembers: Whether there is a buffer.
        rows: Samples.
        full: How many of them are sent in float32.
        length: Numbers of a sample.
        coded: Bytes of a coded sample.
        step: A number that the caller counts, such as that of the micro-batch.
        ids: The samples, in order.
        name: Of the cut, for errors.
    """

    bits: int
    group: int
    remembers: bool
    rows: int
    full: int
    length: int
    coded: int
    step: int
    ids: tuple[int | str, ...]
    name: str

    @property
    def size(self) -> int:
        """Bytes of the message."""
        return HEADER + self.rows + self.full * 4 * self.length + (self.rows - self.full) * self.coded

    @property
    def mark(self) -> int:
        """A hash of the samples and their order."""
        text = "\n".join(repr(one) for one in self.ids)
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")

    def pack(self, crc: int = 0) -> bytes:
        """The header's bytes."""
        flags = int(self.remembers)
        numbers = (self.bits, flags, self.group, self.rows, self.full, self.step & 0xFFFFFFFF, 0, self.length)
        return LAYOUT.pack(MAGIC, *numbers, self.mark, crc, 0)


def checksum(message: Tensor) -> int:
    """CRC-32 of a message, its own place for it taken as 0."""
    data = message.cpu().numpy().data
    return zlib.crc32(data[CRC_AT + 4 :], zlib.crc32(bytes(4), zlib.crc32(data[:CRC_AT])))


def pack_message(header: Header, flags: Sequence[int], full: Tensor, coded: Tensor) -> Tensor:
    """Joins the parts of a message as one uint8 tensor on the device of `coded`.

    Args:
        header: What it is.
        flags: FULL, DELTA or DIRECT for each sample.
        full: Samples in full, (F, n), float32.
        coded: Bytes of the others, (R - F, W), uint8.
    """
    start = bytearray(header.pack() + bytes(flags))
    head = torch.frombuffer(start, dtype=torch.uint8).to(coded.device)
    message = torch.cat([head, full.contiguous().view(-1).view(torch.uint8), coded.reshape(-1)])
    crc = torch.frombuffer(bytearray(struct.pack("<I", checksum(message))), dtype=torch.uint8)
    message[CRC_AT : CRC_AT + 4] = crc.to(message.device)
    return message


def read_message(blob: Tensor, wanted: Header) -> tuple[list[int], Tensor, Tensor]:
    """Takes a message apart: flags, full samples (F, n), and bytes of the coded ones (R - F, W).

    Raises:
        MessageError: it is not the message that `wanted` says; the sentence names the first thing that differs.
    """
    check_header(blob, wanted)
    at, full_bytes = HEADER + wanted.rows, wanted.full * 4 * wanted.length
    flags = blob[HEADER:at].tolist()
    full = blob[at : at + full_bytes].clone().view(torch.float32).view(wanted.full, wanted.length)
    coded = blob[at + full_bytes :].view(wanted.rows - wanted.full, wanted.coded)
    if any(flag not in (FULL, DELTA, DIRECT) for flag in flags) or flags.count(FULL) != wanted.full:
        raise MessageError(f"{wanted.name}: the message must say of each sample how it was sent, got {flags}")
    return flags, full, coded


def check_header(blob: Tensor, wanted: Header) -> None:
    """Compares a message with what is expected, the general before the special."""
    name, where = wanted.name, f"step {wanted.step}"
    if blob.dim() != 1 or blob.dtype != torch.uint8 or len(blob) < HEADER:
        raise MessageError(f"{name}: a message must be uint8 of {wanted.size} bytes, got {tuple(blob.shape)}")
    magic, bits, remembers, group, rows, full, step, _, length, ids, crc, _ = LAYOUT.unpack(
        bytes(blob[:HEADER].tolist())
    )
    if magic != MAGIC:
        raise MessageError(f"{name}: the message at {where} is not one of this protocol; both ends must run seqkit")
    found = ((bits, wanted.bits, "bits"), (group, wanted.group, "group"), (length, wanted.length, "numbers a sample"))
    for have, want, what in found:
        if have != want:
            raise MessageError(
                f"{name}: both ends must use the same options, got {what} {have} and {want}; give both the same"
            )
    if remembers != wanted.remembers:
        raise MessageError(f"{name}: both ends must have a buffer or none, got one at one end; give both the same")
    if rows != wanted.rows or ids != wanted.mark:
        raise MessageError(
            f"{name}: the message at {where} must be of samples {short(wanted.ids)}, got {rows} others; "
            "both ends must draw the same samples in the same order"
        )
    if step != wanted.step & 0xFFFFFFFF:
        raise MessageError(f"{name}: the message must be of {where}, got step {step}; one was lost or came twice")
    if full != wanted.full or len(blob) != wanted.size:
        raise MessageError(
            f"{name}: {wanted.full} samples of {where} must be in full ({wanted.size} bytes), got {full} "
            f"({len(blob)} bytes); the two buffers do not know the same samples, load both from one checkpoint"
        )
    if checksum(blob) != crc:
        raise MessageError(f"{name}: the message at {where} is broken, its checksum differs; look at the link")


def short(ids: Sequence[int | str]) -> str:
    """The first few samples, as words."""
    return ", ".join(str(one) for one in ids[:3]) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")
