"""HiPPORNN and LMU against their equations in plain float64 loops with dense matrices."""

import pytest
import torch
from torch import nn

from seqkit.hippo import discretize, transition
from seqkit.ssm import LMU, HiPPORNN

DOUBLE = {"dtype": torch.float64}


def dense_legs(order):
    """A and B of c' = (-A c + B f) / t, entry by entry."""
    A, B = torch.zeros(order, order, **DOUBLE), torch.zeros(order, **DOUBLE)
    for n in range(order):
        B[n] = (2 * n + 1) ** 0.5
        for k in range(n):
            A[n, k] = ((2 * n + 1) * (2 * k + 1)) ** 0.5
        A[n, n] = n + 1
    return A, B


def dense_lmu(order, window):
    """A and B of the authors: (2n+1) (-1 if n < k else (-1)^(n-k+1)), (2n+1) (-1)^n, over the window."""
    A, B = torch.zeros(order, order, **DOUBLE), torch.zeros(order, **DOUBLE)
    for n in range(order):
        B[n] = (2 * n + 1) * (-1) ** n / window
        for k in range(order):
            A[n, k] = (2 * n + 1) * (-1 if n < k else (-1) ** (n - k + 1)) / window
    return A, B


def bilinear(A, B, delta):
    """One step of c' = A c + B u."""
    eye = torch.eye(len(A), **DOUBLE)
    return (
        torch.linalg.solve(eye - delta / 2 * A, eye + delta / 2 * A),
        torch.linalg.solve(eye - delta / 2 * A, delta * B),
    )


def gated_loop(layer, x, steps, rule):
    """The cell of the paper, one sample and one stream at a time."""
    A, B = dense_legs(layer.order)
    outputs = []
    for series, own in zip(x, steps, strict=True):
        h, m, t = torch.zeros(layer.d_model, **DOUBLE), None, 0.0
        for x_k, dt in zip(series, own, strict=True):
            u = layer.write.weight @ torch.cat([x_k, h]) + layer.write.bias
            if m is None:
                m = torch.zeros(layer.memory_channels, layer.order, **DOUBLE)
                m[:, 0] = u
            else:
                delta = {"midpoint": 2 * dt / (2 * t + dt), "reciprocal": dt / t}[rule]
                A_bar, B_bar = bilinear(-A, B, delta)
                m = m @ A_bar.T + torch.outer(u, B_bar)
            t = t + float(dt)
            z = torch.cat([x_k, m.flatten()])
            candidate = torch.tanh(layer.candidate.weight @ z + layer.candidate.bias)
            if layer.gate is None:
                h = candidate
            else:
                g = torch.sigmoid(layer.gate.weight @ z + layer.gate.bias)
                h = (1 - g) * h + g * candidate
            outputs.append(h)
    return torch.stack(outputs).view_as(x)


@pytest.mark.parametrize("rule", ["midpoint", "reciprocal"])
@pytest.mark.parametrize(("channels", "gate"), [(1, True), (3, True), (2, False)])
def test_legs_cell_is_the_papers(rule, channels, gate):
    layer = HiPPORNN(4, order=7, memory_channels=channels, gate=gate, rule=rule).double()
    x, ones = torch.randn(2, 25, 4, **DOUBLE), torch.ones(2, 25, **DOUBLE)
    expected = gated_loop(layer, x, ones, rule)
    assert (layer(x) - expected).abs().max() < 1e-12
    times = torch.rand(2, 25, **DOUBLE).add(0.1).cumsum(1)
    steps = torch.cat([ones[:, :1], times.diff(dim=1)], 1)
    assert (layer(x, timestamps=times) - gated_loop(layer, x, steps, rule)).abs().max() < 1e-12


def test_lmu_cell_is_its_authors():
    layer = LMU(4, order=6, window=30.0, discretization="zero_order_hold").double()
    with torch.no_grad():
        for weight in layer.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    x = torch.randn(2, 40, 4, **DOUBLE)
    A, B = dense_lmu(6, 30.0)
    A_bar = torch.linalg.matrix_exp(A)
    B_bar = torch.linalg.solve(A, A_bar @ B - B)
    e_x, e_h, e_m = layer.write.weight[0].split([4, 4, 6])
    W_x, W_m, W_h = layer.candidate.weight.split([4, 6, 4], dim=1)
    y = layer(x)
    for i in range(2):
        h, m = torch.zeros(4, **DOUBLE), torch.zeros(6, **DOUBLE)
        for k in range(40):
            u = e_x @ x[i, k] + e_h @ h + e_m @ m
            m = A_bar @ m + B_bar * u
            h = torch.tanh(W_x @ x[i, k] + W_h @ h + W_m @ m)
            assert (y[i, k] - h).abs().max() < 1e-11


@pytest.mark.parametrize("measure", ["legt", "lagt", "fourier"])
@pytest.mark.parametrize("discretization", ["bilinear", "zero_order_hold", "backward_euler"])
def test_invariant_cells_step_their_measures(measure, discretization):
    window = None if measure == "lagt" else 12.0
    options = {"measure": measure, "window": window, "discretization": discretization}
    layer = HiPPORNN(3, order=6, **options).double()
    A, B = transition(measure, 6)
    u = torch.randn(1, 1, 3, **DOUBLE)
    for rate in (0.5, 1.0, 3.0):
        _, state = layer.scan(u.expand(1, 5, 3), layer.initial_state(1), rate=rate)
        A_bar, B_bar = discretize(A, B, rate / (window or 1.0), discretization)
        h, m = torch.zeros(3, **DOUBLE), torch.zeros(6, **DOUBLE)
        for _ in range(5):
            m = A_bar @ m + B_bar * (layer.write.weight[0] @ torch.cat([u[0, 0], h]) + layer.write.bias)
            z = torch.cat([u[0, 0], m])
            c, g = (torch.nn.functional.linear(z, w.weight, w.bias) for w in (layer.candidate, layer.gate))
            h = h + torch.sigmoid(g) * (torch.tanh(c) - h)
        assert (state.memory[0, 0] - m).abs().max() < 1e-12
        assert (state.hidden[0] - h).abs().max() < 1e-12
        assert state.elapsed.tolist() == [5 * rate]


def test_many_different_steps_need_no_table(monkeypatch):
    monkeypatch.setattr("seqkit.ssm.cell_memory.TABLE", 0)
    layer = HiPPORNN(3, order=6, measure="legt", window=12.0).double()
    u, times = torch.randn(2, 9, 3, **DOUBLE), torch.rand(2, 9, **DOUBLE).add(0.2).cumsum(1)
    one_by_one = layer(u, timestamps=times)
    monkeypatch.undo()
    assert (layer(u, timestamps=times) - one_by_one).abs().max() < 1e-13


def test_number_of_parameters_is_the_papers():
    # H = N = 512 and a single input in the paper, 0.53 M; here the input is as wide as the hidden vector.
    width = order = 512
    layer = HiPPORNN(width, order=order)
    mine = sum(p.numel() for p in layer.parameters())
    one_input = mine - 2 * width * (width - 1) - (width - 1)
    assert one_input == (1 + width + 1) + 2 * width * (1 + order + 1)
    assert 0.525e6 < one_input < 0.535e6


def test_starting_values():
    layer = LMU(9, order=5, window=10.0)
    e_x, rest = layer.write.weight[0, :9], layer.write.weight[0, 9:]
    assert torch.allclose(e_x, torch.full((9,), 1 / 3))
    assert not rest.any()
    assert not layer.candidate.weight[:, :9].any()
    assert not layer.candidate.weight[:, 14:].any()
    assert layer.candidate.weight[:, 9:14].std() > 0.1
    assert layer.write.bias is None


def test_the_clock_does_not_stop():
    # A constant is remembered as that constant at any age; the released cell becomes a filter after its longest series.
    layer = HiPPORNN(2, order=4, gate=False)
    with torch.no_grad():
        layer.write.weight.zero_()
        layer.write.bias.fill_(0.5)
    state = layer.initial_state(1)._replace(elapsed=torch.tensor([1e7], **DOUBLE))
    state = state._replace(memory=torch.tensor([[[0.5, 0.25, 0.0, 0.0]]]))
    _, state = layer.scan(torch.zeros(1, 100, 2), state)
    assert state.elapsed.item() == 1e7 + 100
    assert torch.allclose(state.memory[0, 0, :2], torch.tensor([0.5, 0.25]), atol=1e-4)


def test_legs_gradient_reaches_far_back():
    layer = HiPPORNN(4, order=8).double()
    x = torch.randn(1, 2000, 4, **DOUBLE, requires_grad=True)
    layer(x)[0, -1].sum().backward()
    size = x.grad[0].norm(dim=-1)
    assert size[1000] > 1e-4 * size[-10]  # 1 / t, where a plain recurrent network has nothing left
    assert size.isfinite().all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"window": 5.0}, "`window` is not for legs"),
        ({"measure": "legt"}, "`window` must be given for legt"),
        ({"measure": "fourier", "order": 5, "window": 9.0}, "`order` must be even"),
        ({"measure": "lagt", "rule": "reciprocal"}, "`rule` is for legs, got 'reciprocal' with lagt"),
        ({"discretization": "zero_order_hold"}, "`discretization` is not for legs"),
        ({"measure": "legt", "window": -1.0}, "`window` must be a finite number above 0"),
        ({"rule": "midpont"}, "did you mean midpoint"),
        ({"measure": "lagt", "discretization": "forward_euler"}, "`discretization` must be one of"),
        ({"memory_channels": 0}, "`memory_channels` must be a whole number"),
        ({"order": 0}, "`order` must be a whole number"),
    ],
)
def test_options_without_a_use_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        HiPPORNN(4, **options)


def test_lmu_needs_its_window():
    with pytest.raises(ValueError, match="`window` must be given for LMU"):
        LMU(4)


@pytest.mark.parametrize("make", [lambda: HiPPORNN(8, order=16), lambda: LMU(8, order=16, window=40.0)])
def test_it_learns_to_recall(make):
    """The sign of the first sample, forty samples later, among noise."""
    torch.manual_seed(0)
    layer, head = make(), nn.Linear(8, 1)
    optimizer = torch.optim.Adam([*layer.parameters(), *head.parameters()], lr=0.01)
    for _ in range(60):
        x = 0.3 * torch.randn(64, 40, 8)
        x[:, 0] = torch.randn(64, 1).sign()
        loss = nn.functional.soft_margin_loss(head(layer(x)[:, -1])[:, 0], x[:, 0, 0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1


def test_an_old_stream_in_float32_still_follows_what_is_written():
    layer, age, count = HiPPORNN(2, order=3, gate=False), 1e8, 2000
    with torch.no_grad():
        layer.write.weight.zero_()
        layer.write.bias.fill_(2.0)
    state = layer.initial_state(1)._replace(elapsed=torch.tensor([age], dtype=torch.float64))
    state.memory[:, :, 0] = 1.0
    with torch.no_grad():
        y, state = layer.scan(torch.zeros(1, count, 2), state)
    assert y.dtype == torch.float32
    assert abs(float(state.memory[0, 0, 0]) - (1 + count / (age + count))) < 1e-9
