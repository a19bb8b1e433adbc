"""Operators inside torch.func: per-sample gradients, forward derivatives and maps equal loops over plain calls."""

import pytest
import torch

from seqkit.checks import NotFiniteError
from seqkit.kernels.attention import attention
from seqkit.kernels.butterfly import butterfly
from seqkit.kernels.cauchy import cauchy
from seqkit.kernels.krylov import krylov
from seqkit.kernels.legs_update import legs_update
from seqkit.kernels.long_conv import long_conv
from seqkit.kernels.lti_memory import lti_memory
from seqkit.kernels.monarch import monarch
from seqkit.kernels.ssm_scan import ssm_scan
from seqkit.kernels.ssm_step import ssm_step
from seqkit.kernels.vandermonde import vandermonde

torch.manual_seed(0)
F64, C128 = {"dtype": torch.float64}, {"dtype": torch.complex128}
POLES = -0.1 - torch.rand(3, 4, **F64) + 1j * torch.randn(3, 4, **F64)
ROWS, WEIGHT = torch.randn(3, 4, **C128), torch.randn(3, 4, **C128)
MATRIX = 0.3 * torch.randn(3, 4, 4, **F64)
REAL = torch.randn(3, 4, **F64)

# Name -> a function of one tensor, and the shape of one sample of it.
CASES = {
    "attention": (lambda x: attention(x, x * 2, x), (1, 2, 6, 4)),
    "butterfly": (lambda x: butterfly(x, torch.ones(1, 3, 4, 2, 2, **F64).cumsum(1)), (2, 8)),
    "cauchy": (lambda x: cauchy(POLES, ROWS, WEIGHT, (x + 0j)[:, None], torch.ones(3, **F64), 8).real, (3, 4)),
    "krylov": (lambda x: krylov(MATRIX, REAL, x[:, None], 8), (3, 4)),
    "legs_update": (lambda x: legs_update(x, 4), (2, 6)),
    "long_conv": (lambda x: long_conv(x, REAL.repeat(1, 2)), (2, 3, 8)),
    "lti_memory": (lambda x: lti_memory(x, MATRIX, REAL[0], torch.zeros(2, 3, 4, **F64))[0], (2, 3, 6)),
    "monarch": (lambda x: monarch(x, torch.ones(2, 2, 3, **F64), torch.ones(2, 3, 2, **F64).cumsum(1)), (2, 6)),
    "ssm_scan": (lambda x: ssm_scan(x, POLES, ROWS, WEIGHT)[0], (2, 3, 6)),
    "ssm_step": (lambda x: ssm_step(x, POLES.exp(), ROWS, WEIGHT, torch.zeros(2, 3, 4, **C128))[0], (2, 3)),
    "vandermonde": (lambda x: vandermonde(POLES, (x + 0j)[:, None], 8).real, (3, 4)),
}
by_name = pytest.mark.parametrize("name", CASES)


def samples(name, n=3):
    function, shape = CASES[name]
    return function, torch.randn(n, *shape, generator=torch.Generator().manual_seed(1), **F64)


@by_name
def test_a_map_is_a_loop(name):
    function, x = samples(name)
    torch.testing.assert_close(torch.func.vmap(function)(x), torch.stack([function(one) for one in x]))


@by_name
def test_gradients_of_samples_are_those_of_each_alone(name):
    function, x = samples(name)

    def loss(one):
        return function(one).pow(2).sum()

    wanted = []
    for one in x:
        leaf = one.clone().requires_grad_()
        wanted += torch.autograd.grad(loss(leaf), leaf)
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(loss))(x), torch.stack(wanted))
    torch.testing.assert_close(torch.func.grad(loss)(x[0]), wanted[0])


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch's own, for its first derivatives
@by_name
def test_forward_derivatives_are_those_of_the_gradient(name):
    function, (x, along) = samples(name, 2)
    y, tangent = torch.func.jvp(function, (x,), (along,))
    torch.testing.assert_close(y, function(x))
    leaf = x.clone().requires_grad_()
    cotangent = torch.randn_like(y)
    (gradient,) = torch.autograd.grad(function(leaf), leaf, cotangent)
    torch.testing.assert_close((tangent * cotangent).sum(), (gradient * along).sum())


def test_values_that_are_not_finite_are_found_inside_a_map():
    function, x = samples("long_conv")
    x[1, 0, 2] = torch.nan
    with pytest.raises(NotFiniteError, match="`u` has"):
        torch.func.vmap(function)(x)
