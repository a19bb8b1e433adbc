"""What a student learns: the teacher's value, moved towards the label as far as the label's noise allows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from seqkit.checks import check_choice, check_unit_interval
from seqkit.distill.links import Link, get_link

__all__ = ["GAMMAS", "PROXIES", "CorrectedTarget"]

GAMMAS = ("none", "orthogonal", "fast", "slow", "scalar")
PROXIES = ("predictable", "residual")

A = TypeVar("A", Tensor, np.ndarray[Any, Any])


@dataclass(frozen=True)
class CorrectedTarget:
    r"""The target of a student at a sample, from its teacher's value p and its label y.

        t = h(p) + gamma (y - p)

    With h the link and h' its slope, gamma is

        none        0, the teacher alone
        orthogonal  h': errors of the teacher count only squared, and the label's noise in full
        fast        argmin gamma^2 v + c (gamma - h')^2 = h' c / (c + v), per class
        slow        argmin gamma^2 v + c (gamma - h')^4, per class
        scalar      the fast form with one v per sample, the mean of sum_j p_j (1 - p_j) over two classes

    where v is the variance of y at the sample and c weighs the teacher's error against that noise: 0 gives the teacher,
    infinity the orthogonal target. On the identity link gamma = 1 is the label itself, to the last bit, and one gamma
    per sample in [0, 1] keeps probabilities probabilities; one per class does not.

    Args:
        link: "identity", "log" or "logit": the scale of the student's outputs.
        gamma: One of the names above.
        c: Weight of the teacher's error, 0 or above, infinity allowed; not used by "none" and "orthogonal".
        proxy: "predictable" takes v = p (1 - p), or the `v` that is given, which the label has no part in. "residual"
            takes (y - p)^2, which is biased even with a perfect teacher; it is there for comparisons.
        clip: Probabilities are kept this far from 0 (and from 1 on the logit link) before a link takes them.

    Raises:
        ValueError: an unknown name, `c` below 0, or `clip` outside [0, 0.5).

    Source:
        Dao et al. 2021, Knowledge distillation as semiparametric inference (arXiv:2104.09732). The variance proxy
        differs from the released one, which depends on the label.

    Example:
        >>> target = CorrectedTarget(gamma="fast", c=0.25)
        >>> p, y = torch.tensor([[0.5, 0.5]]), torch.tensor([[1.0, 0.0]])
        >>> target(p, y)
        tensor([[0.7500, 0.2500]])
    """

    link: str = "identity"
    gamma: str = "none"
    c: float = 1.0
    proxy: str = "predictable"
    clip: float = 1e-3

    def __post_init__(self) -> None:
        """Refuses values that make no target, each with its name."""
        get_link(self.link)
        check_choice("gamma", self.gamma, GAMMAS)
        check_choice("proxy", self.proxy, PROXIES)
        check_unit_interval("clip", self.clip)
        if self.clip >= 0.5:
            raise ValueError(f"`clip` must be below 0.5, got {self.clip!r}")
        if isinstance(self.c, bool) or not isinstance(self.c, (int, float)) or math.isnan(self.c) or self.c < 0:
            raise ValueError(f"`c` must be a number, 0 or above (infinity allowed), got {self.c!r}")

    @property
    def corrects(self) -> bool:
        """Whether labels have a part in the target."""
        return self.gamma == "orthogonal" or (self.gamma != "none" and self.c > 0)

    def __call__(self, p: A, y: A, v: A | None = None) -> A:
        """Targets of samples.

        Args:
            p: The teacher's probabilities (n, k), or values (n, k) of a regression.
            y: Labels as 0 and 1, or values, (n, k).
            v: Variance of y at each sample, (n, k) or (n, 1); None for p (1 - p), of probabilities only.

        Returns:
            Targets (n, k) on the link's scale: numpy arrays for numpy arrays.

        Raises:
            ValueError: shapes that differ, or probabilities outside [0, 1] for a link or a proxy that takes them.
        """
        p_, y_, v_ = (None if one is None else torch.as_tensor(one) for one in (p, y, v))
        assert p_ is not None  # the arguments are there
        assert y_ is not None
        out = self._target(p_, y_, v_)
        return out.numpy() if isinstance(p, np.ndarray) else out

    def weight(self, p: A, y: A | None = None, v: A | None = None) -> A:
        """The gamma of each sample and class, (n, k) or (n, 1).

        Args:
            p: As for a call.
            y: Labels, for the proxy "residual" only.
            v: As for a call.
        """
        p_, y_, v_ = (None if one is None else torch.as_tensor(one) for one in (p, y, v))
        assert p_ is not None  # the argument is there
        link = get_link(self.link)
        out = self._gamma(link, link.clipped(p_, self.clip), y_, v_)
        return out.numpy() if isinstance(p, np.ndarray) else out

    def _target(self, p: Tensor, y: Tensor, v: Tensor | None) -> Tensor:
        if p.shape != y.shape or p.dim() != 2:
            raise ValueError(f"`p` and `y` must both have shape (n, k), got {tuple(p.shape)} and {tuple(y.shape)}")
        link = get_link(self.link)
        if link.needs_probabilities and bool((p < 0).any() | (p > 1).any()):
            raise ValueError(f"`p` must lie within 0 and 1 for the {self.link} link; use the identity link for values")
        p = link.clipped(p, self.clip)
        if not self.corrects:
            return link.value(p)
        gamma = self._gamma(link, p, y, v)
        if self.link == "identity":
            return (1 - gamma) * p + gamma * y  # in this form gamma = 1 gives y to the last bit
        return link.value(p) + gamma * (y - p)

    def _gamma(self, link: Link, p: Tensor, y: Tensor | None, v: Tensor | None) -> Tensor:
        slope = link.slope(p)
        if not self.corrects:
            return torch.zeros_like(p)
        if self.gamma == "orthogonal" or math.isinf(self.c):
            return slope
        v = self._variance(p, y, v)
        if self.gamma == "slow":
            return (slope - _slow_gap(slope, v, self.c)).clamp(min=0)
        # The slope is the teacher's and not the noise's: c / (c + v) is the share of it that the noise allows.
        return slope * (self.c / (self.c + v))

    def _variance(self, p: Tensor, y: Tensor | None, v: Tensor | None) -> Tensor:
        if self.proxy == "residual":
            if y is None:
                raise ValueError(
                    "`y` must be given for the proxy 'residual'; choose proxy='predictable' without labels"
                )
            v = (y - p).square()
        elif v is None:
            if bool((p < 0).any() | (p > 1).any()):
                raise ValueError("`v` must be given where `p` are no probabilities: the variance of y at each sample")
            v = p * (1 - p)
        if self.gamma != "scalar":
            return v
        # Of two classes both have the same variance, and the half of the sum is that variance.
        return v.sum(dim=1, keepdim=True) / 2 if v.shape[1] > 1 else v


def _slow_gap(slope: Tensor, v: Tensor, c: float) -> Tensor:
    """The gap h' - gamma, the root d of 2 c d^3 + v d = v h', in a form without cancellation."""
    third = v / (6 * c)
    safe = torch.where(third > 0, third, torch.ones_like(third))
    root = 2 * safe.sqrt() * ((1.5 * slope / safe.sqrt()).asinh() / 3).sinh()
    return torch.where(third > 0, root, torch.zeros_like(root))
