"""Speech Commands: one-second recordings of single words, as waveforms or as MFCC."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seqkit.batch import DataInfo
from seqkit.checks import check_choice, nearest
from seqkit.datasets.archives import unpack
from seqkit.datasets.clips import clip_series, visible_wavs
from seqkit.datasets.download import fetch
from seqkit.datasets.series import SeriesSet
from seqkit.datasets.source import Source, data_root, file_or_folder, pick_part
from seqkit.datasets.speech_mfcc import HOP, N_MFCC, RATE, Mfcc, n_frames
from seqkit.datasets.speech_splits import by_lists, by_paper

__all__ = ["SC10", "SpeechCommands"]

SC10 = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
"""The ten words of the papers, in the order of their class numbers there."""

_OTHERS = (
    *("bed", "bird", "cat", "dog", "eight", "five", "four", "happy", "house", "marvin", "nine", "one", "seven"),
    *("sheila", "six", "three", "tree", "two", "wow", "zero"),
)
WORDS = {
    "0.01": tuple(sorted((*SC10, *_OTHERS))),
    "0.02": tuple(sorted((*SC10, *_OTHERS, "backward", "follow", "forward", "learn", "visual"))),
}
URL = "http://download.tensorflow.org/data/{}.tar.gz"
MIRROR = "https://storage.googleapis.com/download.tensorflow.org/data/{}.tar.gz"
SHA256 = {  # as torchaudio has them
    "0.01": "sha256:743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d",
    "0.02": "sha256:af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
}
N_SAMPLES = 16_000


class SpeechCommands(Source):
    """Single words by thousands of speakers, up to one second at 16 kHz; which word is it?

    Testing at half the rate (`seqkit evaluate --subsample 2`) keeps every second sample, as the papers do, without the
    filter against aliasing that a recording device would have.

    Args:
        words: "sc10" for the ten words of the papers, "all", or words separated by commas; classes keep that order.
        split: "lists": the set's own validation and testing lists, so no speaker is in two parts; unequal lengths are
            kept. "paper": clips of exactly 16000 samples, cut 70/15/15 at random by word as the LSSL paper did, so
            speakers are shared; which clips come into which part there also hung on the order in which its file system
            named them, which is the order of names here.
        features: "raw" for waveforms in [-1, 1), or "mfcc" for 20 coefficients 160 times a second, by torchaudio.
        version: "0.01" (30 words) or "0.02" (35 words).
        root: Folder of downloaded data; `data_root` says where it is if None.

    Raises:
        ValueError: an option out of range, or fewer than two words.

    Source:
        Warden 2018 (arXiv:1804.03209); the ten words and their cut: Gu et al. 2021 (arXiv:2110.13985).

    Example:
        >>> SpeechCommands(words="up,down").info().classes
        ('up', 'down')
        >>> SpeechCommands(features="mfcc").info().max_length
        161
    """

    name = "speech_commands"

    def __init__(
        self,
        *,
        words: str = "sc10",
        split: str = "lists",
        features: str = "raw",
        version: str = "0.02",
        root: str | Path | None = None,
    ) -> None:
        self.version = check_choice("version", str(version).removeprefix("v"), WORDS)
        self.split = check_choice("split", split, ("lists", "paper"))
        self.features = check_choice("features", features, ("raw", "mfcc"))
        self.words = self._chosen(words)
        self.root = data_root(root)

    @property
    def classes(self) -> tuple[str, ...]:
        """Words in the order of their numbers."""
        return self.words

    def info(self) -> DataInfo:
        """What the set holds."""
        mfcc = self.features == "mfcc"
        return DataInfo(
            name=self.name,
            task="classification",
            n_channels=N_MFCC if mfcc else 1,
            classes=self.words,
            sample_rate=RATE / HOP if mfcc else float(RATE),
            max_length=n_frames(N_SAMPLES) if mfcc else N_SAMPLES,
        )

    def describe(self) -> dict[str, Any]:
        """Plain facts."""
        published = self.version == "0.02" and self.split == "paper" and sorted(self.words) == sorted(SC10)
        lengths = "16000 samples" if self.split == "paper" else "up to 16000 samples"
        return {
            "title": f"Speech Commands: {len(self.words)} spoken words"
            + (" as MFCC" if self.features == "mfcc" else " as waveforms"),
            "task": "classification",
            "series": {"train": 24_482, "val": 5246, "test": 5247} if published else None,
            "lengths": lengths if self.features == "raw" else f"{lengths}, a frame for each {HOP} and one",
            "licence": "CC BY 4.0",
            "citation": "Warden 2018, Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition, "
            "arXiv:1804.03209",
            "origin": f"Google, version {self.version}, 2.3 GB" if self.version == "0.02" else "Google, version 0.01",
            "files": str(self._find(self.root) or self._folder()),
        }

    def prepare(self, *, offline: bool = False) -> None:
        """Fetches the recordings if they are not there yet, 1.4 GB of version 0.01 and 2.3 GB of version 0.02."""
        if self._find(self.root) is not None:
            return
        archive = self._folder().with_name(f"{self._folder().name}.tar.gz")
        urls = [address.format(self._folder().name) for address in (URL, MIRROR)]
        what = f"the files of Speech Commands {self.version}{self._other_version()}"
        fetch(urls, archive, SHA256[self.version], offline=offline, what=what)
        unpack(archive, self._folder())
        archive.unlink()

    def load(self) -> dict[str, SeriesSet]:
        """Training, validation and test parts of the chosen words."""
        folder = self._find(self.root)
        if folder is None:
            raise FileNotFoundError(
                f"the files of Speech Commands {self.version} are not under {self.root}{self._other_version()}; "
                f"run `seqkit data prepare {self.name}`"
            )
        return self._parts(folder)

    def read(self, path: str | Path, split: str = "all") -> SeriesSet:
        """A WAV file, a folder of them, or a folder with a folder of files for each word."""
        path = file_or_folder(path)
        if path.is_file():
            word = path.resolve().parent.name
            target = [word] if word in self.words else None
            return pick_part({"all": self._series([path], target, str(path))}, split, str(path))
        folder = self._find(path)
        if folder is not None:
            return pick_part(self._parts(folder), split, str(path))
        clips = {word: visible_wavs(path / word) for word in self.words}
        paths = [one for found in clips.values() for one in found]
        if paths:
            target = [word for word, found in clips.items() for _ in found]
            return pick_part({"all": self._series(paths, target, str(path))}, split, str(path))
        return pick_part({"all": self._series(visible_wavs(path), None, str(path))}, split, str(path))

    def _parts(self, folder: Path) -> dict[str, SeriesSet]:
        clips = {word: [clip for clip in visible_wavs(folder / word) if "_nohash_" in clip.name] for word in self.words}
        for word, found in clips.items():
            if not found:
                raise ValueError(f"{folder / word} holds no clips of the word {word!r}; fetch the whole set again")
        cut = by_lists(folder, clips) if self.split == "lists" else by_paper(folder, clips, N_SAMPLES)
        return {
            part: self._series(paths, [path.parent.name for path in paths], str(folder)) for part, paths in cut.items()
        }

    def _series(self, paths: Sequence[Path], target: list[str] | None, origin: str) -> SeriesSet:
        return clip_series(
            paths,
            target=target,
            names=[f"{path.parent.name}/{path.stem}" for path in paths],
            features=Mfcc() if self.features == "mfcc" else None,
            origin=origin,
        )

    def _chosen(self, words: str) -> tuple[str, ...]:
        known = WORDS[self.version]
        if words in ("sc10", "all"):
            return SC10 if words == "sc10" else known
        rule = "`words` must be sc10, all, or two different words or more separated by commas"
        if not isinstance(words, str):  # YAML reads a lone yes, no, on or off as true or false
            raise ValueError(f"{rule}, got {words!r}; such as yes,no")
        chosen = tuple(word.strip() for word in words.split(","))
        for word in chosen:
            if word not in known:
                raise ValueError(f"{rule}, got {word!r}, which version {self.version} lacks; {nearest(word, known)}")
        if len(set(chosen)) < max(2, len(chosen)):
            raise ValueError(f"{rule}, got {words!r}; such as yes,no")
        return chosen

    def _folder(self) -> Path:
        return self.root / "SpeechCommands" / f"speech_commands_v{self.version}"

    def _find(self, root: Path, version: str | None = None) -> Path | None:
        """The folder with the lists in it."""
        name = f"speech_commands_v{version or self.version}"
        places = [root / "SpeechCommands" / name, root / "speech_commands" / name, root / name]
        places += [root] if version is None else []
        return next((folder for folder in places if (folder / "testing_list.txt").is_file()), None)

    def _other_version(self) -> str:
        """Words on a version that is there where this one is not."""
        other = next((one for one in WORDS if one != self.version and self._find(self.root, one)), None)
        return f" (version {other} is there; choose it by version={other})" if other else ""
