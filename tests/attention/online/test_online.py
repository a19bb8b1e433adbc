"""Performer, hashed attention and Scatterbrain sample by sample and in blocks, against the definition in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from seqkit.attention import (
    RandomFeatures,
    dense_attention,
    draw_features,
    draw_hash,
    hash_support,
    join_supports,
    local_support,
    lsh_block,
    lsh_state,
    lsh_step,
    performer_block,
    performer_state,
    performer_step,
    scatterbrain_block,
    scatterbrain_state,
    scatterbrain_step,
)
from seqkit.attention import support as supports

B, L, H, G, D, V = 2, 45, 4, 2, 8, 5
WINDOW, WIDTH = 6, 3


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


FEATURES = draw_features(12, D, generator=generator(1), dtype=torch.float64)
HASHED = draw_hash(4, D, rounds=2, generator=generator(2), dtype=torch.float64)


class Form(NamedTuple):
    start: Callable[[Tensor], Any]
    step: Callable[..., Any]
    block: Callable[..., Any]
    truth: dict[str, Any]


def form_of(name: str, q: Tensor, k: Tensor) -> Form:
    own = local_support(q.shape[1], 1 if name == "lsh" else WINDOW, causal=True)
    both = join_supports(own, hash_support(q, k, HASHED, WIDTH, causal=True))
    if name == "performer":
        start = lambda like: performer_state(like, B, G, FEATURES, V)  # noqa: E731
        return Form(start, bound(performer_step, FEATURES), bound(performer_block, FEATURES), {"features": FEATURES})
    if name == "lsh":
        start = lambda like: lsh_state(like, B, G, HASHED, WIDTH, V)  # noqa: E731
        return Form(start, bound(lsh_step, HASHED), bound(lsh_block, HASHED), {"support": both})
    hashed = HASHED if name == "scatterbrain" else None
    return Form(
        lambda like: scatterbrain_state(like, B, G, FEATURES, WINDOW, V, hashed=hashed, width=WIDTH),
        bound(scatterbrain_step, FEATURES, hashed=hashed),
        bound(scatterbrain_block, FEATURES, hashed=hashed),
        {"features": FEATURES, "support": both if hashed else own},
    )


def bound(function: Callable[..., Any], drawn: Any, **options: Any) -> Callable[..., Any]:
    return lambda q, k, v, state, **more: function(q, k, v, drawn, state, **options, **more)


FORMS = ("performer", "lsh", "scatterbrain", "scatterbrain without hashing")


def series(seed: int = 3, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    random = generator(seed)
    sizes = (B, L, H, D), (B, L, G, D), (B, L, G, V)
    q, k, v = (torch.randn(*size, generator=random, dtype=torch.float64).to(dtype) for size in sizes)
    return q, k, v


def error(ours: Tensor, truth: Tensor) -> float:
    return float((ours - truth).square().mean().sqrt() / truth.square().mean().sqrt().clamp(min=1e-30))


def by_steps(one: Form, q: Tensor, k: Tensor, v: Tensor, state: Any) -> tuple[Tensor, Any]:
    out = []
    for i in range(q.shape[1]):
        y, state = one.step(q[:, i], k[:, i], v[:, i], state)
        out.append(y)
    return torch.stack(out, 1), state


@pytest.mark.parametrize("dense", [0, 100])  # whether keys are gathered, or all multiplied as in short series
@pytest.mark.parametrize("name", FORMS)
def test_steps_and_blocks_equal_the_definition(name: str, dense: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supports, "DENSE", dense)
    q, k, v = series()
    one = form_of(name, q, k)
    truth = dense_attention(q, k, v, **one.truth, causal=True)
    stepped, last = by_steps(one, q, k, v, one.start(q))
    assert error(stepped, truth) < 1e-12
    state, blocks = one.start(q), []
    for part in (slice(0, 1), slice(1, 20), slice(20, 22), slice(22, L)):
        y, state = one.block(q[:, part], k[:, part], v[:, part], state)
        blocks.append(y)
    assert error(torch.cat(blocks, 1), truth) < 1e-12
    for mine, theirs in zip(tree_leaves(state), tree_leaves(last), strict=True):
        if mine is not None:
            assert error(mine, theirs) < 1e-12


@pytest.mark.parametrize("name", FORMS)
def test_each_series_state_ends_with_its_last_sample(name: str) -> None:
    q, k, v = series()
    one, lengths = form_of(name, q, k), torch.tensor([17, 4])
    q[1, 4:] = k[0, 17:] = v[1, 4:] = torch.nan
    first, state = one.block(q[:, :20], k[:, :20], v[:, :20], one.start(q), lengths=lengths)
    assert not first[1, 4:].any()
    q, k, v = series()
    after = [x[:, 20:30] for x in (q, k, v)]
    second, _ = one.block(*after, state)
    for i, n in enumerate(lengths):
        joined = [torch.cat((x[:, :n], y), 1) for x, y in zip((q, k, v), after, strict=True)]
        whole, _ = one.block(*joined, one.start(q))
        assert error(first[i, :n], whole[i, :n]) < 1e-12
        assert error(second[i], whole[i, n:]) < 1e-12


@pytest.mark.parametrize("name", FORMS)
def test_a_state_is_a_value_of_fixed_size(name: str) -> None:
    q, k, v = series()
    one = form_of(name, q, k)
    state = one.start(q)
    sizes = [x.shape for x in tree_leaves(state) if x is not None]
    for i in range(25):
        kept = [None if x is None else x.clone() for x in tree_leaves(state)]
        _, new = one.step(q[:, i], k[:, i], v[:, i], state)
        assert all(x is None or torch.equal(x, y) for x, y in zip(kept, tree_leaves(state), strict=True))
        state = new
    assert [x.shape for x in tree_leaves(state) if x is not None] == sizes


@pytest.mark.parametrize("name", FORMS)
def test_a_large_key_late_rescales_and_does_not_overflow(name: str) -> None:
    q, k, v = series(dtype=torch.float32)
    q, k = 6 * q, k * torch.linspace(0.1, 12, L)[:, None, None]
    one = form_of(name, q, k)
    out, _ = by_steps(one, q, k, v, one.start(q))
    assert out.isfinite().all()
    assert out.abs().max() <= 1.001 * v.abs().max()


@pytest.mark.parametrize("name", ["performer", "scatterbrain without hashing"])
def test_a_long_stream_stays_exact_in_float32(name: str) -> None:
    # Ten times the samples, in float32, against the block form in float64 of the same numbers.
    random = generator(5)
    q, k, v = (torch.randn(B, 450, heads, size, generator=random) for heads, size in ((H, D), (G, D), (G, V)))
    one = form_of(name, q, k)
    out, _ = by_steps(one, q, k, v, one.start(q))
    truth, _ = one.block(q.double(), k.double(), v.double(), one.start(q.double()))
    assert error(out.double(), truth) < 3e-6


@pytest.mark.parametrize("name", FORMS)
def test_gradients_pass_through_steps(name: str) -> None:
    found = []
    for by_block in (True, False):
        inputs = [x[:, :12].clone().requires_grad_() for x in series()]
        one = form_of(name, *inputs[:2])
        run = one.block if by_block else lambda *x, one=one: by_steps(one, *x)
        out, _ = run(*inputs, one.start(inputs[0]))
        found.append(torch.autograd.grad(out.cos().sum(), inputs))
    for mine, theirs in zip(*found, strict=True):
        assert error(mine, theirs) < 1e-11


def test_dropout_is_right_in_the_mean() -> None:
    q, k, v = (x[:1, :12] for x in series())
    one = form_of("scatterbrain", q, k)
    for run in (one.block, lambda *x, **o: one.step(*(y[:, 0] for y in x[:3]), x[3], **o)):
        start = scatterbrain_state(q, 1, G, FEATURES, WINDOW, V, hashed=HASHED, width=WIDTH)
        _, start = one.block(q, k, v, start)
        whole, _ = run(q, k, v, start)
        drawn = torch.stack([run(q, k, v, start, dropout=0.3, seed=seed)[0] for seed in range(150)])
        spread = drawn.std(0) / 150**0.5
        assert ((drawn.mean(0) - whole).abs() < 5 * spread + 1e-12).all()
        assert (spread > 0).any()


def test_bad_inputs_are_named() -> None:
    q, k, v = (x[:, 0] for x in series())
    small = RandomFeatures(torch.zeros(4, 3, dtype=torch.float64), True)
    with pytest.raises(ValueError, match=r"`features.directions` must have shape \(M, 8\)"):
        performer_step(q, k, v, small, performer_state(q, B, G, small, V))
    with pytest.raises(ValueError, match="heads of `k` must divide those of `q`"):
        performer_step(q[:, :3], k, v, FEATURES, performer_state(q, B, G, FEATURES, V))
    with pytest.raises(ValueError, match=r"`hashed.directions` must have shape"):
        lsh_step(q[..., :4], k[..., :4], v, HASHED, lsh_state(q, B, G, HASHED, WIDTH, V))
    with pytest.raises(ValueError, match="`width` must be a whole number"):
        lsh_state(q, B, G, HASHED, 0, V)
    with pytest.raises(ValueError, match="`window` must be a whole number"):
        scatterbrain_state(q, B, G, FEATURES, 0, V)
    with pytest.raises(ValueError, match="`seed` must be given"):
        lsh_step(q, k, v, HASHED, lsh_state(q, B, G, HASHED, WIDTH, V), dropout=0.5)
