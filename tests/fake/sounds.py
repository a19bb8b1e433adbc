"""Tiny twins of the published sets of sound files, laid down as a download leaves them."""

from __future__ import annotations

import hashlib
import io
import tarfile
import wave
from pathlib import Path

import numpy as np

WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
SPEAKERS = ("george", "jackson", "nicolas", "theo", "yweweler")


def tone(label: int, n: int, rate: int, seed: int) -> np.ndarray:
    """Whole numbers of 16 bits whose pitch tells the label."""
    noise = np.random.default_rng(seed).normal(0, 300, n)
    return (8000 * np.sin(2 * np.pi * 100 * (label + 1) * np.arange(n) / rate) + noise).astype("<i2")


def wav_bytes(samples: np.ndarray, rate: int) -> bytes:
    """A mono WAV file of 16 bits, by the standard library."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, rate, len(samples), "NONE", ""))
        file.writeframes(samples.tobytes())
    return out.getvalue()


def digit_files(recordings: int = 10) -> dict[str, bytes]:
    """Recordings 0 to `recordings` - 1 of each digit by each speaker, 60 to 100 samples long."""
    files = {}
    for s, speaker in enumerate(SPEAKERS):
        for digit in range(10):
            for n in range(recordings):
                seed = 1000 * s + 100 * digit + n
                files[f"{digit}_{speaker}_{n}.wav"] = wav_bytes(tone(digit, 60 + seed % 41, 8000, seed), 8000)
    return files


def write_digits(root: Path, recordings: int = 10) -> Path:
    """fsdd/recordings as it unpacks."""
    folder = root / "fsdd" / "recordings"
    folder.mkdir(parents=True)
    for name, content in digit_files(recordings).items():
        (folder / name).write_bytes(content)
    return folder


def part_of_speaker(speaker: str) -> str:
    """The rule in the README of Speech Commands, by which its lists were made: a hash of the speaker."""
    most = 2**27 - 1
    share = (int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % (most + 1)) * (100.0 / most)
    return "val" if share < 10 else "test" if share < 20 else "train"


def command_files(words: tuple[str, ...] = WORDS, speakers: int = 25, n_samples: int = 16_000) -> dict[str, bytes]:
    """Files of Speech Commands with its lists; every fifth clip is shorter than a second."""
    names = [hashlib.md5(str(i).encode()).hexdigest()[:8] for i in range(speakers)]
    files: dict[str, bytes] = {}
    lists: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for w, word in enumerate(words):
        for s, speaker in enumerate(names):
            n = n_samples if (w + s) % 5 else n_samples - 3 * s - 1
            place = f"{word}/{speaker}_nohash_{(w + s) % 2}.wav"
            files[place] = wav_bytes(tone(w, n, 16_000, 100 * w + s), 16_000)
            lists[part_of_speaker(speaker)].append(place)
    files["_background_noise_/running_tap.wav"] = wav_bytes(tone(0, 3 * n_samples, 16_000, 1), 16_000)
    files["validation_list.txt"] = ("\n".join(lists["val"]) + "\n").encode()
    files["testing_list.txt"] = ("\n".join(lists["test"]) + "\n").encode()
    files["README.md"] = b"# Speech Commands\n"
    return files


def write_commands(root: Path, version: str = "0.02", **options: object) -> Path:
    """SpeechCommands/speech_commands_vVERSION as it unpacks."""
    folder = root / "SpeechCommands" / f"speech_commands_v{version}"
    for name, content in command_files(**options).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_tar(path: Path, files: dict[str, bytes], prefix: str) -> Path:
    """A tar.gz of files below a prefix, with its folders as members, as the publishers pack them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz", compresslevel=1) as packed:
        for folder in sorted({str(Path(prefix + name).parent) for name in files}):
            member = tarfile.TarInfo(("./" if prefix == "./" else "") + folder)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            packed.addfile(member)
        for name, content in files.items():
            member = tarfile.TarInfo(prefix + name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    return path
