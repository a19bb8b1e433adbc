"""BIDMC from PhysioNet's recordings: windows of the signals, cut so that nobody is in two parts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seqkit.batch import DataInfo
from seqkit.checks import check_choice, check_positive
from seqkit.datasets.bidmc import SAMPLES_PER_SECOND
from seqkit.datasets.bidmc_csv import NUMERICS, Recording, recording_files
from seqkit.datasets.bidmc_windows import BREATHING, Windows
from seqkit.datasets.download import fetch, not_there
from seqkit.datasets.pooled import pooled_parts
from seqkit.datasets.series import SeriesSet
from seqkit.datasets.source import PARTS, Source, data_root, file_or_folder, pick_part

__all__ = ["BIDMCRaw"]

ADDRESSES = (
    "https://physionet.org/files/bidmc/1.0.0/",
    "https://physionet-open.s3.amazonaws.com/bidmc/1.0.0/",
)
SUMS = "SHA256SUMS.txt"
SIGNALS = ("RESP", "PLETH", "V", "AVR", "II")
TIMES = ((0.0, 0.7), (0.7, 0.85), (0.85, 1.0))
FEWEST = 4
"""Recordings that a split by patient takes."""

_UNITS = {"HR": "beats per minute", "PULSE": "beats per minute", "RR": "breaths per minute", "SpO2": "percent"}
_LISTED = re.compile(r"([0-9a-f]{64})\s+\*?(?:\./)?(bidmc_csv/bidmc_\d\d_(?:Signals|Numerics)\.csv)")


class BIDMCRaw(Source):
    """Windows of 53 recordings of 8 minutes in intensive care: a vital sign of each, or the breathing itself.

    The vital sign is the mean of what the monitor said in the seconds of the window, the first excluded; a window with
    a second without a number (empty, NaN or 0) is left out. With the target "RESP" each sample has its own: the
    respiration signal at that time.

    Args:
        target: "HR" or "PULSE" (beats per minute), "RR" (breaths per minute) or "SpO2" (percent), which need the files
            _Numerics.csv; or "RESP", for which _Signals.csv is enough.
        window: Length of a window in seconds.
        stride: Seconds from the start of a window to that of the next one of the same recording.
        channels: Signals to learn from, with commas between: of RESP, PLETH, V, AVR and II.
        split: "patient", 70, 15 and 15 % of the recordings by a fixed draw, which takes at least 4; or "time", 70, 15
            and 15 % of the time of each recording in this order, half a window of it left out between parts, so that
            no sample is in two of them, but every person is in all.
        root: Folder of downloaded data; `data_root` says where it is if None.

    Raises:
        ValueError: an unknown target, channel or split, a channel that is the target, or a time that is not positive.

    Source:
        Pimentel et al. 2016, Toward a robust estimation of respiratory rate from pulse oximeters: 32 s windows.

    Example:
        >>> BIDMCRaw(target="RESP", window=8).info().max_length
        1000
    """

    name = "bidmc_raw"

    def __init__(
        self,
        *,
        target: str = "HR",
        window: float = 32.0,
        stride: float = 8.0,
        channels: str | Sequence[str] = "PLETH,II",
        split: str = "patient",
        root: str | Path | None = None,
    ) -> None:
        self.target = check_choice("target", target, (*NUMERICS, BREATHING))
        self.split = check_choice("split", split, ("patient", "time"))
        self.windows = Windows(
            target=target,
            channels=_channels(channels, target),
            samples=_samples("window", window),
            step=_samples("stride", stride),
            rate=SAMPLES_PER_SECOND,
        )
        self.root = data_root(root)

    def info(self) -> DataInfo:
        """What the set holds."""
        return DataInfo(
            name=self.name,
            task="sequence" if self.target == BREATHING else "regression",
            n_channels=len(self.windows.channels),
            sample_rate=SAMPLES_PER_SECOND,
            max_length=self.windows.samples,
            channels=self.windows.channels,
        )

    def describe(self) -> dict[str, Any]:
        """Plain facts."""
        window, stride = self.windows.samples / SAMPLES_PER_SECOND, self.windows.step / SAMPLES_PER_SECOND
        what = "recordings, nobody in two parts" if self.split == "patient" else "time of each recording"
        breathing = self.target == BREATHING
        number = f"{self.target} in {_UNITS.get(self.target)}, mean over the window"
        return {
            "title": f"BIDMC recordings: {self.target} from windows of {', '.join(self.windows.channels)}",
            "task": self.info().task,
            "target": "respiration signal at each sample, as recorded" if breathing else number,
            "series": {"train": "70 %", "val": "15 %", "test": f"15 %, of the {what}"},
            "lengths": f"{self.windows.samples} samples: windows of {window:g} s, one each {stride:g} s",
            "licence": "ODC-BY 1.0",
            "citation": "Pimentel et al. 2016, Toward a robust estimation of respiratory rate, IEEE TBME 64",
            "origin": "PhysioNet, BIDMC PPG and Respiration Dataset 1.0.0",
            "files": str(self._find() or self._folder()),
        }

    def prepare(self, *, offline: bool = False) -> None:
        """Fetches the recordings by their published checksums, about 200 MB; those put there by hand are taken as is.

        Raises:
            FileNotFoundError: what the target needs is not there and cannot be fetched.
            ValueError: the list of checksums is not one.
        """
        folder = self._find() or self._folder()
        what = f"the files of {self.name}"
        sums = folder / SUMS
        if not sums.is_file():  # else a download was begun, and what it lacks is fetched
            recordings = recording_files(folder)
            lacking = [r for r in map(Recording, recordings.values()) if not self._has_target(r)]
            if recordings and not lacking:
                return
            try:
                fetch([address + SUMS for address in ADDRESSES], sums, None, offline=offline, what=what)
            except FileNotFoundError:  # it names the list of checksums, which alone would be of no use
                reason = "nothing is fetched offline" if offline else f"{ADDRESSES[0]} and its mirror give nothing"
                hint = ""
                if lacking:
                    also = ", split=time" if len(recordings) < FEWEST else ""
                    hint = (
                        f"; without {lacking[0].numerics_path.name} only target={BREATHING}{also} can be learned there"
                    )
                error = not_there(what, folder / SUMS, f"{ADDRESSES[0]}bidmc_csv/", reason)
                raise FileNotFoundError(f"{error}{hint}") from None
        for known_hash, name in _listed(sums):
            path = folder / Path(name).name
            if not path.is_file():
                fetch([address + name for address in ADDRESSES], path, known_hash, offline=offline, what=what)

    def load(self) -> dict[str, SeriesSet]:
        """Training, validation and test part by `split`."""
        folder = self._find()
        if folder is None:
            raise FileNotFoundError(
                f"no files bidmc_NN_Signals.csv are under {self.root}; run `seqkit data prepare {self.name}`"
            )
        return self._parts(folder)

    def read(self, path: str | Path, split: str = "all") -> SeriesSet:
        """A file NAME_Signals.csv, whose targets may be missing, or a folder of them, which is cut as the set is."""
        path = file_or_folder(path)
        if path.is_dir():
            folder = self._find(path)
            if folder is None:
                raise FileNotFoundError(f"{path} has no files bidmc_NN_Signals.csv")
            return pick_part(self._parts(folder), split, str(path))
        recording = Recording(path)
        cuts = self.windows.cut(recording, labelled=self._has_target(recording))
        return pick_part({"all": self.windows.series(cuts, str(path))}, split, str(path))

    def _folder(self) -> Path:
        return self.root / "BIDMC"

    def _find(self, root: Path | None = None) -> Path | None:
        root = self.root if root is None else root
        folders = (root / "BIDMC", root / "BIDMC" / "bidmc_csv", root / "bidmc_csv", root / "bidmc", root)
        return next((folder for folder in folders if recording_files(folder)), None)

    def _has_target(self, recording: Recording) -> bool:
        return self.target == BREATHING or recording.numerics_path.is_file()

    def _parts(self, folder: Path) -> dict[str, SeriesSet]:
        recordings = [Recording(path) for path in recording_files(folder).values()]
        if self.split == "patient" and len(recordings) < FEWEST:
            raise ValueError(
                f"`split` must be time for {folder}, got 'patient': to have other people in each part takes {FEWEST} "
                f"recordings at least, and it has {len(recordings)}"
            )
        if self.split == "time":
            cuts = [self.windows.cut(recording, TIMES) for recording in recordings]
            by_part = {part: [cut[k] for cut in cuts] for k, part in enumerate(PARTS)}
        else:
            by_part = {
                part: [cut for place in places for cut in self.windows.cut(recordings[place])]
                for part, places in pooled_parts(len(recordings)).items()
            }
        return {part: self.windows.series(cuts, f"the {part} part of {folder}") for part, cuts in by_part.items()}


def _channels(channels: str | Sequence[str], target: str) -> tuple[str, ...]:
    names = channels.split(",") if isinstance(channels, str) else [str(name) for name in channels]
    names = [check_choice("channels", name.strip(), SIGNALS) for name in names]
    if len(set(names)) < len(names):
        raise ValueError(f"`channels` must name each signal once, got {channels!r}")
    if target in names:
        raise ValueError(f"`channels` must not hold the target {target}, got {channels!r}; leave it out")
    return tuple(names)


def _samples(name: str, seconds: float) -> int:
    samples = round(check_positive(name, seconds) * SAMPLES_PER_SECOND)
    if samples < 1:
        raise ValueError(f"`{name}` must be one sample of {1 / SAMPLES_PER_SECOND:g} s at least, got {seconds!r}")
    return samples


def _listed(sums: Path) -> list[tuple[str, str]]:
    """Checksums and names of the recordings' files; other files of the publication are left alone."""
    try:
        matches = [_LISTED.fullmatch(line.strip()) for line in sums.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError:
        matches = []
    listed = [(f"sha256:{match[1]}", match[2]) for match in matches if match is not None]
    if not listed:
        raise ValueError(f"{sums} lists no files bidmc_csv/bidmc_NN_Signals.csv; remove it and prepare again")
    return listed
