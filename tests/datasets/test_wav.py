"""WAV files: every kind of number that scipy reads, and files that are none."""

import wave

import numpy as np
import pytest
import scipy.io.wavfile

from seqkit.datasets.wav import read_wav

X = np.sin(np.arange(50) / 5)


@pytest.mark.parametrize(
    ("samples", "tolerance"),
    [
        (np.round(127 * X + 128).astype(np.uint8), 0.013),
        (np.round(32767 * X).astype(np.int16), 1e-4),
        (np.round(X * (2**31 - 1)).astype(np.int32), 1e-6),
        (X.astype(np.float32), 1e-6),
        (X, 1e-6),
    ],
    ids=lambda value: str(getattr(value, "dtype", "")),
)
def test_whole_numbers_are_scaled(tmp_path, samples, tolerance):
    scipy.io.wavfile.write(tmp_path / "a.wav", 8000, samples)
    series = read_wav(tmp_path / "a.wav")
    assert (series.names, series.sample_rate, series.n_channels) == (["a"], 8000.0, 1)
    np.testing.assert_allclose(series.values[0][:, 0], X, atol=tolerance)


def test_24_bits_and_two_channels(tmp_path):
    whole = np.round(X * (2**23 - 1)).astype("<i4")
    frames = np.stack([whole, -whole], axis=1).reshape(-1, 1).view(np.uint8).reshape(-1, 4)[:, :3]
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((2, 3, 44100, 50, "NONE", ""))
        file.writeframes(frames.tobytes())
    values = read_wav(tmp_path / "a.wav").values[0]
    np.testing.assert_allclose(values, np.stack([X, -X], axis=1), atol=1e-6)


def test_a_file_that_is_none_or_cut_off_or_empty_is_refused(tmp_path):
    path = tmp_path / "a.wav"
    scipy.io.wavfile.write(path, 8000, X.astype(np.float32))
    whole = path.read_bytes()
    for content in (b"", b"RIFF", b"no sound at all", whole[:20], whole[:-40]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.wav is damaged or not a WAV file"):
            read_wav(path)
    scipy.io.wavfile.write(path, 8000, np.empty(0, dtype=np.int16))
    with pytest.raises(ValueError, match="at least one sample"):
        read_wav(path)
    with pytest.raises(FileNotFoundError):
        read_wav(tmp_path / "b.wav")
