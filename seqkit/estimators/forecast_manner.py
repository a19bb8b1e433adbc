"""How windows of a forecaster are scaled, and how its parts are trained."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rich.console import Console

from seqkit.datasets.rows import Array
from seqkit.estimators.forecast_network import Course, Trained, build_network, train_network
from seqkit.estimators.forecast_sizes import ForecastSizes
from seqkit.estimators.forecast_windows import Origins, Scaling, WindowSet, windows_at
from seqkit.estimators.linear import Linear
from seqkit.estimators.past import Past
from seqkit.models import SequenceModel

__all__ = ["ForecastManner"]


@dataclass(frozen=True)
class ForecastManner:
    """How windows are scaled and a training goes about.

    Args:
        seed: Seed of weights, order and dropout.
        difference: Whether changes from the last value are forecast.
        by_window: Whether each window is divided by its own deviation; by the series' otherwise.
        linear: Whether there is a linear part.
        time_limit: Seconds for all of it; None for no limit.
        callbacks: Called with the metrics of each epoch.
        device: "auto", "cpu" or "cuda".
        verbose: Whether to show what was chosen and how far it is.

    Example:
        >>> ForecastManner(seed=0).linear
        True
    """

    seed: int
    difference: bool = True
    by_window: bool = False
    linear: bool = True
    time_limit: float | None = None
    callbacks: Sequence[Callable[[dict[str, float]], object]] = ()
    device: str = "auto"
    verbose: bool = False
    began: float = field(default_factory=time.monotonic)

    def course(self, epochs: int, rate: float, share: float, decay: bool = True) -> Course:
        """A training that is done by this share of the time."""
        deadline = math.inf if self.time_limit is None else self.began + share * self.time_limit
        console = Console(stderr=True) if self.verbose else None
        return Course(self.seed, epochs, deadline, rate, decay, self.device, self.callbacks, console)

    def windows(
        self,
        pasts: Sequence[Past],
        scalings: Sequence[Scaling],
        origins: Origins,
        sizes: ForecastSizes,
        ahead: Sequence[Array] | None = None,
    ) -> WindowSet:
        """Windows that end where forecasts start, in the units of this manner."""
        return windows_at(
            pasts,
            scalings,
            origins,
            sizes.window,
            sizes.horizon,
            difference=self.difference,
            by_window=self.by_window,
            ahead=ahead,
        )

    def train(
        self,
        windows: WindowSet,
        linear: Linear,
        sizes: ForecastSizes,
        epochs: int,
        share: float,
        held_out: tuple[WindowSet, Array] | None = None,
    ) -> tuple[SequenceModel, Trained]:
        """A network for what the linear part leaves over, trained until this share of the time is gone."""
        network = build_network(windows, sizes, self.seed)
        course = self.course(epochs, sizes.learning_rate, share)
        return network, train_network(network, windows, linear(windows), sizes, course, held_out)
