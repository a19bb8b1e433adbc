"""What a cut carried: bytes, how large changes were, how well they were coded."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, fields

import torch
from torch import Tensor

__all__ = ["LIMIT", "WireMeter"]

LIMIT = 0.7
"""Largest relative error of the code at which the recursion is known to settle, nearly the square root of 1/2."""


@dataclass
class WireMeter:
    """Counts of one direction of a cut, since it was made or last reset.

    Args:
        messages: Messages.
        rows: Samples, each time one was sent.
        full_rows: Samples sent in full precision: first visits.
        direct_rows: Samples whose change was larger than themselves, so that they were coded without their history.
        bytes: Bytes of the messages, headers included.
        plain_bytes: Bytes of the same samples in float32.
        value: Sum of squares of the coded samples.
        change: Sum of squares of what was coded: the change, or the sample itself.
        error: Sum of squares of what coding lost.

    Example:
        >>> meter = WireMeter(bytes=10, plain_bytes=100, value=4.0, change=1.0, error=0.04)
        >>> meter.relative_change, meter.relative_error, round(meter.code_error, 6)
        (0.5, 0.1, 0.2)
        >>> meter.ratio
        10.0
    """

    messages: int = 0
    rows: int = 0
    full_rows: int = 0
    direct_rows: int = 0
    bytes: int = 0
    plain_bytes: int = 0
    value: float = 0.0
    change: float = 0.0
    error: float = 0.0

    @property
    def ratio(self) -> float:
        """How many times fewer bytes than float32; NaN before the first message."""
        return self.plain_bytes / self.bytes if self.bytes else math.nan

    @property
    def relative_change(self) -> float:
        """Norm of what was coded over that of the samples."""
        return math.sqrt(self.change / self.value) if self.value else 0.0

    @property
    def relative_error(self) -> float:
        """Norm of the error at the receiver over that of the samples."""
        return math.sqrt(self.error / self.value) if self.value else 0.0

    @property
    def code_error(self) -> float:
        """Norm of the error over that of what was coded: c_Q of the theory."""
        return math.sqrt(self.error / self.change) if self.change else 0.0

    @property
    def share_full(self) -> float:
        """Share of samples sent in full precision."""
        return self.full_rows / self.rows if self.rows else 0.0

    def count(self, size: int, rows: int, length: int, full: int) -> None:
        """Counts a message of `size` bytes with `rows` samples of `length` numbers, `full` of them in full.

        Example:
            >>> meter = WireMeter()
            >>> meter.count(100, 2, 50, 1)
            >>> meter.ratio, meter.share_full
            (4.0, 0.5)
        """
        self.messages += 1
        self.rows += rows
        self.full_rows += full
        self.bytes += size
        self.plain_bytes += 4 * rows * length

    def measure(self, value: Tensor, change: Tensor, lost: Tensor) -> None:
        """Adds norms of samples, of what was coded, and of what that lost, one for each sample.

        Example:
            >>> meter = WireMeter()
            >>> meter.measure(torch.ones(2), torch.ones(2), torch.zeros(2))
            >>> meter.relative_error
            0.0
        """
        sums = torch.stack([value, change, lost]).double().square().sum(1).tolist()
        self.value, self.change, self.error = self.value + sums[0], self.change + sums[1], self.error + sums[2]

    def warn(self, name: str, bits: int) -> bool:
        """Warns where the code loses more than 0.7 of what it is given, and says whether it did.

        Example:
            >>> WireMeter(change=1.0, error=0.1).warn("cut 0", 4)
            False
        """
        if self.code_error <= LIMIT:
            return False
        warnings.warn(
            f"{name}: {bits} bits lose {self.code_error:.2f} of the norm of what they code, and changes settle only "
            f"below {LIMIT}; take more bits or smaller groups",
            stacklevel=2,
        )
        return True

    def reset(self) -> None:
        """Begins anew.

        Example:
            >>> meter = WireMeter(messages=3)
            >>> meter.reset()
            >>> meter.messages
            0
        """
        for field in fields(self):
            setattr(self, field.name, field.default)

    def summary(self) -> dict[str, float]:
        """The counts and ratios by name, to be logged.

        Example:
            >>> WireMeter(bytes=8, plain_bytes=16).summary()["ratio"]
            2.0
        """
        return {
            "messages": self.messages,
            "rows": self.rows,
            "bytes": self.bytes,
            "ratio": self.ratio,
            "share_full": self.share_full,
            "share_direct": self.direct_rows / self.rows if self.rows else 0.0,
            "relative_change": self.relative_change,
            "relative_error": self.relative_error,
            "code_error": self.code_error,
        }
