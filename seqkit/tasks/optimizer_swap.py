"""Gives optimizers the parameters of layers that were replaced in the middle of training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["adopt_parameters", "optimizers_of"]


def optimizers_of(configured: Any) -> list[Optimizer]:
    """The optimizers in what a `configure_optimizers` returned.

    Example:
        >>> sgd = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        >>> [type(one).__name__ for one in optimizers_of({"optimizer": sgd, "monitor": "loss"})]
        ['SGD']
    """
    if configured is None:
        return []
    if isinstance(configured, Optimizer):
        return [configured]
    if isinstance(configured, dict):
        return [configured["optimizer"]]
    if len(configured) == 2 and isinstance(configured[0], (list, tuple)):  # optimizers, schedulers
        return list(configured[0])
    return [one["optimizer"] if isinstance(one, dict) else one for one in configured]


@torch.no_grad()
def adopt_parameters(optimizers: Sequence[Optimizer], wanted: Sequence[Optimizer]) -> None:
    """Gives running optimizers the parameters of others that were just made for the same model, group by group.

    Learning rates, decays and other numbers of the groups stay as training has brought them, so a schedule goes on.
    What an optimizer remembers of parameters that stay (moments, step counts) stays too; what it remembered of those
    that went is dropped, and new ones begin without memory, as at the start of a training: Adam counts their steps
    anew, so that its first steps for them have the right size.

    Args:
        optimizers: The ones in use.
        wanted: The ones whose parameters they shall have, in the same order and with the same groups.

    Raises:
        ValueError: another number of optimizers or groups, groups of other names, or an optimizer that keeps its
            parameters elsewhere (LBFGS).

    Example:
        >>> old, new = (torch.zeros(2, requires_grad=True) for _ in range(2))
        >>> optimizer = torch.optim.SGD([old], lr=0.1)
        >>> adopt_parameters([optimizer], [torch.optim.SGD([new], lr=1.0)])
        >>> group = optimizer.param_groups[0]
        >>> group["params"][0] is new, group["lr"]
        (True, 0.1)
    """
    shapes = [[len(one.param_groups) for one in many] for many in (optimizers, wanted)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"`configure_optimizers` must give the same parameter groups after layers were replaced, got {shapes[1]} "
            f"groups of each optimizer in place of {shapes[0]}; keep a group where its last parameter may go"
        )
    for mine, other in zip(optimizers, wanted, strict=True):
        if isinstance(mine, torch.optim.LBFGS):
            raise ValueError(
                "`optimizer` must not be LBFGS where layers are replaced in training; use a first-order one"
            )
        for group, source in zip(mine.param_groups, other.param_groups, strict=True):
            if group.get("name") != source.get("name"):
                raise ValueError(
                    f"`configure_optimizers` must give the same parameter groups after layers were replaced, got "
                    f"{source.get('name')!r} in place of {group.get('name')!r}; keep a group where its last parameter "
                    "may go"
                )
    for mine, other in zip(optimizers, wanted, strict=True):
        for group, source in zip(mine.param_groups, other.param_groups, strict=True):
            group["params"][:] = source["params"]
        stays: set[Tensor] = {parameter for group in mine.param_groups for parameter in group["params"]}
        for parameter in [parameter for parameter in mine.state if parameter not in stays]:
            del mine.state[parameter]
