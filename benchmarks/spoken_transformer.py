"""A small transformer that knows spoken digits by their waveform, one position a sample: what drop_in.py makes cheap.

    SEQKIT_DATA=... python benchmarks/spoken_transformer.py    # trains, or goes on where it was stopped

2,048 samples of 8 kHz where a recording is loudest, zeros where it is shorter; a trained bank of filters reads the 256
samples around each sample, and two blocks of exact two-sided attention with rotary positions follow. No step shortens
the series. Training looks at samples drawn anew for each batch, at their own times: 256 of the 2,048, in the last
pass 512. Recordings 0 to 4 of each digit and speaker are the test part, as the set itself says, and every tenth of
the others is kept for choices.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqkit.attention import Attention
from seqkit.datasets import get_source
from seqkit.files import write_whole
from seqkit.models import ModelConfig, SequenceModel
from seqkit.nn import Backbone, ClassHead, MeanPool, ResidualBlock

LENGTH, READ, FILTERS, RATE = 2048, 256, 48, 8000
D_MODEL, HEADS, LAYERS, BATCH, SEED = 64, 2, 2, 32, 0
PASSES = ((24, 256), (1, 512))  # passes over the recordings, and samples of each that they look at
RUN = Path("runs/spoken_transformer")


class FilterBank(nn.Module):
    """Power, in decibels, of the samples around each sample in trained bands: (B, L, 1) to (B, L, d_model).

    The bands start as mel-spaced windowed sines and cosines.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        mel = torch.linspace(*(2595 * math.log10(1 + hertz / 700) for hertz in (80, 3800)), FILTERS)
        phase = (2 * math.pi * 700 / RATE) * (10 ** (mel / 2595) - 1)[:, None] * (torch.arange(READ) - READ / 2)
        window = torch.hann_window(READ) / math.sqrt(READ)
        self.filters = nn.Parameter(torch.cat([phase.cos() * window, phase.sin() * window]))
        self.out = nn.Linear(FILTERS, d_model)

    def forward(self, values: Tensor, at: Tensor | None = None) -> Tensor:
        """Reads every sample, or those at the given places (T,)."""
        around = F.pad(values[..., 0], (READ // 2, READ // 2 - 1)).unfold(1, READ, 1)
        even, odd = ((around if at is None else around[:, at]) @ self.filters.mT).chunk(2, -1)
        return self.out(((even.square() + odd.square() + 1e-4).log() + 3) / 2)


class Part(NamedTuple):
    """Recordings of a part."""

    waves: list[Tensor]
    target: Tensor


def parts() -> dict[str, Part]:
    """The training part, every tenth of it for choices, and the test part."""
    found = {}
    for name, series in get_source("spoken_digits").load().items():
        waves = [torch.as_tensor(one).float().flatten() for one in series.values]
        target = torch.tensor([int(one) for one in series.target])
        found[name] = Part([wave / (wave.std() + 1e-6) for wave in waves], target)
    kept = torch.arange(len(found["train"].target)) % 10 == 9
    whole = found.pop("train")
    for name, chosen in (("train", ~kept), ("choices", kept)):
        found[name] = Part([whole.waves[i] for i in chosen.nonzero().flatten()], whole.target[chosen])
    return found


def cut(wave: Tensor, shift: int = 0) -> Tensor:
    """2,048 samples where it is loudest, (2048, 1); a shorter recording lies in the middle."""
    power = F.pad(wave.square().cumsum(0), (1, 0))
    begin = int((power[LENGTH:] - power[:-LENGTH]).argmax()) if len(wave) > LENGTH else (len(wave) - LENGTH) // 2
    place = torch.arange(begin + shift, begin + shift + LENGTH)
    return torch.where((place >= 0) & (place < len(wave)), wave[place.clamp(0, len(wave) - 1)], 0)[:, None]


def build() -> SequenceModel:
    """The model with its first weights."""
    torch.manual_seed(SEED)
    options = {"n_heads": HEADS, "causal": False, "window": None}
    blocks = [ResidualBlock(Attention(D_MODEL, **options), dropout=0.1) for _ in range(LAYERS)]
    return SequenceModel(
        info=get_source("spoken_digits").info(),
        encoder=FilterBank(D_MODEL),
        backbone=Backbone(blocks),
        pool=MeanPool(D_MODEL),
        head=ClassHead(D_MODEL, 10),
        config=ModelConfig.preset("attention", d_model=D_MODEL, n_layers=LAYERS, output="gated", **options),
    )


def looked_at(model: SequenceModel, values: Tensor, at: Tensor) -> Tensor:
    """Scores from the samples at the given places alone, each at its own time."""
    assert model.pool is not None
    times = (at + 1.0).double().expand(len(values), -1)
    x = model.backbone(model.encoder(values, at), timestamps=times)
    scores: Tensor = model.head(model.pool(x))
    return scores


@torch.no_grad()
def predictions(model: SequenceModel, values: Tensor, batch: int = 10) -> Tensor:
    """The digit of each series, from all its samples."""
    model.eval()
    return torch.cat([model(one).argmax(-1) for one in values.split(batch)])


def train(place: Path = RUN) -> SequenceModel:
    """Trains from where the run folder stands; what is finished is loaded."""
    place.mkdir(parents=True, exist_ok=True)
    model, data = build(), parts()
    steps_each = len(data["train"].target) // BATCH
    plan = [samples for count, samples in PASSES for _ in range(count)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    n_steps = len(plan) * steps_each
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda k: min(1.0, (k + 1) / 100) * (0.02 + 0.49 * (1 + math.cos(math.pi * min(1.0, k / n_steps))))
    )
    kept: dict[str, Any] = {"passes": 0, "seconds": 0.0}
    parts_of_it = {"model": model, "optimizer": optimizer, "schedule": schedule}
    if (place / "checkpoint.pt").exists():
        stored = torch.load(place / "checkpoint.pt", weights_only=True)
        kept = {name: stored[name] for name in kept}
        for name, one in parts_of_it.items():
            one.load_state_dict(stored[name])
    choices = torch.stack([cut(wave) for wave in data["choices"].waves])
    while kept["passes"] < len(plan):
        began = time.process_time()
        random = torch.Generator().manual_seed(1000 * SEED + kept["passes"])
        torch.manual_seed(1000 * SEED + kept["passes"])  # of dropout
        order = torch.randperm(len(data["train"].target), generator=random)
        model.train()
        total = 0.0
        for k in range(steps_each):
            rows = order[k * BATCH : (k + 1) * BATCH]
            shifts = torch.randint(-200, 201, (BATCH,), generator=random).tolist()
            loud = (0.3 * torch.randn(BATCH, 1, 1, generator=random)).exp()
            values = torch.stack([cut(data["train"].waves[i], s) for i, s in zip(rows, shifts, strict=True)]) * loud
            at = torch.randperm(LENGTH, generator=random)[: plan[kept["passes"]]].sort().values
            loss = F.cross_entropy(looked_at(model, values, at), data["train"].target[rows], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        kept["passes"] += 1
        kept["seconds"] += time.process_time() - began
        model.eval()
        with torch.no_grad():
            found = looked_at(model, choices, torch.arange(0, LENGTH, 8)).argmax(-1)
        right = 100 * float((found == data["choices"].target).double().mean())
        print(
            f"pass {kept['passes']}: loss {total / steps_each:.3f}, {right:.1f} %, {kept['seconds']:.0f} s", flush=True
        )
        whole = {**kept, **{name: one.state_dict() for name, one in parts_of_it.items()}}
        write_whole(place / "checkpoint.pt", lambda part, whole=whole: torch.save(whole, part))
    return model.eval()


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    model, test = train(), parts()["test"]
    found = predictions(model, torch.stack([cut(wave) for wave in test.waves]))
    print(f"{100 * float((found == test.target).double().mean()):.1f} % of {len(found)} test recordings")


if __name__ == "__main__":
    main()
