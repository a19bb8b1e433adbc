"""seqkit's model in a Lightning script of your own: your module, your trainer, on one process or several (DDP).

State-space parameters (A, B and dt) want a smaller learning rate and no weight decay: `seqkit.param_groups` sees to it.
`seqkit.tasks.SequenceTask` is a finished module of this kind, with metrics, augmentation and every kind of target.

    python examples/03_lightning_script.py [FOLDER]
    PROCESSES=2 python examples/03_lightning_script.py    # two copies, each with half of the batches

Expect about 90 % of the validation part after 6 epochs. FOLDER (runs/examples) gets 03_lightning_script.png: loss and
accuracy of the validation part by epoch.
"""

import logging
import os
import sys
import warnings
from pathlib import Path

import lightning as L
import torch
from torch.nn import functional as F

import seqkit
from seqkit.datasets import SeriesDataModule, get_source
from seqkit.figures import new_figure, save_figure
from seqkit.models import ModelConfig, SequenceModel

warnings.filterwarnings("ignore", module="lightning.*")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
processes = int(os.environ.get("PROCESSES", "1"))


class Classifier(L.LightningModule):
    """A sequence model, its loss, and an optimiser with two groups of parameters."""

    def __init__(self, model: SequenceModel) -> None:
        super().__init__()
        self.model = model
        self.curve: list[tuple[float, float]] = []

    def training_step(self, batch: seqkit.Batch) -> torch.Tensor:
        """Loss of a batch; what lies past a series' end changes nothing."""
        scores = self.model(batch.values, lengths=batch.lengths)
        return F.cross_entropy(scores, batch.target)

    def validation_step(self, batch: seqkit.Batch) -> None:
        """Loss and accuracy of a batch, averaged by Lightning."""
        scores = self.model(batch.values, lengths=batch.lengths)
        right, n = (scores.argmax(-1) == batch.target).float().mean(), len(scores)
        several = processes > 1
        self.log("loss", F.cross_entropy(scores, batch.target), batch_size=n, sync_dist=several)
        self.log("accuracy", right, batch_size=n, sync_dist=several)

    def on_validation_epoch_end(self) -> None:
        """Keeps both for the picture."""
        found = self.trainer.callback_metrics
        self.curve.append((float(found["loss"]), float(found["accuracy"])))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW over the two groups."""
        groups = seqkit.param_groups(self.model, learning_rate=0.004, weight_decay=0.01)
        return torch.optim.AdamW(groups)


data = SeriesDataModule(get_source("japanese_vowels"), batch_size=32, seed=0)
data.setup()
config = ModelConfig.preset("lssl", d_model=32, n_layers=2, order=16, dt_min=0.01, dt_max=1.0)
task = Classifier(SequenceModel.from_config(config, data.info, seed=0))
task.model.input_norm.set_statistics(*data.statistics())  # mean and deviation of each channel

trainer = L.Trainer(
    max_epochs=6,
    accelerator="cpu",
    devices=processes,
    strategy="ddp" if processes > 1 else "auto",
    num_sanity_val_steps=0,
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(task, datamodule=data)

if trainer.is_global_zero:
    losses, accuracies = zip(*task.curve, strict=True)
    print(f"{accuracies[-1]:.1%} of the validation part after {len(losses)} epochs, {trainer.global_step} steps")
    figure = new_figure(8, 3.2)
    left, right = figure.subplots(1, 2)
    left.plot(range(1, len(losses) + 1), losses, marker="o")
    left.set(title="Validation loss", xlabel="epoch", ylabel="cross-entropy, nat", ylim=(0, None))
    right.plot(range(1, len(losses) + 1), [100 * one for one in accuracies], marker="o", color="C1")
    right.set(title="Validation accuracy", xlabel="epoch", ylabel="series named right, %", ylim=(None, 100))
    for axes in (left, right):
        axes.grid(alpha=0.3)
    save_figure(figure, folder / "03_lightning_script.png")
    print("picture:", folder / "03_lightning_script.png")
