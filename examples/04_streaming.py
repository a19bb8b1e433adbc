"""One sample in, one answer out: the trained convolution run as a recurrence, in constant memory.

The answer after each sample is the one that the whole series so far would give. One stream, its snapshots, and many
streams side by side.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch

from seqkit import DataInfo, ModelConfig, Stream, StreamPool
from seqkit.models import SequenceModel

info = DataInfo("pulse", "classification", n_channels=2, classes=("rest", "run"), sample_rate=100.0)
model = SequenceModel.from_config(ModelConfig.preset("lssl", d_model=16, n_layers=2, order=16), info, seed=0)
signal = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
whole = model.predict(torch.from_numpy(signal)[None])[0].numpy()

stream = Stream(model)
for sample in signal[:100]:  # sample by sample
    stream.push(sample)
stream.push(signal[100:200])  # or in blocks

folder = Path(tempfile.mkdtemp())
stream.save(folder / "stream.safetensors")  # the process may end here, and another machine go on
later = Stream(model)
later.restore(folder / "stream.safetensors")
shares = later.push(signal[200:])
size = (folder / "stream.safetensors").stat().st_size
print("stream", shares, "\nwhole ", whole, f"\na state of {size} bytes, however long the stream")
assert np.allclose(shares, whole, atol=1e-4)

what_if = later.fork()  # what would it say after a second of rest? The stream itself stays where it is
what_if.push(np.zeros((100, 2)))
print(f"{later.predict()} after {later.count} samples, {what_if.predict()} after {what_if.count}")

pool = StreamPool(model)  # many streams, one step of the model for all that have a sample
names = [f"patient {k}" for k in range(100)]
for k in range(20):
    pool.push(names, np.roll(signal, k, axis=0)[:100])
pool.push(["patient 7"], signal[:1])
print(f"{len(pool)} streams; patient 7 after {pool.count('patient 7')} samples: {pool.predict_proba('patient 7')}")

uneven = Stream(model)  # samples may come with their times, and with gaps
uneven.push(signal[0], 12.50)
uneven.push([np.nan, 0.4], 12.53)
print(f"at {uneven.time} s: {uneven.predict_proba()}")
