"""AdamW whose momentum travels in a few bits once the second moment is frozen."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
import torch.distributed as dist
from torch import Tensor, nn

from seqkit.checks import check_not_negative, check_positive, check_positive_int, check_unit_interval
from seqkit.distributed.chunks import mean_of_chunks
from seqkit.distributed.codec import DeltaCodec
from seqkit.distributed.meter import WireMeter

__all__ = ["QuantizedAdam"]


class QuantizedAdam(torch.optim.Optimizer):
    """AdamW over replicas that exchange gradients in full at first, and later their momentum in `bits` bits.

        t <= t0: g = mean over ranks of g_r,  m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g^2
        t > t0:  m = mean over ranks of Q(b1 m + (1 - b1) g_r + e_r), with error feedback;  v stays
        p = p - lr m / (1 - b1^t) / (sqrt(v / (1 - b2^min(t, t0))) + eps)

    Gradients must be those of each rank alone: do not wrap the model in `DistributedDataParallel`. The correction of v
    is frozen with v. Where v is near 0 for want of gradients so far, steps would be huge, so it is held above a
    hundredth of its parameter's mean. `EFGradHook` keeps v alive and is the safer choice: a frozen v costs more the
    earlier it is frozen, whatever the bits; a smaller b2, such as 0.95, then costs less (docs/distributed.md).

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate.
        betas: Decays of both moments, per step.
        eps: Added to the root of v.
        weight_decay: Share of lr by which parameters shrink, as in AdamW.
        warmup_steps: t0, steps with gradients in full; a few epochs.
        bits: Bits of a number of the momentum, 1 to 8, 16 or 32.
        group: Numbers that share a step of the code.
        process_group: The replicas; left out, all ranks. Without torch.distributed it is one process.

    Raises:
        ValueError: an option is out of range.

    Source: Tang et al. 2021, 1-bit Adam (arXiv:2102.02888), in the form of the code of AC-SGD (arXiv:2206.01299).
        Differs from that code: its correction goes on after v is frozen, which makes steps up to 1 / sqrt(1 - b2^t0)
        times too large.

    Cost: a rank sends 2 (ranks - 1) / ranks of the coded momentum a step. It holds 3 + 1 / ranks
        numbers for each of a parameter.

    Example:
        >>> p = nn.Parameter(torch.ones(2))
        >>> optimiser = QuantizedAdam([p], lr=0.1, warmup_steps=1)
        >>> for _ in range(3):
        ...     p.grad = 2 * p.detach()
        ...     optimiser.step()
        >>> bool((p < 0.8).all())
        True
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        *,
        warmup_steps: int = 1000,
        bits: int = 8,
        group: int = 64,
        process_group: dist.ProcessGroup | None = None,
    ) -> None:
        check_not_negative("lr", lr)
        check_positive("eps", eps)
        check_not_negative("weight_decay", weight_decay)
        check_unit_interval("betas", betas[0])
        check_unit_interval("betas", betas[1])
        self.warmup_steps = check_positive_int("warmup_steps", warmup_steps)
        self.codec, self.process_group, self.meter = DeltaCodec(bits, group), process_group, WireMeter()
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step; every rank must take it with the same parameters.

        Example:
            >>> QuantizedAdam([nn.Parameter(torch.ones(2))]).step()
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        owners = [(parameter, group) for group in self.param_groups for parameter in group["params"]]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p, _ in owners]
        for parameter, _ in owners:
            self.begin(parameter)
        t = self.state[owners[0][0]]["step"] + 1
        if t <= self.warmup_steps:
            self.exact_moments(owners, grads)
        else:
            if t == self.warmup_steps + 1:
                self.freeze(owners)
            self.coded_momentum(owners, grads)
        for parameter, group in owners:
            state, (first, _) = self.state[parameter], group["betas"]
            state["step"] = t
            size = (state["exp_avg_sq"] / self.correction(t, group)).sqrt_().add_(group["eps"])
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.addcdiv_(state["exp_avg"], size, value=-group["lr"] / (1 - first**t))
        return loss

    def begin(self, parameter: nn.Parameter) -> None:
        """Makes the state of a parameter, where it has none."""
        if not self.state[parameter]:
            moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq", "error")}
            self.state[parameter].update({"step": 0, **moments})

    def correction(self, t: int, group: dict[str, Any]) -> float:
        """1 - b2^t, which no longer moves when v does not."""
        return 1.0 - float(group["betas"][1]) ** min(t, self.warmup_steps)

    def exact_moments(self, owners: list[tuple[nn.Parameter, dict[str, Any]]], grads: list[Tensor]) -> None:
        """Both moments from the mean of the ranks' gradients."""
        flat = torch.cat([grad.reshape(-1).float() for grad in grads])
        if dist.is_initialized():
            dist.all_reduce(flat, group=self.process_group)
            flat /= dist.get_world_size(self.process_group)
        for (parameter, group), part in zip(owners, torch.split(flat, [grad.numel() for grad in grads]), strict=True):
            state, (first, second) = self.state[parameter], group["betas"]
            grad = part.view(parameter.shape).to(parameter.dtype)
            state["exp_avg"].lerp_(grad, 1 - first)
            state["exp_avg_sq"].mul_(second).addcmul_(grad, grad, value=1 - second)

    def freeze(self, owners: list[tuple[nn.Parameter, dict[str, Any]]]) -> None:
        """Holds v above a hundredth of its mean, from now on."""
        for parameter, _ in owners:
            second = self.state[parameter]["exp_avg_sq"]
            second.clamp_(min=float(second.mean()) / 100)

    def coded_momentum(self, owners: list[tuple[nn.Parameter, dict[str, Any]]], grads: list[Tensor]) -> None:
        """The momentum of every rank's own gradient, averaged in a few bits."""
        sizes = [grad.numel() for grad in grads]
        states = [self.state[parameter] for parameter, _ in owners]
        for state, grad, (_, group) in zip(states, grads, owners, strict=True):
            state["exp_avg"].lerp_(grad, 1 - group["betas"][0])
        flat = torch.cat([state["exp_avg"].reshape(-1).float() for state in states])
        error = torch.cat([state["error"].reshape(-1).float() for state in states])
        mean, chunk = mean_of_chunks(
            self.codec, flat, error, states[0].get("chunk_error"), self.process_group, self.meter
        )
        states[0]["chunk_error"] = chunk
        for state, part, lost in zip(states, torch.split(mean, sizes), torch.split(error, sizes), strict=True):
            state["exp_avg"].copy_(part.view_as(state["exp_avg"]))
            state["error"].copy_(lost.view_as(state["error"]))
