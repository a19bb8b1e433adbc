"""A front end that starts as MFCC and learns with the model behind it: a Lightning training, then a stream.

    SEQKIT_DATA=... python examples/20_speech_front_end.py [FOLDER]    # spoken digits, fetched if missing

The sound goes in as it is. `KaleidoscopeFrontEnd` makes 13 coefficients of each frame of 256 samples, by K-matrices
that are the Fourier transform and the mel filters at the start, and the gradient reaches them.

Expect about 90 % of the test recordings after three epochs. FOLDER (runs/examples) gets 20_speech_front_end.png: which
frequencies each filter hears, and how that changed.
"""

import logging
import os
import sys
import warnings

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is imported

from dataclasses import replace
from pathlib import Path

import lightning as L
import torch

from seqkit.datasets import SeriesDataModule, get_source
from seqkit.figures import new_figure, save_figure
from seqkit.models import ModelConfig, SequenceModel
from seqkit.structured import KaleidoscopeFrontEnd
from seqkit.tasks import SequenceTask

warnings.filterwarnings("ignore", module="lightning.*")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
data = SeriesDataModule(get_source("spoken_digits"), batch_size=32, seed=0, bucket=True)
try:
    data.prepare_data()
except FileNotFoundError as error:
    print(f"skipped: {error}")
    raise SystemExit from None
data.setup()
rate, hop = data.info.sample_rate, 128

front_end = KaleidoscopeFrontEnd(256, hop, 13, n_filters=40, sample_rate=rate)
some = next(iter(data.train_dataloader()))
front_end.calibrate(some.values, some.lengths)
untrained = [one.detach() for one in front_end.dense()]

torch.manual_seed(0)
frames = replace(data.info, n_channels=13, sample_rate=rate / hop, max_length=None)
config = ModelConfig.preset("s4d", d_model=32, n_layers=2, order=16, dt_min=0.01, dt_max=0.3)
model = SequenceModel.from_config(config, frames, seed=0)
task = SequenceTask(model, front_end=front_end, label_smoothing=0.1)
trainer = L.Trainer(
    max_epochs=3,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(task, data.train_dataloader())
found = trainer.test(task, data.test_dataloader(), verbose=False)
print(f"{found[0]['test_accuracy']:.1%} of the test recordings")

# As a stream: blocks of sound in, and an answer as often as a frame is complete.
recording = torch.as_tensor(data.sets["test"].values[100]).float().reshape(1, -1)
model.eval()
with torch.no_grad():
    sound, memory = front_end.initial_state(), model.initial_state()
    for block in recording.split(100, dim=1):
        coefficients, sound = front_end.scan(block, sound)
        if coefficients.shape[1]:
            scores, memory = model.scan(coefficients, memory)
    whole = model(front_end(recording))
print("streamed:", data.info.classes[int(scores.argmax())], " whole:", data.info.classes[int(whole.argmax())])
print("largest difference of the scores:", float((scores - whole).abs().max()))


def hears(spectrum: torch.Tensor, filters: torch.Tensor) -> torch.Tensor:
    """What each filter makes of a tone, which has both signs of its frequency, as a share of its largest."""
    both = filters @ torch.fft.fft(spectrum, dim=1).abs().square()
    reach = both[:, :129] + both[:, [0, *range(255, 127, -1)]]
    return reach / reach.abs().amax(1, keepdim=True)


before, after = hears(*untrained), hears(*(one.detach() for one in front_end.dense()))
figure = new_figure(10, 4)
for axes, (name, shares) in zip(
    figure.subplots(1, 2),
    {"the filters at the start": before, "what learning changed": after - before}.items(),
    strict=True,
):
    most = float(shares.abs().max())
    how = {"origin": "lower", "aspect": "auto", "extent": (0, rate / 2, 0.5, 40.5), "cmap": "RdBu_r"}
    drawn = axes.imshow(shares.numpy(), vmin=-most, vmax=most, **how)
    axes.set(title=name, xlabel="frequency, Hz", ylabel="filter")
    figure.colorbar(drawn, label="share of the filter's largest")
save_figure(figure, folder / "20_speech_front_end.png")
print("picture:", folder / "20_speech_front_end.png")
