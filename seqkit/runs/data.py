"""From a configuration to the data module."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from seqkit.batch import DataInfo
from seqkit.datasets.module import SeriesDataModule
from seqkit.datasets.windows import Windows
from seqkit.runs.config import RunConfig
from seqkit.runs.source import build_source

__all__ = ["build_data_module", "describe_data", "keep_windows"]

_UNITS = (("day", 86400.0), ("hour", 3600.0), ("minute", 60.0))


def build_data_module(
    config: RunConfig, *, offline: bool = False, kind: type[SeriesDataModule] = SeriesDataModule
) -> SeriesDataModule:
    """Data module of a run, prepared and set up.

    Args:
        config: The run.
        offline: Fetch nothing.
        kind: Class of the data module.

    Raises:
        FileNotFoundError: the data are not there and cannot be fetched.
        ValueError: the data are damaged or not usable.
    """
    data = config.data
    module = kind(
        build_source(data),
        batch_size=data.batch_size,
        validation=data.validation,
        test=data.test,
        train_series=data.train_series,
        seed=config.seed,
        num_workers=data.num_workers,
        bucket=data.bucket,
        prepared=data.prepared,
        frame=data.frame,
        vary=data.variation,
        offline=offline,
    )
    module.prepare_data()
    module.setup()
    return module


def keep_windows(config: RunConfig, module: SeriesDataModule) -> RunConfig:
    """Writes down the windows that data were cut into, so that other files are cut alike.

    Where the data alone said that the next values are to be forecast, a model pools by the last sample instead of the
    mean, as it does with a horizon.
    """
    rows = module.sets["train"].values
    if not isinstance(rows, Windows):
        return config
    if "horizon" not in config.data.options and config.model.pool == "mean":
        config = replace(config, model=replace(config.model, pool="last"))
    options = {**config.data.options, "horizon": rows.horizon, "window": rows.size}
    return replace(config, data=replace(config.data, options=options))


def describe_data(module: SeriesDataModule) -> str:
    """What a run will train on, in one line: so that a column taken for something else is seen at once.

    Example:
        >>> from seqkit.datasets import get_source
        >>> module = SeriesDataModule(get_source("japanese_vowels"))
        >>> module.setup()
        >>> describe_data(module)
        'japanese_vowels: 216 train, 54 val, 370 test series of 7 to 29 samples; 12 channels; 9 classes; 156.25 Hz'
    """
    info, parts = module.info, [f"{len(series)} {part}" for part, series in module.sets.items()]
    channels = f"{info.n_channels} channel{'s' if info.n_channels > 1 else ''}"
    if info.channels:
        channels += f" ({', '.join(info.channels[:8])}{', ...' if len(info.channels) > 8 else ''})"
    rows = module.sets["train"].values
    what, target = f"series of {_lengths(module)}", _target(info)
    if isinstance(rows, Windows):
        what, target = f"windows of {rows.size} samples", _forecast(rows, module)
    words = [channels, target]
    if info.sample_rate is not None:
        words.append(_rate(info.sample_rate))
    gaps = [part for part, series in module.sets.items() if series.has_missing]
    if module.missing:
        words.append(f"{100 * module.missing:.3g} % of the training values are missing")
    elif gaps:
        words.append(f"values are missing in {' and '.join(gaps)} but not in training: the last observed one is held")
    if any(series.timestamps is not None for series in module.sets.values()):
        words.append("uneven times, so each sample is a step of its own and training is slower")
    elif info.sample_rate is None and not isinstance(rows, Windows):
        words += [
            f"{name} rises from sample to sample in every series: if it is the time, say data.time={name}"
            for name in _rising(module)
        ]
    return f"{info.name}: {', '.join(parts)} {what}; {'; '.join(words)}"


def _rate(rate: float) -> str:
    """Hertz, or the step where a sample takes minutes or days."""
    step = 1 / rate
    unit, seconds = next(((name, size) for name, size in _UNITS if step >= 0.999 * size), ("", 0.0))
    if not unit:
        return f"{rate:g} Hz"
    count = f"{step / seconds:.4g}"
    return f"a sample every {unit}" if count == "1" else f"a sample every {count} {unit}s"


def _lengths(module: SeriesDataModule) -> str:
    """How long the series of all parts are."""
    every = [series.lengths for series in module.sets.values()]
    least, most = min(int(one.min()) for one in every), max(int(one.max()) for one in every)
    what = "frame" if module.frame > 1 else "sample"
    return f"{least} to {most} {what}s" if least < most else f"{most} {what}{'s' if most > 1 else ''}"


def _rising(module: SeriesDataModule) -> list[str]:
    """Channels with names that rise in all of the first training series: times that were taken for a channel."""
    some = [np.asarray(rows) for rows, _ in zip(module.sets["train"].values, range(50), strict=False)]
    long = [rows for rows in some if len(rows) > 1]
    names = module.info.channels if long and module.frame == 1 else ()
    return [name for k, name in enumerate(names) if all((np.diff(rows[:, k]) > 0).all() for rows in long)]


def _target(info: DataInfo) -> str:
    """What is learned from series."""
    values = f"{info.n_targets} value{'s' if info.n_targets > 1 else ''}"
    return (f"{len(info.classes)} classes" if info.classes else values) + (
        " per sample" if info.task == "sequence" else ""
    )


def _forecast(rows: Windows, module: SeriesDataModule) -> str:
    """What is learned from windows of series."""
    info = module.info
    names = [info.channels[k] for k in rows.places] if info.channels else []
    shown = f" of {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}" if names else ""
    ahead = "next value" if rows.horizon == 1 else f"next {rows.horizon} values"
    left_out = sum(series.values.left_out for series in module.sets.values() if isinstance(series.values, Windows))
    lost = f", {left_out} windows left out since values to forecast are missing" if left_out else ""
    return f"the {ahead}{shown} to forecast{lost}"
