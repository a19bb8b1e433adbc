"""A mixer of your own: a layer along time, in both forms, that models, training and streams take by its name.

Each channel keeps an exponential average of its past and learns how long it remembers. `forward` takes whole series,
`step` one sample, `scan` a block, and all give the same numbers: that is the contract, docs/layers.md.

    python examples/24_your_own_mixer.py [FOLDER]

The command line takes it from this very file, as the training stands under `if __name__ == "__main__"`:

    seqkit train --import examples/24_your_own_mixer.py --model average --data japanese_vowels longest=10

Expect about 85 % of the test part after 8 epochs, and a stream that agrees with the whole series. FOLDER
(runs/examples) gets the run in `averages`, and 24_your_own_mixer.png: the answers of a stream on top of those for
whole series.
"""

import sys
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

import seqkit
from seqkit.datasets import get_source
from seqkit.figures import new_figure, save_figure
from seqkit.kernels import long_conv
from seqkit.models import register_model
from seqkit.nn import Mixer, mask_past_end, register_mixer
from seqkit.nn.mixer import sample_steps, scan_by_step


class AverageState(NamedTuple):
    """What the layer keeps: one average for each channel, (B, D)."""

    average: Tensor


@register_mixer("average")
class Average(Mixer):
    """m <- a^rate m + (1 - a^rate) u, with a = exp(-1 / memory): `memory` is in samples of the training rate."""

    slow_parameters: ClassVar = ("log_memory",)  # a smaller learning rate and no weight decay

    def __init__(self, d_model: int, longest: float = 30.0) -> None:
        super().__init__()
        self.d_model = d_model
        self.log_memory = nn.Parameter(torch.linspace(0, np.log(longest), d_model))

    def decay(self, rate: float | Tensor = 1.0) -> Tensor:
        """Share of the average that is left after a step."""
        return torch.exp(-rate * torch.exp(-self.log_memory))

    def forward(
        self, u: Tensor, *, lengths: Tensor | None = None, rate: float = 1.0, timestamps: Tensor | None = None
    ) -> Tensor:
        """Whole series, (B, L, D): a convolution where samples are even, else sample by sample."""
        self.check_input(u, lengths, rate, timestamps)
        if timestamps is not None:
            return self.scan(u, self.initial_state(len(u)), lengths=lengths, rate=rate, timestamps=timestamps)[0]
        left = self.decay(rate)[:, None]
        kernel = (1 - left) * left ** torch.arange(u.shape[1], device=u.device)  # (D, L)
        y = long_conv(mask_past_end(u, lengths).transpose(1, 2), kernel).transpose(1, 2)
        return mask_past_end(y, lengths)

    def initial_state(self, batch_size: int = 1) -> AverageState:
        """Averages of nothing."""
        return AverageState(self.log_memory.new_zeros(batch_size, self.d_model))

    def step(self, u_t: Tensor, state: AverageState, *, rate: float | Tensor = 1.0) -> tuple[Tensor, AverageState]:
        """One sample, (B, D); `rate` may be a number for each stream, (B,)."""
        left = self.decay(rate[:, None] if isinstance(rate, Tensor) and rate.ndim else rate)
        average = left * state.average + (1 - left) * u_t
        return average, AverageState(average)

    def scan(
        self,
        u: Tensor,
        state: AverageState,
        *,
        lengths: Tensor | None = None,
        rate: float = 1.0,
        timestamps: Tensor | None = None,
    ) -> tuple[Tensor, AverageState]:
        """A block that goes on from `state`."""
        self.check_input(u, lengths, rate, timestamps)
        even = timestamps is None
        steps = u.new_full(u.shape[:2], rate) if even else sample_steps(timestamps, rate, lengths)
        return scan_by_step(self, u, state, steps=steps, lengths=lengths)


register_model("average", mixer="average", summary="an exponential average for each channel")


def main() -> None:
    """Trains a model with it, and holds a stream against whole series."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
    sizes = {"d_model": 32, "n_layers": 2, "longest": 10.0}
    run = seqkit.train("japanese_vowels", "average", epochs=8, out=folder / "averages", overwrite=True, **sizes)
    print(f"test accuracy {run.metrics['accuracy']:.1%}")

    model = seqkit.load(run.path)
    series = torch.as_tensor(get_source("japanese_vowels").load()["test"].values[0]).float()
    stream = seqkit.Stream(model)
    streamed = np.array([stream.push(sample.numpy()) for sample in series])  # by `step`
    whole = torch.cat([model.predict(series[None, : k + 1]) for k in range(len(series))]).numpy()  # by `forward`, anew
    print(f"stream and whole series differ by {np.abs(streamed - whole).max():.1e}")
    assert np.allclose(streamed, whole, atol=1e-4)

    figure = new_figure(6, 4)
    axes = figure.subplots()
    seconds = np.arange(len(series)) / model.info.sample_rate
    axes.plot(1000 * seconds, whole, color="0.8", linewidth=5)
    axes.plot(1000 * seconds, streamed)
    axes.set(title="Nine speakers: the stream (thin) and whole series (grey)", xlabel="time, ms", ylabel="probability")
    axes.grid(alpha=0.3)
    save_figure(figure, folder / "24_your_own_mixer.png")
    print("picture:", folder / "24_your_own_mixer.png")


if __name__ == "__main__":
    main()
