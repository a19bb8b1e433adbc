"""XD-operations against torch's convolutions, dense complex matrices, and one another."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from seqkit.structured.xd import (
    CausalStack,
    OperationMatrix,
    XDConv1d,
    XDConv2d,
    fix_operations,
    freeze_operations,
    model_parameters,
    operation_layers,
    operation_parameters,
    patch_convolutions,
    release_operations,
)


def error(found: Tensor, wanted: Tensor) -> float:
    found, wanted = found.detach(), wanted.detach()
    return float((found - wanted).square().mean().sqrt() / wanted.square().mean().sqrt())


def scatter(layer: nn.Module, size: float = 0.3) -> None:
    """Takes K, L and M away from where they started."""
    with torch.no_grad():
        for one in [part.factors for part in layer.modules() if isinstance(part, OperationMatrix)]:
            one.add_(size * torch.randn_like(one))


CASES_1D = {
    "plain": {},
    "same": {"padding": "same", "kernel_size": 4},
    "dilated": {"dilation": 3, "padding": 3},
    "strided": {"stride": 3, "padding": 2, "kernel_size": 5},
    "circular": {"padding": 2, "padding_mode": "circular", "kernel_size": 5},
    "reflect": {"padding": 2, "padding_mode": "reflect", "stride": 2},
    "depthwise": {"groups": 4, "out_channels": 4, "padding": 1},
    "two a group": {"groups": 2, "padding": 4, "dilation": 2},
    "wide": {"kernel_size": 9, "padding": 9, "bias": False},
    "one tap": {"kernel_size": 1, "padding": 1},
}


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("length", [15, 16])
@pytest.mark.parametrize("case", CASES_1D)
def test_starts_as_the_convolution(case: str, length: int) -> None:
    options = {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "dtype": torch.float64, **CASES_1D[case]}
    conv = nn.Conv1d(**options)
    x, depth = torch.randn(3, 4, length, dtype=torch.float64), (3, 1, 2)
    layer = XDConv1d.from_convolution(conv, length, depth=depth)
    assert error(layer(x), conv(x)) < 1e-12
    freeze_operations(layer)
    assert layer.is_convolution
    assert error(layer(x), conv(x)) < 1e-12
    assert error(layer(x[0]), conv(x[0])) < 1e-12


CASES_2D = {
    "plain": {"padding": (1, 0)},
    "strided": {"stride": (2, 1), "padding": 1, "kernel_size": (3, 2)},
    "dilated": {"dilation": (1, 2), "padding": 2},
    "circular": {"padding": 1, "padding_mode": "circular"},
    "depthwise": {"groups": 2, "out_channels": 2},
}


@pytest.mark.parametrize("size", [(8, 16), (7, 5)])
@pytest.mark.parametrize("case", CASES_2D)
def test_starts_as_the_convolution_of_images(case: str, size: tuple[int, int]) -> None:
    options = {"in_channels": 2, "out_channels": 4, "kernel_size": 3, "dtype": torch.float64, **CASES_2D[case]}
    conv = nn.Conv2d(**options)
    x = torch.randn(3, 2, *size, dtype=torch.float64)
    layer = XDConv2d.from_convolution(conv, size, depth=2)
    assert error(layer(x), conv(x)) < 1e-12
    freeze_operations(layer)
    assert error(layer(x), conv(x)) < 1e-12


def test_float32_starts_as_the_convolution() -> None:
    conv, x = nn.Conv1d(3, 5, 5, padding=2), torch.randn(4, 3, 60)
    assert error(XDConv1d.from_convolution(conv, 60, depth=3)(x), conv(x)) < 1e-5


def test_shorter_inputs_count_as_zeros_behind() -> None:
    conv, x = nn.Conv1d(1, 2, 3, padding=1, stride=2).double(), torch.randn(2, 1, 11, dtype=torch.float64)
    assert error(XDConv1d.from_convolution(conv, 16)(x), conv(x)) < 1e-12


def test_other_depths_start_as_depth_one() -> None:
    conv, x = nn.Conv1d(1, 2, 3, padding=1).double(), torch.randn(2, 1, 16, dtype=torch.float64)
    one = XDConv1d.from_convolution(conv, 16, depth=1)(x)
    for depth in (2, 3, 4, (1, 3, 1)):
        assert error(XDConv1d.from_convolution(conv, 16, depth=depth)(x), one) < 1e-13


def reference(layer: XDConv1d, x: Tensor) -> Tensor:
    """Re K diag(L w) M x by dense matrices, channel by channel, for an input that fills the circle."""
    k, latent, m = (getattr(layer, role)[0].dense() for role in "KLM")
    weight, kernel = layer.weight, layer.weight.new_zeros(*layer.weight.shape[:2], len(k))
    for j, place in enumerate(layer.axes[0].taps()):
        kernel[..., place] += weight[..., j]
    rows = []
    for o in range(kernel.shape[0]):
        total = sum(
            torch.diag(latent @ kernel[o, i].to(k.dtype)) @ m @ x[:, i].to(k.dtype).mT for i in range(kernel.shape[1])
        )
        rows.append((k @ total).real.mT + layer.bias[o])
    return torch.stack(rows, 1)


def test_learned_operations_are_their_dense_matrices() -> None:
    options = {"padding": 1, "padding_mode": "circular", "dtype": torch.float64}
    layer = XDConv1d(2, 3, 3, length=8, depth=(1, 3, 2), **options)
    scatter(layer)
    x = torch.randn(4, 2, 8, dtype=torch.float64)
    found = layer(x)
    assert found.dtype == torch.float64
    assert error(found, reference(layer, x)) < 1e-13


def test_two_axes_are_tensor_products() -> None:
    layer = XDConv2d(1, 1, 2, size=(4, 8), depth=2, padding=(0, 0), bias=False, dtype=torch.float64)
    scatter(layer)
    x = torch.randn(2, 1, 4, 8, dtype=torch.float64)
    k, latent, m = (torch.kron(*(one.dense() for one in getattr(layer, role))) for role in "KLM")
    diagonal = latent @ layer.kernel()[0, 0].flatten().to(latent.dtype)
    whole = (k @ torch.diag(diagonal) @ m @ x.flatten(1).to(k.dtype).mT).real.mT.unflatten(1, (4, 8))
    wanted = whole[:, [1, 2, 3]][:, :, [1, 2, 3, 4, 5, 6, 7]]
    assert error(layer(x)[:, 0], wanted) < 1e-13


def test_linear_in_the_input_and_in_the_weight() -> None:
    layer = XDConv1d(2, 2, 3, length=12, depth=3, padding=1, bias=False, dtype=torch.float64)
    scatter(layer)
    a, b = torch.randn(2, 3, 2, 12, dtype=torch.float64)
    assert error(layer(2 * a - b), 2 * layer(a) - layer(b)) < 1e-12
    first, second = torch.randn(2, *layer.weight.shape, dtype=torch.float64)

    def with_weight(weight: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"conv.weight": weight}, (a,))

    assert error(with_weight(first - 3 * second), with_weight(first) - 3 * with_weight(second)) < 1e-12


def test_a_zero_kernel_gives_the_bias() -> None:
    layer = XDConv1d(2, 2, 3, length=12, depth=3, padding=1)
    scatter(layer)
    nn.init.zeros_(layer.weight)
    assert torch.equal(layer(torch.randn(1, 2, 12)), layer.bias.view(1, 2, 1).expand(1, 2, 12))


@pytest.mark.parametrize("groups", [1, 2])
def test_gradients(groups: int) -> None:
    layer = XDConv1d(2, 2, 2, length=4, depth=(2, 1, 1), groups=groups, padding=1, dtype=torch.float64)
    scatter(layer)
    names, values = zip(*layer.named_parameters(), strict=True)

    def forward(x: Tensor, *parameters: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))

    x = torch.randn(2, 2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(forward, (x, *values))


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(1, 4, 3, padding=1), nn.BatchNorm1d(4), nn.ReLU(), weight_norm(nn.Conv1d(4, 2, 3, stride=2))
    )


def test_patching_changes_nothing() -> None:
    model, x = network().double(), torch.randn(5, 1, 16, dtype=torch.float64)
    before, weight, state = model(x), model[0].weight, copy.deepcopy(model.state_dict())
    report = patch_convolutions(model, x)
    assert [one.name for one in report.layers] == ["0", "3"]
    assert max(one.error for one in report.layers) < 1e-12
    assert model[0].weight is weight
    assert model[1].num_batches_tracked == state["1.num_batches_tracked"]  # the sample left no trace
    assert error(model(x), before) < 1e-12
    assert "2 operations" in str(report)
    release_operations(model)
    assert error(model(x), before) < 1e-12


def test_parameters_are_parted() -> None:
    model = network()
    patch_convolutions(model, torch.randn(2, 1, 16), depth=(3, 1, 2))
    weights, operations = map(set, (model_parameters(model), operation_parameters(model)))
    assert not weights & operations
    assert weights | operations == set(model.parameters())
    assert len(operations) == 6
    for layer in operation_layers(model).values():
        n = layer.axes[0].n
        count = sum(torch.view_as_complex(one.factors).numel() for one in layer.matrices())
        assert count == 2 * n * (n.bit_length() - 1) * (3 + 1 + 2)


def train(model: nn.Module, x: Tensor, operations: float | None) -> list[float]:
    """Losses of a short training; with a rate for operations where they are trained."""
    groups = [{"params": model_parameters(model), "lr": 0.1}]
    if operations is not None:
        groups.append({"params": operation_parameters(model), "lr": operations})
    search, losses = torch.optim.SGD(groups, momentum=0.9), []
    for _ in range(6):
        loss = (model(x) - x[..., :7].sin()).square().mean()
        search.zero_grad()
        loss.backward()
        search.step()
        losses.append(loss.item())
    return losses


class ByFFT(nn.Module):
    """A convolution by torch's transforms, written apart from the package."""

    def __init__(self, conv: nn.Conv1d, n: int) -> None:
        super().__init__()
        self.conv, self.n = conv, n

    def forward(self, x: Tensor) -> Tensor:
        conv, count = self.conv, x.shape[-1] + 2 * self.conv.padding[0] - self.conv.kernel_size[0] + 1
        kernel = torch.fft.rfft(conv.weight.flip(-1), self.n)
        spectrum = torch.einsum("oif,bif->bof", kernel, torch.fft.rfft(x, self.n))
        y = torch.fft.irfft(spectrum, self.n)
        first = conv.kernel_size[0] - 1 - conv.padding[0]
        return y[..., first : first + count : conv.stride[0]] + conv.bias[:, None]


def test_frozen_operations_train_as_the_convolution() -> None:
    x = torch.randn(5, 1, 16, dtype=torch.float64)
    plain = nn.Sequential(nn.Conv1d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv1d(4, 2, 3, stride=2)).double()
    by_fft, frozen, still = copy.deepcopy(plain), copy.deepcopy(plain), copy.deepcopy(plain)
    by_fft[0], by_fft[2] = ByFFT(by_fft[0], 32), ByFFT(by_fft[2], 32)
    patch_convolutions(frozen, x)
    patch_convolutions(still, x)
    release_operations(still)
    wanted = train(plain, x, None)
    assert wanted[-1] < 0.9 * wanted[0]
    for found in (train(by_fft, x, None), train(frozen, x, None), train(still, x, 0.0)):
        assert torch.allclose(torch.tensor(found), torch.tensor(wanted), rtol=1e-12)


def test_a_changed_operation_is_never_taken_for_a_convolution() -> None:
    layer, x = XDConv1d(1, 1, 3, length=8), torch.randn(1, 1, 8)
    freeze_operations(layer)
    before = layer(x)
    scatter(layer)  # frozen, but changed
    assert not layer.is_convolution
    assert error(layer(x), before) > 0.1


def test_saving_copying_and_moving() -> None:
    model, x = network(), torch.randn(5, 1, 16)
    patch_convolutions(model, x)
    scatter(model)
    other = network()
    patch_convolutions(other, x)
    other.load_state_dict(model.state_dict())
    model.eval(), other.eval()
    assert torch.equal(other(x), model(x))
    assert torch.equal(copy.deepcopy(model)(x), model(x))
    assert error(copy.deepcopy(model).double()(x.double()).float(), model(x)) < 1e-5


def test_clipping_counts_a_complex_number_as_two_reals() -> None:
    layer = XDConv1d(1, 1, 3, length=8, dtype=torch.float64)
    layer(torch.randn(1, 1, 8, dtype=torch.float64)).square().sum().backward()
    norm = nn.utils.clip_grad_norm_(operation_parameters(layer), 1e-3)
    assert all(not one.is_complex() for one in layer.parameters())
    total = sum(torch.view_as_complex(one.grad).abs().square().sum() for one in operation_parameters(layer))
    assert float(total.sqrt()) == pytest.approx(1e-3, rel=1e-4)
    assert norm > 1e-3


def future(layer: nn.Module, x: Tensor) -> float:
    """Largest derivative of an output by an input after it."""
    n = x.shape[-1]
    jacobian = torch.autograd.functional.jacobian(lambda v: layer(v)[0, 0], x)[:, 0, 0]
    return float(torch.triu(jacobian[:n, :n], 1).abs().max())


def test_causality_needs_windows() -> None:
    conv = nn.Conv1d(1, 1, 3, dilation=2).double()
    causal = nn.Sequential(nn.ConstantPad1d((4, 0), 0.0), conv)
    x, wanted = torch.randn(2, 1, 12, dtype=torch.float64), causal(torch.randn(2, 1, 12, dtype=torch.float64)).shape
    for kind, leaks in (("none", True), ("stack", False)):
        layer = XDConv1d.from_convolution(conv, 16 if kind == "none" else 9, depth=3, causal=kind)
        model = nn.Sequential(causal[0], layer)
        assert error(model(x), causal(x)) < 1e-12
        assert model(x).shape == wanted
        scatter(layer, 0.1)
        assert (future(model, x[:1]) > 0) == leaks
    stack = CausalStack(XDConv1d(1, 1, 3, length=6, depth=3, padding=1, dtype=torch.float64), 6)
    scatter(stack, 0.1)
    assert future(stack, x[:1]) == 0


def test_a_matrix_is_the_fourier_transform_up_to_bit_reversal() -> None:
    from scipy.linalg import dft

    from seqkit.structured.butterflies import bit_reversal

    order, wanted = bit_reversal(16), torch.from_numpy(dft(16))
    for role, scale in (("L", 1.0), ("M", 0.25)):
        found = OperationMatrix(16, role, 3, dtype=torch.float64).dense()
        assert error(torch.view_as_real(found[order]), torch.view_as_real(scale * wanted)) < 1e-14
    k = OperationMatrix(16, "K", 3, dtype=torch.float64)
    assert error(torch.view_as_real(k.dense()[:, order]), torch.view_as_real(wanted.conj() / 4)) < 1e-14
    assert k.distance == 0
    scatter(k)
    assert k.distance > 0.1


REFUSALS = {
    "transposed": (lambda: XDConv1d.from_convolution(nn.ConvTranspose1d(1, 1, 3), 8), "`conv` must be a Conv1d"),
    "half": (lambda: XDConv1d.from_convolution(nn.Conv1d(1, 1, 3).half(), 8), "float32 or float64"),
    "hook": (lambda: XDConv1d.from_convolution(hooked(), 8), "parametrizations"),
    "short": (lambda: XDConv1d(1, 1, 5, length=3), "`size` must hold the kernel"),
    "depth": (lambda: XDConv1d(1, 1, 3, length=8, depth=(1, 3)), "`depth` must be"),
    "depth 0": (lambda: XDConv1d(1, 1, 3, length=8, depth=0), "`depth` must be"),
    "causal": (lambda: XDConv1d(1, 1, 3, length=8, causal=True), "`causal` must be"),
    "causal stride": (lambda: XDConv1d(1, 1, 3, length=8, causal="stack", stride=2), "stride 1"),
    "causal window": (lambda: XDConv1d(1, 1, 3, length=4, causal="stack", dilation=2, padding=2), "`length` must be"),
    "longer": (lambda: XDConv1d(1, 1, 3, length=8)(torch.ones(1, 1, 9)), "`x` must have the size"),
    "channels": (lambda: XDConv1d(2, 1, 3, length=8)(torch.ones(1, 1, 8)), "`x` must have shape"),
    "whole numbers": (lambda: XDConv1d(1, 1, 3, length=8)(torch.ones(1, 1, 8, dtype=torch.int64)), "floating"),
    "nothing": (lambda: patch_convolutions(nn.Sequential(nn.Linear(2, 2)), torch.ones(1, 2)), "`model` must hold"),
    "causal images": (
        lambda: patch_convolutions(nn.Sequential(nn.Conv2d(1, 1, 3)), torch.ones(1, 1, 8, 8), causal="stack"),
        "layer 0: `causal`",
    ),
    "two sizes": (lambda: patch_convolutions(Twice(), torch.ones(1, 1, 8)), "several in one run"),
    "not finite": (
        lambda: patch_convolutions(nn.Sequential(nn.Conv1d(1, 1, 3)), torch.full((1, 1, 8), torch.nan)),
        "finite",
    ),
}


def hooked() -> nn.Module:
    with pytest.warns(FutureWarning):
        return nn.utils.weight_norm(nn.Conv1d(1, 1, 3))


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.conv(x))


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals(case: str) -> None:
    call, words = REFUSALS[case]
    with pytest.raises(ValueError, match=words):
        call()


def test_what_is_left_out_stays() -> None:
    model = nn.Sequential(nn.Conv1d(1, 1, 3), nn.Conv1d(1, 1, 3), nn.ConvTranspose1d(1, 1, 3))
    report = patch_convolutions(model, torch.ones(1, 1, 8), select=lambda name, _: name == "1")
    assert report.kept == {"0": "not selected", "2": "no operation here replaces a ConvTranspose1d"}
    assert list(operation_layers(model)) == ["1"]


def test_fixed_operations_compute_the_same_and_never_go_stale() -> None:
    model, x = network().eval(), torch.randn(5, 1, 16)
    patch_convolutions(model, x)
    release_operations(model)
    scatter(model)
    fixed, before = fix_operations(model), model(x)
    assert error(fixed(x), before) < 1e-6
    scatter(model)
    assert error(fixed(x), before) < 1e-6
    assert error(model(x), before) > 0.1
    other = fix_operations(model)
    other.load_state_dict(fixed.state_dict())
    assert torch.equal(other(x), fixed(x))
    assert "FixedOperation" in repr(fixed)
    assert not operation_layers(fix_operations(model))["0.layer"].L
    assert not any(one.requires_grad for one in fixed[0].parameters())


def test_autocast_computes_operations_in_float32() -> None:
    model, x = nn.Sequential(nn.Conv1d(2, 3, 3, padding=1)), torch.randn(2, 2, 16)
    patch_convolutions(model, x)
    scatter(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(x.bfloat16())
    assert found.dtype == torch.bfloat16
    assert error(found.float(), model(x.bfloat16().float())) < 5e-3


def test_layers_called_by_keyword_are_found_too() -> None:
    class ByName(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(1, 1, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(input=x) if isinstance(self.conv, nn.Conv1d) else self.conv(x)

    assert [one.name for one in patch_convolutions(ByName(), torch.ones(1, 1, 8)).layers] == ["conv"]
