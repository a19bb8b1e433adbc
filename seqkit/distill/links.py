"""Scales on which a student learns a teacher's values, with their derivatives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from seqkit.checks import check_choice

__all__ = ["Identity", "Link", "Log", "Logit", "get_link", "link_names"]


class Link(ABC):
    """Abstract scale h on which a student is compared with its teacher.

    A student f learns the target h(p) + gamma (y - p): h' decides what correction is orthogonal.

    Example:
        >>> get_link("logit").value(torch.tensor([0.5])).item()
        0.0
    """

    name: ClassVar[str]
    needs_probabilities: ClassVar[bool]
    """Whether values must lie within (0, 1) or above 0, so that they are clipped before."""

    @abstractmethod
    def value(self, p: Tensor) -> Tensor:
        """h(p), of the shape of `p`."""

    @abstractmethod
    def slope(self, p: Tensor) -> Tensor:
        """h'(p), of the shape of `p`."""

    @abstractmethod
    def inverse(self, f: Tensor) -> Tensor:
        """The p with h(p) = f."""

    def clipped(self, p: Tensor, clip: float) -> Tensor:
        """`p` away from where h has no value; unchanged by default."""
        return p


class Identity(Link):
    """h(p) = p: probabilities themselves, or the values of a regression.

    Example:
        >>> Identity().slope(torch.tensor([0.2])).item()
        1.0
    """

    name = "identity"
    needs_probabilities = False

    def value(self, p: Tensor) -> Tensor:
        """The value itself."""
        return p

    def slope(self, p: Tensor) -> Tensor:
        """1."""
        return torch.ones_like(p)

    def inverse(self, f: Tensor) -> Tensor:
        """The value itself."""
        return f


class Log(Link):
    """h(p) = log p, whose corrected target leans upwards: by half of the squared relative error of the teacher.

    Example:
        >>> Log().slope(torch.tensor([0.25])).item()
        4.0
    """

    name = "log"
    needs_probabilities = True

    def value(self, p: Tensor) -> Tensor:
        """Logarithm of p."""
        return p.log()

    def slope(self, p: Tensor) -> Tensor:
        """1 / p."""
        return p.reciprocal()

    def inverse(self, f: Tensor) -> Tensor:
        """Exponential of f."""
        return f.exp()

    def clipped(self, p: Tensor, clip: float) -> Tensor:
        """At least `clip`."""
        return p.clamp(min=clip)


class Logit(Link):
    """h(p) = log(p / (1 - p)), for the probability of one class against the rest.

    Example:
        >>> Logit().slope(torch.tensor([0.5])).item()
        4.0
    """

    name = "logit"
    needs_probabilities = True

    def value(self, p: Tensor) -> Tensor:
        """The logarithm of the odds, log p - log(1 - p)."""
        return p.log() - (-p).log1p()

    def slope(self, p: Tensor) -> Tensor:
        """1 / (p (1 - p))."""
        return (p * (1 - p)).reciprocal()

    def inverse(self, f: Tensor) -> Tensor:
        """The sigmoid of f."""
        return f.sigmoid()

    def clipped(self, p: Tensor, clip: float) -> Tensor:
        """Between `clip` and 1 - `clip`."""
        return p.clamp(min=clip, max=1 - clip)


_LINKS: dict[str, Link] = {link.name: link for link in (Identity(), Log(), Logit())}


def link_names() -> list[str]:
    """Names that `get_link` takes.

    Example:
        >>> link_names()
        ['identity', 'log', 'logit']
    """
    return list(_LINKS)


def get_link(name: str) -> Link:
    """The link of a name.

    Args:
        name: "identity", "log" or "logit".

    Raises:
        ValueError: another name.

    Example:
        >>> get_link("log").name
        'log'
    """
    return _LINKS[check_choice("link", name, _LINKS)]
