"""Tiny twins of the published data files, laid down as a download leaves them."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import scipy.io

LETTERS = "abcdeghlmnopqrsuvwyz"


def idx(array: np.ndarray) -> bytes:
    """Bytes of an IDX file of unsigned bytes."""
    return struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_mnist(root: Path, n_train: int = 60, n_test: int = 20, *, packed: bool = True, name: str = "MNIST") -> Path:
    """The four files under NAME/raw; image i of a part has the label i % 10 and tells it by its brightness."""
    folder = root / name / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for stem, n in (("train", n_train), ("t10k", n_test)):
        labels = np.arange(n) % 10
        images = random.integers(0, 20, (n, 28, 28)) + 20 * labels[:, None, None]
        for name, array in ((f"{stem}-images-idx3-ubyte", images), (f"{stem}-labels-idx1-ubyte", labels)):
            data = idx(array)
            (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(data) if packed else data)
    return folder


def letters(n: int, seed: int = 0) -> tuple[list[np.ndarray], list[int]]:
    """Pen movements (3, T) of unequal lengths and their numbers 1 to 20."""
    random = np.random.default_rng(seed)
    numbers = [1 + i % 20 for i in range(n)]
    cells = []
    for number in numbers:
        time = np.linspace(0, 1, int(random.integers(12, 25)))
        cells.append(np.stack([np.sin(number * time), np.cos(number * time), np.full_like(time, number / 20)]))
    return cells, numbers


def row(cells: list[np.ndarray]) -> np.ndarray:
    """A MATLAB row of cells."""
    out = np.empty((1, len(cells)), dtype=object)
    for i, cell in enumerate(cells):
        out[0, i] = cell
    return out


def write_letters(root: Path, n: int = 100, *, whole: bool = True, name: str = "") -> Path:
    """CharacterTrajectories as UCI has it, or in the layout of a labelled part of it."""
    folder = root / "CharacterTrajectories"
    folder.mkdir(parents=True, exist_ok=True)
    cells, numbers = letters(n)
    key = row([np.array([letter]) for letter in LETTERS])
    if whole:
        path = folder / (name or "mixoutALL_shifted.mat")
        consts = {"charlabels": np.array([numbers]), "key": key, "dt": 0.005}
        scipy.io.savemat(path, {"consts": consts, "mixout": row(cells)})
    else:
        path = folder / (name or "trajectories_train.mat")
        scipy.io.savemat(path, {"xtrain": row(cells), "ytrain": np.array([numbers], dtype=np.uint8), "key": key})
    return path


def write_ts(path: Path, values: list[np.ndarray], labels: list[str] | None) -> Path:
    """A .ts file of series (L, C)."""
    channels = values[0].shape[1]
    lines = ["# a comment", "@problemName twin", "@timeStamps false", f"@univariate {str(channels == 1).lower()}"]
    lines += [f"@dimensions {channels}", "@equalLength false"]
    lines += [f"@classLabel true {' '.join(sorted(set(labels)))}" if labels else "@classLabel false", "@data"]
    for i, one in enumerate(values):
        fields = [",".join(repr(float(v)) for v in one[:, c]) for c in range(channels)]
        lines.append(":".join(fields + ([labels[i]] if labels else [])))
    path.write_text("\n".join(lines) + "\n")
    return path


def waves(n: int = 24, channels: int = 2, seed: int = 0) -> tuple[list[np.ndarray], list[str]]:
    """Series of unequal lengths in three classes "2", "10", "1"."""
    random = np.random.default_rng(seed)
    labels = [("2", "10", "1")[i % 3] for i in range(n)]
    values = [random.normal(size=(int(random.integers(3, 9)), channels)).astype(np.float32) for _ in range(n)]
    return values, labels


def write_long_csv(path: Path, values: list[np.ndarray], target: list[object] | None, step: float = 0.01) -> Path:
    """A table of one row per sample."""
    channels = [f"c{k}" for k in range(values[0].shape[1])]
    lines = [",".join(["series", "time", *channels, *(["target"] if target else [])])]
    for i, one in enumerate(values):
        for k, sample in enumerate(one):
            fields = [f"s{i}", repr(k * step), *(repr(float(v)) for v in sample)]
            lines.append(",".join(fields + ([str(target[i])] if target else [])))
    path.write_text("\n".join(lines) + "\n")
    return path


def cifar_batches(n: int = 12, seed: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Labels (n,) and bytes (n, 3072) of the six batches; the planes of a picture are red, green and blue."""
    random = np.random.default_rng(seed)
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    return {name: (np.arange(n) % 10, random.integers(0, 256, (n, 3072)).astype(np.uint8)) for name in names}


def write_cifar(root: Path, n: int = 12) -> Path:
    """The binary version as it unpacks, below CIFAR10."""
    folder = root / "CIFAR10" / "cifar-10-batches-bin"
    folder.mkdir(parents=True, exist_ok=True)
    for name, (labels, images) in cifar_batches(n).items():
        records = np.concatenate([labels[:, None].astype(np.uint8), images], axis=1)
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    (folder / "batches.meta.txt").write_text("airplane\n")
    (folder / "readme.html").write_text("<html></html>\n")
    return folder
