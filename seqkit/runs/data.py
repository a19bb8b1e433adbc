"""From a configuration to the data module."""

from __future__ import annotations

from seqkit.datasets.module import SeriesDataModule
from seqkit.runs.config import RunConfig
from seqkit.runs.source import build_source

__all__ = ["build_data_module"]


def build_data_module(config: RunConfig) -> SeriesDataModule:
    """Data module of a run, prepared and set up.

    Raises:
        FileNotFoundError: the data are not there and cannot be fetched.
        ValueError: the data are damaged or not usable.
    """
    data = config.data
    module = SeriesDataModule(
        build_source(data),
        batch_size=data.batch_size,
        validation=data.validation,
        test=data.test,
        seed=config.seed,
    )
    module.prepare_data()
    module.setup()
    return module
