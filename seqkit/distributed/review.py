"""What each cut of a pipeline carried lately, told to all ranks, and bits that are raised where they are too few."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch.distributed as dist

from seqkit.distributed.cut import CutEnd
from seqkit.distributed.meter import LIMIT

__all__ = ["CutReport", "review_cuts"]

_MOST_BITS = 8


class CutReport(NamedTuple):
    """What the sender of a cut measured since the last report.

    Args:
        cut: Number of the cut: it follows the stage of that number.
        bits: Bits of an activation's change.
        bits_next: Bits from now on.
        relative_change: Norm of what was coded over that of the activations.
        relative_error: Norm of the error at the receiver over that of the activations.
        code_error: Norm of the error over that of what was coded, c_Q of the theory; 0 where nothing was coded.
        share_full: Share of samples sent in full precision.
        bytes: Bytes of the messages.

    Example:
        >>> CutReport(0, 2, 3, 0.5, 0.4, 0.8, 0.0, 1000).sentence
        'cut 0: 2 bits lost 0.80 of the norm of what they coded, so 3 are sent from now on'
    """

    cut: int
    bits: int
    bits_next: int
    relative_change: float
    relative_error: float
    code_error: float
    share_full: float
    bytes: int

    @property
    def sentence(self) -> str | None:
        """What a user should know, if anything."""
        lost = f"cut {self.cut}: {self.bits} bits lost {self.code_error:.2f} of the norm of what they coded"
        if self.bits_next > self.bits:
            return f"{lost}, so {self.bits_next} are sent from now on"
        if self.code_error > LIMIT:
            return f"{lost}, and changes settle only below {LIMIT}; take more bits, smaller groups or max_error"
        return None


def review_cuts(ends: Sequence[CutEnd], max_error: float | None, group: dist.ProcessGroup | None) -> list[CutReport]:
    """Reports on all cuts since the last call, on every rank, and raises bits at both ends of a cut alike.

    Args:
        ends: This rank's ends.
        max_error: Largest `code_error`; a cut above it gets one bit more, up to 8. None changes nothing.
        group: The ranks of the pipeline.

    Returns:
        A report for each cut that has codecs, in order.
    """
    mine: list[tuple[Any, ...]] = []
    for end in ends:
        meter = end.measured()
        if end.sends:
            above = max_error is not None and meter.code_error > max_error and end.bits < _MOST_BITS
            ratios = (meter.relative_change, meter.relative_error, meter.code_error, meter.share_full)
            mine.append((end.number, end.bits, end.bits + above, *ratios, meter.bytes))
    found: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(found, mine, group=group)
    reports = sorted(CutReport(*one) for ranks in found for one in ranks)
    for end in ends:
        (wanted,) = [report.bits_next for report in reports if report.cut == end.number]
        if wanted != end.bits:
            end.set_bits(wanted)
    return reports
