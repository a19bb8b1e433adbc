"""Losses of a student against soft targets: sums over classes, means over samples."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from seqkit.checks import check_positive

__all__ = ["annealed", "annealed_correction", "brier", "soft_cross_entropy", "squared_error"]

CLIP = 1e-2
"""Smallest probability of a teacher that the correction of a cross-entropy divides by."""


def annealed(p: Tensor, temperature: float) -> Tensor:
    """Probabilities at a temperature: w_j = p_j^(1/T) / sum_i p_i^(1/T).

    Args:
        p: Probabilities (..., k).
        temperature: T; above 1 the small ones count more.

    Example:
        >>> import torch
        >>> annealed(torch.tensor([0.9, 0.1]), 2.0)
        tensor([0.7500, 0.2500])
    """
    if temperature == 1:
        return p
    raised = p.pow(1 / temperature)
    return raised / raised.sum(dim=-1, keepdim=True)


def soft_cross_entropy(scores: Tensor, targets: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Cross-entropy of a student's scores with probabilities, at a temperature.

        -T^2 mean_i sum_j w_ij log softmax(f_i / T)_j,   w = annealed(p, T)

    T^2 keeps gradients of the size that they have at T = 1. The sum runs over the classes and the mean over everything
    else: dividing by the number of classes too would weaken the loss by it.

    Args:
        scores: The student's scores f, (..., k).
        targets: Probabilities p, (..., k).
        temperature: T, above 0.

    Returns:
        A number.

    Raises:
        ValueError: a temperature that is not positive, or shapes that differ.

    Source:
        Hinton et al. 2015 (arXiv:1503.02531).

    Example:
        >>> import torch
        >>> soft_cross_entropy(torch.zeros(3, 2), torch.full((3, 2), 0.5))
        tensor(0.6931)
    """
    check_positive("temperature", temperature)
    _check(scores, targets)
    each = -(annealed(targets, temperature) * F.log_softmax(scores / temperature, dim=-1)).sum(dim=-1)
    return temperature**2 * each.mean()


def annealed_correction(
    scores: Tensor,
    p: Tensor,
    y: Tensor,
    *,
    temperature: float = 1.0,
    weight: Tensor | float = 1.0,
    clip: float = CLIP,
) -> Tensor:
    """What is added to `soft_cross_entropy` so that the teacher's errors count only squared.

        T^2 mean_i (1/T) [(sum_j r_j)(sum_j w_j log q_j) - sum_j r_j log q_j],   r_j = (y_j / p_j - 1) w_j

    with q = softmax(f / T): the derivative of the cross-entropy by p, times y - p. At T = 1 the corrected loss has the
    gradient of the cross-entropy with the label, whatever the teacher.

    Args:
        scores: The student's scores f, (..., k).
        p: The teacher's probabilities, (..., k).
        y: Labels as 0 and 1, (..., k).
        temperature: T, above 0.
        weight: Share of the correction, in [0, 1], a number or (..., 1).
        clip: Smallest p that is divided by.

    Returns:
        A number.

    Raises:
        ValueError: a temperature that is not positive, or shapes that differ.

    Source:
        Dao et al. 2021 (arXiv:2104.09732).

    Example:
        >>> import torch
        >>> one = torch.tensor([[1.0, 0.0]])
        >>> annealed_correction(torch.tensor([[0.3, 0.1]]), one, one)
        tensor(0.)
    """
    check_positive("temperature", temperature)
    _check(scores, p)
    _check(scores, y)
    beta, log_q = 1 / temperature, F.log_softmax(scores / temperature, dim=-1)
    w = annealed(p, temperature)
    # w / p, which is 1 at T = 1 without a division.
    ratio = p.clamp(min=clip).pow(beta - 1) / p.pow(beta).sum(dim=-1, keepdim=True)
    r = (y - p) * ratio
    each = beta * (r.sum(dim=-1) * (w * log_q).sum(dim=-1) - (r * log_q).sum(dim=-1))
    if isinstance(weight, Tensor):
        weight = weight.reshape(each.shape)
    return temperature**2 * (weight * each).mean()


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Half of the squared error, summed over classes: mean_i 1/2 sum_j (f_ij - t_ij)^2.

    Args:
        outputs: The student's outputs on the scale of the targets, such as scores for logarithms, (..., k).
        targets: What `CorrectedTarget` gives, (..., k).

    Returns:
        A number.

    Raises:
        ValueError: shapes that differ.

    Example:
        >>> import torch
        >>> squared_error(torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 1.0]]))
        tensor(2.)
    """
    _check(outputs, targets)
    return (outputs - targets).square().sum(dim=-1).mean() / 2


def brier(scores: Tensor, targets: Tensor) -> Tensor:
    """Squared error of the student's probabilities, summed over classes: mean_i sum_j (softmax(f_i)_j - t_ij)^2.

    Args:
        scores: The student's scores f, (..., k).
        targets: Probabilities, or targets on the identity link, (..., k).

    Returns:
        A number.

    Raises:
        ValueError: shapes that differ.

    Example:
        >>> import torch
        >>> brier(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
        tensor(0.5000)
    """
    _check(scores, targets)
    return (scores.softmax(dim=-1) - targets).square().sum(dim=-1).mean()


def _check(scores: Tensor, targets: Tensor) -> None:
    if scores.shape != targets.shape:
        raise ValueError(
            f"targets must have the shape of the student's outputs, {tuple(scores.shape)}, got {tuple(targets.shape)}; "
            "classes are the last dimension of both"
        )
