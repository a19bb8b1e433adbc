"""Attention's Triton kernels against the whole matrix in float64: interpreted, or on a CUDA device for real."""

import importlib
import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from seqkit.kernels.attention import attention, block_mask, butterfly_mask, local_mask
from seqkit.kernels.attention.triton import lists, sizes

pytest.importorskip("triton")

REAL = torch.cuda.is_available()
DEVICE = "cuda" if REAL else "cpu"
R, T = (300, 410) if REAL else (37, 45)  # no multiples of a tile; several tiles on either
PACKED = torch.tensor([0, R // 6, R // 6, R // 2, R])

OPTIONS: dict[str, dict] = {
    "plain": {},
    "shared by two, narrow values": {"G": 2, "H": 4, "E": 3},
    "wide heads": {"D": 200, "E": 256, "H": 1},
    "causal": {"causal": True},
    "causal, shared by all, more queries": {"R": T, "T": R, "causal": True, "H": 2, "G": 1},
    "causal from the start": {"causal": True, "alignment": "start"},
    "causal from the start, more queries": {"R": T, "T": R, "causal": True, "alignment": "start"},
    "window": {"window": 5},
    "window on one side": {"window": (3, None), "alignment": "start"},
    "window, causal": {"window": 7, "causal": True, "T": R},
    "alibi": {"alibi": True},
    "softcap": {"softcap": 0.7, "scale": 3.0},
    "softcap, small scores": {"softcap": 50.0},
    "dropout": {"dropout": 0.3, "seed": 5},
    "dropout, softcap, alibi, shared": {
        "dropout": 0.6,
        "seed": -(2**40),
        "softcap": 2.0,
        "alibi": True,
        "H": 2,
        "G": 1,
    },
    "lengths, causal, alibi": {
        "B": 2,
        "H": 2,
        "T": R,
        "lengths": torch.tensor([R - 4, 1]),
        "causal": True,
        "alibi": True,
    },
    "both lengths": {"B": 2, "lengths": torch.tensor([R, 20]), "key_lengths": torch.tensor([10, T]), "causal": True},
    "packed": {"T": R, "starts": PACKED, "causal": True, "dropout": 0.2, "seed": 1},
    "packed, own keys": {
        **{
            "starts": PACKED,
            "key_starts": torch.tensor([0, 30, 30, 40, T]),
            "alibi": True,
            "window": 9,
            "H": 2,
            "G": 1,
        },
    },
    "one query": {"R": 1, "causal": True},
    "no queries": {"R": 0},
    "no keys": {"T": 0},
    "no rows": {"B": 0},
}


def inputs(B: int = 1, R: int = R, T: int = T, H: int = 1, G: int | None = None, D: int = 8, E: int = 8, **options):
    torch.manual_seed(0)
    heads = H if G is None else G
    shapes = ((B, R, H, D), (B, T, heads, D), (B, T, heads, E))
    placed = {name: one.to(DEVICE) if isinstance(one, Tensor) else one for name, one in options.items()}
    return [torch.randn(*shape, dtype=torch.float64).to(DEVICE) for shape in shapes], placed


def results(tensors: list[Tensor], backend: str, **options) -> dict[str, Tensor]:
    """Output, lse, and gradients of a fixed functional of both by name."""
    leaves = [value.detach().clone().requires_grad_() for value in tensors]
    out, lse = attention(*leaves, backend=backend, return_lse=True, **options)
    torch.manual_seed(1)
    weights = [torch.randn(value.shape, dtype=torch.float64).to(value) for value in (out, lse)]
    total = (out * weights[0]).sum() + (lse.masked_fill(lse == -torch.inf, 0) * weights[1]).sum()
    grads = torch.autograd.grad(total, leaves)
    return {"out": out.detach(), "lse": lse.detach(), **dict(zip(("dq", "dk", "dv"), grads, strict=True))}


def assert_close(tensors: list[Tensor], limit: float = 1e-5, **options) -> None:
    """Compares the kernels in float32 with the reference in float64: dead rows are the same, errors relative."""
    got = results([value.float() for value in tensors], "triton", **options)
    want = results(tensors, "reference", **options)
    for name, value in want.items():
        alive = value > -torch.inf
        assert got[name].dtype == torch.float32
        assert torch.equal(alive, got[name] > -torch.inf), name
        if bool(alive.any()):
            difference = (got[name].double() - value)[alive].square().mean().sqrt()
            assert float(difference) <= limit * max(1e-3, float(value[alive].square().mean().sqrt())), name


@pytest.mark.parametrize("case", OPTIONS)
def test_every_option_equals_the_whole_matrix(case: str) -> None:
    tensors, options = inputs(**OPTIONS[case])
    assert_close(tensors, **options)


def masks(length: int) -> dict:
    torch.manual_seed(3)
    numbers = torch.rand(length, length)
    return {
        "butterfly": butterfly_mask(length, 2, tile=8),
        "local, global": local_mask(length, 1, tile=16, n_global=1),
        "sparse numbers": block_mask(numbers < 0.01, tile=8),
        "dense numbers": block_mask(numbers < 0.5, tile=(32, 8)),
        "nothing": block_mask(numbers < 0, tile=8),
        "full tiles wider than a program's": block_mask(numbers < 2, tile=(16, 64)),
        "a rule in odd tiles": block_mask(lambda i, j: (i - j).abs() % 37 < 20, (length, length), tile=11),
    }


MORE = {
    "alone": {},
    "causal, lengths": {"B": 2, "causal": True, "lengths": torch.tensor([T, 30])},
    "all at once": {
        **{"causal": True, "window": 20, "alibi": True, "softcap": 3.0, "dropout": 0.2, "seed": 3, "H": 2, "G": 1},
        "starts": torch.tensor([0, 20, T]),
    },
}


@pytest.mark.parametrize(
    ("name", "more"),
    [
        *((name, "alone") for name in masks(16)),
        *((name, "causal, lengths") for name in ("local, global", "a rule in odd tiles")),
        *((name, "all at once") for name in ("local, global", "dense numbers")),
    ],
)
def test_block_masks_equal_the_whole_matrix(name: str, more: str) -> None:
    tensors, options = inputs(R=T, **MORE[more])
    assert_close(tensors, mask=masks(T)[name].to(DEVICE), **options)


def test_full_and_partial_tiles_are_parted_in_order() -> None:
    torch.manual_seed(0)
    # More tiles in a line than the kernel takes at a time.
    bits = torch.rand(3, 200) < 0.9
    visible = torch.where(bits, torch.rand(3, 200) < 0.5, True).repeat_interleave(4, 0).repeat_interleave(2, 1)
    visible[::2, ::2] = True
    mask = block_mask(visible, tile=(4, 2)).to(DEVICE)
    by_row = lists.listed(mask.row_starts, mask.columns, mask.partial, None)
    by_column = lists.listed(mask.column_starts, mask.rows, mask.partial, mask.entries)
    for found, tiles, partial in (
        (by_row, mask.columns, mask.partial),
        (by_column, mask.rows, mask.partial[mask.entries]),
    ):
        bounds, middles = found.starts.tolist(), found.middles.tolist()
        for line, (a, z) in enumerate(pairwise(bounds)):
            entries = sorted(range(a, z), key=lambda one: (int(partial[one]) >= 0, one))
            assert found.places[a:z].tolist() == [int(tiles[one]) for one in entries]
            assert found.numbers[a:z].tolist() == [int(partial[one]) for one in entries]
            assert middles[line] == a + sum(int(partial[one]) < 0 for one in entries)


@pytest.mark.parametrize("tiles", [(16, 16), (16, 32), (64, 16)])
def test_result_does_not_depend_on_the_tiles(tiles: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "chosen", lambda *_: sizes.Sizes(*tiles, 4, 2))
    for more in ({"causal": True, "window": 30}, {"mask": local_mask(T, 1, tile=16).to(DEVICE), "alibi": True}):
        tensors, options = inputs(R=T, H=1, dropout=0.2, seed=1, **more)
        assert_close(tensors, **options)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("causal", [False, True])
def test_half_precision_is_as_exact_as_the_plain_form_in_it(dtype: torch.dtype, causal: bool) -> None:
    length, size = (500, 64) if REAL else (50, 32)
    tensors = [value.to(dtype) for value in inputs(R=length, T=length, H=1, D=size, E=size)[0]]

    def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = torch.einsum("brhd,bthd->bhrt", q, k) / math.sqrt(size)
        if causal:
            scores = scores.masked_fill(torch.ones(length, length, device=DEVICE).triu(1).bool(), -torch.inf)
        return torch.einsum("bhrt,bthd->brhd", scores.softmax(-1), v)

    def all_of(function, wide: bool) -> list[Tensor]:
        leaves = [(value.double() if wide else value).requires_grad_() for value in tensors]
        out = function(*leaves)
        torch.manual_seed(1)
        weights = torch.randn(out.shape, dtype=torch.float64).to(DEVICE, dtype).to(out.dtype)
        return [out.detach(), *torch.autograd.grad(out, leaves, weights)]

    want, naive = all_of(plain, wide=True), all_of(plain, wide=False)
    got = all_of(lambda *x: attention(*x, causal=causal, backend="triton"), wide=False)
    for place, (one, other, exact) in enumerate(zip(got, naive, want, strict=True)):
        assert one.dtype == dtype
        error, allowed = ((value.double() - exact).abs().max() for value in (one, other))
        assert error <= (2 if place == 0 else 3) * allowed + 1e-5


def test_queries_that_see_nothing() -> None:
    tensors, _ = inputs(R=T, T=R)
    leaves = [value.float().requires_grad_() for value in tensors]
    out, lse = attention(*leaves, causal=True, return_lse=True, backend="triton")
    dead = T - R
    assert bool((lse[:, :dead] == -torch.inf).all())
    assert bool((out[:, :dead] == 0).all())
    dq, dk, dv = torch.autograd.grad(out.square().sum() + lse[:, dead:].sum(), leaves)
    assert bool((dq[:, :dead] == 0).all())
    assert all(bool(grad.isfinite().all()) for grad in (dq, dk, dv))


def test_padding_is_absent_whatever_it_holds() -> None:
    tensors, _ = inputs(B=2, T=R)
    tensors, lengths = [value.float() for value in tensors], torch.tensor([R, 9], device=DEVICE)
    want = results(tensors, "triton", lengths=lengths, causal=True)
    spoiled = [value.clone() for value in tensors]
    for value in spoiled:
        value[1, 9:] = torch.nan
    got = results(spoiled, "triton", lengths=lengths, causal=True)
    assert all(torch.equal(got[name], want[name]) for name in want)
    assert all(bool((got[name][1, 9:] == 0).all()) for name in ("out", "dq", "dk", "dv"))


def test_a_packed_series_is_untouched_by_its_neighbours() -> None:
    tensors = [value.float() for value in inputs(T=R)[0]]
    options = {"starts": PACKED.to(DEVICE), "mask": local_mask(R, 2, tile=16).to(DEVICE)}
    want = attention(*tensors, backend="triton", **options)
    for value in tensors:
        value[:, R // 2 :] = 1e6
    got = attention(*tensors, backend="triton", **options)
    assert torch.equal(got[:, : R // 2], want[:, : R // 2])
    assert not torch.equal(got[:, R // 2 :], want[:, R // 2 :])


def test_parts_of_the_keys_join_by_lse() -> None:
    tensors, _ = inputs()
    q, k, v = leaves = [value.float().requires_grad_() for value in tensors]
    first, first_lse = attention(q, k[:, :20], v[:, :20], return_lse=True, backend="triton")
    second, second_lse = attention(q, k[:, 20:], v[:, 20:], return_lse=True, backend="triton")
    lse = torch.logaddexp(first_lse, second_lse)
    joined = (first_lse - lse).exp()[..., None] * first + (second_lse - lse).exp()[..., None] * second
    wide = [value.double().requires_grad_() for value in tensors]
    want = attention(*wide, backend="reference")
    torch.testing.assert_close(joined.double(), want, rtol=0, atol=1e-5)
    weights = torch.randn_like(joined)
    got = torch.autograd.grad((joined * weights).sum(), leaves)
    for one, other in zip(got, torch.autograd.grad((want * weights).sum(), wide), strict=True):
        torch.testing.assert_close(one.double(), other, rtol=0, atol=2e-5)


def test_large_scores_stay_finite() -> None:
    tensors, _ = inputs(H=1)
    given = [tensors[0] * 300, *tensors[1:]]
    got = results([value.float() for value in given], "triton")
    assert all(bool(value.isfinite().all()) for value in got.values())
    torch.testing.assert_close(got["out"].double(), results(given, "reference")["out"], rtol=0, atol=1e-2)


def test_the_past_does_not_see_the_future() -> None:
    q, k, v = (value.float() for value in inputs(R=T, H=1)[0])
    before = attention(q, k, v, causal=True, backend="triton")
    k[:, 30], v[:, 30] = 100.0, -100.0
    after = attention(q, k, v, causal=True, backend="triton")
    assert torch.equal(before[:, :30], after[:, :30])
    assert not torch.equal(before[:, 30:], after[:, 30:])


def test_two_backwards_give_the_same_bits() -> None:
    tensors, options = inputs(H=2, G=1, causal=True, dropout=0.1, seed=2)
    tensors = [value.float() for value in tensors]
    first, second = (results(tensors, "triton", deterministic=True, **options) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_strides_of_any_kind() -> None:
    q, k, v = (value.float() for value in inputs(H=2, G=1)[0])
    want = attention(q, k, v, backend="triton")
    turned = [value.transpose(1, 2).contiguous().transpose(1, 2) for value in (q, k, v)]
    assert torch.equal(attention(*turned, backend="triton"), want)
    strided = [torch.stack([value, value], -1)[..., 0] for value in (q, k, v)]
    assert torch.equal(attention(*strided, backend="triton"), want)


def test_nothing_of_the_matrix_size_is_made(largest_tensor) -> None:
    length = 8192 if REAL else 128
    leaves = [value.float().requires_grad_() for value in inputs(R=length, T=length, H=1)[0]]

    def both() -> None:
        attention(*leaves, causal=True, backend="triton").sum().backward()

    assert largest_tensor(both) <= 8 * length


@pytest.mark.skipif(REAL, reason="counts the interpreter's products")
def test_hidden_tiles_are_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    builder = importlib.import_module("triton.runtime.interpreter").InterpreterBuilder
    product, counted = builder.create_dot, []
    monkeypatch.setattr(builder, "create_dot", lambda *given: counted.append(1) or product(*given))
    tensors, _ = inputs(R=128, T=128, H=1, D=16, E=16)
    leaves = [value.float().requires_grad_() for value in tensors]

    def work(**options) -> int:
        counted.clear()
        attention(*leaves, backend="triton", **options).sum().backward()
        return len(counted)

    # Tiles of 32: two products forward, four for keys and three for queries.
    assert work() == 16 * 9
    assert work(causal=True) == 10 * 9
    assert work(window=20) == 10 * 9  # three diagonals of tiles
    mask = butterfly_mask(128, 1, tile=32)
    assert work(mask=mask) == 8 * 9
    assert work(mask=mask, causal=True) == 6 * 9
    assert work(mask=butterfly_mask(128, 0, tile=64)) == 8 * 9


def test_what_triton_does_not_serve() -> None:
    q = torch.zeros(1, 3, 1, 257, device=DEVICE)
    with pytest.raises(
        ValueError, match="its kernels hold heads of at most 256 numbers, and the sizes are 257 and 257"
    ):
        attention(q, q, q, backend="triton")
    assert attention(q, q, q, softcap=1.0).shape == q.shape  # "auto" leaves it to the path for CPUs
    q = q[..., :8].double()
    with pytest.raises(ValueError, match="its kernels compute in float32, and the tensors are float64"):
        attention(q, q, q, backend="triton")


@pytest.mark.gpu
def test_auto_takes_torchs_own_where_it_serves_and_ours_elsewhere() -> None:
    from seqkit.kernels import explain

    q = torch.zeros(1, 64, 2, 64, device="cuda", dtype=torch.bfloat16)
    for options, path in (
        ({}, "sdpa"),
        ({"causal": True}, "sdpa"),
        ({"softcap": 1.0}, "triton"),
        ({"mask": local_mask(64, 1, tile=16).to("cuda")}, "triton"),
        ({"deterministic": True}, "triton"),
    ):
        assert explain(attention, q, q, q, **options).backend == path


@pytest.mark.gpu
def test_places_beyond_two_billion() -> None:
    room = torch.zeros(1, 2**16 + 70, 1, 2**15 + 8, dtype=torch.bfloat16, device="cuda")  # 4.3 GB
    torch.manual_seed(0)
    room[..., :64] = torch.randn(1, 2**16 + 70, 1, 64, device="cuda")
    far = room[..., :64].detach().requires_grad_()
    near = room[..., :64].contiguous().requires_grad_()
    found = []
    for one in (far, near):
        out = attention(one, one, one, causal=True, window=100, backend="triton")
        found.append((out.detach(), *torch.autograd.grad(out.float().square().sum(), [one])))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)
