"""Test at half the sampling rate of the training: told the rate, a state-space layer takes longer steps.

Pen trajectories of 20 letters. Set SEQKIT_DATA to the folder with the data (`seqkit data info character_trajectories`).
"""

import os
import tempfile

import seqkit
from seqkit.datasets import get_source

try:
    get_source("character_trajectories").prepare(offline=True)
except FileNotFoundError as error:
    print(f"skipped: {error}")
    raise SystemExit from None

epochs = int(os.environ.get("EPOCHS", "3"))  # more for a good model; 3 show the effect
with tempfile.TemporaryDirectory() as folder:
    run = seqkit.train("character_trajectories", out=f"{folder}/letters", epochs=epochs, d_model=32, n_layers=2)
    for words, options in {
        "as trained": {},
        "half the samples, told": {"subsample": 2},
        "half the samples, not told": {"subsample": 2, "hide_rate": True},
    }.items():
        print(f"{words:28} {seqkit.evaluate(run.path, **options).metrics['accuracy']:.1%}")
