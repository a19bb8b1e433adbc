"""A message buffer as two files of a checkpoint: its rows, and a description with their checksum."""

from __future__ import annotations

import hashlib
import json
import secrets
import warnings
from collections.abc import Iterator, Mapping
from io import BufferedReader
from pathlib import Path

import torch
from torch import Tensor

from seqkit.files import write_whole

__all__ = ["read_folder", "write_folder"]

DESCRIPTION = "messages.json"
VERSION = 1
CHUNK = 1 << 22


def write_folder(folder: Path, described: Mapping[str, object], slots: Mapping[int | str, int], data: Tensor) -> None:
    """Writes rows and then the description that names them, so that a folder is of one moment whenever it is read.

    Args:
        folder: Where; it is made if needed.
        described: What the rows are.
        slots: Row of each sample, 0, 1, ... in order.
        data: Rows, uint8, those of samples first.
    """
    name, total = f"messages-{secrets.token_hex(6)}.bin", hashlib.sha256()

    def write(path: Path) -> None:
        with path.open("wb") as file:
            for part in chunks(data[: len(slots)]):
                total.update(part)
                file.write(part)

    write_whole(folder / name, write)
    page = {"version": VERSION, **described, "file": name, "sha256": total.hexdigest(), "ids": list(slots)}
    write_whole(folder / DESCRIPTION, lambda path: path.write_text(json.dumps(page), encoding="utf-8"))
    for old in folder.glob("messages-*.bin"):
        if old.name != name:
            old.unlink(missing_ok=True)


def chunks(data: Tensor) -> Iterator[memoryview]:
    """The bytes of rows, a few megabytes at a time."""
    flat = data.reshape(-1)
    for start in range(0, len(flat), CHUNK):
        yield flat[start : start + CHUNK].numpy().data


def read_folder(folder: Path, described: Mapping[str, object]) -> tuple[list[int | str], Tensor]:
    """Returns samples and rows (n, W) of a folder; none, with a warning, where it holds no buffer.

    Raises:
        ValueError: it is of another kind of buffer, or broken.
    """
    place = folder / DESCRIPTION
    if not place.is_file():
        warnings.warn(f"{folder} holds no message buffer, so every sample counts as unseen", stacklevel=3)
        return [], torch.empty(0, 0, dtype=torch.uint8)
    page = json.loads(place.read_text(encoding="utf-8"))
    for key, want in {"version": VERSION, **described}.items():
        if page.get(key) != want:
            raise ValueError(
                f"{place} must be of a buffer with {key} {want}, got {page.get(key)}; make the store like it"
            )
    rows = folder / str(page["file"])
    if not rows.is_file():
        raise ValueError(f"{place} must have its rows beside it, got no {rows.name}; copy the whole folder")
    with rows.open("rb") as file:
        if hash_of(file) != page["sha256"]:
            raise ValueError(f"{rows} must be as it was written, got another checksum; take an older checkpoint")
    ids: list[int | str] = page["ids"]
    if not ids:
        return [], torch.empty(0, 0, dtype=torch.uint8)
    data = torch.from_file(str(rows), shared=False, size=rows.stat().st_size, dtype=torch.uint8)
    return ids, data.view(len(ids), -1)


def hash_of(file: BufferedReader) -> str:
    """SHA-256 of a file."""
    return hashlib.file_digest(file, "sha256").hexdigest()
