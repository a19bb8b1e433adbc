"""What test_gradient_hook.py runs on two ranks, which are processes that import this file."""

from __future__ import annotations

import copy
import math

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from seqkit.distributed import EFGradHook, QuantizedAdam
from seqkit.distributed.launch import World


def flat(model: nn.Module) -> Tensor:
    return torch.cat([p.grad.reshape(-1) for p in model.parameters()])


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def same_everywhere(value: Tensor) -> bool:
    both = [torch.empty_like(value) for _ in range(2)]
    dist.all_gather(both, value)
    return torch.equal(both[0].nan_to_num(7.0), both[1].nan_to_num(7.0))


def small(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 5)).to(dtype)


def error(got: Tensor, want: Tensor) -> float:
    return float((got - want).norm() / want.norm())


def feedback(rank: int) -> dict:
    """The same gradient 40 times, in small buckets, which DDP lays out anew after the first step."""
    model, plain = small(), small()
    wrapped = DistributedDataParallel(model, bucket_cap_mb=0.001)
    hook = EFGradHook(4, 32)
    hook.register(wrapped)
    x = torch.randn(8, 20, generator=torch.Generator().manual_seed(rank))
    plain(x).square().mean().backward()
    want = flat(plain)
    dist.all_reduce(want)
    want /= 2
    total, errors, equal = torch.zeros_like(want), [], True
    for _ in range(40):
        wrapped.zero_grad()
        wrapped(x).square().mean().backward()
        total += flat(model)
        errors.append(error(flat(model), want))
        equal = equal and same_everywhere(flat(model))
    return {
        "each": max(errors),
        "mean": error(total / 40, want),
        "equal": equal,
        "bytes": hook.meter.bytes,
        "plain": hook.meter.plain_bytes,
    }


def not_finite(rank: int) -> dict:
    """One rank has a NaN in one step: it arrives everywhere, and the next step is as if it had not been."""
    found = {}
    for bits in (4, 16):
        model = small()
        wrapped = DistributedDataParallel(model)
        EFGradHook(bits, 32).register(wrapped)
        states = []
        for turn in range(2):
            wrapped.zero_grad()
            x = torch.ones(2, 20)
            out = wrapped(x).square().mean()
            if rank == 1 and turn == 0:
                out = out + model[2].bias[0] * math.nan
            out.backward()
            states.append((int(flat(model).isnan().sum()), same_everywhere(flat(model))))
        found[bits] = states
    return found


def resumed(rank: int) -> dict:
    """Five steps and five more, beside ten."""

    def run(hook: EFGradHook, steps: range) -> Tensor:
        model = small()
        wrapped = DistributedDataParallel(model)
        hook.register(wrapped)
        for step in steps:
            wrapped.zero_grad()
            x = torch.randn(8, 20, generator=torch.Generator().manual_seed(10 * step + rank))
            wrapped(x).square().mean().backward()
        return flat(model)

    def make() -> EFGradHook:
        return EFGradHook(3, 32)

    want = run(make(), range(10))
    first = make()
    run(first, range(5))
    state = copy.deepcopy(first.state_dict())
    second, third = make(), make()
    second.load_state_dict(state)
    return {"equal": torch.equal(run(second, range(5, 10)), want), "other": torch.equal(run(third, range(5, 10)), want)}


def half(rank: int) -> dict:
    model = small(torch.bfloat16)
    wrapped = DistributedDataParallel(model)
    EFGradHook(8).register(wrapped)
    x = torch.randn(8, 20, generator=torch.Generator().manual_seed(rank)).bfloat16()
    wrapped(x).square().mean().backward()
    return {"dtype": str(flat(model).dtype), "equal": same_everywhere(flat(model))}


def classes() -> tuple[Tensor, Tensor]:
    """Thirty dimensions, five classes, which overlap."""
    generator = torch.Generator().manual_seed(3)
    centres = torch.randn(5, 30, generator=generator)
    y = torch.randint(5, (640,), generator=generator)
    return centres[y] + 4 * torch.randn(640, 30, generator=generator), y


def train(rank: int, make_step) -> float:
    """Loss over the whole set after training on this rank's half of it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 5))
    x, y = classes()
    module, optimiser = make_step(model)
    mine = torch.arange(rank, len(x), 2)
    generator = torch.Generator().manual_seed(rank)
    for _ in range(20):
        for batch in mine[torch.randperm(len(mine), generator=generator)].split(32):
            optimiser.zero_grad()
            nn.functional.cross_entropy(module(x[batch]), y[batch]).backward()
            optimiser.step()
    assert same_everywhere(weights(model))
    return float(nn.functional.cross_entropy(model(x), y).detach().nan_to_num(1e9))


def hooked(bits: int):
    def make(model: nn.Module):
        wrapped = DistributedDataParallel(model)
        if bits < 32:
            EFGradHook(bits).register(wrapped)
        return wrapped, torch.optim.AdamW(model.parameters(), 0.01)

    return make


class Advancing(QuantizedAdam):
    """The correction goes on although v is frozen, as in the code of AC-SGD."""

    def correction(self, t, group):
        return 1 - group["betas"][1] ** t


def coded(kind: type[QuantizedAdam], bits: int, epochs: int, second: float = 0.999):
    """An epoch is 10 steps."""
    options = {"betas": (0.9, second), "warmup_steps": 10 * epochs, "bits": bits}
    return lambda model: (model, kind(model.parameters(), 0.01, **options))


def training(rank: int) -> dict:
    ways = {
        "plain": hooked(32),
        "hook 8": hooked(8),
        "hook 4": hooked(4),
        "hook 2": hooked(2),
        "adam in full": coded(QuantizedAdam, 32, 20),
        "adam in full, frozen": coded(QuantizedAdam, 32, 5),
        "adam 8": coded(QuantizedAdam, 8, 5),
        "adam 4": coded(QuantizedAdam, 4, 5),
        "adam 8, three epochs of a short memory": coded(QuantizedAdam, 8, 3, 0.95),
        "adam 8, short": coded(QuantizedAdam, 8, 1),
        "adam 8, short, advancing": coded(Advancing, 8, 1),
    }
    return {name: train(rank, way) for name, way in ways.items()}


def everything(world: World) -> dict:
    parts = {"feedback": feedback, "not_finite": not_finite, "resumed": resumed, "half": half, "training": training}
    return {name: part(world.rank) for name, part in parts.items()}
