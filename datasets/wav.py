"""Sound as series: WAV files."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import scipy.io.wavfile

from seqkit.datasets.series import SeriesSet

__all__ = ["read_wav"]


def read_wav(path: str | Path) -> SeriesSet:
    """Reads a WAV file: one series with a channel for each of the file's.

    Args:
        path: The file; whole numbers of 8 to 64 bits or floating point, not compressed.

    Returns:
        Samples, with whole numbers scaled to -1 .. 1, and the sample rate in Hz.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not a WAV file, or one that scipy does not read, or has no samples.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "half.wav"
        >>> scipy.io.wavfile.write(path, 8000, np.full(4, 2**14, dtype=np.int16))
        >>> series = read_wav(path)
        >>> series.values[0][:, 0].tolist(), series.sample_rate
        ([0.5, 0.5, 0.5, 0.5], 8000.0)
    """
    path = Path(path)
    try:
        with warnings.catch_warnings():  # a cut-off file only makes scipy warn; chunks it does not know are harmless
            warnings.filterwarnings("error", category=scipy.io.wavfile.WavFileWarning)
            warnings.filterwarnings("ignore", "Chunk .* not understood", scipy.io.wavfile.WavFileWarning)
            rate, samples = scipy.io.wavfile.read(path)
    except OSError:
        raise
    except Exception as error:  # a damaged file fails inside scipy in several ways
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} is damaged or not a WAV file that can be read ({reason})") from None
    values = samples.astype(np.float64)
    if samples.dtype.kind == "u":
        values = values / 128 - 1  # 8 bits are stored without a sign
    elif samples.dtype.kind == "i":
        values = values / -float(np.iinfo(samples.dtype).min)
    values = values[:, None] if values.ndim == 1 else values
    return SeriesSet([values], names=[path.stem], sample_rate=float(rate), origin=str(path))
