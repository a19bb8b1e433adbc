"""WAV files: every kind of number that scipy reads, and files that are none."""

import pickle
import struct
import wave
from contextlib import suppress

import numpy as np
import pytest
import scipy.io.wavfile

from seqkit.datasets.clips import clip_series
from seqkit.datasets.wav import read_samples, read_wav, wav_header

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


def form(tag, channels, rate, width, bits, extra=b""):
    return (
        b"fmt "
        + struct.pack("<IHHIIHH", 16 + len(extra), tag, channels, rate, rate * width * channels, width * channels, bits)
        + extra
    )


def riff(*chunks):
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def data(content):
    return b"data" + struct.pack("<I", len(content)) + content


GUID = bytes.fromhex("0000000010008000 00aa00389b71")
SHORTS = np.array([[1, -2], [32767, -32768], [300, 0]], dtype="<i2")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "i8", "f4", "f8"])
def test_numbers_are_those_of_scipy(tmp_path, dtype, channels):
    random = np.random.default_rng(0)
    if dtype[0] == "f":
        samples = random.standard_normal((1001, channels)).astype(dtype)
    else:
        limits = np.iinfo(dtype)
        samples = random.integers(limits.min, limits.max, (1001, channels), dtype=dtype, endpoint=True)
    scipy.io.wavfile.write(tmp_path / "a.wav", 44100, samples[:, 0] if channels == 1 else samples)
    rate, stored = scipy.io.wavfile.read(tmp_path / "a.wav")
    scale = {"u1": 2.0**7, "i2": 2.0**15, "i4": 2.0**31, "i8": 2.0**63}.get(dtype, 1.0)
    expected = stored.reshape(1001, channels).astype(np.longdouble) / scale - (1 if dtype == "u1" else 0)
    values, found = read_samples(tmp_path / "a.wav")
    assert (found, values.dtype, values.shape) == (rate, np.float32, (1001, channels))
    assert np.array_equal(values, expected.astype(np.float32))
    header = wav_header(tmp_path / "a.wav")
    assert (header.rate, header.n_channels, header.n_samples) == (44100, channels, 1001)


def test_24_bits_are_those_of_scipy(tmp_path):
    raw = np.random.default_rng(1).integers(0, 256, 3 * 500, dtype=np.uint8).tobytes()
    (tmp_path / "a.wav").write_bytes(riff(form(1, 1, 8000, 3, 24), data(raw)))
    _, stored = scipy.io.wavfile.read(tmp_path / "a.wav")  # in the upper three bytes of four
    assert np.array_equal(read_samples(tmp_path / "a.wav")[0][:, 0], (stored / 2.0**31).astype(np.float32))


def test_extensible_files_and_chunks_in_between(tmp_path):
    extra = struct.pack("<HHIH", 22, 16, 3, 1) + GUID
    notes = b"LIST" + struct.pack("<I", 5) + b"INFOx\0"  # of odd size, so one more byte follows
    path = tmp_path / "a.wav"
    path.write_bytes(riff(notes, form(0xFFFE, 2, 16000, 2, 16, extra), notes, data(SHORTS.tobytes()), notes))
    values, rate = read_samples(path)
    assert rate == 16000
    assert np.array_equal(values * 2**15, SHORTS)
    path.write_bytes(
        riff(form(0xFFFE, 1, 16000, 4, 32, extra[:8] + struct.pack("<H", 3) + GUID), data(b"\0\0\x80\x3f"))
    )
    assert read_samples(path)[0].tolist() == [[1.0]]


def test_big_endian_and_64_bit_and_piped_files(tmp_path):
    path = tmp_path / "a.wav"
    fmt = b"fmt " + struct.pack(">IHHIIHH", 16, 1, 2, 8000, 32000, 4, 16)
    big = SHORTS.astype(">i2").tobytes()
    path.write_bytes(b"RIFX" + struct.pack(">I", 60) + b"WAVE" + fmt + b"data" + struct.pack(">I", len(big)) + big)
    assert np.array_equal(read_samples(path)[0] * 2**15, SHORTS)
    unknown, small = struct.pack("<I", 0xFFFFFFFF), SHORTS.tobytes()
    sizes = b"ds64" + struct.pack("<IQQQI", 28, 0, len(small), 3, 0)
    start = b"WAVE" + sizes + form(1, 2, 8000, 2, 16)
    path.write_bytes(b"RF64" + unknown + start + b"data" + unknown + small + b"LIST")
    assert np.array_equal(read_samples(path)[0] * 2**15, SHORTS)
    path.write_bytes(b"RIFF" + unknown + b"WAVE" + form(1, 2, 8000, 2, 16) + b"data" + unknown + small + b"\0")
    assert np.array_equal(read_samples(path)[0] * 2**15, SHORTS)


SOUND = data(SHORTS.tobytes())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"OggS" + bytes(60), "it does not start with RIFF and WAVE"),
        (b"RIFF\x10\0\0\0AVI " + bytes(60), "it does not start with RIFF and WAVE"),
        (riff(form(6, 1, 8000, 1, 8), SOUND), "its sound is A-law; convert it to PCM"),
        (riff(form(0x55, 1, 8000, 1, 8), SOUND), "its sound is MP3"),
        (riff(form(0x1234, 1, 8000, 1, 8), SOUND), "its sound is of kind 4660"),
        (riff(form(1, 0, 8000, 2, 16), SOUND), "announces 0 channels"),
        (riff(form(1, 1, 0, 2, 16), SOUND), "announces .* 0 samples per second"),
        (riff(form(1, 1, 8000, 5, 40), SOUND), "announces 1 numbers of 40 bits in 5 bytes"),
        (riff(form(3, 1, 8000, 2, 16), SOUND), "announces 1 numbers of 16 bits in 2 bytes"),
        (riff(form(1, 1, 8000, 2, 24), SOUND), "announces 1 numbers of 24 bits in 2 bytes"),
        (riff(SOUND), "the sound comes before the words"),
        (riff(form(1, 2, 8000, 2, 16)), "it holds no sound; it may be cut off"),
        (riff(form(1, 2, 8000, 2, 16), SOUND)[:-5], "it is cut off: 12 bytes of sound are announced and 7 are there"),
        (riff(form(1, 2, 8000, 2, 16), data(bytes(10))), "10 bytes of sound are no whole number of samples of 4 bytes"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, content, words):
    (tmp_path / "a.wav").write_bytes(content)
    for read in (wav_header, read_samples, read_wav):
        with pytest.raises(ValueError, match=rf"a\.wav is damaged or not a WAV file that can be read \(.*{words}"):
            read(tmp_path / "a.wav")


def test_any_cut_is_a_sentence(tmp_path):
    path, whole = tmp_path / "a.wav", riff(form(1, 2, 8000, 2, 16), SOUND)
    for keep in range(len(whole)):
        path.write_bytes(whole[:keep])
        with pytest.raises(ValueError, match=r"a\.wav is damaged or not"):
            read_samples(path)


def test_random_bytes_never_fail_otherwise(tmp_path):
    random, path, whole = np.random.default_rng(2), tmp_path / "a.wav", riff(form(1, 2, 8000, 2, 16), SOUND)
    for _ in range(300):
        broken = bytearray(whole)
        for place in random.integers(0, 44, 3):
            broken[place] = random.integers(256)
        path.write_bytes(bytes(broken))
        with suppress(ValueError):  # and nothing else
            read_samples(path)


def test_not_a_number_is_refused_with_its_place(tmp_path):
    scipy.io.wavfile.write(tmp_path / "a.wav", 8000, np.array([0, 1, np.nan], dtype=np.float32))
    with pytest.raises(ValueError, match=r"a\.wav has a NaN or infinite value at sample 2"):
        read_samples(tmp_path / "a.wav")


def test_clips_are_read_when_asked_for(tmp_path):
    paths = [tmp_path / f"{i}.wav" for i in range(3)]
    for i, path in enumerate(paths):
        scipy.io.wavfile.write(path, 8000, np.full(5 + i, 2**10 * i, dtype=np.int16))
    series = clip_series(paths, target=["a", "b", "a"])
    assert (series.lengths.tolist(), series.sample_rate, series.names) == ([5, 6, 7], 8000.0, ["0", "1", "2"])
    assert pickle.loads(pickle.dumps(series)).values[2].tolist() == [[2 / 32]] * 7
    scipy.io.wavfile.write(paths[1], 8000, np.zeros(4, dtype=np.int16))
    with pytest.raises(ValueError, match="its file has changed"):
        series.values[1]
    scipy.io.wavfile.write(paths[1], 16000, np.zeros(4, dtype=np.int16))
    with pytest.raises(ValueError, match=r"1\.wav has 1 channels at 16000 Hz and .*0\.wav has 1 at 8000 Hz"):
        clip_series(paths)
    scipy.io.wavfile.write(paths[1], 8000, np.zeros(0, dtype=np.int16))
    with pytest.raises(ValueError, match=r"1\.wav has no samples"):
        clip_series(paths)
    with pytest.raises(ValueError, match="has no WAV files"):
        clip_series([])
