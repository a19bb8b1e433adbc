"""A trained transformer with a quarter of its numbers: replaced within a budget, fine-tuned, saved and loaded.

Each dense layer becomes a structured one that is nearest where the layer's inputs are. Then: which family is nearest to
one of the trained weights.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is imported

import copy
import logging
import warnings

import lightning as L
import torch

from seqkit.datasets import SeriesDataModule, get_source
from seqkit.models import ModelConfig, SequenceModel, load_model, save_model
from seqkit.structured import best_fit, input_moments, sparsify
from seqkit.tasks import SequenceTask

warnings.filterwarnings("ignore", module="lightning.*")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
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


train(dense, epochs=12, learning_rate=0.002)
print(f"dense: {accuracy(dense):.1%} of 370 utterances")

moments = input_moments(dense, data.train_dataloader())  # means and covariances of what each layer reads
for structure in ("monarch", "pixelfly"):
    blind, model = copy.deepcopy(dense), copy.deepcopy(dense)
    sparsify(blind, 0.25, structure)
    report = sparsify(model, 0.25, structure, data=moments)
    print(f"{structure}, {report.density:.1%} of the numbers:")
    print(f"  nearest to the weights: {accuracy(blind):.1%}, nearest where inputs are: {accuracy(model):.1%}")
    train(model, epochs=2, learning_rate=0.0005)
    print(f"  after two epochs more: {accuracy(model):.1%}")
print(report)

save_model(model, "runs/structured")
loaded = load_model("runs/structured")
print("loaded:", loaded.backbone.blocks[0].mixer.out, f"{accuracy(loaded):.1%}")

weight, known = dense.backbone.blocks[0].mixer.out.weight.detach(), moments["backbone.blocks.0.mixer.out"].covariance
print("nearest to one weight, and nearest where its inputs are, within a quarter of its numbers:")
for covariance in (None, known):
    with torch.no_grad():
        found = best_fit(weight, 0.25, structures=["low_rank", "monarch", "pixelfly"], covariance=covariance)
    print("\n".join(f"  {fit}" for fit in found[:3]))
