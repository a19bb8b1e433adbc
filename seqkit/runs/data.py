"""From a configuration to the data module."""

from __future__ import annotations

from seqkit.datasets.module import SeriesDataModule
from seqkit.runs.config import RunConfig
from seqkit.runs.source import build_source

__all__ = ["build_data_module", "describe_data"]


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
        train_series=data.train_series,
        seed=config.seed,
    )
    module.prepare_data()
    module.setup()
    return module


def describe_data(module: SeriesDataModule) -> str:
    """What a run will train on, in one line: so that a column taken for something else is seen at once.

    Example:
        >>> from seqkit.datasets import get_source
        >>> module = SeriesDataModule(get_source("japanese_vowels"))
        >>> module.setup()
        >>> describe_data(module)
        'japanese_vowels: 216 train, 54 val, 370 test series; 12 channels; 9 classes; 156.25 Hz'
    """
    info, parts = module.info, [f"{len(series)} {part}" for part, series in module.sets.items()]
    channels = f"{info.n_channels} channel{'s' if info.n_channels > 1 else ''}"
    if info.channels:
        channels += f" ({', '.join(info.channels[:8])}{', ...' if len(info.channels) > 8 else ''})"
    per_sample = " per sample" if info.task == "sequence" else ""
    values = f"{info.n_targets} value{'s' if info.n_targets > 1 else ''}"
    words = [channels, (f"{len(info.classes)} classes" if info.classes else values) + per_sample]
    if info.sample_rate is not None:
        words.append(f"{info.sample_rate:g} Hz")
    gaps = [part for part, series in module.sets.items() if series.has_missing]
    if module.missing:
        words.append(f"{100 * module.missing:.3g} % of the training values are missing")
    elif gaps:
        words.append(f"values are missing in {' and '.join(gaps)} but not in training: the last observed one is held")
    if any(series.timestamps is not None for series in module.sets.values()):
        words.append("uneven times, so each sample is a step of its own and training is slower")
    return f"{info.name}: {', '.join(parts)} series; {'; '.join(words)}"
