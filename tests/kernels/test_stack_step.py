"""A sample through a whole model: the loops against the equations, for every kind of part, and what they promise."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from seqkit.kernels.stack_step import (
    Block,
    Dense,
    Diagonal,
    Levels,
    Linear,
    LowRank,
    Norm,
    Stack,
    cpu,
    fresh,
    load_rows,
    pack,
    rows_of,
    stack_step,
)
from seqkit.kernels.stack_step.reference import stack_step_reference

LIMITS = {torch.float32: 1e-5, torch.float64: 1e-12}
numba = pytest.mark.skipif(not cpu.HAS_NUMBA, reason="the loops need numba")


@pytest.fixture(params=["cpu", "torch"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The compiled loops, and what takes their place without numba."""
    if request.param == "torch":
        monkeypatch.setattr(cpu, "HAS_NUMBA", False)
    elif not cpu.HAS_NUMBA:
        pytest.skip("the loops need numba")
    return "cpu"


def normal(*shape: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64).to(dtype)


def system(kind: str, width: int, pairs: int, outputs: int, dtype: torch.dtype, rule: str) -> Any:
    def modes(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.complex128).to(dtype.to_complex())

    damping = 0.2 + torch.rand(width, pairs, dtype=torch.float64)
    Lambda = torch.complex(-damping, 4 * torch.randn(width, pairs, dtype=torch.float64)).to(dtype.to_complex())
    dt = (0.05 + 0.3 * torch.rand(width, dtype=torch.float64)).to(dtype)
    C = modes(width, outputs, pairs)
    if kind == "diagonal":
        return Diagonal(Lambda, modes(width, pairs), C, dt, rule)
    if kind == "low_rank":
        pull, push = modes(width, 2, pairs) * 0.1, modes(width, 2, pairs) * 0.1
        return LowRank((Lambda * dt[:, None]).exp(), modes(width, pairs), C, pull, push)
    A = torch.linalg.matrix_exp(normal(width, 2 * pairs, 2 * pairs, dtype=torch.float64) * 0.1) * 0.7
    return Dense(A.to(dtype), normal(width, 2 * pairs, dtype=dtype), normal(width, outputs, 2 * pairs, dtype=dtype))


def model(
    kind: str = "diagonal",
    *,
    dtype: torch.dtype = torch.float64,
    channels: int = 3,
    width: int = 20,
    pairs: int = 3,
    depth: int = 2,
    outputs: int = 1,
    norm: str = "layer",
    activation: str = "gelu",
    output: str = "gated",
    pool: str = "mean",
    rule: str = "bilinear",
    missing: bool = False,
    shares: bool = True,
    answers: int = 4,
) -> Stack:
    def line(n_out: int, n_in: int) -> Linear:
        return Linear(normal(n_out, n_in, dtype=dtype) / n_in**0.5, normal(n_out, dtype=dtype))

    def scaled() -> Norm:
        return Norm(norm, normal(width, dtype=dtype), normal(width, dtype=dtype) * (norm != "rms"), 1e-5)

    blocks = tuple(
        Block(
            scaled(),
            system(kind, width, pairs, outputs, dtype, rule),
            normal(width, outputs, dtype=dtype),
            line(width, outputs * width) if outputs > 1 else None,
            activation,
            output,
            None if output == "none" else line((2 if output == "gated" else 1) * width, width),
        )
        for _ in range(depth)
    )
    units = normal(answers, dtype=dtype), normal(answers, dtype=dtype)
    mean, std = normal(channels, dtype=dtype), 0.2 + normal(channels, dtype=dtype).abs()
    encoder = line(width, channels * (2 if missing else 1))
    levels = None
    if pool == "share":
        wide = [normal(5 * width, dtype=dtype), 0.2 + normal(5 * width, dtype=dtype).abs()]
        slopes = [normal(3, width, dtype=dtype) for _ in range(2)]
        levels = Levels(*slopes, 0.2 + normal(width, dtype=dtype).abs(), *wide, 3.0)
    head = line(answers, width if levels is None else 5 * width)
    return Stack(mean, std, encoder, blocks, scaled(), pool, head, *units, shares, levels)


def samples(stack: Stack, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Samples, which of them are there, and steps."""
    shape = (n, len(stack.mean))
    return normal(*shape, dtype=stack.mean.dtype), torch.rand(shape) < 0.7, 0.3 + torch.rand(n, dtype=torch.float64)


def error(got: Tensor, want: Tensor) -> float:
    return float((got.double() - want.double()).abs().max() / want.double().abs().max().clamp(min=1e-3))


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether rows are alike; numbers of twice the width that lie in them may look like NaN."""
    return torch.equal(one.view(torch.int32), other.view(torch.int32))


def worst(stack: Stack, n: int = 3, length: int = 6, steps: bool = False, observed: bool = True) -> float:
    """Largest relative error of outputs and states over a few samples of a few streams."""
    packed, state = pack(stack), fresh(stack, n)
    rows, found = rows_of(packed, state), 0.0
    for _ in range(length):
        x, there, times = samples(stack, n)
        given = {"steps": times if steps else None, "observed": there if observed else None}
        want, state = stack_step_reference(x, stack, state, **given)
        found = max(found, error(stack_step(x, packed, rows, backend="cpu", **given), want))
    got = load_rows(packed, rows)
    pooled = [] if stack.pool == "none" else [(got.value, state.value), (got.seen, state.seen)]
    return max(
        found,
        *(error(*pair) for pair in [*zip(got.layers, state.layers, strict=True), (got.held, state.held), *pooled]),
    )


PARTS = {
    "kind": ["diagonal", "low_rank", "dense"],
    "outputs": [1, 2],
    "norm": ["layer", "rms", "none"],
    "activation": ["gelu", "relu", "silu", "none"],
    "output": ["gated", "linear", "none"],
    "pool": ["mean", "last", "max", "none", "share"],
    "rule": ["bilinear", "zero_order_hold", "backward_euler"],
    "missing": [False, True],
    "shares": [True, False],
    "width": [1, 16, 33],
    "pairs": [1, 16, 17],
    "channels": [1, 17],
    "depth": [0, 1, 3],
    "answers": [1, 40],
}
ONE_CHANGED = [{name: value} for name, values in PARTS.items() for value in values]
MANY_CHANGED = [
    {"kind": kind, "outputs": outputs, "norm": norm, "activation": activation, "output": output, "pool": pool}
    for (kind, outputs), (norm, activation), (output, pool) in zip(
        itertools.cycle(itertools.product(PARTS["kind"], PARTS["outputs"])),
        itertools.product(PARTS["norm"], PARTS["activation"]),
        itertools.product(PARTS["output"], PARTS["pool"]),
    )
]


@pytest.mark.parametrize("dtype", LIMITS, ids=str)
@pytest.mark.parametrize("parts", [*ONE_CHANGED, *MANY_CHANGED], ids=str)
def test_equals_the_equations(parts: dict[str, Any], dtype: torch.dtype, path: str) -> None:
    assert worst(model(dtype=dtype, **parts)) < LIMITS[dtype]


@pytest.mark.parametrize("dtype", LIMITS, ids=str)
@pytest.mark.parametrize("rule", PARTS["rule"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_each_stream_has_its_own_step(rule: str, outputs: int, dtype: torch.dtype, path: str) -> None:
    assert worst(model(rule=rule, outputs=outputs, dtype=dtype), n=5, steps=True) < LIMITS[dtype]


@pytest.mark.parametrize("n", [1, 2, 4, 7, 33, 150])
def test_any_number_of_streams(n: int, path: str) -> None:
    assert worst(model(), n=n, observed=False) < 1e-12


@pytest.mark.parametrize("rule", PARTS["rule"])
def test_a_mode_at_rest_has_no_eigenvalue(rule: str, path: str) -> None:
    stack = model(rule=rule)
    stack.blocks[0].system.Lambda[:, 0] = 0
    assert worst(stack, steps=True) < 1e-12


@pytest.mark.parametrize("rule", PARTS["rule"])
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_model_packed_for_another_rate(rule: str, backend: str, path: str) -> None:
    stack = model(rule=rule)
    x, _, _ = samples(stack, 2)
    packed = pack(stack, rate=2.5)
    rows = rows_of(packed, fresh(stack, 2))
    got = stack_step(x, packed, rows, backend=backend)
    want, _ = stack_step_reference(x, stack, fresh(stack, 2), torch.full((2,), 2.5, dtype=torch.float64))
    assert error(got, want) < 1e-12


@numba
def test_rate_laid_down_is_that_of_the_loops_to_the_last_bit() -> None:
    for rule, dtype in itertools.product(PARTS["rule"], LIMITS):
        stack = model(rule=rule, dtype=dtype)
        x, _, _ = samples(stack, 3)
        stepper = cpu.Stepper(pack(stack))
        one, other = (rows_of(stepper.packed, fresh(stack, 3)).numpy() for _ in range(2))
        steps = torch.full((3,), 1.7, dtype=torch.float64).numpy()
        assert (stepper(one, None, x.numpy(), steps) == stepper.at(1.7)(other, None, x.numpy())).all()
        assert one.tobytes() == other.tobytes()


@numba
@pytest.mark.parametrize("kind", PARTS["kind"])
@pytest.mark.parametrize("dtype", LIMITS, ids=str)
def test_company_changes_no_bit(kind: str, dtype: torch.dtype) -> None:
    stack = model(kind, dtype=dtype, width=40, outputs=2)
    packed = pack(stack)
    alone, together = (rows_of(packed, fresh(stack, 39)) for _ in range(2))
    for _ in range(3):
        x, observed, _ = samples(stack, 39)
        want = stack_step(x, packed, together, observed=observed, backend="cpu")
        for place in range(39):
            rows = torch.tensor([place])
            got = stack_step(x[rows], packed, alone, rows=rows, observed=observed[rows], backend="cpu")
            assert torch.equal(got[0], want[place])
    assert same_bits(alone, together)


def test_other_rows_stay_as_they_are(path: str) -> None:
    stack = model()
    packed = pack(stack)
    states = rows_of(packed, fresh(stack, 6))
    stack_step(samples(stack, 6)[0], packed, states)
    before = states.clone()
    x, observed, steps = samples(stack, 2)
    rows = torch.tensor([4, 1])
    got = stack_step(x, packed, states, rows=rows, steps=steps, observed=observed)
    want, new = stack_step_reference(x, stack, load_rows(packed, before[rows]), steps, observed)
    assert error(got, want) < 1e-12
    assert error(states[rows], rows_of(packed, new)) < 1e-12
    others = [0, 2, 3, 5]
    assert same_bits(states[others], before[others])


@numba
def test_threads_share_streams() -> None:
    stack = model()
    packed = pack(stack)
    x, observed, steps = samples(stack, 300)
    one, two = (rows_of(packed, fresh(stack, 300)) for _ in range(2))
    want = stack_step(x, packed, one, steps=steps, observed=observed)
    torch.set_num_threads(2)
    try:
        got = stack_step(x, packed, two, steps=steps, observed=observed)
    finally:
        torch.set_num_threads(1)
    assert torch.equal(got, want)
    assert same_bits(one, two)


@pytest.mark.parametrize("kind", PARTS["kind"])
@pytest.mark.parametrize("pool", PARTS["pool"])
def test_rows_hold_states_exactly(kind: str, pool: str) -> None:
    for dtype in LIMITS:
        stack = model(kind, pool=pool, dtype=dtype, width=5)
        empty = fresh(stack, 4)
        state = empty._replace(
            layers=tuple(torch.randn_like(layer) for layer in empty.layers),
            value=torch.randn_like(empty.value) * (pool != "none"),
            seen=torch.tensor([0, 1, 2**40, 3]) * (pool != "none"),
            held=torch.randn_like(empty.held),
        )
        packed = pack(stack)
        rows = rows_of(packed, state)
        assert rows.shape == (4, packed.width)
        got = load_rows(packed, rows)
        assert all(torch.equal(a, b) for a, b in zip(got.layers, state.layers, strict=True))
        assert all(torch.equal(getattr(got, name), getattr(state, name)) for name in ("value", "seen", "held"))


@numba
def test_a_long_silence_does_not_slow_down() -> None:
    stack = model(dtype=torch.float32, norm="none")._replace(shares=False)
    block = stack.blocks[0]
    packed, quiet = pack(stack), stack.mean[None].clone()
    rows = rows_of(packed, fresh(stack, 1))
    stack_step(quiet + 1, packed, rows)
    stack.encoder.bias.zero_()
    packed = pack(stack._replace(blocks=(block._replace(output="none", out=None),)))
    rows = rows[:, : packed.width].contiguous()
    for _ in range(3000):
        stack_step(quiet, packed, rows)
    layer = load_rows(packed, rows).layers[0]
    assert ((layer == 0) | (layer.abs() > 1e-31)).all()


def test_a_missing_value_may_be_anything(path: str) -> None:
    stack = model(missing=True)
    packed = pack(stack)
    x, _, _ = samples(stack, 1)
    observed = torch.tensor([[True, False, True]])
    outputs = []
    for filler in (0.0, torch.nan, torch.inf):
        rows = rows_of(packed, fresh(stack, 1))
        outputs.append(stack_step(torch.where(observed, x, filler), packed, rows, observed=observed))
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])


@numba
def test_values_too_large_are_refused_before_anything_changes() -> None:
    stack = model(dtype=torch.float32)
    packed = pack(stack)
    states = rows_of(packed, fresh(stack, 3))
    stack_step(samples(stack, 3)[0], packed, states)
    before, (x, _, _) = states.clone(), samples(stack, 3)
    x[2, 1] = 1e30
    with pytest.raises(ValueError, match="`x` must lie within 1e15 standard deviations"):
        stack_step(x, packed, states)
    assert same_bits(states, before)


def test_wrong_arguments_are_named() -> None:
    stack = model()
    packed = pack(stack)
    x, observed, steps = samples(stack, 2)
    states = rows_of(packed, fresh(stack, 2))
    rows = torch.tensor([0, 1])
    cases: list[tuple[type[Exception], str, tuple[Any, ...], dict[str, Any]]] = [
        (ValueError, r"`x` must have shape \(n, 3\)", (x[:, :2], packed, states), {}),
        (ValueError, r"`x` must have shape \(2, 3\), got \(1, 3\)", (x[:1], packed, states), {}),
        (TypeError, "`x` must be torch.float64", (x.float(), packed, states), {}),
        (TypeError, "`states` must be torch.float64", (x, packed, states.float()), {}),
        (ValueError, "`states` must have shape", (x, packed, states[:, 1:]), {}),
        (ValueError, "`states` must be contiguous", (x, packed, states.T.contiguous().T), {}),
        (ValueError, "`rows` must be different whole numbers", (x, packed, states), {"rows": rows * 0}),
        (ValueError, "`rows` must be different whole numbers", (x, packed, states), {"rows": rows + 1}),
        (ValueError, "`rows` must be different whole numbers", (x, packed, states), {"rows": rows.int()}),
        (ValueError, "`steps` must be float64, finite and above 0", (x, packed, states), {"steps": steps * 0}),
        (ValueError, "`steps` must be float64, finite and above 0", (x, packed, states), {"steps": steps.float()}),
        (ValueError, "`observed` must be bool", (x, packed, states), {"observed": observed.int()}),
        (
            ValueError,
            "`x` has 1 NaN or infinite values",
            (x.clone().fill_(0).index_fill(0, rows[:1], 0) / x, packed, states),
            {},
        ),
        (
            ValueError,
            '`backend` must not be "triton" here: stack_step has no',
            (x, packed, states),
            {"backend": "triton"},
        ),
    ]
    x_bad = x.clone()
    x_bad[0, 0] = torch.nan
    cases[12] = (ValueError, "`x` has 1 NaN or infinite values", (x_bad, packed, states), {})
    for kind, words, given, options in cases:
        with pytest.raises(kind, match=words):
            stack_step(*given, **options)
    dense = model("dense")
    with pytest.raises(ValueError, match="`steps` must be None for systems that are given discrete"):
        stack_step(x, pack(dense), rows_of(pack(dense), fresh(dense, 2)), steps=steps)


def test_no_streams_are_no_work(path: str) -> None:
    stack = model()
    packed = pack(stack)
    states = rows_of(packed, fresh(stack, 2))
    rows = torch.zeros(0, dtype=torch.int64)
    assert stack_step(torch.zeros(0, 3, dtype=torch.float64), packed, states, rows=rows).shape == (0, 4)


@numba
def test_activations_are_exact_over_their_range() -> None:
    """What stands for erf and exp in float32, against torch in float64."""
    x = torch.linspace(-12, 12, 4801)
    for name, function in (("gelu", torch.nn.functional.gelu), ("silu", torch.nn.functional.silu)):
        stack = model(dtype=torch.float32, width=1, depth=1, norm="none", pool="none", shares=False, answers=1)
        one, zero = torch.ones(1), torch.zeros(1)
        line = Linear(one[None], zero)
        quiet = stack.blocks[0].system._replace(C=torch.zeros_like(stack.blocks[0].system.C))
        block = Block(Norm("none", one, zero, 0.0), quiet, one[None], None, name, "none", None)
        stack = Stack(zero, one, line, (block,), Norm("none", one, zero, 0.0), "none", line, one, zero, False)
        packed = pack(stack)
        got = stack_step(x[:, None], packed, rows_of(packed, fresh(stack, len(x))))[:, 0]
        want = x.double() + function(x.double())
        assert float(((got - want) / (1 + want.abs())).abs().max()) < 4e-7
