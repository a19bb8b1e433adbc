"""The fused engine against torch's: the same answers, the same states, and the reason where it does not serve."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from seqkit import DataInfo, ModelConfig, SequenceModel, Stream, StreamPool
from seqkit.nn import ResidualBlock, SharePool
from seqkit.streaming import ModelEngine, as_engine, fused
from seqkit.streaming.fused import FusedEngine

pytest.importorskip("numba")

LIMITS = {"float32": 1e-5, "float64": 1e-12}


def info(task: str = "classification", missing: bool = False) -> DataInfo:
    classes = ("rest", "run", "walk") if task == "classification" else ()
    outputs = 3 if task == "classification" else 2
    return DataInfo(
        *("toy", task),
        n_channels=2,
        classes=classes,
        n_targets=outputs if not classes else 1,
        sample_rate=50.0,
        missing=missing,
    )


def model(name: str = "s4d", task: str = "classification", missing: bool = False, **changes: Any) -> SequenceModel:
    sizes = {"d_model": 12, "n_layers": 2, "order": 6, **changes}
    made = SequenceModel.from_config(ModelConfig.preset(name, **sizes), info(task, missing), seed=1)
    made.input_norm.set_statistics(torch.tensor([1.0, -2.0]), torch.tensor([3.0, 0.5]))
    if task != "classification":
        made.head.set_statistics(torch.tensor([70.0, 1.0]), torch.tensor([12.0, 5.0]))
    if isinstance(made.pool, SharePool):
        made.pool.set_levels([torch.randn(30, 12) * 2 + 1 for _ in range(3)], np.random.default_rng(0))
    with torch.no_grad():  # weights that training would have moved
        for parameter in made.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return made


def engines(made: SequenceModel, dtype: str = "float64") -> tuple[ModelEngine, FusedEngine]:
    return ModelEngine(made, dtype=dtype), FusedEngine(made, dtype=dtype)


def samples(n: int, seed: int = 0, holes: float = 0.3) -> np.ndarray:
    random = np.random.default_rng(seed)
    values = random.normal(size=(n, 2)) * 3
    values[random.random((n, 2)) < holes] = np.nan
    return values


CASES: dict[str, dict[str, Any]] = {
    "s4d": {},
    "s4": {"name": "s4"},
    "s4 legt": {"name": "s4", "measure": "legt", "order": 8},
    "lssl": {"name": "lssl"},
    "s4d channels": {"channels": 3},
    "s4 channels": {"name": "s4", "channels": 2},
    "lssl channels": {"name": "lssl", "channels": 2, "order": 5},
    "zero-order hold": {"discretization": "zero_order_hold"},
    "backward Euler": {"name": "lssl", "discretization": "backward_euler"},
    "missing channels": {"missing": True},
    "rms, silu, linear, last": {"norm": "rms", "activation": "silu", "output": "linear", "pool": "last"},
    "none, relu, none, max": {"norm": "none", "activation": "relu", "output": "none", "pool": "max"},
    "shares of time": {"pool": "share", "norm": "none", "activation": "none", "output": "none", "dropout": 0.2},
    "values": {"task": "regression"},
    "a value for each sample": {"task": "sequence", "activation": "none"},
    "one layer of 40": {"n_layers": 1, "d_model": 40},
}


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("case", CASES)
def test_pushes_equal_those_of_torch(case: str, dtype: str) -> None:
    first, second = (Stream(engine) for engine in engines(model(**CASES[case]), dtype))
    for x in samples(12):
        want, got = first.push(x), second.push(x)
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=0, atol=LIMITS[dtype] * max(1, abs(want).max()))
    states = first.state_dict(), second.state_dict()
    assert states[0].keys() == states[1].keys()
    for name, want in states[0].items():
        got = states[1][name]
        assert (got.dtype, got.shape) == (want.dtype, want.shape), name
        torch.testing.assert_close(got, want, rtol=LIMITS[dtype] * 10, atol=LIMITS[dtype] * 10)


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("case", ["s4d", "s4", "lssl", "zero-order hold", "lssl channels"])
@pytest.mark.parametrize("even", [True, False])
def test_times_equal_those_of_torch(case: str, even: bool, dtype: str) -> None:
    first, second = (Stream(engine) for engine in engines(model(**CASES[case]), dtype))
    random, time = np.random.default_rng(1), 0.0
    for x in samples(12):
        time += 0.05 if even else random.uniform(0.005, 0.1)
        np.testing.assert_allclose(second.push(x, time), first.push(x, time), rtol=0, atol=LIMITS[dtype])


@pytest.mark.parametrize("case", ["s4d", "s4", "lssl"])
def test_another_rate_equals_that_of_torch(case: str) -> None:
    first, second = (Stream(engine, sample_rate=20.0) for engine in engines(model(**CASES[case])))
    for x in samples(8):
        np.testing.assert_allclose(second.push(x), first.push(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("task", ["classification", "sequence"])
@pytest.mark.parametrize("length", [1, 3, 9, 20])
def test_blocks_equal_those_of_torch(length: int, task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "SHORT", 8)  # shorter blocks by steps, longer ones by the parallel form
    first, second = (Stream(engine) for engine in engines(model(task=task)))
    for seed in range(3):
        x, times = samples(length, seed), seed + np.linspace(0.1, 0.9, length) ** 2
        np.testing.assert_allclose(second.push(x, times), first.push(x, times), rtol=0, atol=1e-9)
    np.testing.assert_allclose(second.push(x[0], 4.0), first.push(x[0], 4.0), rtol=0, atol=1e-9)


def test_snapshots_go_from_one_to_the_other_and_back(tmp_path: Path) -> None:
    made = model("s4", missing=True, task="regression")
    plain, quick = Stream(made, backend="torch"), Stream(made, backend="fused")
    for x in samples(7):
        quick.push(x)
    quick.save(tmp_path / "state.safetensors")
    plain.restore(tmp_path / "state.safetensors")
    other = Stream(made, backend="fused")
    other.load_state_dict(plain.state_dict())
    for x in samples(7, seed=2):
        np.testing.assert_allclose(plain.push(x), quick.push(x), rtol=1e-5)
        other.push(x)
    assert (other.output == quick.output).all()  # a state goes through a snapshot without a changed bit
    for name, value in other.state_dict().items():
        assert torch.equal(value, quick.state_dict()[name])


@pytest.mark.parametrize("name", ["s4d", "s4", "lssl"])
def test_a_pool_equals_its_streams_to_the_last_bit(name: str) -> None:
    made = model(name)
    pool = StreamPool(made, capacity=2, backend="fused")
    alone = [Stream(made, backend="fused") for _ in range(11)]
    random = np.random.default_rng(0)
    for _ in range(20):
        chosen = random.permutation(11)[: random.integers(1, 12)].tolist()
        x = samples(len(chosen), int(random.integers(1000)))
        got = pool.push(chosen, x)
        for stream, value, answer in zip(chosen, x, got, strict=True):
            assert (alone[stream].push(value) == answer).all()


@pytest.mark.parametrize("name", ["s4d", "s4"])
@pytest.mark.parametrize("kinds", [2, 9])
def test_streams_with_steps_of_their_own_equal_those_of_torch(name: str, kinds: int) -> None:
    made = model(name)
    pools = [StreamPool(engine, capacity=1) for engine in engines(made)]
    times = np.zeros(9)
    for turn in range(4):
        times += np.arange(9) % kinds / 100 + 0.01
        x, order = samples(9, turn), list(range(9))
        want, got = (pool.push(order, x, times) for pool in pools)
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)


def test_a_rate_seen_again_changes_no_bit() -> None:
    made = model()
    one, other = Stream(made, sample_rate=20.0), Stream(made, sample_rate=20.0)
    for x in samples(5):
        one.push(x)
    for x in samples(5):
        other = other.fork()
        other.engine._newest_rate = 1.0  # as if another process went on
        other.push(x)
    assert (one.output == other.output).all()


def test_only_so_many_rates_are_kept() -> None:
    first, second = (Stream(engine) for engine in engines(model("s4")))
    for turn in range(2 * fused.RATES):
        time, x = turn + 0.04 * turn**2, [1.0, turn % 3]
        np.testing.assert_allclose(second.push(x, time), first.push(x, time), rtol=0, atol=1e-12)
    assert len(second.engine._at_rate) == fused.RATES


def test_a_stream_travels_to_another_process() -> None:
    stream = Stream(model(), sample_rate=20.0)
    for x in samples(3):
        stream.push(x)
    other = pickle.loads(pickle.dumps(stream))
    assert (other.push([1.0, 2.0]) == stream.push([1.0, 2.0])).all()


def test_values_too_large_for_the_loops_are_left_to_torch() -> None:
    first, second = (Stream(engine) for engine in engines(model(norm="none", activation="none"), "float64"))
    for x in ([1e20, 0.0], [1.0, 2.0]):  # in float64; in float32 no stream takes as much
        np.testing.assert_allclose(second.push(x), first.push(x), rtol=1e-9)


@pytest.mark.parametrize("rows", [None, np.array([2, 0])])
def test_a_block_of_which_a_sample_fails_leaves_the_states(rows: np.ndarray | None, monkeypatch: Any) -> None:
    engine = FusedEngine(model())
    states, taken, step = engine.start(3), [], engine.step
    n = 3 if rows is None else 2
    engine.step(states, None, np.ones((3, 2), np.float32), None, None)
    before = states.copy()

    def failing(*given: Any) -> np.ndarray:
        taken.append(given)
        if len(taken) == 3:
            raise ValueError("enough")
        return step(*given)

    monkeypatch.setattr(engine, "step", failing)
    with pytest.raises(ValueError, match="enough"):
        engine.scan(states, rows, np.ones((n, 4, 2), np.float32), None, None)
    assert len(taken) == 3
    assert (states == before).all()


def test_arrays_in_any_form_are_taken() -> None:
    made = model()
    want, strided = Stream(made).push([1.0, 2.0]), np.zeros((2, 3), np.float32)
    strided[:, 1] = 1.0, 2.0
    fixed = np.array([1.0, 2.0], np.float32)
    fixed.flags.writeable = False
    for x in (strided[:, 1], fixed, np.array([1.0, 2.0], ">f4"), [1, 2]):
        assert (Stream(made).push(x) == want).all()


def test_auto_takes_what_serves() -> None:
    assert type(as_engine(model())) is FusedEngine
    assert type(as_engine(model(), backend="torch")) is ModelEngine
    assert type(as_engine(plain_model("gru"))) is ModelEngine


def plain_model(name: str, **changes: Any) -> SequenceModel:
    return SequenceModel.from_config(
        ModelConfig.preset(name, **{"d_model": 4, "n_layers": 1, **changes}), info(), seed=0
    )


class Shifted(ResidualBlock):
    def _after(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return super()._after(x, y) + 1


def test_what_it_does_not_serve_is_said_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    derived, wrapped, spoiled, activated = (plain_model("s4d") for _ in range(4))
    derived.backbone.blocks[0].__class__ = Shifted
    wrapped.encoder = nn.Sequential(wrapped.encoder)
    spoiled.head.linear.weight.data[0, 0] = torch.nan
    activated.backbone.blocks[0].activation = nn.GELU(approximate="tanh")
    for made, words in (
        (plain_model("gru"), "it serves the mixers s4d, s4 and lssl, and this model has GRU"),
        (plain_model("attention"), "it serves the mixers s4d, s4 and lssl, and this model has Attention"),
        (plain_model("monarch"), "it serves the mixers s4d, s4 and lssl, and this model has MonarchMixer"),
        (plain_model("s4d", output="monarch"), "it has no form of the part FeedForward"),
        (plain_model("s4d", output="mlp"), "it has no form of the part FeedForward"),
        (plain_model("hippo_legs"), "it serves models with a mixer, and this one only pools"),
        (
            plain_model("s4d", pool="legs"),
            "it serves the poolings mean, last, max and share, and this model has LegSPool",
        ),
        (derived, "it has no form of the part Shifted"),
        (wrapped, "it has no form of the part Sequential"),
        (activated, "it has no form of the part GELU with approximate='tanh'"),
        (spoiled, "its weights hold NaN or infinite values"),
    ):
        with pytest.raises(ValueError, match=f"`backend` 'fused' does not serve this model: {words}; use"):
            Stream(made, backend="fused")
        assert type(as_engine(made)) is ModelEngine
    monkeypatch.setattr(fused, "HAS_NUMBA", False)
    with pytest.raises(ValueError, match="it needs numba, which is not installed"):
        Stream(plain_model("s4d"), backend="fused")
    assert type(as_engine(plain_model("s4d"))) is ModelEngine


def test_dropout_and_training_are_of_no_consequence() -> None:
    made = model(dropout=0.5).train()
    want = Stream(made, backend="torch").push([1.0, 2.0])
    np.testing.assert_allclose(Stream(made, backend="fused").push([1.0, 2.0]), want, atol=1e-6)
    assert made.training
