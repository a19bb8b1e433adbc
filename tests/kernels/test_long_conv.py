"""The convolution against numpy and scipy, what padding may do, its sizes, its paths and its memory."""

import numpy as np
import pytest
import scipy.signal
import torch

from seqkit.kernels import explain
from seqkit.kernels.long_conv import blocks, cpu, long_conv, spectra
from seqkit.kernels.long_conv.reference import long_conv_reference


def error(got: torch.Tensor, want: torch.Tensor) -> float:
    got, want = got.detach().double(), want.detach().double()
    return float((got - want).norm() / want.norm())


@pytest.fixture(params=["compiled", "torch"])
def compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether numba's loops run, also where torch would be faster, or torch does as if numba were not installed."""
    if request.param == "compiled":
        pytest.importorskip("numba")
        monkeypatch.setattr(cpu, "WASTE", 1000.0)
        monkeypatch.setattr(cpu, "SMALLEST", 0)
        for name in ("long_conv_forward", "long_conv_backward"):
            monkeypatch.setattr(blocks, name, lambda *args: pytest.fail("torch's blocks ran"))
    else:
        monkeypatch.setattr(cpu, "HAS_NUMBA", False)
    return request.param == "compiled"


@pytest.mark.parametrize("taps", [1, 3, 40, 300])
@pytest.mark.parametrize("length", [1, 2, 64, 65, 257])
def test_numpy_convolve(length: int, taps: int, compiled: bool) -> None:
    u, k = torch.randn(3, 5, length).double(), torch.randn(2, 5, taps).double()
    got = long_conv(u, k)
    for b, m, h in np.ndindex(3, 2, 5):
        np.testing.assert_allclose(got[b, m, h], np.convolve(u[b, h], k[m, h])[:length], rtol=0, atol=1e-12)


@pytest.mark.parametrize("taps", [1, 3, 41, 129, 513, 601])
@pytest.mark.parametrize("length", [1, 2, 64, 65, 257])
def test_both_sides_as_scipy_does(length: int, taps: int, compiled: bool) -> None:
    u, k = torch.randn(2, 3, length).double(), torch.randn(3, taps).double()
    got = long_conv(u, k, causal=False)
    for b, h in np.ndindex(2, 3):
        want = scipy.signal.convolve(u[b, h].numpy(), k[h].numpy(), mode="same")
        np.testing.assert_allclose(got[b, h], want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("width", [1, 7, 8, 9, 17])
@pytest.mark.parametrize("length", [5, 97, 340, 700])  # powers of two and three times powers of two
def test_any_number_of_channels(width: int, length: int, compiled: bool) -> None:
    tensors = [torch.randn(3, width, length), torch.randn(2, width, length), torch.randn(3, 2, width, length)]
    ends = torch.tensor([length, 1, -(-length // 3)])
    grad = torch.randn(3, 2, width, length)

    def run(forward, dtype: torch.dtype) -> list[torch.Tensor]:
        leaves = [value.to(dtype).requires_grad_() for value in tensors]
        y = forward(*leaves)
        return [y.detach(), *torch.autograd.grad(y, leaves, grad.to(dtype))]

    got = run(lambda u, k, gate: long_conv(u, k, gate=gate, lengths=ends), torch.float32)
    want = run(lambda *values: long_conv_reference(*values, ends, 0), torch.float64)
    for one, other in zip(got, want, strict=True):
        assert error(one, other) < 2e-6


@pytest.mark.parametrize("size", [2, 4, 6, 8, 12, 64, 96, 128, 256, 384, 512, 768, 1536, 2048])
def test_lanes_transform_like_numpy(size: int) -> None:
    pytest.importorskip("numba")
    from seqkit.kernels.long_conv.passes import loops

    x = np.random.default_rng(0).standard_normal((size, 2, 8))
    spectrum, w = x.copy().ravel(), loops.roots(size, x.dtype)
    loops.fft(spectrum, w)
    pairs = spectrum.reshape(size, 2, 8)
    got, want = pairs[:, 0] + 1j * pairs[:, 1], np.fft.fft(x[:, 0] + 1j * x[:, 1], axis=0)
    for lane in range(8):  # the order of the frequencies is the transform's own, and no two agree by chance
        places = np.abs(got[:, lane, None] - want[:, lane]).argmin(axis=1)
        assert sorted(places) == list(range(size))
        np.testing.assert_allclose(got[:, lane], want[places, lane], rtol=0, atol=1e-11)
    loops.fft_back(spectrum, w)
    np.testing.assert_allclose(spectrum / size, x.ravel(), rtol=0, atol=1e-13)


def test_threads_share_the_channels(compiled: bool) -> None:
    u, k = torch.randn(3, 40, 500), torch.randn(40, 500)
    one = long_conv(u, k)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        several = long_conv(u, k)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(several, one, rtol=0, atol=0 if compiled else 1e-5)


@pytest.mark.usefixtures("where_backend_runs")
@pytest.mark.parametrize("backend", ["reference", "cpu", "triton"])
@pytest.mark.parametrize("causal", [True, False])
def test_padding_changes_nothing(backend: str, causal: bool, request: pytest.FixtureRequest) -> None:
    if backend == "triton":
        pytest.importorskip("triton")
    length, ends = 45, torch.tensor([45, 1, 20])
    u, gate, k = torch.randn(3, 2, length), torch.randn(3, 2, length), torch.randn(2, 31)
    past = (torch.arange(length) >= ends[:, None]).unsqueeze(1).expand_as(u)
    spoiled = [value.masked_fill(past, float("nan")).requires_grad_() for value in (u, gate)]
    k.requires_grad_()
    y = long_conv(spoiled[0], k, gate=spoiled[1], lengths=ends, causal=causal, backend=backend)
    assert (y[past] == 0).all()
    grad = torch.randn(y.shape).masked_fill(past, 1e30)
    gradients = torch.autograd.grad(y, [*spoiled, k], grad)
    for gradient in gradients[:2]:
        assert (gradient[past] == 0).all()
    total = torch.zeros_like(k)
    for b, end in enumerate(ends.tolist()):  # each series on its own, cut where it ends
        alone = [value[b : b + 1, :, :end].requires_grad_() for value in (u, gate)]
        want = long_conv(alone[0], k, gate=alone[1], causal=causal)
        torch.testing.assert_close(y[b : b + 1, :, :end], want, rtol=0, atol=1e-5)
        parts = torch.autograd.grad(want, [*alone, k], grad[b : b + 1, :, :end])
        for gradient, part in zip(gradients, parts[:2], strict=False):
            torch.testing.assert_close(gradient[b : b + 1, :, :end], part, rtol=0, atol=1e-4)
        total += parts[2]
    torch.testing.assert_close(gradients[2], total, rtol=0, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.usefixtures("where_backend_runs")
@pytest.mark.parametrize("backend", ["reference", "cpu", "triton"])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype, backend: str) -> None:
    if backend == "triton":
        pytest.importorskip("triton")
    u, gate = torch.randn(2, 2, 60).to(dtype).requires_grad_(), torch.randn(2, 2, 60).to(dtype).requires_grad_()
    k, D = torch.randn(2, 60, requires_grad=True), torch.randn(2, requires_grad=True)
    leaves, grad = [u, k, D, gate], torch.randn(2, 2, 60).to(dtype)
    y = long_conv(u, k, D, gate, backend=backend)
    wide = [value.detach().double().requires_grad_() for value in leaves]
    want = long_conv(*wide, backend="reference")
    assert y.dtype == dtype
    assert error(y, want) < torch.finfo(dtype).eps  # what rounding the result alone costs
    got_all, want_all = torch.autograd.grad(y, leaves, grad), torch.autograd.grad(want, wide, grad.double())
    for leaf, got, other in zip(leaves, got_all, want_all, strict=True):
        assert got.dtype == leaf.dtype
        assert error(got, other) < (torch.finfo(dtype).eps if leaf.dtype == dtype else 1e-5)


def test_autocast_takes_half_precision() -> None:
    u, k = torch.randn(2, 3, 50).bfloat16(), torch.randn(3, 50).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = long_conv(u, k)
    assert y.dtype == torch.bfloat16
    assert error(y, long_conv(u.double(), k.double())) < 4e-3


def test_dtypes_that_do_not_fit_are_named() -> None:
    u, k = torch.randn(1, 2, 5), torch.randn(2, 5)
    with pytest.raises(TypeError, match=r"`k` must be float32 beside `u` in torch\.float16, got torch\.float64"):
        long_conv(u.half(), k.double())
    with pytest.raises(TypeError, match=r"`gate` must have the dtype of `u` \(torch\.float16\), got torch\.float32"):
        long_conv(u.half(), k, gate=u)
    with pytest.raises(TypeError, match=r"`D` must have the precision of `k`"):
        long_conv(u.half(), k, D=torch.zeros(2, dtype=torch.float64))


@pytest.mark.parametrize(
    ("lengths", "words"),
    [
        ([3], r"`lengths` must have shape \(2,\)"),
        ([3, 0], r"lengths\[1\] is 0; every series needs at least one sample"),
        ([6, 3], r"lengths\[0\] is 6; the batch holds 5 samples"),
        ([1.0, 2.0], r"`lengths` must be whole numbers, got dtype torch\.float32"),
    ],
)
def test_lengths_that_do_not_fit_are_named(lengths: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        long_conv(torch.randn(2, 3, 5), torch.randn(3, 5), lengths=torch.tensor(lengths))


@pytest.mark.parametrize("length", [50, 1000, 4096])
def test_the_future_leaks_by_rounding_only(length: int, compiled: bool) -> None:
    u, k = torch.randn(1, 4, length), torch.randn(4, length)
    later = u.clone()
    later[..., length // 2 :] += 1
    before, after = (long_conv(value, k) for value in (u, later))
    leak = (before - after)[..., : length // 2].abs().max()
    assert leak < 1e-6 * after.abs().max()
    assert (before - after)[..., length // 2 :].abs().max() > 0.1


def test_impulse_gives_the_kernel(compiled: bool) -> None:
    u = torch.zeros(1, 2, 500)
    u[..., 0] = 1
    k = torch.randn(3, 2, 500)
    torch.testing.assert_close(long_conv(u, k)[0], k, rtol=0, atol=2e-6)


def test_skip_weight_of_each_output(compiled: bool) -> None:
    u, D = torch.randn(2, 3, 90), torch.randn(4, 3)
    torch.testing.assert_close(long_conv(u, torch.zeros(4, 3, 5), D), D[..., None] * u[:, None])


def test_a_million_samples(compiled: bool) -> None:
    length = 1 << 20
    rate = torch.tensor([1.0, 1 - 1e-7, 0.5])[:, None].double()  # two that hardly forget, and one that does at once
    k = rate.pow(torch.arange(length))
    u = torch.randn(2, 3, length)
    got = long_conv(u, k.float())
    for b, h in np.ndindex(2, 3):
        want = scipy.signal.lfilter([1.0], [1.0, -float(rate[h])], u[b, h].double().numpy())
        assert error(got[b, h], torch.from_numpy(want)) < 1e-6


def test_empty_batch(compiled: bool) -> None:
    u, k = torch.zeros(0, 3, 7, requires_grad=True), torch.randn(3, 7, requires_grad=True)
    y = long_conv(u, k)
    assert y.shape == (0, 3, 7)
    du, dk = torch.autograd.grad(y.sum(), [u, k])
    assert du.shape == (0, 3, 7)
    assert (dk == 0).all()


def test_fft_sizes_are_even_smooth_and_minimal() -> None:
    smooth = sorted(2**a * 3**b * 5**c for a in range(1, 15) for b in range(9) for c in range(7))
    for at_least in range(1, 3000):
        assert blocks.fft_size(at_least) == next(size for size in smooth if size >= at_least)


def test_lane_sizes_are_minimal() -> None:
    served = sorted([2**a for a in range(1, 15)] + [3 * 2**a for a in range(1, 14)])
    for at_least in range(1, 3000):
        assert cpu.lane_size(at_least) == next(size for size in served if size >= at_least)


def test_circles_are_no_longer_than_they_must_be() -> None:
    for length, taps, center in ((7, 5, 0), (7, 7, 0), (7, 5, 2), (7, 13, 6), (1, 1, 0)):
        u, k = np.random.default_rng(0).standard_normal((2, 30))
        u, k = u[:length], k[:taps]
        want = np.convolve(u, k)[center : center + length]

        def on_circle(size: int, u=u, k=k, center=center, length=length):
            turned = np.zeros(size)
            np.add.at(turned, (np.arange(len(k)) - center) % size, k)
            return np.fft.ifft(np.fft.fft(turned) * np.fft.fft(u, size)).real[:length]

        size = blocks.circular_size(length, taps, center)
        np.testing.assert_allclose(on_circle(size), want, rtol=0, atol=1e-12)
        if size > length:
            assert np.abs(on_circle(size - 1) - want).max() > 1e-3


def test_blocks_cover_every_series_once() -> None:
    for batch_size, width, limit in ((8, 1, 1 << 13), (8, 7, 1 << 16), (3, 128, 1 << 17), (5, 4, 1 << 10)):
        covered = torch.zeros(batch_size, width)
        for rows, channels in blocks.blocks(batch_size, width, 1 << 11, limit):
            covered[rows, channels] += 1
            size = len(range(batch_size)[rows]) * len(range(width)[channels]) << 11
            assert size <= max(limit, 1 << 11)
        assert (covered == 1).all()


def test_backward_makes_no_padded_copy_of_everything(largest_tensor) -> None:
    u, k, none = torch.randn(4, 64, 4000), torch.randn(1, 64, 4000), torch.zeros(0)
    grad = torch.randn(4, 1, 64, 4000)
    for path in (blocks, cpu):
        assert largest_tensor(path.long_conv_forward, u, k, none, none.long(), 0) <= u.numel()
        assert largest_tensor(path.long_conv_backward, grad, u, k, none, none.long(), 0) <= u.numel()


def test_nothing_padded_is_held_for_backward() -> None:
    u, k, gate = torch.randn(2, 4, 300), torch.randn(4, 300), torch.randn(2, 4, 300)
    leaves = [value.requires_grad_() for value in (u, k, gate)]
    held = []
    with torch.autograd.graph.saved_tensors_hooks(lambda value: held.append(value) or value, lambda value: value):
        long_conv(leaves[0], leaves[1], gate=leaves[2], lengths=torch.tensor([300, 100]))
    storages = {value.untyped_storage().data_ptr(): value.numel() for value in held}
    assert sum(storages.values()) <= sum(value.numel() for value in leaves) + 2


def test_plans_factor_their_sizes() -> None:
    for at_least in [*range(1, 300), 1 << 12, (1 << 12) + 1, 1 << 15, 1 << 17]:
        plan = spectra.make_plan(at_least)
        assert plan.size == 1 << max(8, (at_least - 1).bit_length())
        assert min(plan.rows, plan.columns) >= 16
        assert plan.outer == 1 if plan.size <= spectra.ON_CHIP else 16 <= plan.outer <= 64
        assert plan.rows * plan.columns <= 4096


def test_spectra_come_back_as_gradients() -> None:
    k = torch.randn(2, 3, 41)
    for center, plan in ((0, spectra.Plan(1, 16, 32)), (20, spectra.Plan(16, 16, 16))):
        there = spectra.permuted_spectra(k, center, plan) * plan.size
        torch.testing.assert_close(spectra.kernel_gradient(there, 41, center, plan), k, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("where_backend_runs")
def test_series_too_long_for_triton_say_so() -> None:
    u, k = torch.zeros(1, 1, 70000), torch.zeros(1, 70000)
    with pytest.raises(ValueError, match="up to 131072 samples of series and kernel together, and these have 1399"):
        long_conv(u, k, backend="triton")
    answer = explain("long_conv", u, k)
    assert answer.backend == "cpu"
    assert "131072" in answer.refused["triton"]


def with_triton(u: torch.Tensor, k: torch.Tensor, gate: torch.Tensor | None, ends: torch.Tensor | None) -> float:
    """The worst error of output and gradients, against float64 on the path for CPUs, which is compared with others."""
    leaves = [u, k] if gate is None else [u, k, gate]
    device = "cuda" if torch.cuda.is_available() else "cpu"

    def run(backend: str, dtype: torch.dtype, device: str) -> list[torch.Tensor]:
        given = [value.to(device, dtype).requires_grad_() for value in leaves]
        where = None if ends is None else ends.to(device)
        y = long_conv(given[0], given[1], gate=given[2] if len(given) > 2 else None, lengths=where, backend=backend)
        torch.manual_seed(0)
        grad = torch.randn(y.shape).to(y)
        return [y.detach(), *torch.autograd.grad(y, given, grad)]

    pairs = zip(run("triton", torch.float32, device), run("cpu", torch.float64, "cpu"), strict=True)
    return max(error(got.cpu(), want) for got, want in pairs)


@pytest.mark.parametrize(("length", "taps"), [(500, 13), (1000, 25), (300, 1700), (2100, 1900), (4000, 90)])
def test_two_passes_of_triton(length: int, taps: int) -> None:
    pytest.importorskip("triton")
    assert with_triton(torch.randn(3, 1, length), torch.randn(1, taps), None, None) < 2e-6


def test_three_passes_of_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    monkeypatch.setattr(spectra, "ON_CHIP", 256)
    monkeypatch.setattr(spectra, "SLICE", 256)
    assert spectra.make_plan(3001) == (16, 16, 16)
    assert with_triton(torch.randn(2, 1, 2000), torch.randn(1, 1002), None, None) < 2e-6


@pytest.mark.slow
def test_three_passes_of_triton_with_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    assert with_triton(torch.randn(1, 1, 4200), torch.randn(1, 30), None, None) < 2e-6
    monkeypatch.setattr(spectra, "ON_CHIP", 256)
    monkeypatch.setattr(spectra, "SLICE", 256)
    u, k, gate = torch.randn(3, 2, 2000), torch.randn(2, 2, 1000), torch.randn(3, 2, 2, 2000)
    assert with_triton(u, k, gate, torch.tensor([2000, 1, 777])) < 2e-6
