"""Residual blocks and their stack: the formula, the online forms, padding."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import seqkit.ssm  # noqa: F401  registers its mixers
from seqkit.nn import GRU, LSTM, Backbone, FeedForward, Perceptron, ResidualBlock, get_mixer

D = 4


def stack(name="s4d", norm="layer", **options):
    torch.manual_seed(0)
    sizes = {} if name in ("lstm", "gru") else {"order": 4}
    blocks = [ResidualBlock(get_mixer(name)(D, **sizes), norm=norm, **options) for _ in range(2)]
    return Backbone(blocks, norm=norm).double().eval()


def error(a, b):
    return float((a - b).detach().square().mean().sqrt() / b.detach().square().mean().sqrt())


@pytest.mark.parametrize("norm", ["layer", "rms", "none"])
@pytest.mark.parametrize("activation", ["gelu", "relu", "silu", "none"])
@pytest.mark.parametrize("output", ["gated", "linear", "none"])
def test_block_is_its_formula(norm, activation, output):
    block = ResidualBlock(GRU(D), norm=norm, activation=activation, output=output, dropout=0.5).eval()
    x = torch.randn(2, 6, D)
    normed = {
        "layer": (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt(),
        "rms": x / (x.square().mean(-1, keepdim=True) + torch.finfo(x.dtype).eps).sqrt(),
        "none": x,
    }[norm]
    y = block.mixer(normed)
    y = {"gelu": F.gelu, "relu": F.relu, "silu": lambda v: v * v.sigmoid(), "none": lambda v: v}[activation](y)
    if output != "none":
        y = y @ block.out.weight.T + block.out.bias
    if output == "gated":
        y = y[..., :D] * y[..., D:].sigmoid()
    assert torch.allclose(block(x), x + y, atol=1e-5)


@pytest.mark.parametrize("norm", ["layer", "rms", "none"])
def test_a_transformers_block_is_its_formula(norm):
    block = ResidualBlock(GRU(D), norm=norm, activation="silu", output="mlp", dropout=0.5).eval()
    x = torch.randn(2, 6, D)
    normed = {"layer": lambda v: F.layer_norm(v, (D,)), "rms": lambda v: F.rms_norm(v, (D,)), "none": lambda v: v}[norm]
    z = x + block.mixer(normed(x))
    wide = F.silu(normed(z) @ block.out.wide.weight.T + block.out.wide.bias)
    assert wide.shape[-1] == 4 * D
    assert torch.allclose(block(x), z + wide @ block.out.narrow.weight.T + block.out.narrow.bias, atol=1e-5)
    block.train()
    block.out.dropout.p = 0.0
    assert not torch.equal(block(x), block(x))  # around the parts as well, not only within


@pytest.mark.parametrize("output", ["gated", "linear", "none", "mlp"])
def test_a_perceptron_is_its_formula(output):
    perceptron = Perceptron(5, D, n_layers=2, output=output, dropout=0.5).eval()
    x = torch.randn(3, 5)
    z = perceptron.enter(x)
    for layer in perceptron.maps:
        normed = F.layer_norm(z, (D,))
        if output == "mlp":
            y = layer.narrow(F.gelu(layer.wide(normed)))
        else:
            y = layer(F.gelu(normed))
            y = y[..., :D] * y[..., D:].sigmoid() if output == "gated" else y
        z = z + y
    assert torch.allclose(perceptron(x), F.layer_norm(z, (D,)), atol=1e-5)


@pytest.mark.parametrize(("name", "output"), [("s4d", "gated"), ("lssl", "gated"), ("gru", "gated"), ("s4d", "mlp")])
@pytest.mark.parametrize("norm", ["layer", "rms", "none"])
def test_steps_and_blocks_equal_forward(name, norm, output):
    backbone = stack(name, norm, output=output)
    x = torch.randn(3, 20, D, dtype=torch.float64)
    whole = backbone(x)
    state, stepped = backbone.initial_state(3), []
    for k in range(20):
        y, state = backbone.step(x[:, k], state)
        stepped.append(y)
    assert error(torch.stack(stepped, 1), whole) < 1e-9
    state, blocks = backbone.initial_state(3), []
    for block in x.split([1, 12, 7], dim=1):
        y, state = backbone.scan(block, state)
        blocks.append(y)
    assert error(torch.cat(blocks, 1), whole) < 1e-9


@pytest.mark.parametrize("norm", ["layer", "rms", "none"])
def test_padding_is_never_looked_at_and_comes_out_as_zero(norm):
    backbone, lengths = stack(norm=norm), torch.tensor([8, 3])
    x = torch.randn(2, 8, D, dtype=torch.float64)
    x[1, 3:] = torch.nan
    y = backbone(x, lengths=lengths)
    assert (y[1, 3:] == 0).all()
    weights = torch.randn_like(x)  # the squares of a normalised output would hardly depend on anything
    (y * weights).sum().backward()
    padded = {name: p.grad.clone() for name, p in backbone.named_parameters()}
    backbone.zero_grad()
    alone = [backbone(x[i : i + 1, :n]) for i, n in enumerate(lengths)]
    sum((a * weights[i, : lengths[i]]).sum() for i, a in enumerate(alone)).backward()
    assert all(error(y[i : i + 1, :n], alone[i]) < 1e-11 for i, n in enumerate(lengths))
    assert all(error(padded[name], p.grad) < 1e-10 for name, p in backbone.named_parameters())
    _, state = backbone.scan(x, backbone.initial_state(2), lengths=lengths)
    _, own = backbone.scan(x[1:, :3], backbone.initial_state(1))
    for layer, expected in zip(state.layers, own.layers, strict=True):
        assert error(layer[0][1:], expected[0]) < 1e-11


def test_rate_and_times_reach_every_mixer():
    backbone = stack()
    x = torch.randn(1, 10, D, dtype=torch.float64)
    times = 2 * torch.arange(10, dtype=torch.float64)[None]
    assert error(backbone(x, rate=2.0, timestamps=times), backbone(x, rate=2.0)) < 1e-9
    y, state = x, backbone.initial_state(1)
    for k in range(10):
        y, state = backbone.step(x[:, k], state, rate=2.0)
    assert error(y, backbone(x, rate=2.0)[:, -1]) < 1e-9
    assert error(backbone(x, rate=2.0), backbone(x)) > 1e-3


def test_a_wrapped_block_still_runs():
    backbone = stack("gru")
    x = torch.randn(1, 5, D, dtype=torch.float64)
    expected = backbone(x)

    class Wrapped(nn.Module):  # as a compiler or a sharding library wraps a module
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, *args, **kwargs):
            return self.inner(*args, **kwargs)

    backbone.blocks[1] = Wrapped(backbone.blocks[1])
    assert torch.equal(backbone(x), expected)


def test_dropout_acts_in_training_only():
    block = ResidualBlock(GRU(D), dropout=0.5)
    x = torch.randn(1, 30, D)
    assert not torch.equal(block(x), block(x))
    block.eval()
    assert torch.equal(block(x), block(x))


def test_wrong_settings_are_refused():
    for option, value in (("expansion", 0), ("dropout", 1.0), ("activation", "geul")):
        with pytest.raises(ValueError, match=f"`{option}`"):
            FeedForward(D, **{option: value})
    for option, value, words in (
        ("norm", "batch", "`norm` must be one of"),
        ("activation", "geul", "did you mean gelu"),
        ("output", "gate", "did you mean gated"),
        ("dropout", 1.0, "`dropout` must lie between 0 and 1"),
    ):
        with pytest.raises(ValueError, match=words):
            ResidualBlock(GRU(D), **{option: value})
    with pytest.raises(ValueError, match="at least one block"):
        Backbone([])
    with pytest.raises(ValueError, match=r"the same d_model, got \[4, 6\]"):
        Backbone([ResidualBlock(GRU(4)), ResidualBlock(LSTM(6))])
