"""One sample in, one answer out: the trained convolution run as a recurrence, in constant memory.

The answer after each sample is the one that the whole series so far would give. One stream, its snapshots, and many
streams side by side.

    python examples/04_streaming.py [FOLDER]

Expect the stream and the whole series to agree to 1e-4. FOLDER (runs/examples) gets 04_streaming.png: somebody rests,
then runs, and the answer turns as samples come in.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from seqkit import DataInfo, ModelConfig, Stream, StreamPool, param_groups
from seqkit.figures import new_figure, save_figure
from seqkit.models import SequenceModel

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
random = np.random.default_rng(0)


def pulse(paces: list[float]) -> np.ndarray:
    """A second of signal for each pace in Hz, 100 samples a second, two channels: (100 * seconds, 2)."""
    turns = np.cumsum(np.repeat(paces, 100) / 100) + random.random()
    wave = np.stack([np.sin(2 * np.pi * turns), np.cos(2 * np.pi * turns)], axis=1)
    return (wave + 0.5 * random.normal(size=wave.shape)).astype(np.float32)


info = DataInfo("pulse", "classification", n_channels=2, classes=("rest", "run"), sample_rate=100.0)
model = SequenceModel.from_config(ModelConfig.preset("lssl", d_model=16, n_layers=2, order=16), info, seed=0)
target = torch.arange(40) % 2
values = torch.from_numpy(np.stack([pulse([(1.0, 2.5)[int(one)]]) for one in target]))
optimizer = torch.optim.AdamW(param_groups(model, learning_rate=0.01))
for _ in range(30):
    optimizer.zero_grad()
    F.cross_entropy(model(values), target).backward()
    optimizer.step()
model.eval()

signal = pulse([1.0, 1.0, 2.5, 2.5, 2.5])
whole = model.predict(torch.from_numpy(signal)[None])[0].numpy()
stream, course = Stream(model), []
for sample in signal[:100]:  # sample by sample
    course.append(stream.push(sample))
stream.push(signal[100:200])  # or in blocks

place = Path(tempfile.mkdtemp()) / "stream.safetensors"
stream.save(place)  # the process may end here, and another machine go on
later = Stream(model)
later.restore(place)
for sample in signal[200:]:
    course.append(later.push(sample))
print(f"stream {course[-1]}\nwhole  {whole}\na state of {place.stat().st_size} bytes, however long the stream")
assert np.allclose(course[-1], whole, atol=1e-4)

what_if = later.fork()  # what would it say after two seconds of rest? The stream itself stays where it is
what_if.push(pulse([1.0, 1.0]))
print(f"{later.predict_proba()[1]:.2f} run after {later.count} samples, {what_if.predict_proba()[1]:.2f} if rest came")

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

figure = new_figure(8, 4.5)
above, below = figure.subplots(2, 1, sharex=True)
seconds = np.arange(len(signal)) / 100
above.plot(seconds, signal[:, 0], linewidth=0.8)
above.set(title="Rest for two seconds, then running", ylabel="first channel")
for part, shares in ((slice(0, 100), course[:100]), (slice(200, 500), course[100:])):
    below.plot(seconds[part], [one[1] for one in shares], color="C1")
below.axvspan(1, 2, color="0.9")
below.annotate("pushed as one block,\nthen saved and restored", (1.5, 0.5), ha="center", fontsize=8)
below.set(xlabel="time, s", ylabel="probability of running", ylim=(0, 1))
for axes in (above, below):
    axes.grid(alpha=0.3)
save_figure(figure, folder / "04_streaming.png")
print("picture:", folder / "04_streaming.png")
