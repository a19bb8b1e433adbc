"""One sample in, one answer out: the trained convolution run as a recurrence, in constant memory.

The answer after each sample is the one that the whole series so far would give.
"""

import torch

from seqkit.batch import DataInfo
from seqkit.models import ModelConfig, SequenceModel

info = DataInfo("pulse", "classification", n_channels=2, classes=("rest", "run"), sample_rate=100.0)
model = SequenceModel.from_config(ModelConfig.preset("lssl", d_model=16, n_layers=2, order=16), info, seed=0).eval()

signal = torch.randn(1, 300, 2, generator=torch.Generator().manual_seed(0))
with torch.no_grad():
    state = model.initial_state(batch_size=1)
    for k in range(100):  # sample by sample
        scores, state = model.step(signal[:, k], state)
    scores, state = model.scan(signal[:, 100:], state)  # or in blocks
    whole = model(signal)

numbers = sum(tensor.numel() for layer in state.backbone.layers for tensor in layer)
print("stream", scores.tolist(), "\nwhole ", whole.tolist(), f"\nstate of {numbers} numbers, however long the stream")
assert torch.allclose(scores, whole, atol=1e-4)
