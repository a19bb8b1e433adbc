"""Numbers in a few bits: every path writes and reads the bytes of the definition, and the error is the known one."""

import math

import pytest
import torch
from torch import Tensor

from seqkit.kernels.quantise import cpu, dequantise, largest_code, quantise, row_bytes
from seqkit.kernels.quantise.noise import uniform
from seqkit.kernels.quantise.reference import pack, unpack

BITS = range(1, 9)
WAYS = {"nearest": {}, "stochastic": {"seed": torch.tensor(2**40 + 7)}, "minimax": {"scale": "minimax"}}
# Relative error of Gaussian rows: (bits, group, way) -> what was measured for the symmetric grid.
KNOWN = {
    (2, 16, "nearest"): 0.58,
    (2, 64, "nearest"): 0.72,
    (2, 512, "nearest"): 0.84,
    (2, 16, "stochastic"): 0.83,
    (2, 64, "stochastic"): 1.03,
    (2, 512, "stochastic"): 1.26,
    (3, 64, "nearest"): 0.25,
    (3, 64, "stochastic"): 0.36,
    (4, 64, "nearest"): 0.107,
    (4, 512, "nearest"): 0.134,
    (4, 64, "stochastic"): 0.153,
    (8, 64, "nearest"): 0.006,
    (8, 64, "stochastic"): 0.008,
}


@pytest.fixture(autouse=True)
def poisoned_memory():
    """Fills what `torch.empty` returns, so that a byte never written shows."""
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(False)


def rows(length: int) -> Tensor:
    """Ordinary rows, zeros, and numbers near both ends of float32."""
    x = torch.randn(5, length)
    x[1], x[2], x[3], x[4] = 0, x[2] * 1e-40, x[3] * 1e30, x[4] * 8e37
    return x


def norm_error(x: Tensor, y: Tensor) -> float:
    return float((x.double() - y.double()).norm() / x.double().norm())


@pytest.mark.parametrize("backend", ["cpu", "triton"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("bits", BITS)
def test_each_path_writes_the_bytes_of_the_definition(bits: int, way: str, backend: str) -> None:
    if backend == "triton":
        pytest.importorskip("triton")
    device = "cuda" if backend == "triton" and torch.cuda.is_available() else "cpu"
    sizes = ((5, 8), (100, 24)) if backend == "triton" else ((1, 8), (5, 8), (64, 64), (100, 24), (1000, 64), (90, 512))
    for length, group in sizes:
        x, base = rows(length), torch.randn(5, length)
        want = quantise(x, bits, group, backend="reference", **WAYS[way])
        got = quantise(x.to(device), bits, group, backend=backend, **WAYS[way])
        assert torch.equal(got.cpu(), want)
        for onto in (None, base):
            plain = dequantise(want, length, bits, group, onto=onto, backend="reference")
            fast = dequantise(got, length, bits, group, onto=None if onto is None else onto.to(device), backend=backend)
            assert torch.equal(fast.cpu(), plain)


@pytest.mark.parametrize("bits", BITS)
def test_without_numba_and_with_threads(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(3, 5000)
    want = quantise(x, bits, 64)
    monkeypatch.setattr(cpu, "SMALLEST", 64)
    torch.set_num_threads(3)
    try:
        assert torch.equal(quantise(x, bits, 64), want)
        assert torch.equal(dequantise(want, 5000, bits, 64), dequantise(want, 5000, bits, 64, backend="reference"))
    finally:
        torch.set_num_threads(1)
    monkeypatch.setattr(cpu, "HAS_NUMBA", False)
    assert torch.equal(quantise(x, bits, 64), want)


@pytest.mark.parametrize("bits", BITS)
def test_packing_is_reversed_and_short(bits: int) -> None:
    for length in (1, 2, 7, 8, 9, 63, 64, 65):
        codes = torch.randint(0, 1 << bits, (3, length))
        data = pack(codes, bits)
        assert data.shape == (3, math.ceil(length * bits / 8))
        assert torch.equal(unpack(data, length, bits), codes)
        # A string of bits, lowest first: number i begins at bit i * bits.
        number = sum(int(code) << (bits * place) for place, code in enumerate(codes[0]))
        assert int.from_bytes(bytes(data[0].tolist()), "little") == number
        assert row_bytes(length, bits, 32) == data.shape[1] + 2 * math.ceil(length / 32)


@pytest.mark.parametrize("case", KNOWN, ids=str)
def test_error_is_the_known_one(case: tuple[int, int, str]) -> None:
    bits, group, way = case
    x = torch.randn(60, 1024)
    y = dequantise(quantise(x, bits, group, **WAYS[way]), 1024, bits, group)
    assert norm_error(x, y) == pytest.approx(KNOWN[case], rel=0.1)


@pytest.mark.parametrize("way", ["nearest", "stochastic"])
def test_error_falls_with_bits_and_rises_with_groups(way: str) -> None:
    x = torch.randn(60, 1024)

    def lost(bits: int, group: int) -> float:
        return norm_error(x, dequantise(quantise(x, bits, group, **WAYS[way]), 1024, bits, group))

    by_bits = [lost(bits, 64) for bits in range(2, 9)]
    assert by_bits == sorted(by_bits, reverse=True)
    for bits in (2, 4, 8):
        by_group = [lost(bits, group) for group in (16, 64, 512)]
        assert by_group == sorted(by_group)


@pytest.mark.parametrize("bits", range(2, 9))
def test_the_minimax_step_has_the_smallest_largest_error(bits: int) -> None:
    """max |x| / (2 L + 1) where all codes are used, which no other step reaches; fewer bits gain more."""
    x = torch.randn(40, 1024)
    most = x.view(40, -1, 64).abs().amax(-1, keepdim=True)
    y, plain = (dequantise(quantise(x, bits, 64, scale=scale), 1024, bits) for scale in ("minimax", "absmax"))
    worst = ((x - y).view(40, -1, 64).abs() / most).max()
    assert 0.95 <= float(worst) * (2 * largest_code(bits) + 1) <= 1.01 + 0.008 * largest_code(bits)
    assert norm_error(x, y) < (0.85 if bits == 2 else 0.9 if bits == 3 else 1.0) * norm_error(x, plain)


@pytest.mark.parametrize("bits", BITS)
def test_stochastic_rounding_has_no_bias(bits: int) -> None:
    x, n = torch.randn(1, 64), 2000
    many = x.expand(n, 64).contiguous()
    y = dequantise(quantise(many, bits, 64, seed=torch.tensor(bits)), 64, bits)
    bias = norm_error(x, y.mean(0, keepdim=True))
    assert bias <= 5 * norm_error(many, y) / math.sqrt(n) + 1e-6
    top = int(x.abs().argmax())
    assert float(y[:, top].mean() / x[0, top]) == pytest.approx(1, abs=5e-3 if bits > 1 else 0.1)


def test_noise_is_uniform_and_differs_by_row_and_seed() -> None:
    u = uniform(torch.tensor(5), 200, 500)
    assert float(u.min()) >= 0
    assert float(u.max()) < 1
    assert float(u.mean()) == pytest.approx(0.5, abs=5e-3)
    assert float(u.var()) == pytest.approx(1 / 12, abs=2e-3)
    neighbours = torch.corrcoef(torch.stack([u[:-1].reshape(-1), u[1:].reshape(-1)]))[0, 1]
    assert abs(float(neighbours)) < 0.02
    assert not torch.equal(u, uniform(torch.tensor(6), 200, 500))
    assert not torch.equal(u, uniform(torch.tensor(5 + 2**33), 200, 500))


@pytest.mark.parametrize("bits", BITS)
def test_coding_twice_changes_nothing_more(bits: int) -> None:
    x = torch.randn(20, 500)
    y = dequantise(quantise(x, bits, 64), 500, bits)
    z = dequantise(quantise(y, bits, 64), 500, bits)
    assert torch.equal(y, z) if bits <= 6 else norm_error(y, z) < 3e-3


@pytest.mark.parametrize("bits", BITS)
def test_zeros_stay_zeros(bits: int) -> None:
    data = quantise(torch.zeros(2, 70), bits, 64)
    assert torch.equal(dequantise(data, 70, bits), torch.zeros(2, 70))
    base = torch.randn(2, 70)
    assert torch.equal(dequantise(data, 70, bits, onto=base), base)


def test_products_with_steps_are_exact_and_nothing_is_cut() -> None:
    """All normal bfloat16 steps times all codes have no more than float32's digits."""
    halves = torch.arange(1 << 7, 0x7F00, 7, dtype=torch.int32)
    steps = (halves << 16).view(torch.float32)
    q = torch.arange(-128, 129, dtype=torch.float32)
    product = steps[:, None] * q
    finite = product.isfinite()
    exact = steps.double()[:, None] * q.double()
    assert torch.equal(product.double()[finite], exact[finite])
    for bits in range(2, 9):
        x = torch.randn(200, 64) * torch.logspace(-30, 30, 200)[:, None]
        steps = quantise(x, bits, 64)[:, :2].contiguous().view(torch.bfloat16).double()
        ratio = x.double().abs().amax(-1) / (steps[:, 0] * largest_code(bits))
        assert float(ratio.max()) <= 1 + 1e-7
        assert float(ratio.min()) > 1 - 2**-7


def test_no_gradient_is_given_and_autocast_does_not_reach_inside() -> None:
    x, base = torch.randn(3, 100), torch.randn(3, 100)

    def both(x: Tensor) -> Tensor:
        return dequantise(quantise(x, 4, 64), 100, 4, 64, onto=base)

    want = both(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(both(x), want)
    assert not both(x.requires_grad_()).requires_grad


def test_empty_batches() -> None:
    assert quantise(torch.zeros(0, 5), 4).shape == (0, 5)
    assert dequantise(torch.zeros(0, 5, dtype=torch.uint8), 5, 4).shape == (0, 5)


def test_backend_that_cannot_serve_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(ValueError, match='`backend` must not be "triton" here'):
        quantise(torch.zeros(1, 8), 4, backend="triton")


WRONG = [
    (lambda: quantise(torch.zeros(3), 4), r"`x` must have shape \(R, n\), got \(3,\)"),
    (lambda: quantise(torch.zeros(1, 3), 9), "`bits` must be a whole number from 1 to 8, got 9"),
    (lambda: quantise(torch.zeros(1, 3), True), "`bits` must be a whole number from 1 to 8, got True"),
    (lambda: quantise(torch.zeros(1, 3), 4, 12), "`group` must be a multiple of 8, got 12"),
    (lambda: quantise(torch.zeros(1, 3), 4, scale="max"), "`scale` must be one of absmax, minimax, got 'max'"),
    (
        lambda: quantise(torch.zeros(1, 3), 4, seed=torch.tensor(1), scale="minimax"),
        '`scale` must be "absmax" with a seed, got "minimax"',
    ),
    (lambda: quantise(torch.tensor([[1.0, math.nan]]), 4), "`x` has 1 NaN or infinite values"),
    (lambda: quantise(torch.zeros(1, 3), 4, backend="gpu"), "`backend` must be one of auto"),
    (lambda: dequantise(torch.zeros(1, 3, dtype=torch.uint8), 3, 4), r"`data` must have shape \(R, 4\), got \(1, 3\)"),
    (lambda: dequantise(torch.zeros(1, 4, dtype=torch.uint8), 0, 4), "`length` must be a whole number"),
    (
        lambda: dequantise(torch.zeros(1, 4, dtype=torch.uint8), 3, 4, onto=torch.zeros(2, 3)),
        r"`onto` must have shape \(1, 3\), got \(2, 3\)",
    ),
]


@pytest.mark.parametrize(("call", "words"), WRONG)
def test_wrong_arguments_are_named(call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()


def test_wrong_types_are_named() -> None:
    with pytest.raises(TypeError, match=r"`x` must be float32, got torch\.float64"):
        quantise(torch.zeros(1, 3, dtype=torch.float64), 4)
    with pytest.raises(TypeError, match=r"`data` must be uint8, got torch\.int8"):
        dequantise(torch.zeros(1, 4, dtype=torch.int8), 3, 4)
    with pytest.raises(TypeError, match=r"`onto` must be float32, got torch\.float64"):
        dequantise(torch.zeros(1, 4, dtype=torch.uint8), 3, 4, onto=torch.zeros(1, 3, dtype=torch.float64))
