"""Reading a checkpoint with plain words when it is damaged."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

__all__ = ["read_checkpoint"]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a training checkpoint without running code from it.

    Args:
        path: `checkpoints/last.ckpt` of a run.

    Raises:
        ValueError: the file is damaged, truncated or not a checkpoint of a run.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "last.ckpt"
        >>> _ = path.write_bytes(b"cut off")
        >>> read_checkpoint(path)
        Traceback (most recent call last):
        ...
        ValueError: ...last.ckpt is damaged or not a checkpoint of a run; delete it to train from the start
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        assert {"state_dict", "callbacks", "epoch"} <= set(checkpoint)
    except (
        RuntimeError,
        EOFError,
        OSError,
        AssertionError,
        TypeError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
    ) as e:
        raise ValueError(f"{path} is damaged or not a checkpoint of a run; delete it to train from the start") from e
    return dict(checkpoint)
