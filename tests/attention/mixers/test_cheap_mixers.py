"""The mixers performer, lsh and scatterbrain: what they compute, what they draw and when, what is dropped."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from seqkit.attention import (
    LSH,
    Performer,
    Scatterbrain,
    dense_attention,
    hash_support,
    join_supports,
    local_support,
)
from seqkit.attention.mixers.drawn import DrawnFeatures, DrawnHash, UnitHeads
from seqkit.nn import Mixer
from seqkit.nn.mixer import mask_past_end

D, L = 8, 23
LAYERS = {
    "performer": lambda **o: Performer(D, n_heads=2, n_features=8, **o),
    "lsh": lambda **o: LSH(D, n_heads=2, n_buckets=4, bucket_size=3, **o),
    "scatterbrain": lambda **o: Scatterbrain(D, n_heads=2, n_features=8, n_local=4, n_buckets=4, bucket_size=3, **o),
}
drawing = pytest.mark.parametrize("name", ["performer", "scatterbrain"])


def layer(name: str, **options: object) -> Mixer:
    torch.manual_seed(0)
    return LAYERS[name](**options).double()


def series() -> Tensor:
    return torch.randn(2, L, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def error(ours: Tensor, truth: Tensor) -> float:
    difference = (ours - truth).detach().square().mean().sqrt()
    return float(difference / truth.detach().square().mean().sqrt())


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_the_layer_is_its_formula(name: str, causal: bool) -> None:
    mixer, u = layer(name, positions="none", causal=causal), series()
    lengths = torch.tensor([L, 9])
    heads = mixer.project(mask_past_end(u, lengths)).unflatten(-1, (-1, D // 2))
    q, k, v = heads.split(2, 2)
    options = {"causal": causal, "lengths": lengths}
    if name != "lsh":
        size = mixer.unit.log_sharpness.exp().sqrt()[:, None]
        q, k = (size * x / x.norm(dim=-1, keepdim=True) for x in (q, k))
        options |= {"features": mixer.drawn(), "scale": 1.0}
    if name != "performer":
        hashed = mixer.drawn() if name == "lsh" else mixer.hash()
        near = local_support(L, 1 if name == "lsh" else 4, causal=causal)
        options["support"] = join_supports(near, hash_support(q, k, hashed, 3, causal=causal, lengths=lengths))
    truth = mixer.out(dense_attention(q, k, v, **options).flatten(2))
    ours = mixer(u, lengths=lengths)
    for i, n in enumerate(lengths):
        assert error(ours[i, :n], truth[i, :n]) < 1e-12


def test_scatterbrain_without_hashing_reads_a_window_and_features() -> None:
    mixer, u = layer("scatterbrain", n_hashes=0, positions="none"), series()
    assert mixer.hash is None
    q, k, v = mixer.project(u).unflatten(-1, (-1, D // 2)).split(2, 2)
    q, k = mixer.unit(q, k)
    truth = dense_attention(
        q, k, v, features=mixer.drawn(), support=local_support(L, 4, causal=True), scale=1.0, causal=True
    )
    assert error(mixer(u), mixer.out(truth.flatten(2))) < 1e-12
    assert len(mixer.initial_state(1)) < len(layer("scatterbrain").initial_state(1))


def test_a_window_of_the_whole_series_is_exact_attention() -> None:
    mixer, u = layer("scatterbrain", n_hashes=0, positions="none"), series()
    mixer.n_local = L
    q, k, v = mixer.project(u).unflatten(-1, (-1, D // 2)).split(2, 2)
    q, k = mixer.unit(q, k)
    assert error(mixer(u), mixer.out(dense_attention(q, k, v, scale=1.0, causal=True).flatten(2))) < 1e-12


@pytest.mark.parametrize("name", LAYERS)
def test_what_is_drawn_follows_torchs_seed_and_is_saved(name: str) -> None:
    one, again = layer(name), layer(name)
    torch.manual_seed(1)
    other = LAYERS[name]().double()
    saved = one.state_dict()
    drawn = [key for key in saved if key.endswith("directions")]
    assert len(drawn) == (2 if name == "scatterbrain" else 1)
    for key in drawn:
        assert torch.equal(saved[key], again.state_dict()[key])
        assert not torch.equal(saved[key], other.state_dict()[key])
    other.load_state_dict(saved)
    assert torch.equal(other(series()), one(series()))


@drawing
def test_features_are_redrawn_in_training_alone(name: str) -> None:
    mixer, u = layer(name, redraw=2), series()
    first = mixer.drawn.directions.clone()
    mixer.eval()
    for _ in range(4):
        mixer(u)
    assert torch.equal(mixer.drawn.directions, first)
    mixer.train()
    mixer(u)
    assert torch.equal(mixer.drawn.directions, first)
    mixer(u)
    assert not torch.equal(mixer.drawn.directions, first)
    kept = layer(name)
    before = kept.drawn.directions.clone()
    for _ in range(5):
        kept(u)
    assert torch.equal(kept.drawn.directions, before)


@drawing
def test_gradients_of_an_earlier_call_outlive_a_redraw(name: str) -> None:
    mixer, u = layer(name, redraw=1), series().requires_grad_()
    twin = copy.deepcopy(mixer)
    torch.manual_seed(3)
    expected = torch.autograd.grad(twin(u).square().sum(), u)[0]
    torch.manual_seed(3)
    out = mixer(u)
    mixer(u)
    assert torch.equal(torch.autograd.grad(out.square().sum(), u)[0], expected)


def test_redrawing_when_asked() -> None:
    for drawn in (DrawnFeatures(8, 4), DrawnHash(2, 6, 4)):
        before, shape = drawn.directions.clone(), drawn.directions.shape
        drawn.renew(torch.Generator().manual_seed(5))
        found = drawn.directions.clone()
        assert not torch.equal(found, before)
        assert found.shape == shape
        drawn.renew()
        assert not torch.equal(drawn.directions, found)
        drawn.renew(torch.Generator().manual_seed(5))
        assert torch.equal(drawn.directions, found)


def test_queries_and_keys_have_the_length_of_the_sharpness() -> None:
    unit = UnitHeads(2, 3.0).double()
    q, k = torch.randn(1, L, 4, D, dtype=torch.float64), torch.randn(1, L, 2, D, dtype=torch.float64)
    for x in unit(q, 9 * k):
        assert (x.square().sum(-1) - 3).abs().max() < 1e-6
    zero, _ = unit(torch.zeros_like(q), k)
    assert not zero.any()


@pytest.mark.parametrize("name", LAYERS)
def test_dropout_is_for_training(name: str) -> None:
    mixer, u = layer(name, attention_dropout=0.5), series()
    assert not torch.equal(mixer(u), mixer(u))
    state = mixer.initial_state(2)
    _, state = mixer.scan(u, state)
    assert not torch.equal(mixer.step(u[:, 0], state)[0], mixer.step(u[:, 0], state)[0])
    mixer.eval()
    assert torch.equal(mixer(u), mixer(u))
    assert torch.equal(mixer.step(u[:, 0], state)[0], mixer.step(u[:, 0], state)[0])


@pytest.mark.parametrize("name", LAYERS)
def test_what_cannot_stream_says_so(name: str) -> None:
    with pytest.raises(ValueError, match="cannot stream, because it reads samples of both sides"):
        layer(name, causal=False).initial_state(1)


def test_bad_options_are_named() -> None:
    with pytest.raises(ValueError, match="`n_features` must be even"):
        Performer(D, n_features=7)
    with pytest.raises(ValueError, match="`redraw` must be a whole number"):
        Performer(D, redraw=0)
    with pytest.raises(ValueError, match="`sharpness` must be"):
        Performer(D, sharpness=0.0)
    with pytest.raises(ValueError, match="`n_hashes` must be a whole number"):
        LSH(D, n_hashes=0)
    with pytest.raises(ValueError, match="`n_buckets` must be even"):
        LSH(D, n_buckets=3)
    with pytest.raises(ValueError, match="`bucket_size` must be a whole number"):
        Scatterbrain(D, bucket_size=0)
    with pytest.raises(ValueError, match="`n_local` must be a whole number"):
        Scatterbrain(D, n_local=0)
