"""Attention of trained models replaced in place: the weights stay, the output is the method's, and it can be undone."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seqkit.attention import (
    Attention,
    dense_attention,
    draw_features,
    local_support,
    replace,
    restore,
    scatterbrain_attention,
)
from seqkit.attention.replacing.recipe import Recipe
from seqkit.batch import DataInfo
from seqkit.models import SequenceModel
from seqkit.nn import Backbone, ClassHead, MeanPool, ResidualBlock

LENGTH = 24


def series(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def multihead(**options: Any) -> nn.MultiheadAttention:
    torch.manual_seed(0)
    return nn.MultiheadAttention(16, 2, dtype=torch.float64, **options).eval()


def encoder(**options: Any) -> nn.TransformerEncoder:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True, dtype=torch.float64, **options)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=not options).eval()


def model(**options: Any) -> SequenceModel:
    torch.manual_seed(0)
    blocks = [ResidualBlock(Attention(16, n_heads=2, **options)) for _ in range(2)]
    info = DataInfo("drawn", "classification", n_channels=3, classes=("a", "b"))
    return (
        SequenceModel(
            info=info,
            encoder=nn.Linear(3, 16),
            backbone=Backbone(blocks),
            pool=MeanPool(16),
            head=ClassHead(16, 2),
            config=_config(),
        )
        .double()
        .eval()
    )


def _config() -> Any:
    from seqkit.models import ModelConfig

    return ModelConfig.preset("attention", d_model=16, n_layers=2)


def close(found: Tensor, wanted: Tensor, limit: float = 1e-12) -> None:
    difference = (found - wanted).detach().square().mean().sqrt()
    assert float(difference / wanted.detach().square().mean().sqrt()) < limit


CALLS: dict[str, tuple[Callable[[], nn.MultiheadAttention], dict[str, Any]]] = {
    "batch first": (lambda: multihead(batch_first=True), {}),
    "time first": (multihead, {}),
    "one series": (lambda: multihead(batch_first=True), {"one": True}),
    "no bias": (lambda: multihead(batch_first=True, bias=False), {}),
    "sizes of their own": (lambda: multihead(batch_first=True, kdim=6, vdim=10), {"sizes": (16, 6, 10)}),
    "causal": (lambda: multihead(batch_first=True), {"causal": "bool"}),
    "causal by a float mask": (lambda: multihead(batch_first=True), {"causal": "float"}),
    "padded": (lambda: multihead(batch_first=True), {"padded": "bool"}),
    "padded by a float mask": (lambda: multihead(batch_first=True), {"padded": "float"}),
}


@pytest.mark.parametrize("name", CALLS)
def test_with_keys_for_all_samples_it_is_torchs_own(name: str) -> None:
    make, how = CALLS[name]
    module = make()
    inputs = [series(3, LENGTH, size, seed=i) for i, size in enumerate(how.get("sizes", (16, 16, 16)))]
    if "one" in how:
        inputs = [x[0] for x in inputs]
    elif not module.batch_first:
        inputs = [x.transpose(0, 1) for x in inputs]
    options: dict[str, Any] = {"need_weights": False}
    inside = torch.ones(3, LENGTH, dtype=torch.bool)
    if "causal" in how:
        mask = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)
        options["attn_mask"] = (
            mask
            if how["causal"] == "bool"
            else torch.zeros(mask.shape, dtype=torch.float64).masked_fill(mask, -torch.inf)
        )
    if "padded" in how:
        inside = torch.arange(LENGTH) < torch.tensor([LENGTH, 9, 1])[:, None]
        mask = ~inside
        options["key_padding_mask"] = (
            mask
            if how["padded"] == "bool"
            else torch.zeros(mask.shape, dtype=torch.float64).masked_fill(mask, -torch.inf)
        )
    wanted = module(*inputs, **options)[0].detach()
    replace(module, "lsh", n_keys=LENGTH)
    found, weights = module(*inputs, **options)
    assert weights is None
    if "padded" in how:
        found, wanted = found[inside], wanted[inside]
    close(found, wanted)


@pytest.mark.parametrize("causal", [False, True])
def test_it_is_the_named_attention_with_the_modules_own_weights(causal: bool) -> None:
    module = multihead(batch_first=True)
    x = series(2, LENGTH, 16)
    assert module.in_proj_weight is not None
    q, k, v = (one.view(2, LENGTH, 2, 8) for one in (x @ module.in_proj_weight.mT + module.in_proj_bias).chunk(3, -1))
    features = draw_features(6, 8, generator=torch.Generator().manual_seed(7 + 2**32), dtype=torch.float64)
    support = local_support(LENGTH, 5, causal=causal)
    wanted = dense_attention(q, k, v, features=features, support=support, causal=causal)
    replace(module, "scatterbrain", n_keys=5, n_features=6, keys="local", seed=7)
    mask = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1) if causal else None
    close(module(x, x, x, attn_mask=mask)[0], module.out_proj(wanted.flatten(2)))
    wanted = dense_attention(q, k, v, support=support, causal=causal)
    replace(module, "local", n_keys=5)
    close(module(x, x, x, attn_mask=mask)[0], module.out_proj(wanted.flatten(2)))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")  # torch's own encoder, given a padding
def test_torchs_encoder_does_not_go_round_it_and_is_itself_again() -> None:
    with torch.no_grad():
        model, x = encoder(), series(3, LENGTH, 16)
        padding = torch.arange(LENGTH) >= torch.tensor([LENGTH, 7, 12])[:, None]
        inside = ~padding
        wanted, padded = model(x), model(x, src_key_padding_mask=padding)
        found = replace(model, "performer", n_features=4)
        assert [one.name for one in found] == ["layers.0.self_attn", "layers.1.self_attn"]
        assert float((model(x) - wanted).abs().max()) > 1e-3
        replace(model, "lsh", n_keys=LENGTH, keys="hashed")  # once more, over the first
        close(model(x), wanted)
        close(model(x, src_key_padding_mask=padding)[inside], padded[inside])
        assert restore(model) == ["layers.0.self_attn", "layers.1.self_attn"]
        assert torch.equal(model(x), wanted)
        assert torch.equal(model(x, src_key_padding_mask=padding), padded)


def test_what_lies_past_the_end_changes_nothing() -> None:
    with torch.no_grad():
        model, x = encoder(norm_first=True), series(2, LENGTH, 16)
        padding = torch.arange(LENGTH) >= torch.tensor([LENGTH, 9])[:, None]
        replace(model, "scatterbrain", n_keys=4, n_features=4, keys="both")
        found = model(x, src_key_padding_mask=padding)
        other = model(torch.where(padding[..., None], 100.0, x), src_key_padding_mask=padding)
        assert torch.equal(found[1, :9], other[1, :9])


@pytest.mark.parametrize("causal", [False, True])
def test_the_mixer_with_keys_for_all_samples_is_exact(causal: bool) -> None:
    with torch.no_grad():
        whole, x = model(causal=causal, window=None), series(3, LENGTH, 3)
        lengths = torch.tensor([LENGTH, 5, 11])
        wanted = whole(x, lengths)
        assert [one.name for one in replace(whole, "lsh", n_keys=LENGTH)] == [
            f"backbone.blocks.{i}.mixer" for i in (0, 1)
        ]
        close(whole(x, lengths), wanted)
        replace(whole, n_keys=4, n_features=4)
        cheap = whole(x, lengths)
        assert float((cheap - wanted).abs().max()) > 1e-4
        inside = torch.arange(LENGTH) < lengths[:, None]
        close(whole(torch.where(inside[..., None], x, torch.nan), lengths), cheap)
        assert [one.method for one in replace(whole, "exact")] == ["exact", "exact"]
        assert torch.equal(whole(x, lengths), wanted)


def test_grouped_heads_share_their_keys() -> None:
    with torch.no_grad():
        mixer = Attention(16, n_heads=4, n_kv_heads=2, causal=False, window=None).double().eval()
        x = series(1, LENGTH, 16)
        wanted = mixer(x)
        replace(mixer, "local", n_keys=LENGTH)
        close(mixer(x), wanted)


def test_only_what_the_pattern_names() -> None:
    whole = encoder(norm_first=True)
    x = series(1, LENGTH, 16)
    replace(whole, "performer", n_features=2, names="layers.1.*")
    kinds = [type(layer.self_attn).__name__ for layer in whole.layers]
    assert kinds == ["MultiheadAttention", "ReplacedMultihead"]
    assert restore(whole, names=["layers.0.*"]) == []
    assert restore(whole) == ["layers.1.self_attn"]
    assert whole(x).shape == x.shape


def test_weights_names_and_gradients_stay() -> None:
    module = multihead(batch_first=True).train()
    parameters, names = list(module.parameters()), list(module.state_dict())
    replace(module, "scatterbrain", n_keys=4, n_features=4)
    assert list(module.state_dict()) == names
    assert all(a is b for a, b in zip(module.parameters(), parameters, strict=True))
    x = series(1, LENGTH, 16)
    module(x, x, x)[0].square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in parameters)


def test_it_is_copied_and_stored_with_its_recipe() -> None:
    module = multihead(batch_first=True)
    replace(module, "performer", n_features=4)
    x = series(1, LENGTH, 16)
    wanted = module(x, x, x)[0]
    assert torch.equal(copy.deepcopy(module)(x, x, x)[0], wanted)
    stored = io.BytesIO()
    torch.save(module, stored)
    stored.seek(0)
    assert torch.equal(torch.load(stored, weights_only=False)(x, x, x)[0], wanted)


def test_a_share_is_of_the_series_at_hand_and_features_count_twice() -> None:
    recipe = Recipe("scatterbrain", memory=1 / 16, share=0.25)
    for length in (512, 1000, 4096):
        n_features, n_keys = recipe.sizes(length)
        assert n_keys + 2 * n_features <= length / 16 < n_keys + 2 * n_features + 1
        assert n_keys / (length / 16) == pytest.approx(0.25, abs=2 / (length / 16))
    assert Recipe("performer", memory=0.5).sizes(100) == (24, 0)  # 25 would be odd
    assert Recipe("lsh", memory=0.5, keys="hashed").sizes(100) == (0, 50)


def test_calibration_takes_features_where_attention_is_flat_and_keys_where_it_is_sharp() -> None:
    methods = []
    for factor in (0.05, 12.0):
        module = multihead(batch_first=True)
        assert module.in_proj_weight is not None
        with torch.no_grad():
            module.in_proj_weight[:32] *= factor
        x = series(2, 100, 16)
        wanted = module(x, x, x, need_weights=False)[0]
        (done,) = replace(module, memory=0.2, calibration=(x, x, x))
        assert done.recipe is not None
        methods.append(done.method)
        chosen = (module(x, x, x)[0] - wanted).square().sum()
        for share in (0.25, 0.5, 0.75):
            replace(module, memory=0.2, share=share)
            assert chosen <= (module(x, x, x)[0] - wanted).square().sum()
    assert methods[0] == "performer"
    assert methods[1] in ("lsh", "local", "scatterbrain")


def test_a_calibration_that_fails_leaves_the_model_as_it_was() -> None:
    module = multihead(batch_first=True)
    with pytest.raises(RuntimeError):
        replace(module, calibration=(torch.zeros(1), torch.zeros(1), torch.zeros(1)))
    assert type(module) is nn.MultiheadAttention


def test_a_fitted_estimator() -> None:
    from seqkit import LSSLClassifier

    random = np.random.default_rng(0)
    X = random.normal(size=(12, 1, 30)).astype(np.float32)
    X[::2] += 2
    y = np.arange(12) % 2
    classifier = LSSLClassifier("attention", d_model=8, n_layers=1, epochs=2, n_jobs=1, random_state=0).fit(X, y)
    wanted = classifier.predict_proba(X)
    (done,) = replace(classifier.model_, "performer", n_features=2)
    assert done.method == "performer"
    assert np.abs(classifier.predict_proba(X) - wanted).max() > 1e-6
    with pytest.raises(ValueError, match="cannot stream, because its attention was replaced"):
        classifier.stream()
    replace(classifier.model_, "exact")
    np.testing.assert_array_equal(classifier.predict_proba(X), wanted)


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "no module": (lambda: replace(cast("Any", 3)), "`model` must be a torch module, got int"),
    "no attention": (lambda: replace(nn.Linear(2, 2)), "`model` must hold torch.nn.MultiheadAttention"),
    "no such name": (lambda: replace(encoder(), names="decoder.*"), "`names` must match .* layers.0.self_attn"),
    "keys of its own": (lambda: replace(multihead(add_bias_kv=True)), "it adds keys of its own"),
    "method": (lambda: replace(multihead(), "sparse"), "`method`"),
    "memory": (lambda: replace(multihead(), memory=0.0), r"`memory` must be a share of the keys in \(0, 1\]"),
    "memory and sizes": (lambda: replace(multihead(), memory=0.1, n_keys=3), "`memory` must be left out"),
    "half the sizes": (lambda: replace(multihead(), n_keys=3), "`n_features` or `memory` must be given"),
    "odd features": (lambda: replace(multihead(), "performer", n_features=3), "`n_features` must be even"),
    "keys for performer": (
        lambda: replace(multihead(), "performer", n_keys=3, n_features=2),
        "`n_keys` must be left out",
    ),
    "search for performer": (lambda: replace(multihead(), "performer", keys="local"), "`keys` must be left out"),
    "share for lsh": (lambda: replace(multihead(), "lsh", share=0.5), "`share` must be left out for lsh"),
    "share of sizes": (lambda: replace(multihead(), n_keys=2, n_features=2, share=0.5), "`share` must come with"),
    "share": (lambda: replace(multihead(), share=1.5), "`share`"),
    "search": (lambda: replace(multihead(), keys="random"), "`keys`"),
    "exact with memory": (lambda: replace(multihead(), "exact", memory=0.1), "`memory` must be left out for exact"),
    "nothing to choose": (
        lambda: replace(multihead(), share=0.5, keys="local", calibration=series(1, 4, 16)),
        "`calibration` must be left out",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    call, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        call()


def _call(**options: Any) -> Callable[[], object]:
    def call() -> object:
        module = multihead(batch_first=True, **options.pop("module", {}))
        replace(module, "local", n_keys=4)
        if options.pop("train", False):
            module.train()
        x = series(2, LENGTH, 16)
        return module(x, options.pop("key", x), options.pop("key", x), **options)

    return call


REFUSED_CALLS: dict[str, tuple[Callable[[], object], str]] = {
    "weights": (_call(need_weights=True), "`need_weights` must be False"),
    "another mask": (_call(attn_mask=torch.eye(LENGTH, dtype=torch.bool)), "`attn_mask` must be the causal mask"),
    "a bias": (_call(attn_mask=torch.ones(LENGTH, LENGTH)), "`attn_mask` must be the causal mask"),
    "padding before": (
        _call(key_padding_mask=(torch.arange(LENGTH) < 2).expand(2, -1)),
        "`key_padding_mask` must hide what follows",
    ),
    "nothing left": (
        _call(key_padding_mask=torch.ones(2, LENGTH, dtype=torch.bool)),
        "`key_padding_mask` must hide what follows",
    ),
    "dropout": (_call(module={"dropout": 0.1}, train=True), "`dropout` must be 0"),
}


@pytest.mark.parametrize("name", REFUSED_CALLS)
def test_refusals_when_called(name: str) -> None:
    call, words = REFUSED_CALLS[name]
    with pytest.raises(ValueError, match=words):
        call()


def test_keys_of_another_length_and_a_share_that_buys_nothing() -> None:
    module, x = multihead(batch_first=True), series(1, LENGTH, 16)
    replace(module, memory=1 / 32)
    with pytest.raises(ValueError, match="`key` must be as long as `query`"):
        module(x, x[:, :5], x[:, :5])
    with pytest.raises(ValueError, match="`memory` must be at least 5 / 24 for scatterbrain"):
        module(x, x, x)


def test_a_mixers_window_is_not_widened_in_silence() -> None:
    mixer = Attention(16, n_heads=2, window=8).eval()
    replace(mixer, "performer", n_features=4)
    with pytest.raises(ValueError, match="`window` must be None or at least the length"):
        mixer(torch.zeros(1, 9, 16))


def test_a_mixer_trains_through_it_but_not_with_attention_dropout() -> None:
    mixer, x = Attention(16, n_heads=2, attention_dropout=0.5).double(), series(1, LENGTH, 16)
    replace(mixer, n_keys=4, n_features=4)
    with pytest.raises(ValueError, match="`attention_dropout` must be 0"):
        mixer(x)
    mixer.attention_dropout = 0.0
    mixer(x).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in mixer.parameters())


def test_across_two_series_attention_stays() -> None:
    layer = nn.TransformerDecoderLayer(16, 2, 32, batch_first=True).eval()
    assert [one.name for one in replace(layer, "local", n_keys=4)] == ["self_attn"]
    assert layer(torch.zeros(1, 6, 16), torch.zeros(1, 9, 16)).shape == (1, 6, 16)


def test_scatterbrain_of_the_recipe_is_the_function() -> None:
    q, k, v = series(3, 1, 40, 2, 8)
    recipe = Recipe("scatterbrain", n_keys=6, n_features=4, keys="strongest", seed=3)
    from seqkit.attention.searching import find_keys

    support = find_keys(q, k, 6, "strongest", generator=torch.Generator())
    top = (q.transpose(1, 2) @ k.transpose(1, 2).mT).topk(6).indices.sort(-1).values
    assert torch.equal(support.keys.sort(-1).values, top)
    features = draw_features(4, 8, generator=torch.Generator().manual_seed(3 + 2**32), dtype=torch.float64)
    close(recipe.attend(q, k, v), scatterbrain_attention(q, k, v, features, support))
