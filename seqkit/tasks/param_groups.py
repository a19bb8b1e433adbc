"""Parameter groups that state-space layers need, for the task here and for people's own loops."""

from __future__ import annotations

from typing import Any

from torch import nn

from seqkit.checks import check_not_negative, check_positive
from seqkit.nn import Mixer
from seqkit.structured.xd import operation_parameters

__all__ = ["param_groups"]


def param_groups(
    model: nn.Module,
    *,
    learning_rate: float,
    ssm_learning_rate: float | None = None,
    operation_learning_rate: float | None = None,
    weight_decay: float = 0.01,
) -> list[dict[str, Any]]:
    """Sorts a model's parameters into groups for any torch optimiser.

    A, B and dt of state-space layers get the smaller learning rate and no weight decay: decay would pull eigenvalues
    and step sizes to meaningless values. Biases, norms and other vectors get no decay either, nor do K, L and M of
    XD-operations, which have a learning rate of their own.

    Args:
        model: Any module; mixers inside say which of their parameters are slow (`Mixer.slow_parameters`).
        learning_rate: Learning rate of everything else.
        ssm_learning_rate: Learning rate of A, B and dt; `min(learning_rate, 0.001)` if None.
        operation_learning_rate: Learning rate of K, L and M; `learning_rate` if None.
        weight_decay: Decay of the matrices outside A, B and dt, per step and unit of learning rate as in AdamW.

    Returns:
        Groups with "name", "params", "lr" and "weight_decay"; empty groups are left out.

    Raises:
        ValueError: a learning rate that is not positive, a negative decay, or a model with nothing to train.

    Source:
        The recipe of LSSL and S4 (arXiv:2110.13985, arXiv:2111.00396), there hidden in tensor attributes.

    Example:
        >>> import torch, seqkit
        >>> groups = param_groups(seqkit.S4D(4, order=4), learning_rate=0.01)
        >>> [(group["name"], group["lr"]) for group in groups]
        [('matrices', 0.01), ('state space', 0.001)]
        >>> optimizer = torch.optim.AdamW(groups)
    """
    check_positive("learning_rate", learning_rate)
    slow_rate = min(learning_rate, 1e-3) if ssm_learning_rate is None else ssm_learning_rate
    check_positive("ssm_learning_rate", slow_rate)
    operation_rate = learning_rate if operation_learning_rate is None else operation_learning_rate
    check_not_negative("operation_learning_rate", operation_rate)
    check_not_negative("weight_decay", weight_decay)
    slow = {
        id(module.get_parameter(name))
        for module in model.modules()
        if isinstance(module, Mixer)
        for name in module.slow_parameters
    }
    matrices: list[nn.Parameter] = []
    vectors: list[nn.Parameter] = []
    state_space: list[nn.Parameter] = []
    operations = [parameter for parameter in operation_parameters(model) if parameter.requires_grad]
    taken = {id(parameter) for parameter in operations}
    for parameter in model.parameters():
        if not parameter.requires_grad or id(parameter) in taken:
            continue
        group = state_space if id(parameter) in slow else matrices if parameter.dim() > 1 else vectors
        group.append(parameter)
    groups: list[dict[str, Any]] = [
        {"name": "matrices", "params": matrices, "lr": learning_rate, "weight_decay": weight_decay},
        {"name": "vectors", "params": vectors, "lr": learning_rate, "weight_decay": 0.0},
        {"name": "state space", "params": state_space, "lr": slow_rate, "weight_decay": 0.0},
        {"name": "operations", "params": operations, "lr": operation_rate, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise ValueError(f"`model` must have parameters to train, got {type(model).__name__} with none; unfreeze some")
    return groups
