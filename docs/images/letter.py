"""Draws letter.png, the picture of the README: one model as a recurrence, as a convolution, and at half the rate.

    seqkit train --data character_trajectories --model s4d epochs=12 --out runs/letters
    python docs/images/letter.py runs/letters

The letter is the held-out one after which the model changes its mind most often and is right in the end.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from seqkit import Stream, load
from seqkit.datasets import SeriesDataModule, get_source
from seqkit.figures import new_figure, save_figure
from seqkit.models import SequenceModel

Array = np.ndarray
COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:red")


def streamed(model: SequenceModel, series: Array, rate: float) -> Array:
    """Probabilities after each sample, (L, classes), by the recurrence."""
    stream = Stream(model, sample_rate=rate)
    return np.stack([stream.push(sample) for sample in series])


def convolved(model: SequenceModel, series: Array, ends: Array) -> Array:
    """The same for the series up to some ends, each as a whole by the convolution."""
    with torch.no_grad():
        prefixes = [torch.as_tensor(series[None, :end], dtype=torch.float32) for end in ends]
        return np.stack([torch.softmax(model(prefix), -1)[0].numpy() for prefix in prefixes])


def liveliest(model: SequenceModel, letters: list[Array], targets: Array, rate: float) -> int:
    """The letter after which the model has said most different things and is right in the end."""
    said = [streamed(model, letter, rate).argmax(-1) for letter in letters]
    turns = [
        int(np.count_nonzero(np.diff(one[10:]))) if one[-1] == target else -1
        for one, target in zip(said, targets, strict=True)
    ]
    return int(np.argmax(turns))


def main() -> None:
    """Draws the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of the trained run")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".png"))
    options = parser.parse_args()
    model = load(options.run).eval()
    rate = float(model.info.sample_rate)
    module = SeriesDataModule(get_source("character_trajectories"), batch_size=1, seed=0)
    module.setup()
    batches = list(module.test_dataloader())
    letters = [batch.values[0].numpy() for batch in batches]
    targets = np.array([int(batch.target) for batch in batches])
    chosen = liveliest(model, letters[:60], targets[:60], rate)
    letter, names = letters[chosen], model.info.classes

    whole, half = streamed(model, letter, rate), streamed(model, letter[::2], rate / 2)
    ends = np.arange(4, len(letter) + 1, 6)
    dots, times = convolved(model, letter, ends), np.arange(1, len(letter) + 1) / rate
    shown = [int(label) for label in np.argsort(whole[8:].max(0))[::-1][: len(COLOURS)]]

    figure = new_figure(10, 3.4)
    left, right = figure.subplots(1, 2, width_ratios=(1, 2.6))
    path = letter[:, :2].cumsum(0)
    left.scatter(path[:, 0], path[:, 1], c=times, cmap="viridis", s=4 + 30 * np.clip(letter[:, 2], 0, None))
    left.set_aspect("equal", adjustable="datalim")
    left.set_axis_off()
    left.set_title(f"the letter {names[targets[chosen]]}, as the pen draws it", fontsize=10)
    for label, colour in zip(shown, COLOURS, strict=False):
        right.plot(times, whole[:, label], color=colour, linewidth=1.6, label=names[label])
        right.plot(times[: 2 * len(half) : 2], half[:, label], "--", color=colour, linewidth=1)
        right.plot(times[ends - 1], dots[:, label], "o", color=colour, markersize=3.5)
    right.set(xlabel="time, s", ylabel="probability", ylim=(-0.03, 1.03))
    right.set_title("line: recurrence   dots: convolution   dashes: half the samples", fontsize=10)
    right.grid(alpha=0.3)
    right.legend(title="letter", fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    save_figure(figure, options.out)
    worst = np.abs(dots - whole[ends - 1]).max()
    print(f"{options.out}: largest difference of recurrence and convolution {worst:.1e}")


if __name__ == "__main__":
    main()
