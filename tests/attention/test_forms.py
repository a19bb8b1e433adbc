"""Performer, LSH and Scatterbrain against the definition in float64: values, gradients, causality, padding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from seqkit.attention import (
    Support,
    dense_attention,
    dense_matrix,
    draw_features,
    draw_hash,
    draw_projections,
    hash_support,
    join_supports,
    local_support,
    lsh_attention,
    performer_attention,
    scatterbrain_attention,
    sorted_support,
)
from seqkit.attention import support as supports
from seqkit.kernels.attention import attention

B, L, H, D, V = 2, 37, 3, 8, 5
LENGTHS = torch.tensor([37, 20])
FORMS = ("performer", "lsh", "scatterbrain")


@pytest.fixture(autouse=True)
def gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Series this short are multiplied whole; here they are gathered as long ones are."""
    monkeypatch.setattr(supports, "DENSE", 0)


class Case(NamedTuple):
    q: Tensor
    k: Tensor
    v: Tensor
    needs: dict[str, Any]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def support_of(q: Tensor, k: Tensor, causal: bool, lengths: Tensor | None = None) -> Support:
    hashed = hash_support(q, k, draw_hash(6, D, rounds=2, generator=generator(1)), 4, causal=causal, lengths=lengths)
    return join_supports(hashed, local_support(q.shape[1], 3, causal=causal))


def case(form: str, *, causal: bool = False, lengths: Tensor | None = None, dtype: torch.dtype = torch.float64) -> Case:
    random = generator(2)
    q, k = torch.randn(2, B, L, H, D, generator=random, dtype=dtype)
    v = torch.randn(B, L, H, V, generator=random, dtype=dtype)
    needs: dict[str, Any] = {}
    if form != "lsh":
        needs["features"] = draw_features(12, D, generator=generator(3), dtype=dtype)
    if form != "performer":
        needs["support"] = support_of(q, k, causal, lengths)
    return Case(q, k, v, needs)


def attend(form: str) -> Callable[..., Tensor]:
    one = {"performer": performer_attention, "lsh": lsh_attention, "scatterbrain": scatterbrain_attention}[form]
    return lambda q, k, v, features=None, support=None, **options: one(
        q, k, v, *[x for x in (features, support) if x is not None], **options
    )


def error(ours: Tensor, truth: Tensor) -> float:
    return float((ours - truth).square().mean().sqrt() / truth.square().mean().sqrt())


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("chunk", [None, 1, 7, 37, 100])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_equals_the_definition(form: str, causal: bool, chunk: int | None, padded: bool) -> None:
    lengths = LENGTHS if padded else None
    q, k, v, needs = case(form, causal=causal, lengths=lengths)
    options = {"causal": causal, "lengths": lengths}
    truth = dense_attention(q, k, v, **needs, **options)
    assert error(attend(form)(q, k, v, **needs, **options, chunk=chunk), truth) < 1e-12


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("form", ["lsh", "scatterbrain"])
def test_short_series_by_products_with_all_keys(form: str, causal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    one, options = case(form, causal=causal, lengths=LENGTHS), {"causal": causal, "lengths": LENGTHS}
    found = []
    for dense in (0, 2, 100):  # none of the chunks, the first ones where causal, all
        monkeypatch.setattr(supports, "DENSE", dense)
        inputs = [x.clone().requires_grad_() for x in one[:3]]
        out = attend(form)(*inputs, **one.needs, **options, chunk=8, dropout=0.3, seed=4)
        found.append((out.detach(), *torch.autograd.grad(out.sin().sum(), inputs)))
    truth = dense_attention(*one[:3], **one.needs, **options, dropout=0.3, seed=4)
    assert error(found[2][0], truth) < 1e-12
    for other in found[1:]:
        for mine, theirs in zip(other, found[0], strict=True):
            assert error(mine, theirs) < 1e-11


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_gradients_equal_the_definitions(form: str, causal: bool) -> None:
    one = case(form, causal=causal, lengths=LENGTHS)
    weight = torch.randn(B, L, H, V, generator=generator(4), dtype=torch.float64)
    found = []
    for form_of_it in (dense_attention, lambda *a, **o: attend(form)(*a, **o, chunk=8)):
        inputs = [x.clone().requires_grad_() for x in one[:3]]
        out = form_of_it(*inputs, **one.needs, causal=causal, lengths=LENGTHS)
        found.append(torch.autograd.grad((out * weight).sum(), inputs))
    for name, truth, ours in zip("qkv", *found, strict=True):
        assert error(ours, truth) < 1e-11, name
        assert not ours[1, 20:].any()


@pytest.mark.parametrize("form", FORMS)
def test_gradcheck(form: str) -> None:
    random = generator(5)
    inputs = [torch.randn(1, 6, 1, 4, generator=random, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    features = draw_features(6, 4, generator=generator(6), dtype=torch.float64)
    support = hash_support(*inputs[:2], draw_hash(2, 4, generator=generator(7)), 2, causal=True)
    needs = {"features": features, "support": support}
    kept = {name: one for name, one in needs.items() if name in case(form).needs}
    assert torch.autograd.gradcheck(lambda *x: attend(form)(*x, **kept, causal=True, chunk=4), inputs)


@pytest.mark.parametrize("form", FORMS)
def test_later_keys_change_nothing(form: str) -> None:
    q, k, v, needs = case(form, causal=True)
    before = attend(form)(q, k, v, **needs, causal=True, chunk=8)
    later = [x.clone() for x in (q, k, v)]
    for x in later:
        x[:, 21:] = 30 * torch.randn(x[:, 21:].shape, generator=generator(8), dtype=x.dtype)
    if "support" in needs:
        needs["support"] = support_of(later[0], later[1], causal=True)
    after = attend(form)(*later, **needs, causal=True, chunk=8)
    assert torch.equal(after[:, :21], before[:, :21])
    assert not torch.equal(after[:, 21:], before[:, 21:])


@pytest.mark.parametrize("form", FORMS)
def test_gradient_to_later_keys_is_zero(form: str) -> None:
    q, k, v, needs = case(form, causal=True)
    k.requires_grad_()
    v.requires_grad_()
    out = attend(form)(q, k, v, **needs, causal=True, chunk=8)
    for grad in torch.autograd.grad(out[:, 10].sum(), (k, v)):
        assert grad[:, :11].any()
        assert not grad[:, 11:].any()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_padding_changes_nothing(form: str, causal: bool) -> None:
    q, k, v, needs = case(form, causal=causal, lengths=LENGTHS)
    for x in (q, k, v):
        x[1, 20:] = torch.nan
    if "support" in needs:
        needs["support"] = support_of(q, k, causal, LENGTHS)
    padded = attend(form)(q, k, v, **needs, causal=causal, lengths=LENGTHS)
    assert not padded[1, 20:].any()
    q, k, v = (x[1:, :20] for x in (q, k, v))
    if "support" in needs:
        needs["support"] = support_of(q, k, causal)
    alone = attend(form)(q, k, v, **needs, causal=causal)
    assert error(padded[1:, :20], alone) < 1e-12


@pytest.mark.parametrize("causal", [False, True])
def test_whole_support_is_softmax_attention(causal: bool) -> None:
    q, k, v, needs = case("scatterbrain")
    everything = local_support(L, 2 * L)
    exact = torch.nn.functional.scaled_dot_product_attention(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=causal
    ).transpose(1, 2)
    ours = scatterbrain_attention(q, k, v, needs["features"], everything, causal=causal, chunk=8)
    assert error(ours, exact) < 1e-12
    assert error(lsh_attention(q, k, v, everything, causal=causal), exact) < 1e-12


@pytest.mark.parametrize("causal", [False, True])
def test_empty_support_is_performer(causal: bool) -> None:
    q, k, v, needs = case("scatterbrain")
    index = torch.zeros(1, 1, L, 2, dtype=torch.int64)
    empty = Support(index, torch.zeros_like(index, dtype=torch.bool))
    ours = scatterbrain_attention(q, k, v, needs["features"], empty, causal=causal)
    assert error(ours, performer_attention(q, k, v, needs["features"], causal=causal)) < 1e-13
    assert not lsh_attention(q, k, v, empty, causal=causal).any()


def test_exact_on_the_support_and_by_features_off_it() -> None:
    q, k, _, needs = case("scatterbrain")
    exact, low_rank = dense_matrix(q, k), dense_matrix(q, k, features=needs["features"])
    both = dense_matrix(q, k, **needs)
    on = dense_matrix(q, k, support=needs["support"]) > 0
    assert 0.1 < on.double().mean() < 0.5
    assert torch.equal(both[on], exact[on])
    assert torch.equal(both[~on], low_rank[~on])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_rows_are_weights(form: str, causal: bool) -> None:
    # With the identity as values the output is the matrix itself.
    q, k, _, needs = case(form, causal=causal)
    rows = attend(form)(q, k, torch.eye(L, dtype=q.dtype)[None, :, None].expand(B, L, H, L), **needs, causal=causal)
    assert rows.min() > -1e-15
    assert (rows.sum(-1) - 1).abs().max() < 1e-12


@pytest.mark.parametrize("causal", [False, True])
def test_order_of_keys_does_not_matter(causal: bool) -> None:
    q, k, v, needs = case("scatterbrain", causal=causal)
    order = torch.randperm(L, generator=generator(9))
    place = order.argsort()
    moved = Support(place[needs["support"].keys.clamp(0, L - 1)], needs["support"].valid)
    before = scatterbrain_attention(q, k, v, **needs)
    after = scatterbrain_attention(q, k[:, order], v[:, order], needs["features"], moved)
    assert error(after, before) < 1e-12


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_large_logits_stay_finite(form: str, causal: bool) -> None:
    q, k, v, needs = case(form, dtype=torch.float32)
    q, k = (40 * x / x.norm(dim=-1, keepdim=True) for x in (q, k))
    inputs = [x.requires_grad_() for x in (q, k, v)]
    out = attend(form)(*inputs, **needs, causal=causal, scale=1.0, chunk=8)
    assert out.isfinite().all()
    assert out.abs().max() <= 1.001 * v.abs().max()
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(out.sum(), inputs))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 3e-6), (torch.float16, 1e-3), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize("form", FORMS)
def test_lower_precision(form: str, dtype: torch.dtype, limit: float, causal: bool) -> None:
    # The same rounded inputs and the same support; scale and vectors of norm about 1 after it.
    q, k, v, needs = case(form, causal=causal)
    low = [x.to(dtype) for x in (0.35 * q, 0.35 * k, v)]
    truth = dense_attention(*(x.double() for x in low), **needs, causal=causal, scale=1.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = attend(form)(*low, **needs, causal=causal, scale=1.0)
    assert ours.dtype == dtype
    assert error(ours.double(), truth) < limit


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("scale", [1.0, 8.0, 64.0])
def test_sharp_attention_in_float32(scale: float, causal: bool) -> None:
    # The features' part is a difference of sums; queries lie near one key each, so some logits are as large as `scale`.
    random = generator(10)
    q, k = (x / x.norm(dim=-1, keepdim=True) for x in torch.randn(2, 1, 200, 1, 16, generator=random))
    q = torch.nn.functional.normalize(q + 3 * k.flip(1), dim=-1)
    v = torch.randn(1, 200, 1, V, generator=random)
    features = draw_features(24, 16, generator=random)
    support = hash_support(q, k, draw_hash(16, 16, rounds=2, generator=random), 12, causal=causal)
    options = {"features": features, "support": support, "scale": scale, "causal": causal}
    truth = dense_attention(q.double(), k.double(), v.double(), **options)
    ours = scatterbrain_attention(q, k, v, **options)
    assert error(ours.double(), truth) < 2e-5


@pytest.mark.parametrize("form", FORMS)
def test_one_shared_support_serves_all_heads(form: str) -> None:
    q, k, v, needs = case(form)
    if "support" in needs:
        needs["support"] = local_support(L, 5)
    assert error(attend(form)(q, k, v, **needs), dense_attention(q, k, v, **needs)) < 1e-12


def test_sorted_chunks_serve_too() -> None:
    q, k, v, needs = case("scatterbrain")
    needs["support"] = sorted_support(q, k, draw_projections(2, D, generator=generator()), 6)
    assert error(scatterbrain_attention(q, k, v, **needs), dense_attention(q, k, v, **needs)) < 1e-12


def test_bad_inputs_are_named() -> None:
    q, k, v, needs = case("scatterbrain")
    features, support = needs["features"], needs["support"]
    with pytest.raises(ValueError, match=r"`v` must have shape"):
        performer_attention(q, k[:, :5], v, features)
    with pytest.raises(ValueError, match=r"`v` must have the dtype"):
        performer_attention(q, k, v.float(), features)
    with pytest.raises(ValueError, match=r"`features.directions` must have shape \(M, 8\)"):
        performer_attention(q, k, v, draw_features(8, 4, generator=generator()))
    with pytest.raises(ValueError, match=r"`support.keys` must have shape"):
        scatterbrain_attention(q, k, v, features, Support(support.keys[:, :, :9], support.valid[:, :, :9]))
    with pytest.raises(ValueError, match=r"`scale` must be a finite number above 0"):
        lsh_attention(q, k, v, support, scale=0.0)
    with pytest.raises(ValueError, match=r"`chunk` must be a whole number"):
        lsh_attention(q, k, v, support, chunk=0)
    with pytest.raises(ValueError, match=r"lengths\[1\] is 99"):
        lsh_attention(q, k, v, support, lengths=torch.tensor([4, 99]))


def grouped(form: str, *, length: int = L, keys: int = L, causal: bool = False) -> Case:
    """Six heads of queries on two heads of keys, over keys of another length."""
    random = generator(11)
    q = torch.randn(B, length, 6, D, generator=random, dtype=torch.float64)
    k = torch.randn(B, keys, 2, D, generator=random, dtype=torch.float64)
    v = torch.randn(B, keys, 2, V, generator=random, dtype=torch.float64)
    needs: dict[str, Any] = {}
    if form != "lsh":
        needs["features"] = draw_features(12, D, generator=generator(3), dtype=torch.float64)
    if form != "performer":
        needs["support"] = hash_support(q, k, draw_hash(6, D, rounds=2, generator=generator(1)), 4, causal=causal)
    return Case(q, k, v, needs)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_heads_that_share_keys(form: str, causal: bool) -> None:
    one = grouped(form, causal=causal)
    found = []
    for form_of_it in (dense_attention, lambda *a, **o: attend(form)(*a, **o, chunk=9)):
        inputs = [x.clone().requires_grad_() for x in one[:3]]
        out = form_of_it(*inputs, **one.needs, causal=causal)
        found.append((out.detach(), *torch.autograd.grad(out.sin().sum(), inputs)))
    repeated = [one.q, *(x.repeat_interleave(3, 2) for x in (one.k, one.v))]
    assert error(found[0][0], dense_attention(*repeated, **one.needs, causal=causal)) < 1e-14
    for truth, ours in zip(*found, strict=True):
        assert error(ours, truth) < 1e-11


@pytest.mark.parametrize(("length", "keys"), [(9, 40), (40, 9)])
@pytest.mark.parametrize("form", FORMS)
def test_keys_of_another_length(form: str, length: int, keys: int) -> None:
    q, k, v, needs = grouped(form, length=length, keys=keys)
    assert error(attend(form)(q, k, v, **needs), dense_attention(q, k, v, **needs)) < 1e-12
    ends = {"lengths": torch.tensor([length, 5]), "key_lengths": torch.tensor([7, keys])}
    padded = [x.clone() for x in (q, k, v)]
    padded[0][1, 5:] = padded[1][0, 7:] = padded[2][0, 7:] = torch.nan
    if "support" in needs:
        needs["support"] = sorted_support(*padded[:2], draw_projections(2, D, generator=generator()), 5, **ends)
    ours = attend(form)(*padded, **needs, **ends)
    assert error(ours, dense_attention(q, k, v, **needs, **ends)) < 1e-12
    assert not ours[1, 5:].any()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("form", ["lsh", "scatterbrain"])
def test_dropout_takes_exact_weights_alone(form: str, causal: bool) -> None:
    one = grouped(form, causal=causal)
    found = []
    for form_of_it in (dense_attention, lambda *a, **o: attend(form)(*a, **o, chunk=9)):
        inputs = [x.clone().requires_grad_() for x in one[:3]]
        out = form_of_it(*inputs, **one.needs, causal=causal, dropout=0.4, seed=3)
        found.append((out.detach(), *torch.autograd.grad(out.sin().sum(), inputs)))
    for truth, ours in zip(*found, strict=True):
        assert error(ours, truth) < 1e-11
    assert error(found[1][0], attend(form)(*one[:3], **one.needs, causal=causal)) > 0.05


@pytest.mark.parametrize("causal", [False, True])
def test_dropout_of_all_keys_is_that_of_the_kernel(causal: bool) -> None:
    q, k, v, _ = grouped("lsh")
    support = local_support(L, 2 * L, causal=causal)
    truth = attention(q, k, v, causal=causal, dropout=0.3, seed=5)
    assert error(lsh_attention(q, k, v, support, causal=causal, dropout=0.3, seed=5), truth) < 1e-12


@pytest.mark.parametrize("hashed", [False, True])
@pytest.mark.parametrize("chunk", [1, 7, None])
@pytest.mark.parametrize("window", [1, 5, 100])
@pytest.mark.parametrize("causal", [False, True])
def test_a_window_is_exact(window: int, chunk: int | None, hashed: bool, causal: bool) -> None:
    q, k, v, needs = grouped("scatterbrain", causal=causal)
    near = local_support(L, window, causal=causal)
    found = needs.pop("support")
    support = join_supports(near, found) if hashed else near
    options = {"causal": causal, "lengths": LENGTHS}
    truth = dense_attention(q, k, v, **needs, support=support, **options)
    given = (needs["features"], found) if hashed else (needs["features"],)
    ours = scatterbrain_attention(q, k, v, *given, window=window, chunk=chunk, **options)
    assert error(ours, truth) < 1e-12


def test_arguments_that_do_not_go_together() -> None:
    q, k, v, needs = grouped("scatterbrain", length=9, keys=40)
    features = needs["features"]
    with pytest.raises(ValueError, match="`causal` must be False where `k` has another length"):
        performer_attention(q, k, v, features, causal=True)
    with pytest.raises(ValueError, match="`key_lengths` must be given beside `lengths`"):
        performer_attention(q, k, v, features, lengths=torch.tensor([9, 9]))
    with pytest.raises(ValueError, match="heads of `k` must divide those of `q`"):
        performer_attention(q[:, :, :5], k, v, features)
    with pytest.raises(ValueError, match="`support` or `window` must be given"):
        scatterbrain_attention(q, k, v, features)
    with pytest.raises(ValueError, match="`window` must be None where `k` has another length"):
        scatterbrain_attention(q, k, v, features, window=3)
    with pytest.raises(ValueError, match="`seed` must be given"):
        lsh_attention(q, k, v, needs["support"], dropout=0.1)
