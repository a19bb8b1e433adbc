"""The features as they are defined: one series, one sample, all filters in complex numbers of double precision."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from seqkit.kernels.state_features.bank import MOST_PARTS, Filters

__all__ = ["outputs_reference", "state_features_reference"]


def kept_samples(values: Tensor, steps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Values (K, C), slopes (K, C) and spans (K,) of the samples with an observed channel, long steps in parts."""
    held = torch.full_like(values[0], torch.nan) if len(values) else values.sum(0)
    rows, slopes, spans = [], [], []
    span = torch.zeros((), dtype=torch.float64)
    for value, step in zip(values, steps, strict=True):
        span = span + step
        if bool(value.isnan().all()):
            continue
        new = torch.where(value.isnan(), held, value)
        old = torch.where(held.isnan(), new, held)
        parts = min(MOST_PARTS, max(1, math.ceil(float(span) - 1e-6)))
        for j in range(1, parts + 1):
            rows.append((old + (new - old) * j / parts).nan_to_num(0.0))
            slopes.append(((new - old) / span).nan_to_num(0.0))
            spans.append(span / parts)
        held, span = new, torch.zeros_like(span)
    empty = values.new_zeros(0, values.shape[1])
    if not rows:
        return empty, empty, steps.new_zeros(0)
    return torch.stack(rows), torch.stack(slopes), torch.stack(spans)


def outputs_reference(values: Tensor, filters: Filters, steps: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs (K, F) of one series (L, C) at its K rows, and the time that each of these closes, (K,)."""
    rows, slopes, spans = kept_samples(values.double(), steps.double())
    mix = filters.mix.double()
    inputs = torch.where(filters.sloped.bool(), slopes @ mix.T, rows @ mix.T)
    rate = torch.complex(-filters.decay.double(), filters.turn.double())
    phase = torch.polar(torch.ones_like(filters.phase.double()), filters.phase.double())
    state = torch.zeros(4, len(rate), dtype=torch.complex128)
    outputs = []
    before = inputs[0] if len(inputs) else inputs.sum(0)
    for u, span in zip(inputs, spans, strict=True):
        a, h = (rate * span).exp(), (filters.decay.double() * span / 2).tanh()
        old, new = before.to(a.dtype), u.to(a.dtype)
        following = []
        for stage in state:
            value = a * (stage + h * old) + h * new
            following.append(value)
            old, new = stage, value
        state, before = torch.stack(following), u
        last = state.gather(0, (filters.stages.long() - 1).unsqueeze(0))[0]
        outputs.append((phase * last).real)
    return torch.stack(outputs) if outputs else inputs.new_zeros(0, len(rate)), spans


def state_features_reference(
    values: Tensor, filters: Filters, thresholds: Tensor, steps: Tensor, lengths: Tensor
) -> Tensor:
    """Features (B, F, T + 3) of series (B, L, C); NaN where nothing is observed."""
    rows = []
    for series, times, length in zip(values, steps, lengths.tolist(), strict=True):
        y, spans = outputs_reference(series[:length], filters, times[:length])
        if not len(y):
            rows.append(torch.full((*thresholds.shape[:1], thresholds.shape[1] + 3), torch.nan, dtype=torch.float64))
            continue
        weight = spans / spans.sum()
        shares = torch.einsum("k,kft->ft", weight, (y.unsqueeze(-1) > thresholds.double()).double())
        rest = torch.stack([y.amax(0), weight @ y, y[-1]], dim=-1)
        rows.append(torch.cat([shares, rest], dim=-1))
    return torch.stack(rows).to(values.dtype)
