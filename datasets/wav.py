"""Sound as series: WAV files, read by numpy alone."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from seqkit.datasets.series import Array, SeriesSet

__all__ = ["WavHeader", "read_samples", "read_wav", "wav_header"]

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_OTHERS = {2: "ADPCM", 6: "A-law", 7: "mu-law", 17: "ADPCM", 0x31: "GSM", 0x50: "MPEG", 0x55: "MP3", 0xFF: "AAC"}
_UNKNOWN = 0xFFFFFFFF
"""What a program that writes into a pipe says of the size; the sound then goes on to the end of the file."""


class WavHeader(NamedTuple):
    """What a WAV file says before its samples.

    Args:
        rate: Samples per second (Hz).
        n_channels: Channels.
        n_samples: Samples of each channel.
        dtype: One number as it is stored: "u1", "<i2", "<i3", "<i4", "<i8", "<f4", "<f8", or ">" for big-endian files.
        start: Place of the first sample in the file, bytes.
    """

    rate: int
    n_channels: int
    n_samples: int
    dtype: str
    start: int


def wav_header(path: str | Path) -> WavHeader:
    """Reads what a WAV file says of its sound, and checks that all of it is there; no sample is read.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not a WAV file, is cut off, or holds compressed sound.

    Source:
        Microsoft and IBM 1991, Multimedia Programming Interface and Data Specifications 1.0; EBU Tech 3306 for RF64.

    Example:
        >>> import scipy.io.wavfile, tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.wav"
        >>> scipy.io.wavfile.write(path, 8000, np.zeros((5, 2), dtype=np.int16))
        >>> wav_header(path)
        WavHeader(rate=8000, n_channels=2, n_samples=5, dtype='<i2', start=44)
    """
    with Path(path).open("rb") as file:
        return _header(file, Path(path))


def read_samples(path: str | Path) -> tuple[Array, int]:
    """Samples of a WAV file and its rate.

    Args:
        path: The file; whole numbers of 8, 16, 24, 32 or 64 bits or floating point, not compressed.

    Returns:
        Samples (L, C), float32, whole numbers divided by half their range and so in [-1, 1); and the rate in Hz.

    Raises:
        FileNotFoundError: no such file.
        ValueError: as for `wav_header`, or a sample is NaN or infinite.

    Example:
        >>> import scipy.io.wavfile, tempfile
        >>> path = Path(tempfile.mkdtemp()) / "half.wav"
        >>> scipy.io.wavfile.write(path, 8000, np.full(3, 2**14, dtype=np.int16))
        >>> samples, rate = read_samples(path)
        >>> samples.tolist(), rate
        ([[0.5], [0.5], [0.5]], 8000)
    """
    path = Path(path)
    with path.open("rb") as file:
        header = _header(file, path)
        file.seek(header.start)
        data = file.read(header.n_samples * header.n_channels * int(header.dtype[-1]))
    values = _numbers(data, header.dtype).reshape(header.n_samples, header.n_channels)
    if header.dtype[-2] == "f" and not np.isfinite(values).all():
        where = int(np.argwhere(~np.isfinite(values))[0, 0])
        raise ValueError(f"{path} has a NaN or infinite value at sample {where}; record or convert it again")
    return values, header.rate


def read_wav(path: str | Path) -> SeriesSet:
    """Reads a WAV file: one series with a channel for each of the file's.

    Args:
        path: The file, as for `read_samples`.

    Returns:
        Samples, with whole numbers scaled to -1 .. 1, and the sample rate in Hz.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not a WAV file, is cut off, holds compressed sound or has no samples.

    Example:
        >>> import scipy.io.wavfile, tempfile
        >>> path = Path(tempfile.mkdtemp()) / "half.wav"
        >>> scipy.io.wavfile.write(path, 8000, np.full(4, 2**14, dtype=np.int16))
        >>> series = read_wav(path)
        >>> series.values[0][:, 0].tolist(), series.sample_rate
        ([0.5, 0.5, 0.5, 0.5], 8000.0)
    """
    path = Path(path)
    values, rate = read_samples(path)
    return SeriesSet([values], names=[path.stem], sample_rate=float(rate), origin=str(path))


def _header(file: BinaryIO, path: Path) -> WavHeader:
    try:
        return _parsed(file)
    except ValueError as error:
        raise ValueError(f"{path} is damaged or not a WAV file that can be read ({error})") from None


def _parsed(file: BinaryIO) -> WavHeader:
    """The header; errors say what is wrong without the path."""
    size = os.fstat(file.fileno()).st_size
    start = file.read(12)
    kind = start[:4]
    if len(start) < 12 or kind not in (b"RIFF", b"RIFX", b"RF64") or start[8:] != b"WAVE":
        raise ValueError("it is empty" if not start else "it does not start with RIFF and WAVE")
    order = ">" if kind == b"RIFX" else "<"
    form: tuple[str, int, int] | None = None
    long_size: int | None = None
    for name, at, length in _chunks(file, order):
        if name == b"ds64":  # sizes of 64 bits, for files that 32 bits cannot tell
            content = file.read(16)
            long_size = struct.unpack("<Q", content[8:])[0] if len(content) == 16 else None
        elif name == b"fmt ":
            form = _form(file.read(min(length, 40)), order)
        elif name == b"data":
            if form is None:
                raise ValueError("the sound comes before the words that say what it is")
            dtype, n_channels, rate = form
            left = size - at
            width = n_channels * int(dtype[-1])
            if length == _UNKNOWN:
                length = long_size if kind == b"RF64" and long_size is not None else left - left % width
            if length > left:
                raise ValueError(f"it is cut off: {length} bytes of sound are announced and {left} are there")
            if length % width:
                raise ValueError(f"{length} bytes of sound are no whole number of samples of {width} bytes")
            return WavHeader(rate, n_channels, length // width, dtype, at)
    raise ValueError("it holds no sound; it may be cut off")


def _chunks(file: BinaryIO, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, place and size of each chunk; the file stands at its content."""
    at = 12
    while len(head := file.read(8)) == 8:
        name, length = struct.unpack(f"{order}4sI", head)
        at += 8
        yield name, at, length
        at += length + length % 2
        file.seek(at)


def _form(content: bytes, order: str) -> tuple[str, int, int]:
    """How a number is stored, the number of channels and the rate."""
    if len(content) < 16:
        raise ValueError("the words that say what the sound is are cut off")
    tag, n_channels, rate, _, width, bits = struct.unpack(f"{order}HHIIHH", content[:16])
    if tag == _EXTENSIBLE and len(content) >= 26:
        tag = struct.unpack(f"{order}H", content[24:26])[0]
    if tag not in (_PCM, _FLOAT):
        raise ValueError(f"its sound is {_OTHERS.get(tag, f'of kind {tag}')}; convert it to PCM")
    if n_channels == 0 or rate == 0:
        raise ValueError(f"it announces {n_channels} channels and {rate} samples per second")
    step, odd = divmod(width, n_channels)
    sizes = (1, 2, 3, 4, 8) if tag == _PCM else (4, 8)
    if odd or step not in sizes or not 0 < bits <= 8 * step:
        raise ValueError(f"it announces {n_channels} numbers of {bits} bits in {width} bytes")
    if step == 1:
        return "u1", n_channels, rate  # 8 bits are stored without a sign
    return f"{order}{'i' if tag == _PCM else 'f'}{step}", n_channels, rate


def _numbers(data: bytes, dtype: str) -> Array:
    """Stored numbers as float32; fewer bits than fit are stored at the upper end, so the width alone scales."""
    if dtype == "u1":
        return np.frombuffer(data, dtype=np.uint8).astype(np.float32) / np.float32(128) - np.float32(1)
    if dtype[1] == "f":
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is refused
            return np.frombuffer(data, dtype=dtype).astype(np.float32)
    if dtype[1:] == "i3":  # numpy has no such number: put in the upper three bytes of four
        four = np.zeros((len(data) // 3, 4), dtype=np.uint8)
        place = slice(1, 4) if dtype[0] == "<" else slice(0, 3)
        four[:, place] = np.frombuffer(data, dtype=np.uint8).reshape(-1, 3)
        whole, bits = four.view(f"{dtype[0]}i4")[:, 0], 32
    else:
        whole, bits = np.frombuffer(data, dtype=dtype), 8 * int(dtype[2])
    if bits == 16:  # as fast as can be for what nearly all files hold; every such number is exact in float32
        return whole.astype(np.float32) * np.float32(2.0**-15)
    return (whole * 2.0 ** (1 - bits)).astype(np.float32)
