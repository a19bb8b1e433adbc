"""Reading a checkpoint with plain words when it is damaged."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from seqkit.files import is_of_disk
from seqkit.tasks.callbacks import History

__all__ = ["read_checkpoint"]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a training checkpoint without running code from it.

    Args:
        path: `checkpoints/last.ckpt` of a run.

    Raises:
        ValueError: the file is damaged, truncated or not a checkpoint of a run.
        OSError: the system does not give it.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "last.ckpt"
        >>> _ = path.write_bytes(b"cut off")
        >>> read_checkpoint(path)
        Traceback (most recent call last):
        ...
        ValueError: ...last.ckpt is damaged or not a checkpoint of a run; delete it to train from the start
    """
    history = History()
    try:
        with warnings.catch_warnings():  # torch warns of what it cannot make sense of, and fails below
            warnings.simplefilter("ignore")
            checkpoint = dict(torch.load(path, map_location="cpu", weights_only=True))
        whole = {"state_dict", "callbacks", "epoch"} <= set(checkpoint) and set(
            checkpoint["callbacks"][history.state_key]
        ) == set(history.state_dict())
    except Exception as error:  # a damaged file fails inside torch in about ten ways
        if isinstance(error, MemoryError) or is_of_disk(error):
            raise
        raise _damaged(path) from error
    if not whole:
        raise _damaged(path)
    return checkpoint


def _damaged(path: Path) -> ValueError:
    return ValueError(f"{path} is damaged or not a checkpoint of a run; delete it to train from the start")
