"""Fourier layers against dense matrices and circular convolutions; the network around them on grids of any size."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seqkit.nn import NeuralOperator, SpectralConv1d, SpectralConv2d, relative_l2
from seqkit.structured.xd import operation_parameters, patch_convolutions, release_operations


def error(value: Tensor, reference: Tensor) -> float:
    return float(((value - reference).square().mean() / reference.square().mean()).sqrt().detach())


def waves(n: int, modes: int) -> np.ndarray:
    """exp(2 pi i k x / n) for |k| < modes, (2 modes - 1, n), k in the order 0, 1, ..., -1."""
    k = np.concatenate([np.arange(modes), np.arange(-modes + 1, 0)])
    return np.exp(2j * np.pi * k[:, None] * np.arange(n) / n)


@pytest.mark.parametrize(("n", "modes"), [(16, 5), (15, 8), (9, 1), (7, 4)])
def test_one_axis_is_its_sum_over_modes(n: int, modes: int) -> None:
    layer, x = SpectralConv1d(3, 2, modes).double(), torch.randn(4, 3, n, dtype=torch.float64)
    half = layer.weight().detach().numpy()
    weight = np.concatenate([half, half[..., :0:-1].conj()], axis=-1)
    to, back = waves(n, modes).conj() / n, waves(n, modes)
    found = np.einsum("oik,kn,km,bim->bon", weight, back, to, x.numpy())
    assert np.abs(found.imag).max() < 1e-12  # so that nothing is thrown away
    assert error(layer(x), torch.tensor(found.real)) < 1e-13


@pytest.mark.parametrize(("sizes", "modes"), [((8, 10), (3, 4)), ((7, 5), (4, 3)), ((6, 9), (1, 5)), ((5, 4), (2, 1))])
def test_two_axes_are_their_sum_over_modes(sizes: tuple[int, int], modes: tuple[int, int]) -> None:
    layer, x = SpectralConv2d(2, 3, modes).double(), torch.randn(2, 2, *sizes, dtype=torch.float64)
    half = layer.weight().detach().numpy()
    weight = np.zeros((3, 2, 2 * modes[0] - 1, 2 * modes[1] - 1), dtype=complex)
    for j, k in itertools.product(range(-modes[0] + 1, modes[0]), range(-modes[1] + 1, modes[1])):
        weight[..., j, k] = half[..., j, k] if k >= 0 else half[..., -j, -k].conj()
    one, two = waves(sizes[0], modes[0]), waves(sizes[1], modes[1])
    coefficients = np.einsum("jn,km,binm->bijk", one.conj(), two.conj(), x.numpy()) / (sizes[0] * sizes[1])
    found = np.einsum("jn,km,oijk,bijk->bonm", one, two, weight, coefficients)
    assert np.abs(found.imag).max() < 1e-12
    assert error(layer(x), torch.tensor(found.real)) < 1e-13


def test_it_is_a_convolution_around_the_circle() -> None:
    layer, n = SpectralConv1d(1, 1, 6).double(), 24
    kernel = torch.fft.irfft(layer.weight()[0, 0], n, norm="forward") / n
    conv = nn.Conv1d(1, 1, n, padding=n - 1, padding_mode="circular", bias=False).double()
    conv.weight.data[0, 0] = kernel.detach().flip(0)
    x = torch.randn(2, 1, n, dtype=torch.float64)
    assert error(layer(x), conv(x)[..., :n]) < 1e-13
    assert error(layer(x.roll(5, -1)), layer(x).roll(5, -1)) < 1e-13


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "one axis": (lambda: SpectralConv1d(2, 2, 3), (2, 2, 8)),
    "two axes": (lambda: SpectralConv2d(2, 2, (2, 3)), (2, 2, 6, 7)),
}


@pytest.mark.parametrize("case", CASES)
def test_every_number_has_an_effect_and_gradients_are_right(case: str) -> None:
    make, shape = CASES[case]
    layer, x = make().double(), torch.randn(shape, dtype=torch.float64, requires_grad=True)
    names, values = zip(*((name, one.detach().requires_grad_()) for name, one in layer.named_parameters()), strict=True)

    def run(x: Tensor, *parameters: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))

    assert torch.autograd.gradcheck(run, (x, *values))
    layer(x).square().sum().backward()
    assert all((one.grad.abs() > 1e-9).all() for one in layer.parameters())


def test_parameters_are_counted_as_stated() -> None:
    assert sum(one.numel() for one in SpectralConv1d(3, 5, 7).parameters()) == 15 * 13
    assert sum(one.numel() for one in SpectralConv2d(3, 5, (4, 6)).parameters()) == 15 * 7 * 11


def smooth(n: int, n_axes: int) -> Tensor:
    x = torch.arange(n, dtype=torch.float64) / n * 2 * torch.pi
    one = (x + 0.3).sin() + 0.5 * (2 * x).cos()
    return (one if n_axes == 1 else one[:, None] * (1 + one))[None, ..., None]


@pytest.mark.parametrize("n_axes", [1, 2])
def test_a_layer_gives_the_same_function_on_a_finer_grid(n_axes: int) -> None:
    layer = (SpectralConv1d(1, 2, 6) if n_axes == 1 else SpectralConv2d(1, 2, 6)).double()
    coarse, fine = (layer(smooth(n, n_axes).movedim(-1, 1)) for n in (20, 40))
    every = (slice(None), slice(None), *[slice(None, None, 2)] * n_axes)
    assert error(fine[every], coarse) < 1e-12


@pytest.mark.parametrize("n_axes", [1, 2])
@pytest.mark.parametrize("kind", ["fourier", "convolutional"])
def test_the_network_is_its_formula(n_axes: int, kind: str) -> None:
    sizes = {"width": 6, "n_layers": 2, "n_axes": n_axes}
    if kind == "fourier":
        net = NeuralOperator.fourier(2, 1, modes=3, **sizes).double()
    else:
        net = NeuralOperator.convolutional(2, 1, kernel_size=3, **sizes).double()
    a, u = torch.randn(5, *[8] * n_axes, 2) * 3 + 1, torch.randn(5, *[8] * n_axes, 1) * 0.1 - 4
    net.set_statistics(a, u)
    a = a.double()
    inputs = (a - a.flatten(0, -2).mean(0)) / a.flatten(0, -2).std(0, correction=0)
    grid = torch.stack(torch.meshgrid(*[torch.arange(8) / 8] * n_axes, indexing="ij"), -1).expand(
        5, *[-1] * (n_axes + 1)
    )
    v = torch.cat([inputs, grid], -1) @ net.lift.weight.T + net.lift.bias
    for layer, skip, last in zip(net.layers, net.skips, (False, True), strict=True):
        v = layer(v.movedim(-1, 1)).movedim(1, -1) + v @ skip.weight.T + skip.bias
        v = v if last else nn.functional.gelu(v)
    hidden = nn.functional.gelu(v @ net.project[0].weight.T + net.project[0].bias)
    out = hidden @ net.project[2].weight.T + net.project[2].bias
    expected = out * u.double().std(correction=0) + u.double().mean()
    assert error(net(a), expected) < 1e-6  # the statistics are kept in float32
    net(a).square().sum().backward()
    assert all(one.grad is not None and one.grad.abs().max() > 0 for one in net.parameters())
    again = NeuralOperator(2, 1, [nn.Identity()] * 2, width=6, n_axes=n_axes)
    assert set(again.state_dict()) <= set(net.state_dict())


def test_it_learns_a_shift_and_keeps_it_on_a_finer_grid() -> None:
    torch.manual_seed(0)
    phases = torch.rand(64, 1) * 6.3

    def pair(n: int) -> tuple[Tensor, Tensor]:
        x = torch.arange(n) / n * 2 * torch.pi
        return (x + phases).sin()[..., None], (x + phases + 2).sin()[..., None]

    net, (a, u) = NeuralOperator.fourier(1, 1, modes=3, width=8, n_layers=1), pair(16)
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(150):
        optimizer.zero_grad()
        relative_l2(net(a), u).backward()
        optimizer.step()
    with torch.no_grad():
        found = float(relative_l2(net(a), u))
        finer, wanted = pair(64)
        assert found < 0.1
        assert float(relative_l2(net(finer), wanted)) < found + 0.05


def test_relative_error_is_a_mean_over_functions() -> None:
    u = torch.randn(3, 5, 2, dtype=torch.float64)
    found = relative_l2(u * torch.tensor([1.0, 1.1, 1.5])[:, None, None], u)
    assert float(found) == pytest.approx(0.2)


@pytest.mark.parametrize("n_axes", [1, 2])
def test_operations_can_start_from_its_convolutions(n_axes: int) -> None:
    net = NeuralOperator.convolutional(1, 1, kernel_size=3, width=4, n_layers=2, n_axes=n_axes).double()
    a = torch.randn(3, *[8] * n_axes, 1, dtype=torch.float64)
    before = net(a).detach()
    assert len(patch_convolutions(net, a, depth=1).layers) == 2
    release_operations(net)
    assert error(net(a), before) < 1e-12
    net(a).square().sum().backward()
    assert all(one.grad.abs().max() > 0 for one in operation_parameters(net))
    with pytest.raises(ValueError, match="size"):
        net(torch.randn(3, *[16] * n_axes, 1, dtype=torch.float64))


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="`x` must have at least 9 samples along an axis of 5 modes, got 8"):
        SpectralConv1d(1, 1, 5)(torch.zeros(1, 1, 8))
    with pytest.raises(ValueError, match="at least 5 samples along an axis of 3 modes, got 4"):
        SpectralConv2d(1, 1, (2, 3))(torch.zeros(1, 1, 8, 4))
    with pytest.raises(ValueError, match="`x` must have shape"):
        SpectralConv1d(2, 1, 3)(torch.zeros(1, 1, 8))
    for wrong in (0, 1.5, True):
        with pytest.raises(ValueError, match="`modes` must be a whole number"):
            SpectralConv1d(1, 1, wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`layers` must hold"):
        NeuralOperator(1, 1, [], width=4)
    with pytest.raises(ValueError, match="`n_axes` must be 1 or 2, got 3"):
        NeuralOperator.fourier(1, 1, modes=2, n_axes=3)
    with pytest.raises(ValueError, match="`modes` must be one number for one axis"):
        NeuralOperator.fourier(1, 1, modes=(2, 3))
    with pytest.raises(ValueError, match="`kernel_size` must be odd"):
        NeuralOperator.convolutional(1, 1, kernel_size=4)
    with pytest.raises(ValueError, match="`a` must have shape"):
        NeuralOperator.fourier(1, 1, modes=2, n_axes=2)(torch.zeros(2, 8, 1))
    with pytest.raises(ValueError, match="`std` must be above 0"):
        NeuralOperator.fourier(1, 1, modes=2).set_statistics(torch.ones(2, 8, 1), torch.zeros(2, 8, 1))
    with pytest.raises(ValueError, match="`outputs` must have shape"):
        relative_l2(torch.zeros(2, 8), torch.zeros(2, 8, 1))
