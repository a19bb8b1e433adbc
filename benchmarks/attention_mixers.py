"""Attention's mixers at equal settings on spoken digits: accuracy and seconds, one seed each.

    SEQKIT_DATA=... python benchmarks/attention_mixers.py [NAME ...]

Recordings are read as 64 frames of 16 bands (log power, 256 samples of 8 kHz every 128), so that exact attention reads
64 samples, and the others 8 samples exactly, 32 features, or both. Every second training recording trains; the test
part is the set's own. `LSSLClassifier` trains all in the same way: two blocks of 32 channels, 8 passes.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch

from seqkit.datasets import get_source
from seqkit.estimators import LSSLClassifier

FRAMES, BANDS, READ, STEP, RATE = 64, 16, 256, 128, 8000
HASHED = {"n_buckets": 4, "bucket_size": 4}
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "attention": ("attention", {}),
    "scatterbrain": ("scatterbrain", {"n_features": 32, "n_local": 8}),
    "performer": ("performer", {"n_features": 32}),
    "lsh": ("lsh", HASHED),
    "local": ("attention", {"window": 8}),
    "scatterbrain, hashed": ("scatterbrain", {"n_features": 32, "n_local": 8, "n_hashes": 2, **HASHED}),
}


def bank() -> torch.Tensor:
    """Triangles at equal steps of the mel scale, (BANDS, READ / 2 + 1)."""
    mel = torch.linspace(*(2595 * math.log10(1 + hertz / 700) for hertz in (80, 3800)), BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    hertz = torch.linspace(0, RATE / 2, READ // 2 + 1)
    up = (hertz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    down = (edges[2:, None] - hertz) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(up, down).clamp(min=0)


def frames(wave: Any) -> np.ndarray:
    """Log power in bands, (BANDS, FRAMES), silence after the end."""
    x = torch.as_tensor(wave).float().flatten()
    x = torch.nn.functional.pad(x / (x.std() + 1e-6), (0, READ + STEP * FRAMES))[: READ + STEP * (FRAMES - 1)]
    power = torch.fft.rfft(x.unfold(0, READ, STEP) * torch.hann_window(READ)).abs().square()
    return ((power @ bank().mT + 1e-2).log() / 3).mT.numpy()


def main() -> None:
    """Fits each method and prints its row."""
    parts = get_source("spoken_digits").load()
    data = {}
    for name, every in (("train", 2), ("test", 1)):
        part = parts[name]
        rows = range(0, len(part.values), every)
        data[name] = np.stack([frames(part.values[i]) for i in rows]), np.array([int(part.target[i]) for i in rows])
    print({name: x.shape for name, (x, _) in data.items()}, flush=True)
    for name in sys.argv[1:] or METHODS:
        mixer, options = METHODS[name]
        model = LSSLClassifier(
            mixer, d_model=32, n_layers=2, dropout=0.1, epochs=8, random_state=0, n_jobs=1, mixer_options=options
        )
        start = time.process_time()
        model.fit(*data["train"])
        spent = time.process_time() - start
        accuracy = float((model.predict(data["test"][0]) == data["test"][1]).mean())
        print(json.dumps({"method": name, "accuracy": accuracy, "cpu_seconds": round(spent, 1)}), flush=True)


if __name__ == "__main__":
    main()
