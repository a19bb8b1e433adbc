"""The features without compiled loops: all series and filters of a sample at once, in torch."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.kernels.state_features.bank import LANES, MOST_PARTS, MOST_STAGES, Packed
from seqkit.kernels.state_features.state import HIGHEST, LAST, PREVIOUS, FeatureState, start

__all__ = ["advance", "sampled", "whole"]

LEAST = 1e-8  # unit where the gain is less
TOGETHER = 64  # series whose states are held at a time


def whole(bank: Packed, values: Tensor, steps: Tensor, lengths: Tensor) -> Tensor:
    """Features (B, F, T + 3) of whole series, some of them at a time."""
    parts = []
    for begin in range(0, len(values), TOGETHER):
        part = slice(begin, begin + TOGETHER)
        state = start(bank, len(values[part]))
        parts.append(advance(bank, values[part], steps[part], lengths[part], state)[0])
    return torch.cat(parts)


def advance(
    bank: Packed, values: Tensor, steps: Tensor, lengths: Tensor, state: FeatureState, trace: Tensor | None = None
) -> tuple[Tensor, int]:
    """Takes samples into `state`, in place, returns the features so far and the number of rows; see `cpu.advance`."""
    written = 0
    units = units_of(bank)
    state.memory[:, :, : PREVIOUS + 1] /= units
    for k in range(values.shape[1]):
        value, running, clock, held = values[:, k], k < lengths, state.clock, state.held
        clock[:, 1] += torch.where(running, steps[:, k], 0.0)
        seen = running & ~value.isnan().all(dim=1)
        new = torch.where(value.isnan(), held, value)
        old = torch.where(held.isnan(), new, held)
        parts = (clock[:, 1] - 1e-6).ceil().clamp(1, MOST_PARTS)
        part, slope = clock[:, 1] / parts, (new - old) / clock[:, 1].float().unsqueeze(1)
        for j in range(int(torch.where(seen, parts, 0).max())):
            share = ((j + 1) / parts).clamp(max=1).float().unsqueeze(1)
            now = seen & (j < parts)
            take_row(bank, torch.where(share == 1, new, old + (new - old) * share), slope, part, now, state)
            if trace is not None:
                trace[:, written] = state.memory[0, :, LAST]
                written += 1
        held.copy_(torch.where(seen.unsqueeze(1), new, held))
        clock[:, 1] = torch.where(seen, 0.0, clock[:, 1])
    state.memory[:, :, : PREVIOUS + 1] *= units
    return read(bank, state), written


def units_of(bank: Packed) -> Tensor:
    """What the loops hold stages and input in units of, (K, 9, 32): powers of the gain at a training step."""
    unit = (bank.system[:, 0].double() / 2).tanh().clamp_min(LEAST).unsqueeze(1)
    left = bank.kind[:, :1] - torch.tensor([1, 1, 2, 2, 3, 3, 4, 4, 0])
    return (unit ** left.clamp_min(0).unsqueeze(2)).float()


def sampled(bank: Packed, values: Tensor, steps: Tensor, lengths: Tensor, chosen: Tensor, out: Tensor) -> None:
    """Writes outputs of each filter over its series to `out` (F, most); see `cpu.sampled`."""
    parts, most = chosen.shape[1], out.shape[1]
    for b in range(len(bank.kind)):
        block = Packed(*(field[b : b + 1] for field in bank))._replace(order=torch.arange(LANES).unsqueeze(0))
        for g in range(parts):
            i = int(chosen[b, g])
            part, times = values[i : i + 1, : lengths[i]], steps[i : i + 1, : lengths[i]]
            trace = out.new_empty(1, int((times + 1).ceil().clamp(1, MOST_PARTS).sum()), LANES)
            _, count = advance(block, part, times, lengths[i : i + 1], start(block, 1), trace)
            kept = trace[0, : count : max(1, -(-count // most))]
            lanes = slice(g * LANES // parts, (g + 1) * LANES // parts)
            places = bank.order[b, lanes]
            out[places[places >= 0], : len(kept)] = kept[:, lanes].T[places >= 0]


def take_row(bank: Packed, value: Tensor, slope: Tensor, span: Tensor, now: Tensor, state: FeatureState) -> None:
    """Takes values and slopes (B, C) that close the times `span` (B,) into the state of the series `now` (B,)."""
    memory, totals, _, clock = state
    fresh = clock[:, 0] == 0
    span = torch.where(now, span, 1.0)
    both = torch.stack([value, slope], dim=1)
    both = torch.where(now.view(-1, 1, 1) & ~both.isnan(), both, 0.0)
    u = torch.einsum("bkc,kcw->bkw", both[:, bank.kind[:, 1]], bank.mix)
    decay, turn, real, imag = (field.unsqueeze(0) for field in bank.system.unbind(1))
    wide = span.view(-1, 1, 1)
    a = torch.polar((-decay * wide).exp(), turn * wide).to(torch.complex64)
    h = (decay * wide / 2).tanh().float()
    before = torch.where(fresh.view(-1, 1, 1), u, memory[:, :, PREVIOUS])
    pairs = memory[:, :, : 2 * MOST_STAGES].reshape(*memory.shape[:2], MOST_STAGES, 2, -1)
    stages = torch.view_as_complex(pairs.movedim(3, -1).contiguous())
    old, value_in, following = before.to(a.dtype), u.to(a.dtype), []
    for stage in stages.unbind(2):
        value_in_next = a * (stage + h * old) + h * value_in
        following.append(value_in_next)
        old, value_in = stage, value_in_next
    after = torch.stack(following, dim=2)
    place = (bank.kind[:, 0] - 1).view(1, -1, 1, 1).expand(len(u), -1, 1, u.shape[-1])
    last = after.gather(2, place).squeeze(2)
    y = real * last.real - imag * last.imag
    rows = [torch.view_as_real(after).movedim(-1, 3).flatten(2, 3), u.unsqueeze(2)]
    rows += [torch.maximum(memory[:, :, HIGHEST], y).unsqueeze(2), y.unsqueeze(2)]
    memory.copy_(torch.where(now.view(-1, 1, 1, 1), torch.cat(rows, dim=2), memory))
    weight = torch.where(now, span, 0.0).view(-1, 1, 1, 1)
    above = y.unsqueeze(2) > bank.limits
    totals += weight * torch.cat([above.double(), y.double().unsqueeze(2)], dim=2)
    clock[:, 0] += weight.flatten()


def read(bank: Packed, state: FeatureState) -> Tensor:
    """Features (B, F, T + 3) from the state."""
    time = state.clock[:, 0].view(-1, 1, 1, 1)
    means = (state.totals / time).float()
    nothing = (time == 0).squeeze(-1)
    rest = [state.memory[:, :, row].masked_fill(nothing, torch.nan) for row in (HIGHEST, LAST)]
    columns = [*means[:, :, :-1].unbind(2), rest[0], means[:, :, -1], rest[1]]
    lanes = torch.stack(columns, dim=-1).flatten(1, 2)
    order = bank.order.flatten()
    out = lanes.new_empty(len(lanes), bank.n_filters, lanes.shape[-1])
    out[:, order[order >= 0]] = lanes[:, order >= 0]
    return out
