"""Exported programs beside the toolkit's own stream: every mixer and pooling, run as whoever gets the files would."""

import json
import math

import numpy as np
import pytest
import torch

from seqkit import DataInfo, ModelConfig, Stream
from seqkit.attention import AttentionMixer
from seqkit.longconv import MonarchMixer
from seqkit.models import SequenceModel, save_model
from seqkit.nn import TCN, get_mixer, mixer_names, pool_names
from seqkit.streaming import ModelEngine, export
from seqkit.streaming.export import export_model, form_of, formats, parity, writing
from seqkit.streaming.export.chunks import CHUNK, Chunks
from seqkit.streaming.export.layers import takes_steps
from seqkit.streaming.export.pairs import Pair, discrete

# Together every mixer, pooling, kind of target and norm, with and without missing values in training.
CASES = {
    "s4d": {"order": 8, "pool": "mean"},
    "s4": {"order": 8, "pool": "last", "norm": "rms", "output": "linear"},
    "lssl": {"order": 6, "pool": "max", "channels": 2, "output": "mlp"},
    "hippo_rnn": {"order": 8, "pool": "legs"},
    "lmu": {"order": 6, "window": 20.0, "pool": "share"},
    "gru": {"pool": "max"},
    "lstm": {"task": "sequence"},
    "hippo_legs": {"order": 5, "task": "regression", "interpolate": True},
}
NOT_EXPORTED = (AttentionMixer, MonarchMixer, TCN)  # refused in one sentence
FASTEST = {("s4d", "onnx"), ("lstm", "onnx"), ("hippo_legs", "torch"), ("s4", "torch")}


def built(name, *, task="classification", missing=True, n_layers=1, seed=0, **sizes):
    classes = ("a", "b", "c") if task == "classification" else ()
    info = DataInfo(
        "toy", task, n_channels=2, classes=classes, sample_rate=50.0, channels=("left", "right"), missing=missing
    )
    model = SequenceModel.from_config(
        ModelConfig.preset(name, d_model=6, n_layers=n_layers, **sizes), info, seed=seed
    ).eval()
    model.input_norm.set_statistics(torch.tensor([2.0, -1.0]), torch.tensor([3.0, 0.5]))
    return model


def walked(model, folder, made, blocks, *, rate=None, steps=None):
    """Outputs and the last states of blocks of one series; a block of one sample goes through `step`."""
    run = {name: formats.read_program(folder / made["programs"][name]["file"]) for name in ("step", "block")}
    state = [np.array(value) for value in np.load(folder / "initial.npz").values()]
    outputs, taken = [], 0
    for block in blocks:
        one = len(block) == 1
        given = [block[:1] if one else block[None], ~np.isnan(block[:1] if one else block[None])]
        if one and any(value["name"] == "steps" for value in made["programs"]["step"]["inputs"]):
            given.append(np.array([1.0 if steps is None else steps[taken]]))
        output, *state = run["step" if one else "block"]([*given, *state])
        outputs.append(output[0])
        taken += len(block)
    return outputs, state


def test_there_is_a_case_for_each_mixer_and_each_pooling():
    refused = {name for name in mixer_names() if issubclass(get_mixer(name), NOT_EXPORTED)}
    assert set(mixer_names()) - refused <= set(CASES)
    assert not refused & set(CASES)
    assert {case.get("pool", "mean") for case in CASES.values()} == set(pool_names())


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(name, kind, marks=() if (name, kind) in FASTEST else pytest.mark.slow)
        for name in CASES
        for kind in formats.FORMATS
    ],
)
def test_programs_equal_the_stream(tmp_path, name, kind):
    model = built(name, **CASES[name], missing=name != "gru")
    made = export_model(model, tmp_path / "out", format=kind)
    assert made == json.loads((tmp_path / "out" / "model.json").read_text())
    assert made["error"] < 1e-4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    random = np.random.default_rng(1)
    series = (2 + random.standard_normal((75, 2))).astype(np.float32)
    series[random.random(series.shape) < 0.2] = np.nan
    told = made["programs"]["step"]["inputs"][2]["name"] == "steps"
    assert told == (name in ("s4d", "s4", "hippo_rnn", "hippo_legs"))
    blocks = np.split(series, [1, 2, 34, 35])
    outputs, state = walked(model, tmp_path / "out", made, blocks)
    stream = Stream(model, backend="torch")
    for block, output in zip(blocks, outputs, strict=True):
        wanted = stream.push(block)
        if stream.engine.per_sample and len(block) == 1:
            wanted = wanted[0]
        assert parity.relative_error(output, wanted.astype(output.dtype)) < 1e-4
    kept = {key: value for key, value in stream.state_dict().items() if key.startswith("state.")}
    names = [value["name"] for value in made["programs"]["block"]["inputs"][2:]]
    assert names == list(kept)
    for mine, theirs in zip(state, kept.values(), strict=True):
        assert parity.relative_error(mine[0], theirs.numpy()) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"discretization": "zero_order_hold"}, {"discretization": "backward_euler"}])
def test_other_rules_at_another_rate(tmp_path, options):
    made = export_model(built("s4d", order=6, **options), tmp_path / "out", format="torch", sample_rate=20.0)
    assert made["step"] == 2.5
    assert made["error"] < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("measure", ["legt", "fourier", "lagt"])
def test_other_measures(tmp_path, measure):
    window = {} if measure == "lagt" else {"window": 30.0}
    made = export_model(built("hippo_rnn", order=6, measure=measure, **window), tmp_path / "a", format="torch")
    assert len(made["programs"]["step"]["inputs"]) == len(made["programs"]["block"]["inputs"])
    assert export_model(built("s4", order=6, measure=measure), tmp_path / "b", format="torch")["error"] < 1e-4


def test_a_fixed_step_is_at_the_rate_that_was_asked_for(tmp_path):
    model = built("s4d", order=6)
    made = export_model(model, tmp_path / "out", format="torch", sample_rate=100.0, fixed_step=True)
    assert made["step"] == 0.5
    series = np.ones((40, 2), np.float32)
    outputs, _ = walked(model, tmp_path / "out", made, np.split(series, [1, 2]))
    stream = Stream(model, sample_rate=100.0, backend="torch")
    wanted = [stream.push(block) for block in np.split(series, [1, 2])]
    np.testing.assert_allclose(outputs[-1], wanted[-1], rtol=1e-4, atol=1e-6)


def test_missing_values_may_be_anything(tmp_path):
    model = built("gru")
    export_model(model, tmp_path / "out", format="torch")
    step = formats.read_program(tmp_path / "out" / "step.pt2")
    state = list(np.load(tmp_path / "out" / "initial.npz").values())
    there = np.array([[True, False]])
    outputs = [step([np.array([[1.0, value]], np.float32), there, *state]) for value in (0.0, np.nan, 1e30)]
    for other in outputs[1:]:
        for a, b in zip(outputs[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("length", [1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5])
@pytest.mark.parametrize("diagonal", [False, True])
def test_chunks_equal_the_recurrence(length, diagonal):
    heads, order, batch = 3, 4, 2
    A = 0.9 * torch.linalg.qr(torch.randn(heads, order, order).double()).Q
    if diagonal:
        A = torch.polar(torch.rand(heads, order // 2).double() * 0.4 + 0.6, torch.rand(heads, order // 2).double() * 3)
    B, C = torch.randn(heads, order).double(), torch.randn(heads, 2, order).double()
    u, x = torch.randn(batch, length, heads), torch.randn(batch, heads, order)
    program = torch.export.export(Chunks(A, B, C), (u, x)).module()
    y, last = program(u, x)
    if diagonal:
        real, imag = torch.diag_embed(A.real), torch.diag_embed(A.imag)
        A = torch.cat([torch.cat([real, -imag], -1), torch.cat([imag, real], -1)], -2)
    state = x.double()
    for k in range(length):
        state = (A @ state[..., None])[..., 0] + B * u[:, k, :, None]
        wanted = torch.einsum("hmn,bhn->bmh", C, state)
        torch.testing.assert_close(y[:, k].double(), wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(last.double(), state, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rule", ["bilinear", "zero_order_hold", "backward_euler"])
def test_discretising_in_real_arithmetic(rule):
    from seqkit.hippo import discretize_diagonal

    Lambda = torch.complex(-torch.rand(3, 8) * 2, torch.randn(3, 8) * 20)
    B = torch.randn(3, 8, dtype=torch.complex64)
    for dt in (1e-4, 0.02, 1.0):
        steps = torch.full((3,), dt)
        wanted = discretize_diagonal(Lambda.to(torch.complex128), B.to(torch.complex128), steps.double(), method=rule)
        found = discrete(Pair(Lambda.real, Lambda.imag), Pair(B.real, B.imag), steps[:, None], rule)
        for mine, theirs in zip(found, wanted, strict=True):
            size = theirs.abs().max()
            assert (torch.complex(mine.real, mine.imag).to(theirs.dtype) - theirs).abs().max() < 1e-5 * size


def test_a_program_that_differs_is_not_let_out(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "largest_error", lambda *a, **k: math.nan)
    with pytest.raises(ValueError, match="nothing was written"):
        export_model(built("gru"), tmp_path / "out", format="torch")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    def broken(*args):
        raise OSError("disk")

    monkeypatch.setattr(writing, "write_program", broken)
    with pytest.raises(OSError, match="disk"):
        export_model(built("gru"), tmp_path / "out", format="torch")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported(tmp_path, monkeypatch):
    model = built("gru")
    with pytest.raises(ValueError, match="`format` must be one of onnx, torch"):
        export_model(model, tmp_path / "out", format="onyx")
    with pytest.raises(FileExistsError, match="is there already"):
        export_model(model, tmp_path, format="torch")
    with pytest.raises(ValueError, match="no notion of the sampling step"):
        export_model(model, tmp_path / "out", format="torch", sample_rate=10.0)
    with pytest.raises(ValueError, match="`sample_rate` must be a finite number above 0"):
        export_model(built("s4d", order=4), tmp_path / "out", format="torch", sample_rate=-1.0)
    with pytest.raises(FileNotFoundError, match="finished run"):
        export_model(tmp_path, tmp_path / "out", format="torch")
    with pytest.raises(TypeError, match="a model or the folder of a run"):
        export_model(3, tmp_path / "out", format="torch")
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'seqkit\[export\]'"):
        export_model(model, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_layer_of_ones_own_is_refused():
    from seqkit.nn import GRU

    class Own(GRU):
        pass

    with pytest.raises(ValueError, match="got a Own; run it with"):
        form_of(Own(4), step=1.0, runtime=False)
    assert not takes_steps(Own(4))


@pytest.mark.parametrize("name", [name for name in mixer_names() if issubclass(get_mixer(name), NOT_EXPORTED)])
def test_other_mixers_are_refused(name, tmp_path):
    with pytest.raises(ValueError, match=rf"got a {get_mixer(name).__name__}; run it with seqkit.Stream"):
        export_model(built(name), tmp_path / "out", format="torch")
    assert list(tmp_path.iterdir()) == []


def test_errors_are_relative():
    assert parity.relative_error(np.ones(3, np.float32), np.ones(2, np.float32)) == math.inf
    assert parity.relative_error(np.ones(3), np.ones(3, np.float32)) == math.inf
    assert parity.relative_error(np.array([np.nan]), np.array([1.0])) == math.inf
    assert parity.relative_error(np.array([0.0]), np.array([0.0])) == 0
    assert parity.relative_error(np.array([1.5]), np.array([1.0])) == 0.5


def test_a_folder_of_a_model_is_enough_and_says_what_it_is(tmp_path):
    model = built("gru")
    save_model(model, tmp_path / "run")
    made = export.export_model(tmp_path / "run", tmp_path / "deep" / "out", format="torch")
    assert made["classes"] == ["a", "b", "c"]
    assert made["channels"] == ["left", "right"]
    assert made["sample_rate"] == 50.0
    assert made["fingerprint"] == ModelEngine(model).fingerprint
    assert made["programs"]["step"]["outputs"][0] == {"name": "output", "shape": ["batch", 3], "dtype": "float32"}
