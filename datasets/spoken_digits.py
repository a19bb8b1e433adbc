"""Spoken digits as waveforms at 8 kHz: the Free Spoken Digit Dataset."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from seqkit.batch import DataInfo
from seqkit.checks import check_choice, nearest
from seqkit.datasets.archives import unpack
from seqkit.datasets.clips import clip_series, visible_wavs
from seqkit.datasets.download import fetch
from seqkit.datasets.series import SeriesSet
from seqkit.datasets.source import PARTS, Source, data_root, file_or_folder, pick_part

__all__ = ["SpokenDigits"]

VERSION = "1.0.9"
URLS = (
    f"https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v{VERSION}.tar.gz",
    f"https://github.com/Jakobovski/free-spoken-digit-dataset/archive/v{VERSION}.tar.gz",
)
SHA256 = "sha256:8bc44cde129d505cbbb6b365c09f80c663f2aa77578afc634e6141a2f87100c0"  # as TensorFlow Datasets has it
VAL_SPEAKERS, TEST_SPEAKERS = "theo", "yweweler"
TEST_RECORDINGS = range(5)
"""The set's own rule: the first tenth of the 50 recordings of each digit by each speaker are the test part."""

_NAME = re.compile(r"(\d)_([^_]+)_(\d+)")


class SpokenDigits(Source):
    """English digits by five speakers, 50 recordings of each by each; which digit is it?

    Args:
        split: "recording": recordings 0 to 4 of each speaker and digit are the test part, as the set itself says, so
            every speaker is heard in training. "speaker": whole speakers are held out.
        val_speakers: Names of the speakers held out for validation, separated by commas, where `split` is "speaker";
            theo if None.
        test_speakers: Names of those held out for testing; yweweler if None.
        root: Folder of downloaded data; `data_root` says where it is if None.

    Raises:
        ValueError: an unknown split, speakers where they are not held out, or one speaker in two parts.

    Source:
        Jackson et al., https://github.com/Jakobovski/free-spoken-digit-dataset, whose README has the rule of the test
        part.

    Example:
        >>> SpokenDigits(split="speaker").held_out
        {'val': ('theo',), 'test': ('yweweler',)}
    """

    name = "spoken_digits"

    def __init__(
        self,
        *,
        split: str = "recording",
        val_speakers: str | None = None,
        test_speakers: str | None = None,
        root: str | Path | None = None,
    ) -> None:
        self.split = check_choice("split", split, ("recording", "speaker"))
        self.held_out: dict[str, tuple[str, ...]] = {}
        if split == "speaker":
            self.held_out = {
                "val": _speakers("val_speakers", VAL_SPEAKERS if val_speakers is None else val_speakers),
                "test": _speakers("test_speakers", TEST_SPEAKERS if test_speakers is None else test_speakers),
            }
            both = set(self.held_out["val"]) & set(self.held_out["test"])
            if both:
                raise ValueError(
                    f"`val_speakers` and `test_speakers` must not share a speaker, got {', '.join(sorted(both))} in "
                    "both; choose others"
                )
        elif val_speakers is not None or test_speakers is not None:
            raise ValueError("`val_speakers` and `test_speakers` must go with split=speaker, which holds speakers out")
        self.root = data_root(root)

    def info(self) -> DataInfo:
        """What the set holds."""
        return DataInfo(
            name=self.name,
            task="classification",
            n_channels=1,
            classes=tuple("0123456789"),
            sample_rate=8000.0,
            max_length=18_262,
        )

    def describe(self) -> dict[str, Any]:
        """Plain facts."""
        sizes = {"train": 2250, "test": 250}
        if self.split == "speaker":
            val, test = (500 * len(self.held_out[part]) for part in ("val", "test"))
            sizes = {"train": 2500 - val - test, "val": val, "test": test}
        return {
            "title": "Free Spoken Digit Dataset: spoken digits as waveforms",
            "task": "classification",
            "series": sizes,
            "lengths": "1148 to 18262 samples, 3281 on average",
            "licence": "CC BY-SA 4.0",
            "citation": "Jackson et al., Free Spoken Digit Dataset, doi:10.5281/zenodo.1342401",
            "origin": f"github.com/Jakobovski/free-spoken-digit-dataset, version {VERSION}",
            "files": str(_find(self.root) or self._folder()),
        }

    def prepare(self, *, offline: bool = False) -> None:
        """Fetches the recordings if they are not there yet, 12 MB."""
        if _find(self.root) is not None:
            return
        archive = self._folder().parent / f"free-spoken-digit-dataset-{VERSION}.tar.gz"
        fetch(URLS, archive, SHA256, offline=offline, what="the files of the Free Spoken Digit Dataset")
        unpack(archive, self._folder(), members=["*/recordings/*.wav"], strip=2)
        archive.unlink()

    def load(self) -> dict[str, SeriesSet]:
        """The parts of the chosen split; by recording there is no validation part."""
        folder = _find(self.root)
        if folder is None:
            raise FileNotFoundError(
                f"the files of the Free Spoken Digit Dataset are not under {self.root}; "
                f"run `seqkit data prepare {self.name}`"
            )
        parts = self._parts(folder)
        there = {name.split("_")[1] for series in parts.values() for name in series.names}
        for speaker in (one for speakers in self.held_out.values() for one in speakers):
            if speaker not in there:
                raise ValueError(f"{folder} has no recordings by {speaker!r}; {nearest(speaker, there)}")
        missing = [part for part in ("train", "test") if part not in parts]
        if missing:
            raise ValueError(f"{folder} has no recordings for the {missing[0]} part; fetch the whole set again")
        return parts

    def read(self, path: str | Path, split: str = "all") -> SeriesSet:
        """A WAV file, or a folder of them; names like 7_theo_12.wav say digit, speaker and recording."""
        path = file_or_folder(path)
        if path.is_file():
            name = _NAME.fullmatch(path.stem)
            series = clip_series([path], target=[name[1]] if name else None, origin=str(path))
            return pick_part({"all": series}, split, str(path))
        folder = _find(path)
        if folder is not None:
            return pick_part(self._parts(folder), split, str(path))
        return pick_part({"all": clip_series(visible_wavs(path), origin=str(path))}, split, str(path))

    def _folder(self) -> Path:
        return self.root / "fsdd" / "recordings"

    def _parts(self, folder: Path) -> dict[str, SeriesSet]:
        paths: dict[str, list[Path]] = {part: [] for part in PARTS}
        digits: dict[str, list[str]] = {part: [] for part in PARTS}
        for path in visible_wavs(folder):
            name = _NAME.fullmatch(path.stem)
            if name is None:
                raise ValueError(
                    f"{path} is not named like 7_theo_12.wav (digit, speaker, recording); rename or remove it"
                )
            part = self._part(name[2], int(name[3]))
            paths[part].append(path)
            digits[part].append(name[1])
        return {
            part: clip_series(paths[part], target=digits[part], origin=str(folder)) for part in PARTS if paths[part]
        }

    def _part(self, speaker: str, recording: int) -> str:
        if self.split == "recording":
            return "test" if recording in TEST_RECORDINGS else "train"
        return next((part for part, names in self.held_out.items() if speaker in names), "train")


def _speakers(name: str, given: str) -> tuple[str, ...]:
    speakers = tuple(one.strip() for one in str(given).split(","))
    if not all(speakers) or len(set(speakers)) < len(speakers):
        raise ValueError(f"`{name}` must be different names separated by commas, got {given!r}; such as theo,nicolas")
    return speakers


def _find(root: Path) -> Path | None:
    """The folder with recordings of digits in it."""
    places = [root / "fsdd" / "recordings", root / "recordings", root / "fsdd", root]
    return next((folder for folder in places if any(_NAME.fullmatch(one.stem) for one in visible_wavs(folder))), None)
