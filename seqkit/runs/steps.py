"""Starting step sizes and windows from the data: the sizes that no default fits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from seqkit.datasets.module import SeriesDataModule
    from seqkit.runs.config import RunConfig

__all__ = ["AUTO", "fit_step_sizes", "step_size_range"]

AUTO = "auto"
"""Value of `dt_min`, `dt_max` and `window` that asks for a choice from the data."""


def step_size_range(typical_length: float) -> tuple[float, float]:
    """Range of step sizes whose memories, 1/dt samples, bracket the length of the series.

    Args:
        typical_length: Samples of a typical series.

    Source:
        Gu et al. 2021, LSSL (arXiv:2110.13985): ends 100 times apart, chosen so that 1/dt brackets the length.

    Example:
        >>> step_size_range(100)
        (0.001, 0.1)
    """
    return float(f"{0.1 / typical_length:.3g}"), float(f"{10 / typical_length:.3g}")


def fit_step_sizes(config: RunConfig, module: SeriesDataModule) -> RunConfig:
    """Replaces "auto" by what fits the training part's median length: step sizes around it, a window of that length."""
    typical = float(np.median(module.sets["train"].lengths))
    options = config.model.options
    low, high = step_size_range(typical)
    # The whole past and a fading one have no edge that would have to lie somewhere.
    window = typical if options.get("measure", "legt") in ("legt", "fourier") else None
    chosen = {"dt_min": low, "dt_max": high, "window": window}
    return config.with_model_options(**{key: value for key, value in chosen.items() if options.get(key) == AUTO})
