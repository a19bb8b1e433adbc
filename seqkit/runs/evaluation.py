"""Metrics of a finished run on a part of its data, or on a file in the same layout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from seqkit.checks import check_choice, check_path, check_positive, check_positive_int
from seqkit.datasets.batching import loader
from seqkit.datasets.frames import frame_series
from seqkit.datasets.registry import is_source
from seqkit.datasets.series import SeriesSet
from seqkit.datasets.source import PARTS, pick_part
from seqkit.models import load_model
from seqkit.runs.config import RunConfig
from seqkit.runs.data import build_data_module
from seqkit.runs.folders import config_of
from seqkit.runs.framing import rate_of_frames
from seqkit.runs.inference import SPLITS, measure, measure_naive, new_gaps, run_model, told_rate
from seqkit.runs.result import Evaluation
from seqkit.runs.source import build_source
from seqkit.tasks.run_folder import RunFolder

__all__ = ["evaluate"]


def evaluate(
    run: str | Path,
    data: str | Path | None = None,
    *,
    split: str | None = None,
    subsample: int = 1,
    sample_rate: float | None = None,
    hide_rate: bool = False,
    device: str = "auto",
    offline: bool = False,
) -> Evaluation:
    """Measures a finished run: the same as `seqkit evaluate`.

    Args:
        run: Run folder.
        data: A file or folder in the layout of the run's data set, or the name of a set; the run's own data if None.
        split: "train", "val", "test" or "all"; "test" of a set by name and "all" of a path if None. Parts of the
            file that the run was trained on are those of the training.
        subsample: Keep every k-th sample; the model is told the new rate.
        sample_rate: Samples per second at which the data were recorded (before subsampling).
        hide_rate: Do not tell the model; this shows what telling it is worth.
        device: "auto", "cpu" or "cuda".
        offline: Fetch nothing.

    Raises:
        FileNotFoundError: no such run or data.
        ValueError: data that do not fit the model, or another rate or `subsample` for a run on frames.

    Example:
        >>> import seqkit
        >>> seqkit.evaluate("runs/letters", subsample=2).metrics  # doctest: +SKIP
        {'accuracy': 0.995, 'loss': 0.02}
    """
    check_positive_int("subsample", subsample)
    if data is not None:
        check_path("data", data, "save arrays by numpy.savez(path, X=..., y=...)")
    if sample_rate is not None:
        check_positive("sample_rate", sample_rate)
    if split is not None:
        check_choice("split", split, SPLITS)
    folder = RunFolder(run)
    model = load_model(folder.path)
    config = config_of(folder)
    if subsample > 1 and config.data.frame > 1:
        raise ValueError(
            f"`subsample` must be 1 for a run on frames of {config.data.frame} samples, which would lose whole frames, "
            f"got {subsample}; leave it out"
        )
    series, name, split = _series(config, data, split, offline)
    sample_rate = rate_of_frames(model, series, config.data.frame, sample_rate)
    if subsample > 1:
        series = series.subsample(subsample)
    rate, notes = told_rate(model, series, sample_rate=sample_rate, subsample=subsample, hide_rate=hide_rate)
    notes += new_gaps(model, series)
    if split == "all" and _is_own(config, data):
        notes += ("this is the file that the run was trained on, its training part included; use split test",)
    if hide_rate:  # times would tell it
        series = replace(series, timestamps=None)
    batches = loader(series, model.info, batch_size=config.data.batch_size)
    metrics = measure(run_model(model, batches, sample_rate=rate, device=device), model.info)
    naive = measure_naive(series, model.info)
    return Evaluation(str(folder.path), name, split, metrics, len(series), rate, notes, naive)


def _is_own(config: RunConfig, data: str | Path | None) -> bool:
    """Whether `data` is the very file or folder of the user's own that the run was trained on."""
    return data is not None and config.data.path is not None and Path(data).resolve() == Path(config.data.path)


def _series(config: RunConfig, data: str | Path | None, split: str | None, offline: bool) -> tuple[SeriesSet, str, str]:
    """Series to measure on, what to call them, and the split they are."""
    cut_again = _is_own(config, data) and split not in (None, "all")
    if data is None or cut_again or is_source(str(data)):
        if data is not None and not cut_again and data != config.data.name:
            config = replace(config, data=replace(config.data, name=str(data), path=None, options={}))
        sets = build_data_module(config, offline=offline).sets
        split = split or ("test" if "test" in sets else "val")
        name = config.data.path or config.data.name
        return pick_part(sets, split, name), name, split
    path = Path(data)
    if not path.exists():
        raise FileNotFoundError(
            f"there is no file or folder {data}; the run was trained on {config.data.path or config.data.name}, so "
            "give a path in that layout, or leave it out"
        )
    split = split or "all"
    source = build_source(config.data)
    series = source.transform(split if split in PARTS else "test", source.read(path, split))
    return frame_series(series, config.data.frame), str(path), split
