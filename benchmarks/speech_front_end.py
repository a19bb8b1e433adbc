"""Spoken digits by one small network on raw frames, MFCC, log-mel and learned front ends: accuracy, size, time.

    SEQKIT_DATA=... python benchmarks/speech_front_end.py --keep benchmarks/results/speech_front_end.jsonl \
        --out benchmarks/results/speech_front_end.md

Two blocks of S4D over frames of 256 samples, every 128, at 8 kHz. The ways differ only in what the blocks read. What is
kept in `--keep` is not measured again, so that a stopped run goes on. `--choose` compares learning rates of the front
ends on a part of the training recordings.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
import torchaudio
from torch import Tensor, nn
from torch.nn import functional as F

from seqkit.batch import DataInfo
from seqkit.bench.machine import describe_machine, headline
from seqkit.datasets import get_source
from seqkit.files import write_whole
from seqkit.models import ModelConfig, SequenceModel
from seqkit.structured import KaleidoscopeFrontEnd
from seqkit.tasks import param_groups

RATE, FRAME, HOP, FILTERS, COEFFICIENTS = 8000, 256, 128, 40, 13
BATCH, SEEDS, LEARNING_RATE, FRONT_RATE, CHOICES = 32, 5, 4e-3, 1e-3, (3e-3, 1e-3, 3e-4)
EPOCHS = {"all": 5, "a tenth": 20}
"""Passes, by the share of the training recordings that is used."""


class Sounds(NamedTuple):
    """Recordings, and the digit of each."""

    waves: list[Tensor]
    target: Tensor


class Fixed(nn.Module):
    """Features without parameters, brought to mean 0 and deviation 1."""

    def __init__(self, features: Callable[[Tensor], Tensor], width: int) -> None:
        super().__init__()
        self.features, self.n_coefficients = features, width
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Frames of recordings of these lengths."""
        return ((lengths - FRAME) // HOP + 1).clamp(min=0)

    def calibrate(self, sound: Tensor, lengths: Tensor) -> None:
        """Takes mean and deviation over the frames of these recordings."""
        out, n_frames = self(sound, lengths), self.output_lengths(lengths)
        rows = out[torch.arange(out.shape[1]) < n_frames[:, None]]
        self.mean, self.std = rows.mean(0).detach(), rows.std(0).detach()

    def forward(self, sound: Tensor, lengths: Tensor) -> Tensor:
        """Features of each frame, (B, F, width)."""
        return (self.features(sound) - self.mean) / self.std


class DenseFrontEnd(Fixed):
    """The learned front end with dense matrices in place of K-matrices, drawn as `nn.Linear` draws them."""

    def __init__(self) -> None:
        super().__init__(self.logs, FILTERS)
        self.first, self.second = nn.Linear(FRAME, 2 * FRAME, bias=False), nn.Linear(FRAME, FILTERS, bias=False)

    def logs(self, sound: Tensor) -> Tensor:
        """Logarithms of energies."""
        even, odd = (self.first(frames(sound)) * FRAME**0.5).chunk(2, -1)
        return (self.second(even.square() + odd.square()).abs() + 1e-6).log()


def frames(sound: Tensor) -> Tensor:
    return sound.unfold(1, FRAME, HOP)


def mfcc() -> nn.Module:
    sizes = {"n_fft": FRAME, "hop_length": HOP, "n_mels": FILTERS, "center": False}
    made = torchaudio.transforms.MFCC(RATE, COEFFICIENTS, log_mels=True, melkwargs=sizes)
    return Fixed(lambda sound: made(sound).mT, COEFFICIENTS)


def log_mel() -> nn.Module:
    made = torchaudio.transforms.MelSpectrogram(RATE, n_fft=FRAME, hop_length=HOP, n_mels=FILTERS, center=False)
    return Fixed(lambda sound: (made(sound).mT + 1e-6).log(), FILTERS)


def learned(n_coefficients: int = FILTERS, **options: Any) -> nn.Module:
    return KaleidoscopeFrontEnd(FRAME, HOP, n_coefficients, **options)


WAYS: dict[str, Callable[[], nn.Module]] = {
    "raw frames": lambda: Fixed(frames, FRAME),
    "log-mel, torchaudio": log_mel,
    "MFCC, torchaudio": mfcc,
    "K-matrices, from log-mel": lambda: learned(sample_rate=RATE),
    "K-matrices, from MFCC": lambda: learned(COEFFICIENTS, n_filters=FILTERS, sample_rate=RATE),
    "K-matrices, from random rotations": lambda: learned(start="random"),
    "dense matrices, from random numbers": DenseFrontEnd,
}
LEARNED = [name for name, make in WAYS.items() if "matrices" in name]


def sounds() -> dict[str, Sounds]:
    """The set's own parts: recordings 0 to 4 of each digit and speaker are the test part."""
    return {
        part: Sounds(
            [torch.as_tensor(one).float().flatten() for one in series.values],
            torch.tensor([int(one) for one in series.target]),
        )
        for part, series in get_source("spoken_digits", split="recording").load().items()
    }


def chosen(whole: Sounds, keep: Tensor) -> Sounds:
    return Sounds([whole.waves[i] for i in keep.tolist()], whole.target[keep])


def tenth(whole: Sounds, place: int) -> Tensor:
    """Which recordings are every tenth of each digit."""
    inside = torch.zeros(len(whole.target), dtype=torch.bool)
    for digit in range(10):
        inside[(whole.target == digit).nonzero().flatten()[place::10]] = True
    return inside


def batch(data: Sounds, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    waves = [data.waves[i] for i in rows.tolist()]
    lengths = torch.tensor([len(one) for one in waves])
    return nn.utils.rnn.pad_sequence(waves, batch_first=True), lengths, data.target[rows]


def batches(data: Sounds, random: torch.Generator) -> list[Tensor]:
    """Rows of a pass, those of a batch of similar length: little is padded."""
    lengths = torch.tensor([len(one) for one in data.waves])
    found = [
        batch
        for some in torch.randperm(len(lengths), generator=random).split(8 * BATCH)
        for batch in some[lengths[some].argsort()].split(BATCH)
    ]
    return [found[i] for i in torch.randperm(len(found), generator=random).tolist()]


class Classifier(nn.Module):
    """A front end and the same network behind each."""

    def __init__(self, way: str, data: Sounds, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.front_end = WAYS[way]()
        width = self.front_end.n_coefficients
        info = DataInfo("frames", "classification", width, tuple("0123456789"), sample_rate=RATE / HOP)
        config = ModelConfig.preset("s4d", d_model=32, n_layers=2, order=16, dt_min=0.01, dt_max=0.3)
        self.model = SequenceModel.from_config(config, info, seed=seed)
        some, lengths, _ = batch(data, torch.arange(0, len(data.target), 10))
        with torch.no_grad():
            self.front_end.calibrate(some, lengths)

    def forward(self, sound: Tensor, lengths: Tensor) -> Tensor:
        """Scores of the digits."""
        return self.model(self.front_end(sound, lengths), self.front_end.output_lengths(lengths))


def loss_of(model: Classifier, data: Sounds, rows: Tensor) -> Tensor:
    sound, lengths, target = batch(data, rows)
    return F.cross_entropy(model(sound, lengths), target, label_smoothing=0.1)


def train(way: str, data: Sounds, test: Sounds, seed: int, epochs: int, front_rate: float = FRONT_RATE) -> float:
    """Share of test recordings that are known after the last pass."""
    model = Classifier(way, data, seed)
    groups = param_groups(model.model, learning_rate=LEARNING_RATE, weight_decay=0.05)
    if own := list(model.front_end.parameters()):
        groups.append({"params": own, "lr": front_rate, "weight_decay": 0.0})
    optimizer = torch.optim.AdamW(groups)
    n_steps = epochs * len(batches(data, torch.Generator()))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [group["lr"] for group in groups], n_steps, cycle_momentum=False
    )
    random = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for rows in batches(data, random):
            optimizer.zero_grad()
            loss_of(model, data, rows).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    model.eval()
    with torch.no_grad():
        found = [
            model(*batch(test, rows)[:2]).argmax(-1) == test.target[rows]
            for rows in torch.arange(len(test.target)).split(BATCH)
        ]
    return float(torch.cat(found).double().mean())


def step_times(data: Sounds, rounds: int = 15) -> dict[str, list[float]]:
    """Processor time of a training step of each way in milliseconds, in turns, features counted."""
    models = {way: Classifier(way, data, 0) for way in WAYS}
    rows = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))[:BATCH]
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    for count in range(rounds + 2):
        for way, model in models.items():
            began = time.process_time()
            loss_of(model, data, rows).backward()
            if count >= 2:
                times[way].append(1000 * (time.process_time() - began))
    return times


def choose(data: Sounds, ways: list[str]) -> None:
    """Prints the share of every tenth training recording that is known, by the front end's learning rate."""
    kept = tenth(data, 9)
    learn, judge = (chosen(data, part.nonzero().flatten()) for part in (~kept, kept))
    for way in ways or LEARNED:
        found = [train(way, learn, judge, 100, 4, rate) for rate in CHOICES]
        print(way, {rate: f"{100 * one:.1f}" for rate, one in zip(CHOICES, found, strict=True)}, flush=True)


def sizes() -> dict[str, int]:
    return {way: sum(one.numel() for one in make().parameters()) for way, make in WAYS.items()}


def cell(rows: list[dict[str, Any]], way: str, share: str) -> str:
    values = [100 * row["accuracy"] for row in rows if row["way"] == way and row["share"] == share]
    if not values:
        return ""
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{spread} ({len(values)})"


def page(rows: list[dict[str, Any]]) -> str:
    times = next((row for row in rows if row["way"] == "times"), None)
    lines = [
        "# Front ends for spoken digits",
        "",
        headline(describe_machine("cpu", 1, False)),
        "",
        "Free Spoken Digits, 8 kHz: 250 test recordings (0 to 4 of each digit and speaker, the set's own rule), "
        f"2,250 to learn from, or every tenth of them. Frames of {FRAME} samples every {HOP}; two blocks of S4D "
        f"with 32 features, the mean over time, {EPOCHS['all']} passes ({EPOCHS['a tenth']} over a tenth), "
        f"batches of {BATCH}. Everything is the same but for what the "
        "blocks read. Accuracy in %, mean and standard deviation (number of seeds). Numbers are those of the "
        "front end alone, complex ones counted twice; the linear map behind it has 32 for each feature of a "
        "frame. A step is a forward and backward pass of a batch with its features, in turns, the median of "
        "processor time; fixed features could be computed once instead. The learning rate of all learned front "
        f"ends, {FRONT_RATE:g}, was chosen on a tenth of the training recordings: from log-mel it is the best of "
        "four, and three that were tried from random starts lie within 5 points. Written by "
        "`benchmarks/speech_front_end.py`.",
        "",
        f"| read by the blocks | numbers | {' | '.join(f'{share} to learn from' for share in EPOCHS)} | ms a step |",
        "|---|---:|---:|---:|---:|",
    ]
    for way, count in sizes().items():
        accuracy = " | ".join(cell(rows, way, share) for share in EPOCHS)
        spent = f"{statistics.median(times['times'][way]):.0f}" if times else ""
        lines.append(f"| {way} | {count:,} | {accuracy} | {spent} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="file of rows, so that a stopped run goes on")
    parser.add_argument("--out", type=Path, help="page to write")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--choose", nargs="*", metavar="WAY", help="compare learning rates of front ends and stop")
    options = parser.parse_args()
    torch.set_num_threads(1)
    parts = sounds()
    if options.choose is not None:
        choose(parts["train"], options.choose)
        return
    there = options.keep and options.keep.exists()
    rows: list[dict[str, Any]] = [json.loads(line) for line in options.keep.read_text().splitlines()] if there else []

    def add(row: dict[str, Any]) -> None:
        rows.append(row)
        print(row, flush=True)
        if options.keep:
            with options.keep.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        if options.out:
            write_whole(options.out, lambda path: path.write_text(page(rows), encoding="utf-8"))

    if not any(row["way"] == "times" for row in rows):
        add({"way": "times", "times": step_times(parts["train"])})
    for seed in range(options.seeds):
        for share, epochs in EPOCHS.items():
            few = tenth(parts["train"], seed).nonzero().flatten()
            data = chosen(parts["train"], few) if share == "a tenth" else parts["train"]
            for way in WAYS:
                if not any((row["way"], row.get("share"), row.get("seed")) == (way, share, seed) for row in rows):
                    began = time.process_time()
                    accuracy = train(way, data, parts["test"], seed, epochs)
                    spent = time.process_time() - began
                    add({"way": way, "share": share, "seed": seed, "accuracy": accuracy, "seconds": spent})
    if options.out:
        write_whole(options.out, lambda path: path.write_text(page(rows), encoding="utf-8"))


if __name__ == "__main__":
    main()
