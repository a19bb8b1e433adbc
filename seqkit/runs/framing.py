"""New series for a run on frames: cut alike, and of its own sample rate."""

from __future__ import annotations

from seqkit.datasets.series import SeriesSet
from seqkit.models import SequenceModel

__all__ = ["rate_of_frames"]


def rate_of_frames(model: SequenceModel, series: SeriesSet, frame: int, sample_rate: float | None) -> float | None:
    """What to say of the rate of new series: nothing where a run takes frames, which hold a fixed time.

    Args:
        model: The model of the run.
        series: The series in frames.
        frame: Samples in a frame.
        sample_rate: Samples per second that the user gave (Hz), or None.

    Returns:
        `sample_rate` itself where a frame is one sample, else None.

    Raises:
        ValueError: frames of another sample rate than in training, whose samples would stand for other times.

    Example:
        >>> from seqkit.batch import DataInfo
        >>> from seqkit.models import ModelConfig
        >>> info = DataInfo("sound", "classification", n_channels=4, classes=("a", "b"), sample_rate=2000.0)
        >>> model = SequenceModel.from_config(ModelConfig.preset("gru", d_model=4, n_layers=1), info)
        >>> series = SeriesSet([[[0.0, 1.0, 2.0, 3.0]]], sample_rate=2000.0)
        >>> rate_of_frames(model, series, 4, 8000.0) is None
        True
    """
    if frame == 1:
        return sample_rate
    given, own = sample_rate, model.info.sample_rate
    if given is None and series.sample_rate is not None:
        given = series.sample_rate * frame
    if given is not None and own is not None and abs(given / (own * frame) - 1) > 0.01:
        raise ValueError(
            f"`sample_rate` must be {own * frame:g} Hz for a run on frames of {frame} samples, got {given:g}; resample "
            "the series"
        )
    return None
