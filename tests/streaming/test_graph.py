"""The engine of captured graphs: its step as plain torch anywhere, the graphs themselves on a CUDA device."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from seqkit import DataInfo, ModelConfig, SequenceModel, Stream, StreamPool
from seqkit.streaming import ModelEngine
from seqkit.streaming.graph import GraphEngine, GraphStates

INFO = DataInfo("toy", "classification", n_channels=2, classes=("rest", "run", "walk"), sample_rate=50.0)
CASES: dict[str, dict[str, Any]] = {
    "s4d": {"order": 6},
    "s4": {"order": 6},
    "lssl": {"order": 5, "pool": "max"},
    "s4d shares": {"order": 6, "pool": "share"},
    "gru": {"pool": "last"},
    "s4 channels": {"order": 6, "channels": 2},
    "attention": {"window": 10},
    "block_sparse": {"block_size": 3, "n_factors": 2, "n_global": 1},
}


def model(case: str) -> SequenceModel:
    config = ModelConfig.preset(case.split()[0], d_model=8, n_layers=2, **CASES[case])
    return SequenceModel.from_config(config, INFO, seed=1)


def samples(n: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    values = random.normal(size=(n, 2))
    values[random.random((n, 2)) < 0.2] = np.nan
    return values


class Repeated(GraphEngine):
    """Takes the step as it is where a graph would be replayed, so that all but the capture runs on any device."""

    @staticmethod
    def refusal(model: SequenceModel, device: str = "cpu") -> str | None:
        return None

    def _captured(self, states: GraphStates, size: int) -> Any:
        index = torch.full((size,), states.n)
        x = torch.zeros(size, self.n_channels, dtype=self.dtype)
        observed, outputs = torch.ones_like(x, dtype=torch.bool), torch.zeros(size, *self.output_shape)

        def replay() -> None:
            outputs.copy_(self._advance(states, index, x, observed))

        return SimpleNamespace(replay=replay), index, x, observed, outputs


def compare(first: StreamPool, second: StreamPool) -> None:
    random = np.random.default_rng(0)
    for turn in range(8):
        chosen = random.permutation(7)[: random.integers(1, 8)].tolist()
        x = samples(len(chosen), turn)
        np.testing.assert_allclose(second.push(chosen, x), first.push(chosen, x), atol=1e-5)
    stream = chosen[0]
    block = samples(9, 99)
    np.testing.assert_allclose(second.push_block(stream, block), first.push_block(stream, block), atol=1e-5)
    for name, want in first.state_dict(stream).items():
        torch.testing.assert_close(second.state_dict(stream)[name], want, rtol=1e-4, atol=1e-5)
    first.close(stream)
    second.close(stream)
    np.testing.assert_allclose(second.push(["new"], x[:1]), first.push(["new"], x[:1]), atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_the_step_that_is_captured_equals_that_of_torch(case: str) -> None:
    made = model(case)
    compare(StreamPool(ModelEngine(made), capacity=2), StreamPool(Repeated(made, device="cpu"), capacity=2))


def test_another_device_is_refused() -> None:
    with pytest.raises(ValueError, match="`backend` 'graph' does not serve this model: it runs on CUDA devices, and"):
        Stream(model("s4d"), backend="graph")


class Unable(Repeated):
    def _captured(self, states: GraphStates, size: int) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing")


def test_a_step_that_cannot_be_captured_is_refused_at_once() -> None:
    with pytest.raises(
        ValueError, match=r"its step cannot be captured \(operation not permitted.*; use backend='torch'"
    ):
        Unable(model("s4d"), device="cpu")


@pytest.mark.gpu
@pytest.mark.parametrize("case", CASES)
def test_graphs_equal_torch(case: str) -> None:
    made = model(case)
    first = StreamPool(made, capacity=2, backend="torch")
    compare(first, StreamPool(made, capacity=2, backend="graph", device="cuda"))


@pytest.mark.gpu
def test_times_and_snapshots_on_the_device() -> None:
    made = model("s4d")
    first, second = Stream(made, backend="torch"), Stream(made, backend="graph", device="cuda")
    for turn, x in enumerate(samples(6, 0)):
        time = turn + 0.1 * turn**2
        np.testing.assert_allclose(second.push(x, time), first.push(x, time), atol=1e-5)
    first.load_state_dict(second.state_dict())
    np.testing.assert_allclose(second.fork().push(x, time + 1), first.push(x, time + 1), atol=1e-5)
