"""Batches of images that others pickled, read without running what a pickle may hold."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from seqkit.datasets.series import Array
from seqkit.files import is_of_disk

__all__ = ["read_pickled_batch"]


def read_pickled_batch(path: Path, *, width: int) -> tuple[Array, Array]:
    """Labels and images of a batch file of CIFAR's Python version: a dictionary with b"data" and b"labels".

    Only arrays of whole numbers and plain containers are made, the arrays by code of this file; any other object that
    the file names is refused before it is looked up.

    Args:
        path: The file.
        width: Bytes of an image.

    Returns:
        Labels (n,), whole numbers, and bytes (n, width).

    Raises:
        ValueError: the file is damaged, is something else, or asks for objects that are no part of such a file.
    """
    try:
        with path.open("rb") as file:
            content = _Plain(file, encoding="bytes").load()
    except _RefusedError as error:
        raise ValueError(f"{path} is refused: it is a pickle that asks for {error}, which no batch needs") from None
    except Exception as error:  # a damaged pickle fails in a dozen ways
        if is_of_disk(error):
            raise
        raise ValueError(f"{path} is damaged or no pickled batch ({type(error).__name__}); fetch it again") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, not a batch with data and labels; fetch it again")
    images, labels = (content.get(name, content.get(name.decode())) for name in (b"data", b"labels"))
    images = images.numbers if isinstance(images, _Array) else None
    if images is None or images.dtype != np.uint8 or images.ndim != 2:
        raise ValueError(f"{path} has no array of bytes `data`, one row an image; fetch it again")
    if images.shape[1] != width or len(images) == 0:
        raise ValueError(f"{path} holds {images.shape[0]} images of {images.shape[1]} bytes, expected {width} each")
    numbers = (
        np.asarray(labels) if isinstance(labels, list) and all(type(one) is int for one in labels) else np.empty(0)
    )
    if numbers.shape != (len(images),) or numbers.dtype.kind not in "iu":
        raise ValueError(f"{path} has {len(images)} images and no whole number `labels` for each; fetch it again")
    return numbers, images


class _RefusedError(Exception):
    """The file asks for something that is neither an array nor a plain container."""


class _Type:
    """A type of whole numbers as a pickle spells it: its name, and its order of bytes later."""

    def __init__(self, name: Any, *_: Any) -> None:
        text = name.decode("ascii") if isinstance(name, bytes) else name
        if text not in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"):
            raise _RefusedError(f"an array of {text!r}")
        self.dtype = np.dtype(text)

    def __setstate__(self, state: Any) -> None:
        if state[1] in (">", b">"):
            self.dtype = self.dtype.newbyteorder(">")


class _Array:
    """An array as a pickle spells it: made empty, then told its shape, type and bytes."""

    numbers: Array | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, raw = state
        if not isinstance(kind, _Type):
            raise _RefusedError("an array of unknown type")
        self.numbers = np.frombuffer(raw, kind.dtype).reshape(shape, order="F" if fortran else "C")


class _Name:
    """Stands where a pickle names the class of arrays; it makes nothing."""

    def __new__(cls, *_: Any) -> NoReturn:
        raise _RefusedError("an array made in another way")


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """How newer versions of Python write bytes for older ones."""
    return text.encode("latin1")


class _Plain(pickle.Unpickler):
    """Looks up nothing but what an array of numbers is built from, and that in this file."""

    def find_class(self, module: str, name: str) -> Any:
        made = _ALLOWED.get(f"{module}.{name}")
        if made is None:
            raise _RefusedError(f"{module}.{name}")
        return made


_ALLOWED: dict[str, Any] = {
    "numpy.dtype": _Type,
    "numpy.ndarray": _Name,
    "_codecs.encode": _encode,
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray._reconstruct": _reconstruct,
}
