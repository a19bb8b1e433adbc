"""What a trained model costs in use."""

from __future__ import annotations

import statistics
import time

import numpy as np

from seqkit.datasets.batching import loader
from seqkit.datasets.series import SeriesSet
from seqkit.models import SequenceModel
from seqkit.runs.inference import run_model
from seqkit.streaming import Stream

__all__ = ["predict_ms", "step_us"]

MOST_SERIES, WARM_UP, SAMPLES = 512, 20, 200


def predict_ms(model: SequenceModel, series: SeriesSet, *, batch_size: int, device: str = "auto") -> float:
    """Milliseconds for a series, in batches, over 512 series at most; the first batch is run once before the clock."""
    few = series.select(range(min(len(series), MOST_SERIES)))
    run_model(
        model, loader(few.select(range(min(len(few), batch_size))), model.info, batch_size=batch_size), device=device
    )
    began = time.perf_counter()
    run_model(model, loader(few, model.info, batch_size=batch_size), device=device)
    return (time.perf_counter() - began) / len(few) * 1e3


def step_us(model: SequenceModel) -> float:
    """Median microseconds for a sample of one stream on the CPU, from the sample to the answer.

    Raises:
        ValueError: the model cannot stream; the sentence says why.
    """
    stream = Stream(model)
    samples = np.random.default_rng(0).standard_normal((WARM_UP + SAMPLES, model.info.n_channels)).astype("float32")
    times = []
    for sample in samples:
        began = time.perf_counter()
        stream.push(sample)
        times.append(time.perf_counter() - began)
    return statistics.median(times[WARM_UP:]) * 1e6
