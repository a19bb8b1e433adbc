"""Known operations as exact members of XD-operations, and the names that learned ones are given."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from scipy.fft import dct
from torch import Tensor, nn

from seqkit.structured.butterflies import bit_reversal, hadamard
from seqkit.structured.butterflies.transforms import cooley_tukey, identities, swapping
from seqkit.structured.xd import (
    XDConv1d,
    XDConv2d,
    describe_operation,
    draw_operations,
    fourier_taps,
    operation_parameters,
    set_fourier_operator,
    set_input_permutation,
)
from seqkit.structured.xd.describe import axis_operators
from seqkit.structured.xd.members import behind_permutation

CIRCULAR = {"padding_mode": "circular", "dtype": torch.float64}


def error(found: Tensor, wanted: Tensor) -> float:
    found, wanted = found.detach(), wanted.detach()
    return float((found - wanted).square().mean().sqrt() / wanted.square().mean().sqrt())


def scatter(layer: nn.Module, size: float) -> None:
    with torch.no_grad():
        for one in operation_parameters(layer):
            one.add_(size * torch.randn_like(one))


def test_average_pooling_and_skip() -> None:
    x = torch.randn(2, 3, 16, dtype=torch.float64)
    layer = XDConv1d(3, 3, 4, length=16, stride=4, groups=3, bias=False, dtype=torch.float64)
    nn.init.constant_(layer.weight, 0.25)
    assert error(layer(x), nn.functional.avg_pool1d(x, 4)) < 1e-14
    layer = XDConv1d(3, 3, 3, length=16, padding=1, groups=3, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([0.0, 1.0, 0.0]).expand(3, 1, 3))
    assert error(layer(x), x) < 1e-14


@pytest.mark.parametrize("modes", [2, 3, 6])
def test_fourier_neural_operator(modes: int) -> None:
    taps, n = 2 * modes - 1, 16
    layer = XDConv1d(2, 3, taps, length=n, padding=modes - 1, depth=(1, 4, 1), bias=False, **CIRCULAR)
    set_fourier_operator(layer)
    x = torch.randn(4, 2, n, dtype=torch.float64)
    complex_weight = torch.zeros(3, 2, n // 2 + 1, dtype=torch.complex128)
    for mode, (real, imaginary) in enumerate(fourier_taps(layer)):
        parts = layer.weight[..., real], torch.zeros(3, 2) if imaginary is None else layer.weight[..., imaginary]
        complex_weight[..., mode] = torch.complex(parts[0], parts[1].double())
    wanted = torch.fft.irfft(torch.einsum("oif,bif->bof", complex_weight, torch.fft.rfft(x)), n=n)
    assert error(layer(x), wanted) < 1e-13
    found = describe_operation(layer).axes[0]
    assert found.members["filter in the Fourier basis"] < 1e-13
    assert found.name == "filter in the Fourier basis"


@pytest.mark.parametrize("length", [12, 16])
def test_convolution_of_permuted_samples(length: int) -> None:
    order = torch.randperm(length)
    layer = XDConv1d(1, 2, 5, length=length, padding=2, depth=(1, 1, 3), dtype=torch.float64)
    set_input_permutation(layer, order)
    x = torch.randn(3, 1, length, dtype=torch.float64)
    assert error(layer(x), layer.conv(x[..., order])) < 1e-13
    found = describe_operation(layer).axes[0]
    assert found.name == "convolution of permuted samples"
    assert found.permutation == order.tolist()
    assert found.members["convolution"] > 0.5
    assert found.moved["M"] > 0.5
    assert found.moved["K"] == 0


def test_permuted_rows_and_columns_of_images() -> None:
    layer = XDConv2d(1, 1, 3, size=(8, 6), padding=1, depth=(1, 1, 4), dtype=torch.float64)
    rows, columns = torch.randperm(8), torch.randperm(6)
    set_input_permutation(layer, rows, axis=0)
    set_input_permutation(layer, columns, axis=1)
    x = torch.randn(2, 1, 8, 6, dtype=torch.float64)
    assert error(layer(x), layer.conv(x[:, :, rows][..., columns])) < 1e-13
    assert [axis.permutation for axis in describe_operation(layer).axes] == [rows.tolist(), columns.tolist()]


def test_dilation_is_a_permutation_within_l() -> None:
    """The convolution theorem with another order of the kernel: L = F P is the dilated convolution."""
    n, dilation = 16, 3
    layer = XDConv1d(1, 1, 3, length=n, padding=1, depth=(1, 3, 1), bias=False, **CIRCULAR)
    taps = layer.axes[0].taps()
    wanted = [(1 - j) * dilation % n for j in range(3)]
    source = dict(zip(wanted, taps, strict=True))
    spare = iter(sorted(set(range(n)) - set(taps)))
    order = torch.tensor([source[place] if place in source else next(spare) for place in range(n)])
    layer.L[0].assign(behind_permutation(layer.L[0], order, cooley_tukey(n).mT))
    x = torch.randn(2, 1, n, dtype=torch.float64)
    dilated = nn.Conv1d(1, 1, 3, dilation=dilation, padding=dilation, bias=False, **CIRCULAR)
    dilated.weight = layer.conv.weight
    assert error(layer(x), dilated(x)) < 1e-13


def test_filters_in_the_hadamard_basis() -> None:
    n = 8
    layer = XDConv1d(1, 1, 5, length=n, padding=2, depth=1, bias=False, **CIRCULAR)
    level = hadamard(n, dtype=torch.float64).twiddle[0].detach().to(torch.complex128)
    layer.M[0].assign(level)
    layer.K[0].assign(level / 2)  # H H = n I, over three levels
    layer.L[0].assign(identities(n, 1))
    x, basis = torch.randn(2, 1, n, dtype=torch.float64), hadamard(n, dtype=torch.float64).dense().detach()
    wanted = (basis @ torch.diag(layer.kernel()[0, 0]) @ basis @ x[:, 0].mT).mT / n
    assert error(layer(x)[:, 0], wanted) < 1e-13
    found = describe_operation(layer).axes[0]
    assert found.name == "filter in the Hadamard basis"
    assert found.members["longer convolution"] > 0.5


def test_the_cosine_basis_is_scipys() -> None:
    from seqkit.structured.xd.describe import bases

    for n in (5, 8):
        wanted = torch.from_numpy(dct(torch.eye(n, dtype=torch.float64).numpy(), axis=0, norm="ortho"))
        assert error(bases(n)["cosine"].real, wanted) < 1e-14


def test_training_on_permuted_samples_with_its_member_is_the_training_on_ordered_ones() -> None:
    order, x = torch.randperm(16), torch.randn(8, 1, 16, dtype=torch.float64)
    target, losses = torch.randn(8, 1, 16, dtype=torch.float64), []
    for permuted in (False, True):
        torch.manual_seed(1)
        layer = XDConv1d(1, 1, 3, length=16, padding=1, depth=(1, 1, 3), dtype=torch.float64)
        if permuted:
            set_input_permutation(layer, torch.argsort(order))
        search = torch.optim.SGD([layer.weight, layer.bias], lr=0.1)
        for _ in range(5):
            loss = (layer(x[..., order] if permuted else x) - target).square().mean()
            search.zero_grad()
            loss.backward()
            search.step()
            losses.append(loss.item())
    assert torch.allclose(torch.tensor(losses[:5]), torch.tensor(losses[5:]), rtol=1e-12)


def test_names_follow_what_is_computed_and_not_how() -> None:
    layer = XDConv1d(1, 1, 3, length=16, padding=1, depth=3, dtype=torch.float64)
    assert describe_operation(layer).axes[0].name == "convolution"
    scatter(layer, 1e-3)
    near = describe_operation(layer)
    assert near.axes[0].name == "convolution"
    assert "convolution (" in str(near)
    scatter(layer, 0.5)
    far = describe_operation(layer)
    assert far.axes[0].name is None
    assert "none of the known ones" in str(far)
    assert min(far.axes[0].members.values()) > 0.5


def test_axis_operators_are_what_the_layer_computes() -> None:
    layer = XDConv1d(1, 1, 3, length=12, padding=1, stride=2, depth=2, bias=False, dtype=torch.float64)
    scatter(layer, 0.3)
    x = torch.randn(4, 1, 12, dtype=torch.float64)
    wanted = torch.einsum("j,jos,bs->bo", layer.weight[0, 0], axis_operators(layer), x[:, 0])
    assert error(layer(x)[:, 0], wanted) < 1e-13


def test_a_picture(tmp_path: Path) -> None:
    layers = {"a": XDConv1d(1, 1, 3, length=8), "b": XDConv2d(1, 1, 3, size=(8, 8))}
    draw_operations(layers, tmp_path / "a.png")
    draw_operations(layers, tmp_path / "b.png", axis="first")
    assert (tmp_path / "a.png").stat().st_size > (tmp_path / "b.png").stat().st_size > 1000


REFUSALS = {
    "order": (lambda: set_input_permutation(XDConv1d(1, 1, 3, length=8, depth=3), torch.zeros(8).long()), "once"),
    "size": (lambda: set_input_permutation(XDConv1d(1, 1, 3, length=8, depth=3), torch.arange(4)), "the 8 places"),
    "shallow": (lambda: set_input_permutation(XDConv1d(1, 1, 3, length=8, depth=2), torch.arange(8)), "`depth` of M"),
    "zeros": (lambda: set_fourier_operator(XDConv1d(1, 1, 3, length=8, padding=1, depth=4)), "`layer` must be"),
    "depth": (lambda: set_fourier_operator(XDConv1d(1, 1, 3, length=8, depth=3, **CIRCULAR, padding=1)), "even"),
    "no picture": (lambda: draw_operations({}, Path("a.png")), "`layers` must hold"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals(case: str) -> None:
    call, words = REFUSALS[case]
    with pytest.raises(ValueError, match=words):
        call()


def test_bit_reversal_of_the_samples_is_a_member() -> None:
    order = bit_reversal(16)
    layer = XDConv1d(1, 1, 3, length=16, padding=1, depth=(1, 1, 3), dtype=torch.float64)
    factors = identities(32, 3)
    factors[:2] = swapping(torch.cat([order, torch.arange(16, 32)]))
    factors[2] = cooley_tukey(32).mT / 2**0.5
    layer.M[0].assign(factors)
    assert describe_operation(layer).axes[0].permutation == order.tolist()


def test_a_weighted_sum_of_all_samples_has_a_name() -> None:
    """Every sample moved to the place of a constant: K gives the same number at every place."""
    layer = XDConv1d(1, 1, 3, length=8, padding=1, depth=1, **CIRCULAR)
    only_the_mean = cooley_tukey(8).conj() / 2**0.5
    only_the_mean[..., 1] = 0  # of each pair the part that the two outputs share
    layer.K[0].assign(only_the_mean[None])
    x = torch.randn(2, 1, 8, dtype=torch.float64)
    y = layer(x)
    assert error(y, y.mean(-1, keepdim=True).expand_as(y)) < 1e-14
    assert describe_operation(layer).axes[0].members["one weighted sum at every place"] < 1e-14
