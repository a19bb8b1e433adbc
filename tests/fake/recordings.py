"""BIDMC in small, as its publishers lay it down: PhysioNet's CSV files and the archive's .ts files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

RATE = 125
SIGNALS = ("RESP", "PLETH", "V", "AVR", "II")


def signals(seconds: float, seed: int) -> np.ndarray:
    """Samples (n, 5) of a breath and a pulse, one more than fit into the seconds, as the recordings have."""
    random = np.random.default_rng([seed, 7])
    t = np.arange(int(seconds * RATE) + 1) / RATE
    breath, pulse = 0.2 + 0.05 * seed, 1 + 0.1 * seed
    waves = [np.sin(2 * np.pi * f * t + random.uniform(0, 6)) for f in (breath, pulse, pulse, pulse, pulse)]
    return 0.5 + 0.3 * np.stack(waves, 1) + 0.02 * random.standard_normal((len(t), 5))


def write_signals(folder: Path, number: int, *, seconds: float = 40, republished: bool = False) -> Path:
    """bidmc_NN_Signals.csv; a re-publisher put the rate before the time."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [", ".join(["Time [s]", *SIGNALS])]
    lines += [",".join(f"{v:.5g}" for v in (k / RATE, *row)) for k, row in enumerate(signals(seconds, number))]
    if republished:
        lines = [f"{'Sampling Freq' if k == 0 else RATE if k == 1 else ''},{line}" for k, line in enumerate(lines)]
    path = folder / f"bidmc_{number:02d}_Signals.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def numerics(seconds: float, seed: int) -> np.ndarray:
    """The monitor's numbers (n, 4) at 0, 1, ... seconds: HR, PULSE, RESP, SpO2."""
    t = np.arange(int(seconds) + 1)
    return np.stack([60 + 6 * seed + t % 3, 59 + 6 * seed + t % 3, 12 + seed + t % 2, 97 - t % 2], axis=1)


def write_numerics(folder: Path, number: int, *, seconds: float = 40, missing: dict[int, str] | None = None) -> Path:
    """bidmc_NN_Numerics.csv; in the seconds of `missing` all numbers are what it says."""
    lines = ["Time [s], HR, PULSE, RESP, SpO2"]
    for k, row in enumerate(numerics(seconds, number)):
        lines.append(",".join([str(k), *((missing or {}).get(k, str(v)) for v in row)]))
    path = folder / f"bidmc_{number:02d}_Numerics.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def write_recordings(folder: Path, n: int, *, seconds: float = 40) -> Path:
    """Both files of recordings 1 to n."""
    for number in range(1, n + 1):
        write_signals(folder, number, seconds=seconds)
        write_numerics(folder, number, seconds=seconds)
    return folder


def publish(folder: Path, n: int, *, seconds: float = 40) -> Path:
    """A folder as PhysioNet has it: the files below bidmc_csv, and the checksums of everything."""
    write_recordings(folder / "bidmc_csv", n, seconds=seconds)
    (folder / "LICENSE.txt").write_text("words")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.relative_to(folder)}" for path in files]
    (folder / "SHA256SUMS.txt").write_text("\n".join(lines) + "\n")
    return folder


def windows(n_recordings: int = 53, each: int = 3, length: int = 64, shift: int = 20) -> tuple[list, list, list]:
    """Overlapping windows (length, 2) of recordings one after the other, their targets, and whose they are."""
    values, target, whose = [], [], []
    for number in range(n_recordings):
        random = np.random.default_rng([number, 3])
        samples = random.standard_normal((length + shift * each, 2)).round(5)
        for k in range(each):
            values.append(samples[k * shift : k * shift + length])
            target.append(round(70 + number / 2 + k / 10, 5))
            whose.append(number)
    return values, target, whose


def write_archive(root: Path, values: list, target: list, *, name: str = "BIDMC32HR", cut: int | None = None) -> Path:
    """NAME/NAME_TRAIN.ts and NAME_TEST.ts; the first 70 % of the windows are in the first."""
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    cut = round(0.7 * len(values)) if cut is None else cut
    for part, chosen in (("TRAIN", range(cut)), ("TEST", range(cut, len(values)))):
        lines = ["# words", f"@problemName {name}", "@timeStamps false", "@missing false", "@univariate false"]
        lines += [f"@dimensions {values[0].shape[1]}", "@equalLength true", f"@seriesLength {len(values[0])}"]
        lines += ["@targetlabel true", "@data"]
        for i in chosen:
            lines.append(":".join([*(",".join(map(str, column)) for column in values[i].T), str(target[i])]))
        (folder / f"{name}_{part}.ts").write_text("\n".join(lines) + "\n")
    return folder
