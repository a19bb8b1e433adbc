"""Small models of every kind."""

import pytest
import torch

from seqkit.batch import DataInfo
from seqkit.models import ModelConfig, SequenceModel

INFOS = {
    "classification": DataInfo("toy", "classification", n_channels=2, classes=("a", "b", "c"), sample_rate=10.0),
    "regression": DataInfo("toy", "regression", n_channels=2, n_targets=2, sample_rate=10.0),
    "sequence": DataInfo("toy", "sequence", n_channels=2, n_targets=1, sample_rate=10.0),
    "tags": DataInfo("toy", "sequence", n_channels=2, classes=("in", "out"), sample_rate=10.0),
}


@pytest.fixture(scope="session")
def build():
    """Builds a model whose every part matters: statistics, both layers, no parameter at its start."""

    def build(name="s4d", task="classification", dtype=torch.float64, **changes):
        sizes = {} if name in ("lstm", "gru") else {"order": 6, "dt_min": 0.05, "dt_max": 0.5}
        config = ModelConfig.preset(name, **{"d_model": 6, "n_layers": 2, **sizes, **changes})
        model = SequenceModel.from_config(config, INFOS[task], seed=0)
        model.input_norm.set_statistics(torch.tensor([5.0, -1.0]), torch.tensor([2.0, 0.5]))
        if not INFOS[task].classes:
            n = INFOS[task].n_targets
            model.head.set_statistics(torch.full((n,), 70.0), torch.full((n,), 12.0))
        return model.to(dtype).eval()

    return build


@pytest.fixture(scope="session")
def error():
    """RMS of the difference over RMS of the reference."""

    def error(a, b):
        a, b = a.detach().double(), b.detach().double()
        return float((a - b).square().mean().sqrt() / b.square().mean().sqrt())

    return error
