"""BIDMC of the TSER archive: vital signs from 32 seconds of finger and heart signals."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seqkit.batch import DataInfo
from seqkit.checks import check_choice
from seqkit.datasets.download import fetch
from seqkit.datasets.overlap import recordings
from seqkit.datasets.pooled import pooled_parts
from seqkit.datasets.series import SeriesSet
from seqkit.datasets.source import Source, data_root, file_or_folder, pick_part
from seqkit.datasets.ts import read_ts

__all__ = ["BIDMC32", "SAMPLES_PER_SECOND"]

SAMPLES_PER_SECOND = 125.0
SAMPLES = 4000
CHANNELS = ("PPG", "ECG")
RECORDINGS = 53
SHARED = 1 / 8
"""Share of a window that two of them must have in common to count as one recording: four seconds of 32."""

ADDRESS = "https://zenodo.org/records/{record}/files/{name}"


class _Kind(NamedTuple):
    """A vital sign: its words and unit, and the archive's records of it, the papers' first."""

    words: str
    unit: str
    records: tuple[int, ...]


_KINDS = {
    "HR": _Kind("heart rate", "beats per minute", (4001456, 18485047)),
    "RR": _Kind("respiratory rate", "breaths per minute", (4001463, 18485020)),
    "SpO2": _Kind("oxygen saturation", "percent", (4001464, 18484650)),
}


class BIDMC32(Source):
    """Windows of 32 s from 53 patients in intensive care; the target is a vital sign in its own unit.

    Windows of a patient overlap. The papers pool the archive's two files and cut them at random, so their test part
    has windows that overlap with training; `split="patient"` says how well a model does on people it never saw.

    Args:
        target: "HR" (beats per minute), "RR" (breaths per minute) or "SpO2" (percent).
        split: "pooled", the papers' random 70, 15 and 15 %; "archive", the archive's two files, of which the last
            seventh of the first validates; or "patient", 70, 15 and 15 % of the patients. The files name no patients:
            those are told apart by overlapping windows, and the split is refused where that does not give 53.
        root: Folder of downloaded data; `data_root` says where it is if None.

    Raises:
        ValueError: another target or split.

    Source:
        Tan et al. 2021, Time series extrinsic regression; data of Pimentel et al. 2016. "pooled" and "archive" are
        those of the released code of Gu et al. 2021 (arXiv:2110.13985), which normalises neither inputs nor targets:
        add `data.standardize=false` for its set-up.

    Example:
        >>> BIDMC32(target="RR").info().name
        'bidmc_rr'
    """

    def __init__(self, *, target: str = "HR", split: str = "pooled", root: str | Path | None = None) -> None:
        self.kind = _KINDS[check_choice("target", target, _KINDS)]
        self.target = target
        self.split = check_choice("split", split, ("pooled", "archive", "patient"))
        self.root = data_root(root)

    @property
    def name(self) -> str:
        """Name in the registry."""
        return f"bidmc_{self.target.lower()}"

    def info(self) -> DataInfo:
        """What the set holds."""
        return DataInfo(
            name=self.name,
            task="regression",
            n_channels=len(CHANNELS),
            sample_rate=SAMPLES_PER_SECOND,
            max_length=SAMPLES,
            channels=CHANNELS,
        )

    def describe(self) -> dict[str, Any]:
        """Plain facts."""
        parts = {
            "pooled": {"train": "70 %", "val": "15 %", "test": "15 %, of all windows at random, patients shared"},
            "archive": {"train": "6/7 of the archive's", "val": "1/7 of it", "test": "the archive's"},
            "patient": {"train": "70 %", "val": "15 %", "test": "15 %, of the patients"},
        }
        return {
            "title": f"BIDMC: {self.kind.words} from 32 s of PPG and ECG",
            "task": "regression",
            "target": f"{self.kind.words} in {self.kind.unit}",
            "series": parts[self.split],
            "lengths": f"{SAMPLES} samples",
            "licence": "CC BY 4.0, says the archive; the recordings: ODC-BY 1.0",
            "citation": "Pimentel et al. 2016, Toward a robust estimation of respiratory rate, IEEE TBME 64",
            "origin": "TSER archive, from PhysioNet's BIDMC PPG and Respiration Dataset",
            "files": str(self._find() or self._folder()),
        }

    def prepare(self, *, offline: bool = False) -> None:
        """Fetches the two files that are not there yet, about 1 GB.

        No checksums of them are published that could be held against them; what reads them checks their form.
        """
        if self._find() is not None:
            return
        for part in ("TRAIN", "TEST"):
            name = f"BIDMC32{self.target}_{part}.ts"
            if not (self._folder() / name).is_file():
                urls = [ADDRESS.format(record=record, name=name) for record in self.kind.records]
                fetch(urls, self._folder() / name, None, offline=offline, what=f"the files of {self.name}")

    def load(self) -> dict[str, SeriesSet]:
        """Training, validation and test part by `split`."""
        folder = self._find()
        if folder is None:
            raise FileNotFoundError(
                f"the files BIDMC32{self.target}_TRAIN.ts and _TEST.ts are not under {self.root}; "
                f"run `seqkit data prepare {self.name}`"
            )
        return self._parts(folder)

    def read(self, path: str | Path, split: str = "all") -> SeriesSet:
        """A .ts file of such windows, or a folder with the archive's two files, which is cut as the set is."""
        path = file_or_folder(path)
        if path.is_dir():
            folder = self._find(path)
            if folder is None:
                raise FileNotFoundError(f"{path} has no files BIDMC32{self.target}_TRAIN.ts and _TEST.ts")
            return pick_part(self._parts(folder), split, str(path))
        return pick_part({"all": _windows(path)}, split, str(path))

    def _folder(self) -> Path:
        return self.root / f"BIDMC32{self.target}"

    def _find(self, root: Path | None = None) -> Path | None:
        """Folder that holds both files."""
        root = self.root if root is None else root
        set_name = f"BIDMC32{self.target}"
        folders = (root / set_name, root / "TSER" / set_name, root)
        wanted = (f"{set_name}_TRAIN.ts", f"{set_name}_TEST.ts")
        return next((folder for folder in folders if all((folder / name).is_file() for name in wanted)), None)

    def _parts(self, folder: Path) -> dict[str, SeriesSet]:
        files = {part: folder / f"BIDMC32{self.target}_{part.upper()}.ts" for part in ("train", "test")}
        train, test = (_windows(path, prefix=f"{part}-") for part, path in files.items())
        if self.split == "archive":
            n_val = len(train) // 7
            if n_val == 0:
                raise ValueError(f"{files['train']} has {len(train)} windows; cutting off a seventh takes 7 at least")
            cut = len(train) - n_val
            return {"train": train.select(range(cut)), "val": train.select(range(cut, len(train))), "test": test}
        pooled = SeriesSet.join([train, test])
        if self.split == "pooled":
            return {part: pooled.select(places) for part, places in pooled_parts(len(pooled)).items()}
        number = recordings(pooled.values, at_least=max(1, int(SHARED * pooled.lengths.min())))
        if number[-1] + 1 != RECORDINGS:
            raise ValueError(
                f"`split` must be pooled or archive for the files in {folder}, got 'patient': they name no patients, "
                f"and their windows overlap in {number[-1] + 1} runs where {RECORDINGS} would be patients; the data "
                "set bidmc_raw is cut by patient"
            )
        return {
            part: pooled.select(np.flatnonzero(np.isin(number, chosen)))
            for part, chosen in pooled_parts(RECORDINGS).items()
        }


def _windows(path: Path, prefix: str = "") -> SeriesSet:
    series = read_ts(path, prefix=prefix)
    lengths = np.unique(series.lengths)
    if series.n_channels != len(CHANNELS) or series.kind not in ("regression", None) or len(lengths) > 1:
        raise ValueError(
            f"{path} is not a file of BIDMC: it needs windows of one length with {len(CHANNELS)} channels and a number "
            f"each, and has {series.n_channels} channels and {lengths.min()} to {lengths.max()} samples"
        )
    series.sample_rate = SAMPLES_PER_SECOND
    series.channels = CHANNELS
    return series
