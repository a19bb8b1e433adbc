"""Test at another sampling rate than the training's: told the rate, a state-space layer takes longer steps.

Pen trajectories of 20 letters, recorded at 200 Hz. They are read from the folder that SEQKIT_DATA names
(`seqkit data info character_trajectories` says where they come from); without them the example says so and ends.

    SEQKIT_DATA=... python examples/05_another_sampling_rate.py [FOLDER]
    EPOCHS=30 SEQKIT_DATA=... python examples/05_another_sampling_rate.py    # a good model instead of a quick one

Expect the accuracy to stay where the model is told the rate, and to fall where it is not. FOLDER (runs/examples) gets
the run and 05_another_sampling_rate.png: accuracy over the sampling rate, told and not told.
"""

import os
import sys
from pathlib import Path

import seqkit
from seqkit.datasets import get_source
from seqkit.figures import new_figure, save_figure

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
epochs = int(os.environ.get("EPOCHS", "3"))
try:
    get_source("character_trajectories").prepare(offline=True)
except FileNotFoundError as error:
    print(f"skipped: {error}")
    raise SystemExit from None

sizes = {"d_model": 32, "n_layers": 2}
run = seqkit.train("character_trajectories", out=folder / "letters", overwrite=True, epochs=epochs, **sizes)
every = (1, 2, 3, 4)  # every sample, every second one, and so on
told = [seqkit.evaluate(run.path, subsample=k).metrics["accuracy"] for k in every]
silent = [told[0], *(seqkit.evaluate(run.path, subsample=k, hide_rate=True).metrics["accuracy"] for k in every[1:])]
for k, one, other in zip(every, told, silent, strict=True):
    print(f"{200 / k:5.0f} Hz: {one:.1%} when told the rate, {other:.1%} when not")

figure = new_figure(6, 4)
axes = figure.subplots()
axes.plot([200 / k for k in every], [100 * one for one in told], marker="o", label="told the rate")
axes.plot([200 / k for k in every], [100 * one for one in silent], marker="x", label="not told")
axes.set(title=f"Letters: trained at 200 Hz for {epochs} epochs", xlabel="sampling rate in the test, Hz")
axes.set(ylabel="test accuracy, %", ylim=(0, 100))
axes.grid(alpha=0.3)
axes.legend()
save_figure(figure, folder / "05_another_sampling_rate.png")
print("picture:", folder / "05_another_sampling_rate.png")
