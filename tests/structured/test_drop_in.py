"""Structured layers where a model has dense ones: autocast, no rows, the device meta, and torch.func."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, jvp, stack_module_state, vmap

from seqkit.structured import StructuredLinear, structure_names
from seqkit.structured.xd import XDConv1d

NAMES = structure_names()
by_name = pytest.mark.parametrize("name", NAMES)
PLAIN = [name for name in NAMES if "kaleidoscope" not in name and name != "butterfly"]  # products that autocast narrows


def layer(name, n_in=12, n_out=10, **options):
    torch.manual_seed(0)
    return StructuredLinear(n_in, n_out, name, **{"dtype": torch.float64, **options})


@pytest.mark.parametrize("name", PLAIN)
def test_autocast_gives_the_dtype_of_a_dense_layer(name):
    made, x = layer(name, dtype=torch.float32), torch.randn(5, 12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = made(x)
        assert y.dtype == nn.Linear(12, 10)(x).dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), made(x), atol=0.02, rtol=0.02)


@by_name
def test_autocast_leaves_double_and_complex_numbers_alone(name):
    for dtype in (torch.float64, torch.complex128):
        if dtype.is_complex and name == "orthogonal_kaleidoscope":
            continue
        made, x = layer(name, dtype=dtype), torch.randn(5, 12, dtype=dtype)
        expected = made(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = made(x)
        assert y.dtype == dtype
        torch.testing.assert_close(y, expected, atol=1e-12, rtol=0)


@by_name
@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64, torch.float64])
def test_autocast_does_not_make_other_numbers_fit(name, dtype):
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(ValueError, match="must have the matrix's dtype"):
        layer(name, dtype=torch.float32)(torch.ones(2, 12, dtype=dtype))


@by_name
def test_no_rows_have_gradients_of_zeros(name):
    made, x = layer(name), torch.randn(0, 12, dtype=torch.float64, requires_grad=True)
    y = made(x)
    y.sum().backward()
    assert y.shape == (0, 10)
    assert x.grad.shape == x.shape
    assert all((parameter.grad == 0).all() for parameter in made.parameters())


@by_name
def test_weights_come_to_a_layer_of_the_device_meta(name, monkeypatch):
    made, x = layer(name), torch.randn(5, 12, dtype=torch.float64)
    expected = made(x)
    torch.use_deterministic_algorithms(True)  # then memory without values holds NaN, and the largest number
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    try:
        moved = copy.deepcopy(made).to("meta")
        assert moved(x.to("meta")).shape == (5, 10)
        moved = moved.to_empty(device="cpu")
        moved.load_state_dict(made.state_dict())
        with torch.device("meta"):
            built = layer(name)
        built.load_state_dict(made.state_dict(), assign=True)
    finally:
        torch.use_deterministic_algorithms(False)
    torch.testing.assert_close(moved(x), expected)
    torch.testing.assert_close(built(x), expected)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch's own, for its first derivatives
@pytest.mark.parametrize(("name", "large"), [*((name, False) for name in NAMES), ("monarch", True)])
def test_torch_func(name, large):
    n, n_rows = (192, 400) if large else (12, 2)
    made = layer(name, n, n)
    assert not (large and made.matrix.is_small(torch.zeros(3 * n_rows, n)))
    x, along = torch.randn(2, 3, n_rows, n, dtype=torch.float64)
    weight, parameters = made.weight.detach(), dict(made.named_parameters())

    def loss(parameters, rows):
        return functional_call(made, parameters, (rows,)).pow(2).sum()

    torch.testing.assert_close(vmap(made)(x), x @ weight.T + made.bias)
    torch.testing.assert_close(jvp(made, (x,), (along,))[1], along @ weight.T)
    found = vmap(grad(loss), in_dims=(None, 0))(parameters, x)
    for k in range(len(x)):
        made.zero_grad()
        loss(parameters, x[k]).backward()
        for key, parameter in made.named_parameters():
            torch.testing.assert_close(found[key][k], parameter.grad)


@by_name
def test_an_ensemble_runs_as_one(name):
    made = [StructuredLinear(12, 10, name, dtype=torch.float64) for _ in range(3)]
    parameters, buffers = stack_module_state(made)
    x = torch.randn(4, 12, dtype=torch.float64)
    y = vmap(lambda p, b: functional_call(made[0], (p, b), (x,)))(parameters, buffers)
    torch.testing.assert_close(y, torch.stack([one(x) for one in made]))


def test_an_operation_of_the_device_meta_gets_its_tables(monkeypatch):
    made = XDConv1d(2, 3, 3, length=16, padding=1, depth=1)
    x = torch.randn(2, 2, 16)
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    torch.use_deterministic_algorithms(True)
    try:
        moved = copy.deepcopy(made).to("meta").to_empty(device="cpu")
    finally:
        torch.use_deterministic_algorithms(False)
    moved.load_state_dict(made.state_dict())
    torch.testing.assert_close(moved(x), made(x))
    assert all(
        torch.equal(one.start, other.start) for one, other in zip(moved.matrices(), made.matrices(), strict=True)
    )
