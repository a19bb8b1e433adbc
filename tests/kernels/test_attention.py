"""Exact attention: every option against the whole matrix in float64, and what must hold whatever the numbers are."""

import importlib
import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from seqkit.kernels.attention import alibi_slopes, attention

cpu = importlib.import_module("seqkit.kernels.attention.cpu")
panels = importlib.import_module("seqkit.kernels.attention.panels")

OPTIONS: dict[str, dict] = {
    "plain": {},
    "shared by two": {"G": 2},
    "shared by all": {"G": 1},
    "narrow values": {"E": 3},
    "wide heads": {"D": 200, "E": 256},
    "causal": {"causal": True},
    "causal, more queries": {"R": 93, "T": 77, "causal": True},
    "causal from the start": {"causal": True, "alignment": "start"},
    "causal from the start, more queries": {"R": 93, "T": 77, "causal": True, "alignment": "start"},
    "window": {"window": 5},
    "window on one side": {"window": (3, None), "alignment": "start"},
    "window, causal": {"window": 7, "causal": True, "R": 93, "T": 93},
    "alibi": {"alibi": True},
    "alibi from the start": {"alibi": torch.tensor([0.3, 0.0, 1.0, 0.01]), "alignment": "start"},
    "softcap": {"softcap": 0.7, "scale": 3.0},
    "dropout": {"dropout": 0.3, "seed": 5},
    "dropout, softcap, alibi, shared": {"dropout": 0.3, "seed": 2**40, "softcap": 2.0, "alibi": True, "G": 2},
    "lengths": {"R": 50, "T": 50, "lengths": torch.tensor([50, 20])},
    "lengths, causal, alibi": {"R": 50, "T": 50, "lengths": torch.tensor([33, 1]), "causal": True, "alibi": True},
    "both lengths": {"lengths": torch.tensor([77, 20]), "key_lengths": torch.tensor([10, 93]), "causal": True},
    "keys alone": {"key_lengths": torch.tensor([10, 93])},
    "packed": {"B": 1, "R": 60, "T": 60, "starts": torch.tensor([0, 10, 10, 33, 60]), "causal": True},
    "packed, own keys": {
        **{"B": 1, "R": 60, "T": 70, "starts": torch.tensor([0, 10, 20, 33, 60]), "alibi": True, "window": 9},
        "key_starts": torch.tensor([0, 30, 30, 40, 70]),
    },
    "long": {"B": 1, "R": 600, "T": 2300, "H": 2, "G": 1, "causal": True},
    "many short": {"B": 9, "R": 8, "T": 8, "H": 8, "causal": True},
    "no queries": {"R": 0},
    "no keys": {"T": 0},
    "no rows": {"B": 0},
}


def inputs(
    B: int = 2, R: int = 77, T: int = 93, H: int = 4, G: int = 4, D: int = 8, E: int = 8, dtype=torch.float64, **options
) -> tuple[list[Tensor], dict]:
    torch.manual_seed(0)
    shapes = ((B, R, H, D), (B, T, G, D), (B, T, G, E))
    return [torch.randn(*shape, dtype=torch.float64).to(dtype) for shape in shapes], options


def results(tensors: list[Tensor], backend: str, **options) -> dict[str, Tensor]:
    """Output, lse, and gradients of a fixed functional of both by name."""
    leaves = [value.detach().clone().requires_grad_() for value in tensors]
    out, lse = attention(*leaves, backend=backend, return_lse=True, **options)
    torch.manual_seed(1)
    weights = torch.randn(out.shape, dtype=torch.float64), torch.randn(lse.shape, dtype=torch.float64)
    alive = lse.masked_fill(lse == -torch.inf, 0)
    total = (out * weights[0]).sum() + (alive * weights[1]).sum()
    grads = torch.autograd.grad(total, leaves)
    return {"out": out.detach(), "lse": lse.detach(), **dict(zip(("dq", "dk", "dv"), grads, strict=True))}


def close(got: Tensor, want: Tensor, limit: float) -> bool:
    """Same dead rows, and all else within `limit` of the largest number."""
    alive = want > -torch.inf
    if not torch.equal(alive, got > -torch.inf) or bool(got.isnan().any()):
        return False
    if not bool(alive.any()):
        return True
    return float((got - want)[alive].abs().max()) <= limit * max(1.0, float(want[alive].abs().max()))


@pytest.mark.parametrize("case", OPTIONS)
def test_tiles_equal_the_whole_matrix(case: str) -> None:
    tensors, options = inputs(**OPTIONS[case])
    got, want = results(tensors, "cpu", **options), results(tensors, "reference", **options)
    for name in want:
        assert got[name].shape == want[name].shape
        assert close(got[name], want[name], 1e-12), name


@pytest.mark.parametrize("loops", [True, False], ids=["loops", "torch"])
@pytest.mark.parametrize("case", OPTIONS)
def test_single_precision(case: str, loops: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if loops:
        pytest.importorskip("numba")
    else:
        monkeypatch.setattr(cpu, "HAS_NUMBA", False)
    tensors, options = inputs(**OPTIONS[case], dtype=torch.float32)
    got = results(tensors, "cpu", **options)
    want = results([value.double() for value in tensors], "reference", **options)
    for name in want:
        assert got[name].dtype == torch.float32
        assert close(got[name].double(), want[name], 2e-5), name


def test_compiled_powers_of_two() -> None:
    pytest.importorskip("numba")
    scores = torch.linspace(-140, 60, 4096).view(1, 4, 1024)
    scores[0, 1, 7] = -torch.inf
    exact = scores.double().exp2().masked_fill(scores < -126, 0)
    powers = scores.clone()
    cpu.power_(powers)
    torch.testing.assert_close(powers.double(), exact, rtol=2e-7, atol=2.0**-126)
    highest = scores.amax(-1, keepdim=True)
    weights, peak, sums = cpu.weigh_(scores.clone(), None)
    assert torch.equal(peak, highest)
    torch.testing.assert_close(weights, (scores - highest).exp2(), rtol=1e-5, atol=2.0**-126)
    torch.testing.assert_close(sums, weights.sum(-1, keepdim=True))
    assert torch.equal(cpu.weigh_(scores.clone(), torch.full_like(highest, 10.0))[1], highest.clamp_min(10.0))
    spoiled = torch.tensor([[[1.0, torch.nan, 0.0]]])
    cpu.power_(spoiled)
    assert spoiled.isnan().tolist() == [[[False, True, False]]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("causal", [False, True])
def test_half_precision_is_as_exact_as_the_plain_form_in_it(dtype: torch.dtype, causal: bool) -> None:
    tensors, _ = inputs(R=128, T=128, D=32, E=32, dtype=dtype)

    def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = torch.einsum("brhd,bthd->bhrt", q, k) / math.sqrt(q.shape[-1])
        if causal:
            scores = scores.masked_fill(torch.ones(128, 128).triu(1).bool(), -torch.inf)
        return torch.einsum("bhrt,bthd->brhd", scores.softmax(-1), v)

    def all_of(function, wide: bool) -> list[Tensor]:
        leaves = [(value.double() if wide else value).requires_grad_() for value in tensors]
        out = function(*leaves)
        torch.manual_seed(1)
        weights = torch.randn(out.shape, dtype=torch.float64).to(dtype).to(out.dtype)
        return [out.detach(), *torch.autograd.grad(out, leaves, weights)]

    want = all_of(plain, wide=True)
    naive = all_of(plain, wide=False)
    for backend in ("cpu", "sdpa", "reference"):
        got = all_of(lambda *x, b=backend: attention(*x, causal=causal, backend=b), wide=False)
        for place, (one, other, exact) in enumerate(zip(got, naive, want, strict=True)):
            assert one.dtype == dtype
            error, allowed = ((value.double() - exact).abs().max() for value in (one, other))
            assert error <= (2 if place == 0 else 3) * allowed + 1e-5


@pytest.mark.parametrize("R", [1, 2, 40])
@pytest.mark.parametrize("alignment", ["end", "start"])
@pytest.mark.parametrize("causal", [False, True])
def test_torchs_own_gives_the_same(R: int, alignment: str, causal: bool) -> None:
    tensors, _ = inputs(R=R, T=40, G=2)
    options = {"causal": causal, "alignment": alignment}
    if causal and alignment == "end" and R == 2:
        with pytest.raises(ValueError, match='`backend` must not be "sdpa" here: its causality starts at both starts'):
            attention(*tensors, backend="sdpa", **options)
        torch.testing.assert_close(attention(*tensors, **options), attention(*tensors, backend="reference", **options))
        return
    want = attention(*tensors, backend="reference", **options)
    torch.testing.assert_close(attention(*tensors, backend="sdpa", **options), want, rtol=0, atol=1e-12)
    assert torch.equal(attention(*tensors, **options), attention(*tensors, backend="sdpa", **options))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"window": 3}, "`window`"),
        ({"alibi": True}, "`alibi`"),
        ({"softcap": 1.0}, "`softcap`"),
        ({"return_lse": True}, "`return_lse`"),
        ({"dropout": 0.1, "seed": 0}, "`dropout`"),
        ({"lengths": torch.tensor([3, 4])}, "`lengths` or `starts`"),
    ],
)
def test_torchs_own_says_what_it_does_not_serve(given: dict, words: str) -> None:
    tensors, _ = inputs(R=5, T=5)
    with pytest.raises(ValueError, match=f'"sdpa" here: it does not serve {words}; leave it at "auto"'):
        attention(*tensors, backend="sdpa", **given)


def test_result_does_not_depend_on_the_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors, options = inputs(R=300, T=310, causal=True, window=200, dropout=0.2, seed=1)
    want = results(tensors, "cpu", **options)
    for queries, keys in ((16, 16), (17, 50), (64, 7), (1000, 1000)):
        monkeypatch.setattr(panels, "QUERIES", queries)
        monkeypatch.setattr(panels, "KEYS", keys)
        got = results(tensors, "cpu", **options)
        assert all(close(got[name], want[name], 1e-12) for name in want)


def test_order_of_keys_does_not_matter() -> None:
    (q, k, v), _ = inputs()
    order = torch.randperm(k.shape[1])
    torch.testing.assert_close(attention(q, k[:, order], v[:, order], backend="cpu"), attention(q, k, v, backend="cpu"))


def test_weights_add_up_to_one_where_something_is_seen() -> None:
    (q, k, v), _ = inputs(R=93, T=77)
    out = attention(q, k, torch.ones_like(v), causal=True, backend="cpu")
    assert bool((out[:, :16] == 0).all())  # the first 16 of 93 queries stand before the first of 77 keys
    torch.testing.assert_close(out[:, 16:], torch.ones_like(out[:, 16:]), rtol=0, atol=1e-12)


def test_a_constant_in_all_scores_moves_lse_alone() -> None:
    (q, k, v), _ = inputs()
    ones = [torch.cat([value, torch.full_like(value[..., :1], part)], -1) for value, part in ((q, 3.0), (k, 2.0))]
    zeros = [torch.cat([value, torch.zeros_like(value[..., :1])], -1) for value in (q, k)]
    moved, lse_moved = attention(*ones, v, scale=0.5, return_lse=True)
    out, lse = attention(*zeros, v, scale=0.5, return_lse=True)
    torch.testing.assert_close(moved, out, rtol=0, atol=1e-12)
    torch.testing.assert_close(lse_moved, lse + 3.0, rtol=0, atol=1e-12)


def test_parts_of_the_keys_join_by_lse() -> None:
    tensors, _ = inputs()
    leaves = [value.requires_grad_() for value in tensors]
    q, k, v = leaves
    first, first_lse = attention(q, k[:, :40], v[:, :40], return_lse=True, backend="cpu")
    second, second_lse = attention(q, k[:, 40:], v[:, 40:], return_lse=True, backend="cpu")
    lse = torch.logaddexp(first_lse, second_lse)
    joined = (first_lse - lse).exp()[..., None] * first + (second_lse - lse).exp()[..., None] * second
    want = attention(q, k, v, backend="reference")
    torch.testing.assert_close(joined, want, rtol=0, atol=1e-14)
    weights = torch.randn_like(joined)
    got_grads, want_grads = (torch.autograd.grad((one * weights).sum(), leaves) for one in (joined, want))
    torch.testing.assert_close(got_grads, want_grads, rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_queries_that_see_nothing(backend: str) -> None:
    tensors, _ = inputs(R=93, T=77)
    leaves = [value.requires_grad_() for value in tensors]
    out, lse = attention(*leaves, causal=True, return_lse=True, backend=backend)
    assert bool((lse[:, :16] == -torch.inf).all())
    assert bool((out[:, :16] == 0).all())
    dq, dk, dv = torch.autograd.grad(out.square().sum() + lse[:, 16:].sum(), leaves)
    assert bool((dq[:, :16] == 0).all())
    assert all(bool(grad.isfinite().all()) for grad in (dq, dk, dv))


def test_rows_of_score_gradients_add_up_to_zero() -> None:
    # A shift of all keys changes each row's scores by a constant, which nothing may notice.
    tensors, _ = inputs()
    q, k, v = (value.requires_grad_() for value in tensors)
    out = attention(q, k, v, causal=True, backend="cpu")
    (dk,) = torch.autograd.grad((out * torch.randn_like(out)).sum(), [k])
    assert float(dk.sum(1).abs().max()) < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_large_scores_stay_finite(dtype: torch.dtype) -> None:
    tensors, _ = inputs(dtype=dtype)
    got = results([tensors[0] * 300, *tensors[1:]], "cpu")
    assert all(bool(value.isfinite().all()) for value in got.values())
    want = results([tensors[0].double() * 300, tensors[1].double(), tensors[2].double()], "reference")
    assert close(got["out"].double(), want["out"], 1e-3 if dtype == torch.float32 else 1e-11)


def test_the_past_does_not_see_the_future() -> None:
    (q, k, v), _ = inputs(R=93, T=93, dtype=torch.float32)
    before = attention(q, k, v, causal=True, backend="cpu")
    k[:, 60], v[:, 60] = 100.0, -100.0
    after = attention(q, k, v, causal=True, backend="cpu")
    assert torch.equal(before[:, :60], after[:, :60])
    assert not torch.equal(before[:, 60:], after[:, 60:])


def test_a_wide_window_is_none() -> None:
    tensors, _ = inputs(R=93, T=93)
    got, want = results(tensors, "cpu", window=93), results(tensors, "cpu")
    assert all(close(got[name], want[name], 1e-13) for name in want)


def test_shared_keys_equal_repeated_ones() -> None:
    (q, k, v), _ = inputs(G=2)
    want = attention(q, k.repeat_interleave(2, 2), v.repeat_interleave(2, 2), alibi=True, backend="cpu")
    torch.testing.assert_close(attention(q, k, v, alibi=True, backend="cpu"), want, rtol=0, atol=1e-13)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_packed_series_equal_each_alone(backend: str) -> None:
    (q, k, v), options = inputs(B=1, R=60, T=60, causal=True, alibi=True, window=20)
    bounds = [0, 7, 8, 40, 60]
    packed = attention(q, k, v, starts=torch.tensor(bounds), backend=backend, **options)
    alone = [attention(q[:, a:b], k[:, a:b], v[:, a:b], **options) for a, b in pairwise(bounds)]
    torch.testing.assert_close(packed, torch.cat(alone, 1), rtol=0, atol=1e-13)
    lengths = torch.tensor([7, 1, 32, 20])
    padded = [
        torch.nn.utils.rnn.pad_sequence([value[0, a:b] for a, b in pairwise(bounds)], batch_first=True)
        for value in (q, k, v)
    ]
    rows = attention(*padded, lengths=lengths, backend=backend, **options)
    torch.testing.assert_close(torch.cat([row[:n] for row, n in zip(rows, lengths, strict=True)]), packed[0])


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_padding_is_absent_whatever_it_holds(backend: str) -> None:
    tensors, _ = inputs(R=20, T=20)
    lengths = torch.tensor([20, 9])
    want = results(tensors, backend, lengths=lengths)
    for fill in (float("nan"), float("inf"), 1e300):
        spoiled = [value.clone() for value in tensors]
        for value in spoiled:
            value[1, 9:] = fill
        got = results(spoiled, backend, lengths=lengths)
        assert all(torch.equal(got[name], want[name]) for name in want)
    assert bool((want["out"][1, 9:] == 0).all())
    assert all(bool((want[name][1, 9:] == 0).all()) for name in ("dq", "dk", "dv"))


def test_alibi_is_the_distance_times_the_slope() -> None:
    zeros = torch.zeros(1, 3, 2, 4, dtype=torch.float64)
    _, lse = attention(zeros, zeros, zeros, alibi=True, return_lse=True, backend="cpu")
    slope = alibi_slopes(2)[1]
    want = torch.log(1 + torch.exp(-slope) + torch.exp(-2 * slope))
    torch.testing.assert_close(lse[0, 0, 1], want)


def test_softcap_bounds_scores() -> None:
    q = torch.full((1, 1, 1, 1), 1e4, dtype=torch.float64)
    k = torch.tensor([1.0, -1.0], dtype=torch.float64).view(1, 2, 1, 1)
    _, lse = attention(q, k, k, softcap=2.0, scale=1.0, return_lse=True, backend="cpu")
    torch.testing.assert_close(lse.squeeze(), torch.tensor([2.0, -2.0], dtype=torch.float64).logsumexp(0))


def test_dropout_is_a_function_of_its_seed() -> None:
    tensors, _ = inputs(R=40, T=40)
    first, again = (attention(*tensors, dropout=0.4, seed=7, backend="cpu") for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, attention(*tensors, dropout=0.4, seed=8, backend="cpu"))
    torch.testing.assert_close(first, attention(*tensors, dropout=0.4, seed=7, backend="reference"))
    torch.testing.assert_close(first, attention(*tensors, dropout=0.4, seed=torch.tensor(7), backend="cpu"))


def test_dropout_is_unbiased_and_as_wide_as_it_should_be() -> None:
    tensors, _ = inputs(B=1, R=6, T=30, H=2, G=2)
    draws = torch.stack([attention(*tensors, dropout=0.3, seed=seed, backend="cpu") for seed in range(1000)])
    error = (draws.mean(0) - attention(*tensors)) / (draws.std(0) / 1000**0.5)
    assert float(error.abs().max()) < 4
    # The variance of sum_j p_j v_j Z_j / (1 - d) is d / (1 - d) sum_j (p_j v_j)^2.
    q, k, v = (value.transpose(1, 2) for value in tensors)
    weights = (q @ k.mT / math.sqrt(8)).softmax(-1)
    want = 0.3 / 0.7 * (weights.square() @ v.square()).transpose(1, 2)
    assert float((draws.var(0) / want - 1).abs().mean()) < 0.06


def test_dropout_drops_its_share_everywhere() -> None:
    kept = importlib.import_module("seqkit.kernels.attention.dropout").kept
    at = torch.arange(512)
    stays = kept(torch.tensor(3), torch.arange(8), at, at, 0.25).double()
    assert abs(float(stays.mean()) - 0.75) < 4 * (0.75 * 0.25 / stays.numel()) ** 0.5
    for dims in ((0, 1), (0, 2), (1, 2)):
        shares = stays.mean(dims)
        spread = (0.75 * 0.25 / (stays.numel() / shares.numel())) ** 0.5
        assert float((shares - 0.75).abs().max()) < 4.5 * spread
    for one, other in ((stays[:, 1:], stays[:, :-1]), (stays[..., 1:], stays[..., :-1]), (stays[1:], stays[:-1])):
        together = float(((one - 0.75) * (other - 0.75)).mean()) / (0.75 * 0.25)
        assert abs(together) < 4.5 / one.numel() ** 0.5


def test_two_backwards_give_the_same_bits() -> None:
    tensors, options = inputs(R=300, T=300, G=2, dtype=torch.float32, causal=True)
    first, second = (results(tensors, "cpu", deterministic=True, **options) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_nothing_of_the_matrix_size_is_made(largest_tensor) -> None:
    length = 4096
    tensors, _ = inputs(B=1, R=length, T=length, H=1, G=1, D=64, E=64, dtype=torch.float32)
    leaves = [value.requires_grad_() for value in tensors]

    def both() -> None:
        attention(*leaves, backend="cpu").sum().backward()

    assert largest_tensor(both) <= max(2 * 2**18, 66 * length)


@pytest.mark.parametrize("case", ["causal", "softcap", "dropout, softcap, alibi, shared", "both lengths"])
def test_gradcheck(case: str) -> None:
    sizes = {"B": 2, "R": 4, "T": 5, "D": 3, "E": 2}
    _, options = inputs(**OPTIONS[case])
    if "lengths" in options:
        options = {**options, "lengths": torch.tensor([4, 2]), "key_lengths": torch.tensor([1, 5])}
    tensors, _ = inputs(**sizes, G=OPTIONS[case].get("G", 4))
    leaves = [value.requires_grad_() for value in tensors]
    assert torch.autograd.gradcheck(lambda *x: attention(*x, backend="cpu", **options), leaves)
    assert torch.autograd.gradgradcheck(lambda *x: attention(*x, backend="cpu", **options), leaves, fast_mode=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"k": torch.zeros(2, 5, 3, 4)}, "heads of `k` must divide those of `q`, got 3 for 4; repeat some"),
        ({"k": torch.zeros(2, 5, 4, 3)}, r"`k` must have shape \(2, T, G, 4\), got \(2, 5, 4, 3\)"),
        ({"v": torch.zeros(2, 6, 4, 4)}, r"`v` must have shape \(2, 5, 4, E\)"),
        ({"dropout": 0.1}, "`seed` must be given with dropout=0.1; draw a new whole number for each call"),
        ({"dropout": 1.0, "seed": 0}, "`dropout` must lie between 0 and 1"),
        ({"alignment": "middle"}, "`alignment` must be one of end, start, got 'middle'"),
        ({"window": -1}, "`window` must be a number of keys, 0 or above"),
        ({"softcap": 0.0}, "`softcap` must be a finite number above 0"),
        ({"scale": -1.0}, "`scale` must be a finite number above 0"),
        ({"alibi": torch.ones(3)}, r"`alibi` must have shape \(4\)"),
        ({"alibi": torch.ones(4).requires_grad_()}, "`alibi` must not require a gradient"),
        ({"lengths": torch.tensor([5, 6])}, r"lengths\[1\] is 6"),
        ({"lengths": torch.tensor([5.0, 5.0])}, "`lengths` must be whole numbers"),
        ({"starts": torch.tensor([0, 5])}, "`q` must be one row of packed series with `starts`, got 2"),
        ({"key_starts": torch.tensor([0, 5])}, "`starts` must be given with `key_starts`"),
        ({"mask": torch.ones(5, 5)}, "`mask` must be a BlockMask, got Tensor; make one with"),
    ],
)
def test_what_cannot_be_is_refused(change: dict, words: str) -> None:
    q = torch.zeros(2, 5, 4, 4)
    given = {"q": q, "k": q, "v": q, **change}
    with pytest.raises((ValueError, TypeError), match=words):
        attention(given.pop("q"), given.pop("k"), given.pop("v"), **given)


def test_more_that_cannot_be_is_refused() -> None:
    q = torch.zeros(1, 5, 4, 4)
    with pytest.raises(ValueError, match=r"`starts` must rise from 0 to 5, got \[0, 3, 2, 5\]"):
        attention(q, q, q, starts=torch.tensor([0, 3, 2, 5]))
    with pytest.raises(ValueError, match="`lengths` must not be given with `starts`"):
        attention(q, q, q, starts=torch.tensor([0, 5]), lengths=torch.tensor([5]))
    with pytest.raises(ValueError, match="`key_lengths` must be given beside `lengths`"):
        attention(q, q[:, :3], q[:, :3], lengths=torch.tensor([5]))
    with pytest.raises(TypeError, match=r"`k` must have the precision of `q` \(torch\.float32\)"):
        attention(q, q.double(), q)
