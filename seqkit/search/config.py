"""Settings of a search over operations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from seqkit.checks import check_choice, check_keys, check_not_negative, check_positive_int

__all__ = ["SearchConfig"]


@dataclass(frozen=True)
class SearchConfig:
    """How operations are put into a model and searched over.

    Args:
        depth: Number of butterflies of K, L and M each: 1 holds what lies near convolutions, 3 permutations too.
        operation_learning_rate: Peak learning rate of K, L and M, which follows the schedule of the others; 0 leaves
            the network what it was.
        warmup_epochs: Epochs with frozen operations.
        causal: "none", or "stack": every output of an operation from a window of its past, as learned operations look
            ahead; as many times the cost as the series have samples.

    Raises:
        ValueError: a number or choice that cannot be.

    Example:
        >>> SearchConfig().depth
        3
    """

    depth: int = 3
    operation_learning_rate: float = 0.001
    warmup_epochs: int = 0
    causal: str = "none"

    def __post_init__(self) -> None:
        """Refuses values out of range."""
        check_positive_int("depth", self.depth)
        check_not_negative("operation_learning_rate", self.operation_learning_rate)
        if isinstance(self.warmup_epochs, bool) or not isinstance(self.warmup_epochs, int) or self.warmup_epochs < 0:
            raise ValueError(f"`warmup_epochs` must be a whole number of at least 0, got {self.warmup_epochs!r}")
        check_choice("causal", self.causal, ("none", "stack"))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SearchConfig:
        """Reads plain values; what is not named has its default.

        Raises:
            ValueError: an unknown key, or a value that cannot be.

        Example:
            >>> SearchConfig.from_dict({"depth": 1}).depth
            1
        """
        check_keys("a search", values, asdict(cls()))
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML or JSON."""
        return asdict(self)
