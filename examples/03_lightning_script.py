"""The pieces in a Lightning script of your own: data module, model, task; the trainer is yours."""

import warnings

import lightning as L

from seqkit.datasets import SeriesDataModule, get_source
from seqkit.models import ModelConfig, SequenceModel
from seqkit.tasks import SequenceTask

warnings.filterwarnings("ignore", module="lightning.*")

data = SeriesDataModule(get_source("japanese_vowels"), batch_size=32, seed=0)
data.setup()

config = ModelConfig.preset("lssl", d_model=32, n_layers=2, order=16, dt_min=0.01, dt_max=1.0)
model = SequenceModel.from_config(config, data.info, seed=0)
model.input_norm.set_statistics(*data.statistics())

trainer = L.Trainer(
    max_epochs=6, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
)
trainer.fit(SequenceTask(model, learning_rate=0.004, label_smoothing=0.1), datamodule=data)
print(trainer.callback_metrics["val_accuracy"])
