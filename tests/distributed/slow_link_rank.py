"""A rank that trains two stages over a link, uncompressed and in 2 and 4 bits, and writes down how long steps took."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
from torch import nn

from seqkit.distributed import Compression, Pipeline, join, leave

LENGTH, WIDTH, BATCH, STEPS = 128, 128, 16, 4


def main(folder: str) -> None:
    world = join(timeout=120)
    x, ids = torch.randn(BATCH, LENGTH, WIDTH), torch.arange(BATCH)
    found: dict[str, float] = {"bytes": 0}
    for name, words in (("plain", None), ("coded", "fw=2,bw=4,group=32")):
        torch.manual_seed(0)
        stages = [nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh()) for _ in range(2)]
        pipeline = Pipeline(
            stages,
            [(LENGTH, WIDTH)] * 3,
            world,
            batch_size=BATCH,
            compression=None if words is None else Compression.parse(words),
        )
        for step in range(1 + STEPS):
            if step == 1:  # the first visit of each sample is in full in both
                torch.distributed.barrier()
                began = time.monotonic()
            pipeline.step(x, loss=lambda out, rows: out.square().mean(), ids=ids)
        torch.distributed.barrier()
        found[name] = (time.monotonic() - began) / STEPS
        found["bytes"] += pipeline.bytes_sent
    Path(folder, f"{world.rank}.json").write_text(json.dumps(found))
    leave()


if __name__ == "__main__":
    main(sys.argv[1])
