"""Many sound files as one set of series, each read when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from seqkit.datasets.rows import LazyRows
from seqkit.datasets.series import Array, SeriesSet
from seqkit.datasets.wav import read_samples, wav_header

__all__ = ["Clip", "Features", "clip_series", "visible_wavs"]


class Features(Protocol):
    """What can be made of the samples of a clip; it must be picklable where workers read."""

    rate: int
    """Samples per second of the sound that it takes (Hz)."""
    hop: int
    """Samples from one frame to the next."""
    n_channels: int
    """Channels of a frame."""
    shortest: int
    """Samples that a clip must have."""

    def length(self, n_samples: int) -> int:
        """Frames of a clip."""

    def __call__(self, samples: Array) -> Array:
        """Frames (length, n_channels) of samples (L, 1)."""


class Clip:
    """Reads the samples of clip i; a class, so that workers that start anew can pickle it.

    Args:
        paths: A file for each clip.
        features: What to make of the samples; None for the samples themselves.

    Example:
        >>> Clip([Path("a.wav")]).paths
        [PosixPath('a.wav')]
    """

    def __init__(self, paths: Sequence[Path], features: Features | None = None) -> None:
        self.paths = list(paths)
        self.features = features

    def __call__(self, i: int) -> Array:
        """Samples (L, C), or features of them."""
        samples, _ = read_samples(self.paths[i])
        return samples if self.features is None else self.features(samples)


def clip_series(
    paths: Sequence[Path],
    *,
    target: list[str] | None = None,
    names: Sequence[str] = (),
    features: Features | None = None,
    origin: str = "the clips",
) -> SeriesSet:
    """Sound files as series that keep their unequal lengths; only what the files say of themselves is read now.

    Args:
        paths: A WAV file for each series.
        target: Label of each.
        names: Name of each; the names of the files if empty.
        features: What to make of the samples when a clip is read; None for the samples, in [-1, 1).
        origin: The data set or folder, to name in errors.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: a file is damaged, has another rate or other channels than the first one, or does not suit the
            features.

    Cost:
        About 25 microseconds per file now; a clip is read each time it is needed.

    Example:
        >>> import numpy as np, scipy.io.wavfile, tempfile
        >>> path = Path(tempfile.mkdtemp()) / "yes.wav"
        >>> scipy.io.wavfile.write(path, 16000, np.zeros(9, dtype=np.int16))
        >>> series = clip_series([path])
        >>> series.names, series.lengths.tolist(), series.sample_rate
        (['yes'], [9], 16000.0)
    """
    if not paths:
        raise ValueError(f"{origin} has no WAV files; at least one is needed")
    headers = [wav_header(path) for path in paths]
    rate, n_channels = headers[0].rate, headers[0].n_channels
    for path, header in zip(paths, headers, strict=True):
        if (header.rate, header.n_channels) != (rate, n_channels):
            raise ValueError(
                f"{path} has {header.n_channels} channels at {header.rate} Hz and {paths[0]} has {n_channels} at "
                f"{rate} Hz; all clips need the same, so convert one of them"
            )
        _check_length(path, header.n_samples, features)
    lengths = [header.n_samples for header in headers]
    if features is not None:
        if (rate, n_channels) != (features.rate, 1):
            raise ValueError(
                f"{paths[0]} has {n_channels} channels at {rate} Hz, these features are made of one at "
                f"{features.rate} Hz; convert the files, or take features=raw"
            )
        lengths, n_channels = [features.length(length) for length in lengths], features.n_channels
    return SeriesSet(
        LazyRows(lengths, n_channels, Clip(paths, features), origin=origin),
        target,
        names=list(names) or [path.stem for path in paths],
        sample_rate=rate / (1 if features is None else features.hop),
        origin=origin,
    )


def visible_wavs(folder: Path) -> list[Path]:
    """WAV files of a folder in the order of their names, without the hidden ones that some systems add.

    Example:
        >>> visible_wavs(Path("/nowhere"))
        []
    """
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() == ".wav" and not path.name.startswith("."))


def _check_length(path: Path, n_samples: int, features: Features | None) -> None:
    if n_samples == 0:
        raise ValueError(f"{path} has no samples; remove it or record it again")
    if features is not None and n_samples < features.shortest:
        raise ValueError(
            f"{path} has {n_samples} samples, these features need {features.shortest} at least; remove it or take "
            "features=raw"
        )
