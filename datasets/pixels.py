"""Images as series of their pixels: kept as bytes, made numbers when a series is asked for."""

from __future__ import annotations

import numpy as np

from seqkit.datasets.rows import Array, LazyRows

__all__ = ["pixel_rows", "to_grey"]


def pixel_rows(images: Array, order: Array | None = None, *, origin: str = "the data") -> LazyRows:
    """Rows of pixels in [0, 1], one series an image: a quarter of the memory that the numbers would take.

    Args:
        images: Bytes, (n, pixels, channels).
        order: Sample k is pixel order[k]; None for row by row.
        origin: The file, to name in errors.

    Cost:
        O(pixels) a series when it is read; images are kept as they are.

    Example:
        >>> rows = pixel_rows(np.array([[[0], [255], [255]]], dtype=np.uint8), np.array([2, 1, 0]))
        >>> rows[0][:, 0].tolist()
        [1.0, 1.0, 0.0]
    """
    n, pixels, channels = images.shape
    return LazyRows(np.full(n, pixels), channels, _Pixels(images, order), origin=origin)


def to_grey(images: Array) -> Array:
    """Grey of colours as bytes, (n, pixels, 3) to (n, pixels, 1).

        0.299 R + 0.587 G + 0.114 B, rounded

    Source:
        ITU-R BT.601 luma, in the 16-bit fixed point of Pillow's conversion to "L", which the papers' code applies.

    Cost:
        O(n pixels), a thousand images at a time.

    Example:
        >>> to_grey(np.array([[[255, 0, 0], [0, 255, 0], [9, 9, 9]]], dtype=np.uint8))[0, :, 0].tolist()
        [76, 150, 9]
    """
    weights = np.array([19595, 38470, 7471], dtype=np.uint32)
    out = np.empty((*images.shape[:2], 1), dtype=np.uint8)
    for i in range(0, len(images), 1000):
        out[i : i + 1000, :, 0] = (images[i : i + 1000].astype(np.uint32) @ weights + 0x8000) >> 16
    return out


class _Pixels:
    """A class, not a function within one: workers that start anew need to pickle it."""

    def __init__(self, images: Array, order: Array | None) -> None:
        self.images, self.order = images, order

    def __call__(self, i: int) -> Array:
        image: Array = self.images[i] if self.order is None else self.images[i][self.order]
        return image.astype(np.float32) / np.float32(255)
