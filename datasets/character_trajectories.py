"""CharacterTrajectories: one writer's letters as pen movements at 200 Hz."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from seqkit.batch import DataInfo
from seqkit.checks import check_choice
from seqkit.datasets.archives import read_member
from seqkit.datasets.download import fetch
from seqkit.datasets.sampling import Sampling
from seqkit.datasets.series import Array, SeriesSet
from seqkit.datasets.source import Source, data_root, file_or_folder, first_file, pick_part
from seqkit.files import is_of_disk, write_whole

__all__ = ["CharacterTrajectories"]

URL = "https://archive.ics.uci.edu/static/public/175/character+trajectories.zip"
SHA256 = "sha256:5d2db017ef0d8cf0e65ed060c9e90399f78eb9f1e3cb63e22ca8c3ef4ba67d52"
WHOLE, SUBSET = "mixoutALL_shifted.mat", "trajectories_train.mat"
LETTERS = tuple("abcdeghlmnopqrsuvwyz")
"""The twenty letters that are written without lifting the pen, in the order of their numbers 1 to 20."""

SAMPLES_PER_SECOND = 200.0
CHANNELS = ("x", "y", "force")
LONGEST = 205


class CharacterTrajectories(Source):
    """2858 letters by one writer: velocity of the pen in x and y, and its force, smoothed; which letter is it?

    The set has no official parts. The options make the papers' tests of what a memory stands: another rate in testing
    than in training, missing samples, uneven times. They act on the parts after the cut; see `Sampling`.

    Args:
        train_rate: Samples per second to train with, 200 Hz over a whole number; None for 200.
        test_rate: The same for testing.
        drop: Share of the samples of each series that is missing, in [0, 1); at least two are kept.
        drop_seed: Seed of the draw of missing samples.
        missing: "remove" leaves missing samples out, "nan" keeps their place, not observed, and "line" draws straight
            lines between the others.
        timestamps: "given" tells the model times and rate, "channel" puts the time in front as a channel and tells
            nothing else, "hidden" tells neither.
        train_scale: Factor on the times of training.
        test_scale: Factor on the times of testing.
        padding: "none", or "last" to bring each series to 205 samples first by repeating its last one.
        root: Folder of downloaded data; `data_root` says where it is if None.

    Raises:
        ValueError: an option out of range.

    Source:
        Williams, Toussaint and Storkey 2006, Extracting motion primitives from natural handwriting data. Tests of
        memories: Gu et al. 2020, HiPPO (arXiv:2008.07669), section 4; missing samples: Kidger et al. 2020, Neural CDEs
        (arXiv:2005.08926).

    Example:
        >>> CharacterTrajectories().info().n_outputs
        20
        >>> CharacterTrajectories(train_rate=100.0, drop=0.5, timestamps="channel").info().channels
        ('time', 'x', 'y', 'force')
    """

    name = "character_trajectories"

    def __init__(
        self,
        *,
        train_rate: float | None = None,
        test_rate: float | None = None,
        drop: float = 0.0,
        drop_seed: int = 0,
        missing: str = "remove",
        timestamps: str = "given",
        train_scale: float = 1.0,
        test_scale: float = 1.0,
        padding: str = "none",
        root: str | Path | None = None,
    ) -> None:
        check_choice("padding", padding, ("none", "last"))
        self.sampling = Sampling(
            SAMPLES_PER_SECOND,
            train_rate=train_rate,
            test_rate=test_rate,
            drop=drop,
            drop_seed=drop_seed,
            missing=missing,
            timestamps=timestamps,
            train_scale=train_scale,
            test_scale=test_scale,
            pad_to=LONGEST if padding == "last" else None,
        )
        self.root = data_root(root)

    def info(self) -> DataInfo:
        """What the set holds."""
        return DataInfo(
            name=self.name,
            task="classification",
            n_channels=len(self.sampling.channels(CHANNELS)),
            classes=LETTERS,
            sample_rate=self.sampling.told_rate(),
            max_length=self.sampling.max_length(LONGEST),
            channels=self.sampling.channels(CHANNELS),
            missing=self.sampling.missing == "nan" and self.sampling.drop > 0,
        )

    def describe(self) -> dict[str, Any]:
        """Plain facts."""
        return {
            "title": "Character Trajectories: letters from the movement of a pen",
            "task": "classification",
            "series": {"all": 2858},
            "lengths": "109 to 205 samples at 200 Hz",
            "licence": "CC BY 4.0",
            "citation": "Williams, Toussaint and Storkey 2006, Extracting motion primitives from natural handwriting "
            "data, ICANN",
            "origin": "UCI Machine Learning Repository, Williams",
            "files": str(self._find() or self._folder() / WHOLE),
        }

    def prepare(self, *, offline: bool = False) -> None:
        """Fetches the file if it is not there yet, 8 MB."""
        if self._find() is not None:
            return
        archive = self._folder() / "character+trajectories.zip"
        if not archive.is_file():
            fetch([URL], archive, SHA256, offline=offline, what="the files of CharacterTrajectories")
        data = read_member(archive, WHOLE, limit=1 << 28)
        write_whole(self._folder() / WHOLE, lambda path: path.write_bytes(data))
        archive.unlink()

    def load(self) -> dict[str, SeriesSet]:
        """All series that are there, as one part."""
        path = self._find()
        if path is None:
            raise FileNotFoundError(
                f"the files of CharacterTrajectories are not under {self.root}; "
                "run `seqkit data prepare character_trajectories`"
            )
        return {"all": self.read(path)}

    def transform(self, part: str, series: SeriesSet) -> SeriesSet:
        """The part as the options want it; validation goes as training."""
        return self.sampling.apply(part, series)

    def read(self, path: str | Path, split: str = "all") -> SeriesSet:
        """A .mat file with `mixout` and `consts` or cells xNAME and yNAME (xtrain, ytrain), or a folder with one."""
        path = file_or_folder(path)
        if path.is_dir():
            found = first_file([path], [WHOLE, SUBSET])
            if found is None:
                raise FileNotFoundError(f"{path} has no file {WHOLE} or {SUBSET}; give the .mat file itself")
            path = found
        return pick_part(_parts(path), split, str(path))

    def _folder(self) -> Path:
        return self.root / "CharacterTrajectories"

    def _find(self) -> Path | None:
        folders = [self._folder(), self.root / "character_trajectories", self.root]
        return first_file(folders, [WHOLE]) or first_file(folders, [SUBSET])


def _parts(path: Path) -> dict[str, SeriesSet]:
    content = _open(path)
    if "mixout" in content:
        labels, key = _consts(content, path)
        return {"all": _series(content["mixout"], labels, key, "mixout", path)}
    cells = [name for name in content if name.startswith("x") and content[name].dtype == object]
    if not cells:
        raise ValueError(
            f"{path} has no pen trajectories: it needs the cells mixout and consts, or xtrain and ytrain, and has "
            f"{', '.join(content) or 'nothing'}"
        )
    key = _letters(content["key"], path) if "key" in content else LETTERS
    parts = {name[1:]: _series(content[name], content.get(f"y{name[1:]}"), key, name, path) for name in cells}
    if len(parts) == 1 and not set(parts) <= {"train", "val", "test"}:
        return {"all": next(iter(parts.values()))}
    return parts


def _open(path: Path) -> dict[str, Array]:
    try:
        with warnings.catch_warnings():  # scipy warns of what it cannot make sense of; below that is an error
            warnings.simplefilter("error")
            content = scipy.io.loadmat(path)
    except NotImplementedError:
        raise ValueError(
            f"{path} is a MATLAB file of version 7.3, which scipy does not read; save it with -v7"
        ) from None
    except Exception as error:  # a damaged file fails inside scipy in about ten ways
        if is_of_disk(error):
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} is damaged or not a MATLAB file ({reason}); fetch it again") from None
    return {name: value for name, value in content.items() if not name.startswith("__")}


def _consts(content: dict[str, Array], path: Path) -> tuple[Array, tuple[str, ...]]:
    try:
        fields = content["consts"][0, 0]
        return fields["charlabels"], _letters(fields["key"], path)
    except (KeyError, IndexError, ValueError, TypeError):
        raise ValueError(f"{path} has no struct consts with charlabels and key; it is not the whole file") from None


def _letters(key: Array, path: Path) -> tuple[str, ...]:
    letters = tuple(str(np.ravel(cell)[0]) for cell in key.ravel() if np.size(cell))
    if not letters or any(not letter for letter in letters):
        raise ValueError(f"{path} has a key without letters; it should name the letter of each number")
    return letters


def _series(cells: Array, numbers: Array | None, key: tuple[str, ...], name: str, path: Path) -> SeriesSet:
    values = []
    for i, cell in enumerate(cells.ravel()):
        cell = np.asarray(cell)
        if cell.ndim != 2 or (cell.size and cell.shape[0] != len(CHANNELS)) or cell.dtype.kind not in "fiu":
            raise ValueError(f"cell {i + 1} of {name} in {path} must be 3 x samples numbers, got shape {cell.shape}")
        values.append(cell.T if cell.size else np.empty((0, len(CHANNELS))))
    target = None
    if numbers is not None:
        target = []
        for i, number in enumerate(np.ravel(numbers).tolist()):
            if not (float(number).is_integer() and 1 <= number <= len(key)):
                raise ValueError(f"label {i + 1} of {name} in {path} is {number}, the key has letters 1 to {len(key)}")
            target.append(key[int(number) - 1])
    return SeriesSet(values, target, sample_rate=SAMPLES_PER_SECOND, channels=CHANNELS, origin=str(path))
