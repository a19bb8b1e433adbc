"""Two processes that share the layers of one model and exchange compressed messages, on one machine.

Each holds half of the layers. What passes between them is the change of each sample's activation since its last visit,
in 4 bits, and its gradient in 8 bits. The same function runs unchanged under `torchrun` on two machines.

    python examples/22_pipeline.py [FOLDER]

Expect the same accuracy with a quarter of the bytes. FOLDER (runs/examples) gets 22_pipeline.png: the loss over the
bytes that were sent, with and without compression.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is imported
os.environ.setdefault("OMP_NUM_THREADS", "1")

import math
import sys
from pathlib import Path

import torch
from torch.nn import functional as F

from seqkit import DataInfo, ModelConfig, SequenceModel, param_groups
from seqkit.distributed import Compression, Pipeline, World, join_states, run_ranks, split_model
from seqkit.figures import new_figure, save_figure

SERIES, LENGTH, BATCH, EPOCHS = 96, 48, 32, 12


def waves() -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy waves of three frequencies."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(SERIES) % 3
    phase = 2 * math.pi * torch.rand(SERIES, 1, generator=generator)
    t = torch.arange(LENGTH)
    x = torch.sin(2 * math.pi * (0.03 + 0.03 * y[:, None]) * t + phase)
    return (x + 0.5 * torch.randn(x.shape, generator=generator))[..., None], y


def train(world: World, words: str | None) -> tuple[list[float], list[int], float]:
    """What each rank does."""
    x, y = waves()
    info = DataInfo("waves", "classification", n_channels=1, classes=("slow", "middle", "fast"))
    config = ModelConfig.preset("s4d", d_model=16, n_layers=2, order=8, dropout=0.0, dt_min=0.02, dt_max=1.0)
    model = SequenceModel.from_config(config, info, seed=0)
    split = split_model(model, world.size, length=LENGTH)
    compression = None if words is None else Compression.parse(words)
    pipeline = Pipeline(split.stages, split.shapes, world, batch_size=BATCH, micro_batches=4, compression=compression)
    optimizer = torch.optim.AdamW(param_groups(torch.nn.ModuleList(pipeline.modules), learning_rate=0.02))
    order, losses, sent = torch.Generator().manual_seed(1), [], []
    for _ in range(EPOCHS):
        for ids in torch.randperm(SERIES, generator=order).split(BATCH):
            target = y[ids]
            loss = pipeline.step(
                x[ids],
                loss=lambda out, rows, target=target: F.cross_entropy(out, target[rows], reduction="sum") / len(target),
                ids=ids,
            )
            optimizer.step()
            optimizer.zero_grad()
            losses.append(0.0 if loss is None else loss)
            sent.append(pipeline.bytes_sent)
    states = pipeline.gather()  # one set of weights, on rank 0
    accuracy = 0.0
    if states is not None:
        model.load_state_dict(join_states(states))
        accuracy = float((model.predict(x).argmax(-1) == y).double().mean())
    return losses, sent, accuracy


def main() -> None:
    """Trains with and without compression."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
    figure = new_figure(6, 4)
    axes = figure.subplots()
    for words in (None, "fw=4,bw=8"):
        first, last = run_ranks(train, 2, words)
        sent = [(one + other) / 1e6 for one, other in zip(first[1], last[1], strict=True)]
        name = words or "uncompressed"
        print(f"{name:>12}: loss {last[0][-1]:.3f}, accuracy {first[2]:.1%}, {sent[-1]:.2f} MB sent")
        axes.plot(sent, last[0], marker=".", label=name)
    axes.set(
        title="Two processes that share a model", xlabel="sent, MB", ylabel="loss of the batch, nat", ylim=(0, None)
    )
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(figure, folder / "22_pipeline.png")
    print("picture:", folder / "22_pipeline.png")


if __name__ == "__main__":
    main()
