"""LSSL, S4 and S4D against a dense float64 simulation with scipy, and against each other."""

import numpy as np
import pytest
import torch
from scipy import signal

from seqkit.hippo import nplr
from seqkit.ssm import LSSL, S4, S4D, DissipativeMatrix
from seqkit.ssm.diagonal import pairs_to_real


@pytest.fixture(autouse=True)
def _double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


METHODS = {"bilinear": "bilinear", "zero_order_hold": "zoh", "backward_euler": "backward_diff"}
LAYERS = [
    *((LSSL, {"discretization": name, "measure": m}) for name in METHODS for m in ("legs", "legt", "lagt", "fourier")),
    *((S4, {"measure": m}) for m in ("legs", "legt", "lagt")),
    *((S4D, {"discretization": name, "start": start}) for name in METHODS for start in ("legs", "lin", "inv")),
]


def simulate(layer, u, rate):
    """Discretises each head's continuous system with scipy and runs the recurrence sample by sample."""
    A, B, C, skip, dt = (t.detach().numpy() for t in layer.system())
    method = METHODS[getattr(layer, "discretization", "bilinear")]
    y = np.zeros((u.shape[0], u.shape[1], layer.d_model))
    for h in range(layer.d_model):
        one, zero = np.zeros((1, layer.order)), np.zeros((1, 1))
        system = (A[h], B[h][:, None], one, zero)
        A_bar, B_bar, *_ = signal.cont2discrete(system, rate * dt[h], method=method)
        # scipy's output equation of some rules mixes inputs; the state recurrence is what the layer defines.
        for b in range(u.shape[0]):
            x = np.zeros(layer.order)
            for k in range(u.shape[1]):
                x = A_bar @ x + B_bar[:, 0] * u[b, k, h]
                y[b, k, h] = C[h, 0] @ x + skip[h, 0] * u[b, k, h]
    return y


@pytest.mark.parametrize(("layer_class", "options"), LAYERS)
@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0])
def test_equals_scipy_simulation(layer_class, options, rate):
    torch.manual_seed(1)
    layer = layer_class(3, order=8, **options)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    u = torch.randn(2, 50, 3)
    expected = simulate(layer, u.numpy(), rate)
    error = np.sqrt(np.mean((layer(u, rate=rate).detach().numpy() - expected) ** 2) / np.mean(expected**2))
    assert error < 1e-10


@pytest.mark.parametrize("measure", ["legs", "legt", "lagt"])
@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0])
def test_lssl_equals_s4(measure, rate):
    torch.manual_seed(2)
    lssl, s4 = LSSL(4, order=16, measure=measure), S4(4, order=16, measure=measure)
    V = nplr(measure, 16).V  # columns of one half of the conjugate pairs: A = V (diag - P P^*) V^* over both halves
    with torch.no_grad():
        s4.log_dt.copy_(lssl.log_dt)
        s4.D.copy_(lssl.D)
        s4.C.copy_(pairs_to_real(lssl.C.to(V.dtype) @ V))
    u = torch.randn(2, 80, 4)
    a, b = lssl(u, rate=rate), s4(u, rate=rate)
    assert float(((a - b).square().mean() / a.square().mean()).sqrt().detach()) < 1e-9


@pytest.mark.parametrize("measure", ["legs", "legt", "lagt", "fourier"])
@torch.no_grad()
def test_hippo_matrices_are_dissipative_matrices_exactly(measure):
    from seqkit.hippo import transition

    A, _ = transition(measure, 12)
    error = (DissipativeMatrix(A)() - A).abs().max() / A.abs().max()
    assert float(error) < 1e-13


@torch.no_grad()
def test_dissipative_matrix_never_grows_whatever_its_parameters():
    from seqkit.hippo import discretize

    torch.manual_seed(0)
    for scale in (0.1, 1.0, 30.0):
        matrix = DissipativeMatrix(torch.eye(10) * -1.0)
        with torch.no_grad():
            for parameter in matrix.parameters():
                parameter.copy_(scale * torch.randn_like(parameter))
        A = matrix()
        assert float(torch.linalg.eigvalsh((A + A.T) / 2).max()) < 1e-9 * scale**2
        for method in METHODS:
            for dt in (1e-4, 1e-2, 1.0, 10.0):
                A_bar, _ = discretize(A, torch.zeros(10), torch.tensor(dt), method=method)
                assert float(torch.linalg.matrix_norm(A_bar, 2)) <= 1 + 1e-9


def test_dissipative_matrix_refuses_a_growing_start():
    with pytest.raises(ValueError, match="no positive symmetric part"):
        DissipativeMatrix(torch.diag(torch.tensor([-1.0, 0.5])))


@torch.no_grad()
def test_rate_scales_the_input_map_too():
    """On a slow input every second output of the layer at rate 1 is followed by rate 2 (half the samples)."""
    torch.manual_seed(0)
    layer = LSSL(2, order=16, dt_min=0.01, dt_max=0.02)
    t = torch.arange(400) / 400
    u = torch.stack([torch.sin(6.3 * t), torch.cos(12.6 * t)], -1)[None]
    full, half = layer(u)[:, ::2], layer(u[:, ::2], rate=2.0)
    told = float((half - full).square().mean().sqrt() / full.square().mean().sqrt())
    hidden = float((layer(u[:, ::2]) - full).square().mean().sqrt() / full.square().mean().sqrt())
    assert told < 0.05
    assert hidden > 5 * told


def test_parameter_counts_of_the_paper():
    """C and mixing of the paper's small and large models: 196 608 and 2 097 152."""
    from seqkit.batch import DataInfo
    from seqkit.models import ModelConfig, SequenceModel

    info = DataInfo("toy", "classification", n_channels=1, classes=("a", "b"))
    for name, expected in (("lssl_small", 196_608), ("lssl_large", 2_097_152)):
        model = SequenceModel.from_config(ModelConfig.preset(name), info)
        count = 0
        for key, parameter in model.named_parameters():
            if key.endswith((".mixer.C", ".out.weight", ".mix.weight")):
                count += parameter.numel()
        assert count == expected
