"""Widths at which models have about the same number of parameters."""

from __future__ import annotations

from dataclasses import replace

from seqkit.checks import check_positive_int
from seqkit.datasets.module import SeriesDataModule
from seqkit.models.config import PRESETS
from seqkit.runs.config import RunConfig
from seqkit.runs.training import build_model

__all__ = ["width_for"]

STEP, WIDEST = 8, 4096
"""Widths are multiples of 8, which every number of heads up to 8 divides."""


def width_for(config: RunConfig, module: SeriesDataModule, n_parameters: int) -> int:
    """The width at which a model's number of parameters is nearest to the one that is wanted.

    Args:
        config: The model and its data.
        module: The data, which fix the sizes of encoder and head.
        n_parameters: Parameters wanted.

    Raises:
        ValueError: the size of the model is a paper's, or it has more at its smallest width, or fewer at its largest.
    """
    check_positive_int("parameters", n_parameters)
    name = config.model.name
    if "d_model" in PRESETS[name].sizes and PRESETS[name].mixer is not None:
        raise ValueError(f"{name} has a paper's size and cannot be matched; leave it out, or leave out `parameters`")
    low, high = 1, WIDEST // STEP
    smallest = _count(config, module, STEP)
    if n_parameters < smallest * 0.75:
        raise ValueError(
            f"`parameters` must be at least about {smallest} for {name} with these settings, got {n_parameters}; take "
            "more, fewer layers, or a smaller order"
        )
    while high - low > 1:  # the number grows with the width
        middle = (low + high) // 2
        low, high = (middle, high) if _count(config, module, middle * STEP) <= n_parameters else (low, middle)
    if high == WIDEST // STEP and _count(config, module, WIDEST) < n_parameters:
        raise ValueError(f"`parameters` must be fewer for {name}, whose widest form has less, got {n_parameters}")
    ends = {width: abs(_count(config, module, width * STEP) - n_parameters) for width in (low, high)}
    return STEP * min(ends, key=lambda width: ends[width])


def _count(config: RunConfig, module: SeriesDataModule, d_model: int) -> int:
    return build_model(replace(config, model=replace(config.model, d_model=d_model)), module).n_parameters
