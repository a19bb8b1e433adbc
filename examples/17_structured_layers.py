"""A trained transformer with a quarter of its numbers: replaced within a budget, fine-tuned, saved and loaded.

Each dense layer becomes a structured one that is nearest where the layer's inputs are. Then: which family is nearest to
one of the trained weights.

    python examples/17_structured_layers.py [FOLDER]

Expect about 98 % of the dense model, and nearly that of a quarter of its numbers where inputs are known; far less where
only the weights are. FOLDER (runs/examples) gets the sparse model in `structured`, and 17_structured_layers.png: the
accuracy of each step.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is imported

import copy
import logging
import sys
import warnings
from pathlib import Path

import lightning as L
import torch

from seqkit.datasets import SeriesDataModule, get_source
from seqkit.figures import new_figure, save_figure
from seqkit.models import ModelConfig, SequenceModel, load_model, save_model
from seqkit.structured import best_fit, input_moments, sparsify
from seqkit.tasks import SequenceTask

warnings.filterwarnings("ignore", module="lightning.*")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
QUIET = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}

data = SeriesDataModule(get_source("japanese_vowels"), batch_size=16, seed=0)
data.setup()
dense = SequenceModel.from_config(ModelConfig.preset("attention", d_model=64, n_layers=2), data.info, seed=0)
dense.input_norm.set_statistics(*data.statistics())


def train(model: SequenceModel, epochs: int, learning_rate: float) -> None:
    task = SequenceTask(model, learning_rate=learning_rate, label_smoothing=0.1)
    L.Trainer(max_epochs=epochs, enable_checkpointing=False, **QUIET).fit(task, data.train_dataloader())


def accuracy(model: SequenceModel) -> float:
    (found,) = L.Trainer(**QUIET).test(SequenceTask(model), data.test_dataloader(), verbose=False)
    return found["test_accuracy"]


train(dense, epochs=8, learning_rate=0.002)
whole, found = accuracy(dense), {}
print(f"dense: {whole:.1%} of 370 utterances")

moments = input_moments(dense, data.train_dataloader())  # means and covariances of what each layer reads
for structure in ("monarch", "pixelfly"):
    blind, model = copy.deepcopy(dense), copy.deepcopy(dense)
    sparsify(blind, 0.25, structure)
    report = sparsify(model, 0.25, structure, data=moments)
    scores = [accuracy(blind), accuracy(model)]
    train(model, epochs=2, learning_rate=0.0005)
    found[structure] = [*scores, accuracy(model)]
    print(f"{structure}, {report.density:.1%} of the numbers:")
    print(f"  nearest to the weights: {scores[0]:.1%}, nearest where inputs are: {scores[1]:.1%}")
    print(f"  after two epochs more: {found[structure][-1]:.1%}")
print(report)

save_model(model, folder / "structured")
loaded = load_model(folder / "structured")
print("loaded:", loaded.backbone.blocks[0].mixer.out, f"{accuracy(loaded):.1%}")

weight, known = dense.backbone.blocks[0].mixer.out.weight.detach(), moments["backbone.blocks.0.mixer.out"].covariance
print("nearest to one weight, and nearest where its inputs are, within a quarter of its numbers:")
for covariance in (None, known):
    with torch.no_grad():
        fits = best_fit(weight, 0.25, structures=["low_rank", "monarch", "pixelfly"], covariance=covariance)
    print("\n".join(f"  {fit}" for fit in fits[:3]))

figure = new_figure(6, 4)
axes = figure.subplots()
steps = ("nearest to\nthe weights", "nearest where\ninputs are", "and two\nepochs more")
for place, (structure, scores) in zip((-0.2, 0.2), found.items(), strict=True):
    axes.bar([k + place for k in range(3)], [100 * one for one in scores], 0.38, label=structure)
axes.axhline(100 * whole, color="black", linewidth=1, linestyle="--", label="dense, all numbers")
axes.set_xticks(range(3), steps)
axes.set(title="A quarter of a transformer's numbers", ylabel="test accuracy, %", ylim=(0, 119))
axes.legend(fontsize=8, ncols=3, loc="upper center")
save_figure(figure, folder / "17_structured_layers.png")
print("picture:", folder / "17_structured_layers.png")
