"""Many sound files as one set of series, each read when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from seqkit.datasets.rows import LazyRows
from seqkit.datasets.series import Array, SeriesSet
from seqkit.datasets.wav import WavHeader, read_samples, wav_header

__all__ = ["Clip", "clip_series", "visible_wavs"]


class Clip:
    """Reads the samples of clip i; a class, so that workers that start anew can pickle it.

    Args:
        paths: A file for each clip.
        features: What to make of samples (L, 1) of a file; None for the samples themselves.

    Example:
        >>> Clip([Path("a.wav")]).paths
        [PosixPath('a.wav')]
    """

    def __init__(self, paths: Sequence[Path], features: Callable[[Array], Array] | None = None) -> None:
        self.paths = list(paths)
        self.features = features

    def __call__(self, i: int) -> Array:
        """Samples (L, C), or features of them."""
        samples, _ = read_samples(self.paths[i])
        return samples if self.features is None else self.features(samples)


def clip_series(
    paths: Sequence[Path],
    headers: Sequence[WavHeader] | None = None,
    *,
    target: list[str] | None = None,
    names: Sequence[str] = (),
    origin: str = "the clips",
) -> SeriesSet:
    """Sound files as series that keep their unequal lengths; only what the files say of themselves is read now.

    Args:
        paths: A WAV file for each series.
        headers: What they say of themselves, where that was read already.
        target: Label of each.
        names: Name of each; the names of the files if empty.
        origin: The data set or folder, to name in errors.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: a file is damaged, or has another rate or other channels than the first one.

    Cost:
        About 25 microseconds per file now; a clip is read each time it is needed.

    Example:
        >>> import scipy.io.wavfile, tempfile
        >>> path = Path(tempfile.mkdtemp()) / "yes.wav"
        >>> scipy.io.wavfile.write(path, 16000, np.zeros(9, dtype=np.int16))
        >>> series = clip_series([path])
        >>> series.names, series.lengths.tolist(), series.sample_rate
        (['yes'], [9], 16000.0)
    """
    if not paths:
        raise ValueError(f"{origin} has no sound files; at least one is needed")
    headers = [wav_header(path) for path in paths] if headers is None else headers
    first = headers[0]
    for path, header in zip(paths, headers, strict=True):
        if (header.rate, header.n_channels) != (first.rate, first.n_channels):
            raise ValueError(
                f"{path} has {header.n_channels} channels at {header.rate} Hz and {paths[0]} has {first.n_channels} at "
                f"{first.rate} Hz; all clips need the same, so convert one of them"
            )
        if header.n_samples == 0:
            raise ValueError(f"{path} has no samples; remove it or record it again")
    return SeriesSet(
        LazyRows(np.array([header.n_samples for header in headers]), first.n_channels, Clip(paths), origin=origin),
        target,
        names=list(names) or [path.stem for path in paths],
        sample_rate=float(first.rate),
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
