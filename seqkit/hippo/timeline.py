"""When the samples of a block of series end: evenly, at given times, with some of them missing or past the end."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from seqkit.checks import check_lengths, check_positive, check_shape

__all__ = ["Timeline", "readable", "timeline"]


class Timeline(NamedTuple):
    """The stretches of time that samples hold for; a sample that does not count holds for none.

    Args:
        edges: Where the memory stands before the block, then after each sample, in multiples of `unit`, (B, L + 1), or
            (1, L + 1) where all series share them; float64.
        unit: Unit of `edges` in units of time, a number or (B, 1).
        keep: Which samples count, (B, L), or None for all.
        clock: Time at the end of the block, (B,), float64.
        counted: Whether samples are only counted: no times are given, and none is missing.
    """

    edges: Tensor
    unit: float | Tensor
    keep: Tensor | None
    clock: Tensor
    counted: bool = False

    def part(self, start: int, stop: int) -> Timeline:
        """Samples start .. stop - 1."""
        keep = None if self.keep is None else self.keep[:, start:stop]
        return self._replace(edges=self.edges[:, start : stop + 1], keep=keep)


def timeline(
    u: Tensor,
    elapsed: Tensor,
    clock: Tensor,
    *,
    rate: float | Tensor,
    timestamps: Tensor | None,
    lengths: Tensor | None,
    observed: Tensor | None,
) -> Timeline:
    """Turns what is known about the samples' times into stretches; see `HiPPOMemory.scan` for the arguments.

    Raises:
        ValueError: shapes do not fit, times do not rise, both `timestamps` and a `rate` are given.

    Example:
        >>> zero = torch.zeros(1, dtype=torch.float64)
        >>> timeline(torch.zeros(1, 3, 1), zero, zero, rate=1.0, timestamps=None, lengths=None,
        ...          observed=torch.tensor([[True, False, True]])).edges
        tensor([[0., 1., 1., 3.]], dtype=torch.float64)
    """
    batch, length, _ = u.shape
    keep = _kept(u, lengths, observed)
    if timestamps is None:
        unit = _unit(rate, batch, u.device)
        places = _shared(clock.unsqueeze(-1) / unit) + torch.arange(1, length + 1, dtype=torch.float64, device=u.device)
        start = _shared(elapsed.unsqueeze(-1) / unit)
        ran = length if lengths is None else lengths.to(u.device)
        new_clock = clock + ran * (unit.squeeze(-1) if isinstance(unit, Tensor) else unit)
    else:
        if isinstance(rate, Tensor) or rate != 1:
            raise ValueError(f"`rate` is for evenly spaced samples, got {rate!r} and timestamps; leave one of them out")
        unit, start = 1.0, _shared(elapsed.unsqueeze(-1))
        places = _times(timestamps, batch, length).to(u.device)
        new_clock = clock
    rows = min(batch, max(len(places), len(start), 1 if keep is None else batch))
    if keep is not None:
        places = torch.where(keep, places, -torch.inf)
    edges = torch.cat([start.expand(rows, -1), places.expand(rows, -1)], dim=-1)
    if timestamps is not None:
        _check_rise(edges, keep)
    if keep is not None:
        edges = edges.cummax(dim=-1).values
    if timestamps is not None:
        new_clock = edges[:, -1].expand(batch)
    return Timeline(edges, unit, keep, new_clock, counted=timestamps is None and observed is None)


def readable(value: Tensor) -> bool:
    """Whether looking at values costs nothing: they lie in this machine's memory, and nothing is traced.

    Example:
        >>> readable(torch.zeros(1))
        True
    """
    return value.device.type == "cpu" and not torch.compiler.is_compiling() and type(value) is Tensor


def _kept(u: Tensor, lengths: Tensor | None, observed: Tensor | None) -> Tensor | None:
    """Which samples count, (B, L), or None for all."""
    batch, length, _ = u.shape
    keep = None
    if observed is not None:
        if observed.dtype != torch.bool:
            raise ValueError(f"`observed` must be of dtype bool, True where a sample is there, got {observed.dtype}")
        check_shape("observed", observed, (batch, length), "one entry per series and sample")
        keep = observed.to(u.device)
    if lengths is not None:
        check_lengths(lengths, batch, length)
        if not (readable(lengths) and bool((lengths == length).all())):  # else all series share one time line
            inside = torch.arange(length, device=u.device) < lengths.to(u.device)[:, None]
            keep = inside if keep is None else keep & inside
    return keep


def _unit(rate: float | Tensor, batch: int, device: torch.device) -> float | Tensor:
    """The length of a step: a number, or (B, 1) in float64."""
    if not isinstance(rate, Tensor):
        return check_positive("rate", rate)
    if rate.dim() == 0:
        return check_positive("rate", float(rate))
    check_shape("rate", rate, (batch,), "one per series, or one number")
    if readable(rate) and not bool(((rate > 0) & rate.isfinite()).all()):
        raise ValueError(f"`rate` must be finite and above 0 for each series, got {rate.tolist()}")
    return rate.to(device, torch.float64).unsqueeze(-1)


def _times(timestamps: Tensor, batch: int, length: int) -> Tensor:
    """Times as (B, L) or (1, L), in float64."""
    if timestamps.dim() == 1:
        timestamps = timestamps.unsqueeze(0)
    if timestamps.dim() != 2 or timestamps.shape[1] != length or timestamps.shape[0] not in (1, batch):
        raise ValueError(
            f"`timestamps` must have shape ({batch}, {length}) or ({length},) to fit `u`, got "
            f"{tuple(timestamps.shape)}; give each sample the time at which it ends"
        )
    if timestamps.dtype == torch.bool or timestamps.is_complex():
        raise ValueError(f"`timestamps` must be real numbers, got dtype {timestamps.dtype}")
    return timestamps.detach().to(torch.float64)


def _shared(column: Tensor) -> Tensor:
    """One row where all series have the same value, so that their steps need to be made only once."""
    same = readable(column) and len(column) > 1 and bool((column == column[:1]).all())
    return column[:1] if same else column


def _check_rise(edges: Tensor, keep: Tensor | None) -> None:
    """Refuses times of samples that count and do not lie above all before them."""
    if not readable(edges) or not edges.numel():
        return
    before = torch.nan_to_num(edges, nan=-torch.inf).cummax(dim=-1).values[:, :-1]
    good = (edges[:, 1:] > before) & (edges[:, 1:] < torch.inf)
    bad = (~good if keep is None else ~good & keep).nonzero()
    if len(bad):
        i, k = (int(index) for index in bad[0])
        raise ValueError(
            f"`timestamps` must be finite and rise above 0 and what the memory holds, but sample {k} of series {i} is "
            f"at {float(edges[i, k + 1]):.12g} and the memory reaches {float(before[i, k]):.12g}; sort the samples, "
            "and count time from the start of the series"
        )
