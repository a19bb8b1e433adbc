"""What every operator promises: each backend equals the reference, in its output and in each gradient, by name."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from seqkit.kernels.attention import attention, butterfly_mask
from seqkit.kernels.block_product import block_product
from seqkit.kernels.butterfly import butterfly
from seqkit.kernels.cauchy import cauchy
from seqkit.kernels.krylov import krylov
from seqkit.kernels.legs_update import legs_update
from seqkit.kernels.long_conv import long_conv
from seqkit.kernels.lti_memory import lti_memory
from seqkit.kernels.monarch import monarch
from seqkit.kernels.quantise import dequantise, quantise
from seqkit.kernels.ssm_scan import ssm_scan
from seqkit.kernels.ssm_step import ssm_step
from seqkit.kernels.vandermonde import vandermonde

FAST = ["cpu", "auto"]
TRITON_LENGTHS = [1, 7, 70]  # one program takes milliseconds under Triton's interpreter
LENGTHS = [1, 2, 7, 63, 100, 1000]
LIMITS = {torch.float64: {"output": 1e-12, "gradient": 1e-11}, torch.float32: {"output": 2e-6, "gradient": 1e-5}}


def normal(*shape: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64 if dtype.is_floating_point else torch.complex128).to(dtype)


def stable_matrix(*shape: int, dtype: torch.dtype) -> Tensor:
    noise = normal(*shape, shape[-1], dtype=torch.float64) * 0.1
    return torch.linalg.matrix_exp(noise - noise.mT - 0.01 * torch.eye(shape[-1], dtype=torch.float64)).to(dtype)


def decays(*shape: int, dtype: torch.dtype, fastest: float) -> Tensor:
    real, imag = -0.02 - torch.rand(*shape, dtype=torch.float64), torch.randn(*shape, dtype=torch.float64) * 3
    return (fastest * torch.complex(real, imag)).to(dtype.to_complex())


def krylov_inputs(dtype: torch.dtype, length: int, n_outputs: int = 1, shared: bool = False) -> dict[str, Tensor]:
    A = stable_matrix(*(() if shared else (3,)), 6, dtype=dtype)
    return {"A": A, "B": normal(3, 6, dtype=dtype), "C": normal(3, n_outputs, 6, dtype=dtype)}


def vandermonde_inputs(dtype: torch.dtype, length: int, n_outputs: int = 1) -> dict[str, Tensor]:
    a = decays(3, 5, dtype=dtype, fastest=0.5)
    return {"a": a, "weight": normal(3, n_outputs, 5, dtype=dtype.to_complex())}


def cauchy_inputs(
    dtype: torch.dtype, length: int, n_outputs: int = 1, rank: tuple[int, ...] = (), n_pairs: int = 5
) -> dict[str, Tensor]:
    Lambda = decays(3, n_pairs, dtype=dtype, fastest=1.0)
    Lambda[0, 0] = 0  # an integrator: a pole at the first root of unity
    wide = dtype.to_complex()
    vectors = {"P": normal(3, *rank, n_pairs, dtype=wide) * n_pairs**-0.5, "B": normal(3, n_pairs, dtype=wide)}
    dt = (0.1 + 0.1 * torch.rand(3, dtype=torch.float64)).to(dtype)
    return {"Lambda": Lambda, **vectors, "C": normal(3, n_outputs, n_pairs, dtype=wide), "dt": dt}


def conv_inputs(
    dtype: torch.dtype,
    length: int,
    outputs: tuple[int, ...] = (),
    skip: bool = False,
    taps: float = 1.0,
    gates: tuple[int, ...] | None = None,
    ends: bool = False,
) -> dict[str, Tensor]:
    n_taps = max(1, round(taps * length) | 1 if taps > 1.5 else round(taps * length))
    tensors = {"u": normal(2, 4, length, dtype=dtype), "k": normal(*outputs, 4, n_taps, dtype=dtype)}
    more = {"lengths": torch.tensor([-(-length // 2), length])} if ends else {}
    if skip:
        more["D"] = normal(*outputs, 4, dtype=dtype)
    if gates is not None:
        more["gate"] = normal(2, *gates, 4, length, dtype=dtype)
    return {**tensors, **more}


def legs_inputs(dtype: torch.dtype, length: int, order: int = 6, n_series: int = 3) -> dict[str, Tensor]:
    return {"u": normal(n_series, length, dtype=dtype), "state": normal(n_series, order, dtype=dtype)}


def step_inputs(
    dtype: torch.dtype,
    length: int,
    layers: tuple[int, ...] = (),
    outputs: tuple[int, ...] = (),
    own: bool = False,
    skip: bool = False,
) -> dict[str, Tensor]:
    """`length` streams (fewer in several layers) of 3 heads; `own` gives each its A and B, and so its own step size."""
    shared = (*layers, *(() if not layers else (1,)), 3)
    streams = (*layers, 1 + length // 8 if layers else length, 3)
    each, wide = streams if own else shared, dtype.to_complex()
    tensors = {
        "u": normal(*streams, dtype=dtype),
        "A": decays(*each, 5, dtype=torch.float64, fastest=0.3).exp().to(wide),
        "B": normal(*each, 5, dtype=wide),
        "C": normal(*((1, *shared) if own and not layers else shared), *outputs, 5, dtype=wide),
        "state": normal(*streams, 5, dtype=wide),
    }
    return {**tensors, "D": normal(3, *outputs, dtype=dtype)} if skip else tensors


def lti_inputs(dtype: torch.dtype, length: int, shared: bool = False, order: int = 5) -> dict[str, Tensor]:
    A_bar = stable_matrix(*(() if shared else (3,)), order, dtype=dtype)
    vectors = {"B_bar": normal(order, dtype=dtype), "state": normal(2, 3, order, dtype=dtype)}
    return {"u": normal(2, 3, length, dtype=dtype), "A_bar": A_bar, **vectors}


def scan_inputs(
    dtype: torch.dtype, length: int, outputs: tuple[int, ...] = (), discrete: bool = False, ends: bool = False
) -> dict[str, Tensor]:
    wide = dtype.to_complex()
    A = decays(3, 5, dtype=torch.float64, fastest=0.5)
    A[0, 0] = 0  # an integrator, or with a discrete A a mode that forgets at once
    A = torch.where(A == 0, 0, A.exp()) if discrete else A
    lengths = {"lengths": torch.tensor([-(-length // 2), length])} if ends else {}
    B, C = normal(3, 5, dtype=wide), normal(*outputs, 3, 5, dtype=wide)
    return {
        **{"u": normal(2, 3, length, dtype=dtype), "A": A.to(wide), "B": B, "C": C},
        **{**lengths, "state": normal(2, 3, 5, dtype=wide)},
    }


def monarch_inputs(
    dtype: torch.dtype, length: int, blocks: tuple[int, int] = (4, 4), rank: int = 1, sizes: tuple[int, int] = (4, 4)
) -> dict[str, Tensor]:
    """`length` rows of k p numbers, factors of k and l blocks for slices (s, p)."""
    (k, n_blocks), (p, s) = blocks, sizes
    return {
        "x": normal(length, k * p, dtype=dtype),
        "w1": normal(k, rank * n_blocks, p, dtype=dtype),
        "w2": normal(n_blocks, s, k * rank, dtype=dtype),
    }


def block_inputs(
    dtype: torch.dtype, length: int, n_blocks: int = 4, kept: int = 3, sizes: tuple[int, int] = (3, 3)
) -> dict[str, Tensor]:
    """`length` rows of blocks of q numbers, kept blocks (p, q) and a table of permutations."""
    p, q = sizes
    columns = torch.stack([torch.randperm(n_blocks) for _ in range(kept)], dim=1)
    return {
        "x": normal(length, n_blocks * q, dtype=dtype),
        "columns": columns,
        "blocks": normal(n_blocks, p, kept * q, dtype=dtype),
    }


def attention_inputs(dtype: torch.dtype, length: int, sharing: int = 1, ends: bool = False) -> dict[str, Tensor]:
    heads = {"q": 2, "k": 2 // sharing, "v": 2 // sharing}
    tensors = {name: normal(2, length, count, 4, dtype=dtype) for name, count in heads.items()}
    return {"lengths": torch.tensor([-(-length // 2), length]), **tensors} if ends else tensors


def rows_inputs(dtype: torch.dtype, length: int) -> dict[str, Tensor]:
    return {"x": normal(5, length, dtype=dtype)}


def butterfly_inputs(
    dtype: torch.dtype, length: int, stacks: tuple[int, ...] = (), blocks: int = 1, wide: bool = False, rows: int = 3
) -> dict[str, Tensor]:
    """Vectors of the next power of two, at least 2; factors that keep their size on average."""
    n_levels = max(1, (length - 1).bit_length())
    dtype = dtype.to_complex() if wide else dtype
    twiddle = normal(*stacks, blocks, n_levels, 1 << n_levels >> 1, 2, 2, dtype=dtype)
    return {"x": normal(rows, 1 << n_levels, dtype=dtype), "twiddle": twiddle / 2**0.5}


@dataclass(frozen=True)
class Case:
    name: str
    call: Callable[..., Tensor | tuple[Tensor, ...]]  # call(backend, length, **tensors)
    inputs: Callable[..., dict[str, Tensor]]
    options: tuple[tuple[str, object], ...] = ()
    op: str = ""
    triton: bool = False  # whether it has Triton kernels
    halves: tuple[str, ...] = ()  # inputs that may be of half precision
    codes: bool = False  # whether it writes or reads codes: float32 alone, no gradient, and the same bits on each path

    @property
    def widest(self) -> torch.dtype:
        return torch.float32 if self.codes else torch.float64

    def widened(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The inputs as the reference is given them."""
        return tensors if self.codes else widened(tensors)

    def make(self, dtype: torch.dtype, length: int) -> dict[str, Tensor]:
        torch.manual_seed(length)
        return self.inputs(dtype, length, **dict(self.options))


def sized(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda backend, length, **tensors: function(**tensors, length=length, backend=backend)


def conv(backend: str, length: int, **tensors: Tensor) -> Tensor:
    return long_conv(**tensors, backend=backend)


def conv_both_sides(backend: str, length: int, **tensors: Tensor) -> Tensor:
    return long_conv(**tensors, causal=False, backend=backend)


def monarch_product(backend: str, length: int, **tensors: Tensor) -> Tensor:
    return monarch(**tensors, backend=backend)


def blocks_product(backend: str, length: int, **tensors: Tensor) -> Tensor:
    return block_product(**tensors, backend=backend)


def legs_started(backend: str, length: int, u: Tensor, state: Tensor) -> Tensor:
    """One series carries on after 5 samples and the others start, under the published rule."""
    seen = torch.arange(len(u), device=u.device).eq(1) * 5
    return legs_update(u, state.shape[-1], state, seen=seen, rule="reciprocal", backend=backend)


def legs_rows(backend: str, length: int, u: Tensor, state: Tensor) -> Tensor:
    return legs_update(u, state.shape[-1], state, seen=4, every=1, backend=backend)


def legs_timed(backend: str, length: int, u: Tensor, state: Tensor) -> Tensor:
    """Each series has its own uneven times."""
    rise = 1 + torch.arange(u.numel(), dtype=torch.float64, device=u.device).sin().view_as(u) ** 2
    every = 2 if length > 1 else None
    return legs_update(
        u, state.shape[-1], state, seen=2.5, timestamps=2.5 + rise.cumsum(-1), every=every, backend=backend
    )


def butterflies(first: str) -> Callable[..., Tensor]:
    return lambda backend, length, **tensors: butterfly(**tensors, first=first, backend=backend)


def coded(bits: int, **options: object) -> Callable[..., Tensor]:
    return lambda backend, length, x: quantise(x, bits, 16, backend=backend, **options)


def decoded(backend: str, length: int, x: Tensor) -> Tensor:
    return dequantise(quantise(x, 3, 16, backend="reference"), length, 3, 16, onto=x.flip(0), backend=backend)


def step(backend: str, length: int, **tensors: Tensor) -> tuple[Tensor, ...]:
    return ssm_step(**tensors, backend=backend)


def lti(every: int | None = None, part: float = 1.0) -> Callable[..., Tensor]:
    """Final coefficients, or those of every so many samples, of series of two lengths where `part` is below 1."""

    def call(backend: str, length: int, u: Tensor, A_bar: Tensor, B_bar: Tensor, state: Tensor) -> Tensor:
        short = torch.ones_like(u[:, 0, 0], dtype=torch.int64) * length - torch.arange(2, device=u.device) * (
            length // 3
        )
        step = None if every is None else min(every, length)
        return lti_memory(u, A_bar, B_bar, state, every=step, lengths=short if part < 1 else None, backend=backend)

    return call


def scan(rule: str = "none", uneven: bool = False) -> Callable[..., tuple[Tensor, Tensor]]:
    """A scan under a rule; uneven steps lie between 1/2 and 5/2 and differ from series to series."""

    def call(backend: str, length: int, u: Tensor, **tensors: Tensor) -> tuple[Tensor, Tensor]:
        real = torch.float64 if u.dtype == torch.float64 else torch.float32
        place = torch.arange(2 * length, dtype=real, device=u.device).view(2, length)
        steps = 1.5 + place.sin() if uneven else None
        return ssm_scan(u, **tensors, steps=steps, discretization=rule, backend=backend)

    return call


def attend(**options: object) -> Callable[..., Tensor | tuple[Tensor, Tensor]]:
    """Attention with options, a mask of one butterfly factor among them; lse is set to 0 where nothing is seen."""

    def call(backend: str, length: int, **tensors: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        given = dict(options)
        if given.pop("butterfly", False):
            given["mask"] = butterfly_mask(length, 1, tile=8).to(tensors["q"].device)
        out = attention(**tensors, backend=backend, **given)
        return out if isinstance(out, Tensor) else (out[0], out[1].masked_fill(out[1] == -torch.inf, 0))

    return call


CASES = [
    Case("attention", attend(causal=True), attention_inputs, triton=True, halves=("q", "k", "v")),
    Case(
        "attention-options",
        attend(softcap=2.0, alibi=True, window=(20, 3), return_lse=True),
        attention_inputs,
        (("sharing", 2), ("ends", True)),
        "attention",
        triton=True,
        halves=("q", "k", "v"),
    ),
    Case(
        *("attention-blocks", attend(butterfly=True, dropout=0.2, seed=3), attention_inputs, (), "attention"),
        triton=True,
        halves=("q", "k", "v"),
    ),
    Case("block_product", blocks_product, block_inputs, (), "block_product", True, ("x", "blocks")),
    Case(
        *("block_product-wide", blocks_product, block_inputs, (("n_blocks", 3), ("kept", 2), ("sizes", (2, 5)))),
        *("block_product", True, ("x", "blocks")),
    ),
    Case("butterfly", butterflies("increasing"), butterfly_inputs, (("rows", 9),), "butterfly", triton=True),
    Case(
        *("butterfly-blocks", butterflies("decreasing"), butterfly_inputs),
        *((("blocks", 2), ("stacks", (2,))), "butterfly", True),
    ),
    Case(
        *("butterfly-complex-stacks", butterflies("decreasing"), butterfly_inputs),
        *((("stacks", (2,)), ("blocks", 2), ("wide", True), ("rows", 2)), "butterfly"),
    ),
    Case("krylov", sized(krylov), krylov_inputs, op="krylov", triton=True),
    Case("krylov-outputs", sized(krylov), krylov_inputs, (("n_outputs", 3),), "krylov", triton=True),
    Case("krylov-shared-A", sized(krylov), krylov_inputs, (("n_outputs", 2), ("shared", True)), "krylov", triton=True),
    Case("vandermonde", sized(vandermonde), vandermonde_inputs, op="vandermonde", triton=True),
    Case(
        "vandermonde-outputs", sized(vandermonde), vandermonde_inputs, (("n_outputs", 3),), "vandermonde", triton=True
    ),
    Case("cauchy", sized(cauchy), cauchy_inputs, triton=True),
    Case("cauchy-rank-outputs", sized(cauchy), cauchy_inputs, (("n_outputs", 2), ("rank", (2,))), triton=True),
    Case("cauchy-many-modes", sized(cauchy), cauchy_inputs, (("n_pairs", 50),), triton=True),
    Case("long_conv", conv, conv_inputs, op="long_conv", triton=True, halves=("u",)),
    Case(
        "long_conv-skip-short",
        *(conv, conv_inputs, (("skip", True), ("taps", 0.4)), "long_conv"),
        triton=True,
        halves=("u",),
    ),
    Case(
        "long_conv-outputs-long",
        *(conv, conv_inputs, (("outputs", (2,)), ("skip", True), ("taps", 1.3)), "long_conv"),
        triton=True,
        halves=("u",),
    ),
    Case(
        "long_conv-gate-lengths",
        *(conv, conv_inputs, (("gates", ()), ("ends", True), ("skip", True)), "long_conv"),
        triton=True,
        halves=("u", "gate"),
    ),
    Case(
        "long_conv-outputs-one-gate",
        *(conv, conv_inputs, (("outputs", (2,)), ("gates", ())), "long_conv"),
        triton=True,
        halves=("u", "gate"),
    ),
    Case(
        "long_conv-both-sides-outputs-gates-lengths",
        *(conv_both_sides, conv_inputs),
        (("outputs", (2,)), ("gates", (2,)), ("ends", True), ("skip", True), ("taps", 1.9)),
        "long_conv",
        triton=True,
        halves=("u", "gate"),
    ),
    Case("legs_update", legs_started, legs_inputs, op="legs_update", triton=True),
    Case("legs_update-rows", legs_rows, legs_inputs, (("order", 9),), "legs_update", triton=True),
    Case("legs_update-timed", legs_timed, legs_inputs, (("n_series", 2),), "legs_update", triton=True),
    Case("legs_update-many", legs_rows, legs_inputs, (("n_series", 17),), "legs_update", triton=True),
    Case("monarch", monarch_product, monarch_inputs, (), "monarch", True, ("x", "w1", "w2")),
    Case(
        *("monarch-slices", monarch_product, monarch_inputs, (("blocks", (3, 2)), ("rank", 2), ("sizes", (5, 7)))),
        *("monarch", True, ("x", "w1", "w2")),
    ),
    Case("quantise", coded(4), rows_inputs, op="quantise", triton=True, codes=True),
    Case("quantise-stochastic", coded(3, seed=torch.tensor(7)), rows_inputs, op="quantise", triton=True, codes=True),
    Case("quantise-minimax", coded(2, scale="minimax"), rows_inputs, op="quantise", triton=True, codes=True),
    Case("dequantise", decoded, rows_inputs, op="dequantise", triton=True, codes=True),
    Case("ssm_step", step, step_inputs, (), "ssm_step", True, ("u",)),
    Case("ssm_step-own-skip", step, step_inputs, (("own", True), ("skip", True)), "ssm_step", True, ("u",)),
    Case(
        *("ssm_step-layers", step, step_inputs, (("layers", (2,)), ("outputs", (2,)), ("skip", True))),
        *("ssm_step", True, ("u",)),
    ),
    Case("ssm_scan", scan(), scan_inputs, (("discrete", True),), "ssm_scan", True, ("u",)),
    Case(
        *("ssm_scan-outputs", scan(), scan_inputs, (("discrete", True), ("outputs", (2,)), ("ends", True))),
        *("ssm_scan", True, ("u",)),
    ),
    Case("ssm_scan-even", scan("zero_order_hold"), scan_inputs, (), "", True, ("u",)),
    Case("ssm_scan-hold", scan("zero_order_hold", True), scan_inputs, (), "ssm_scan_steps", True, ("u",)),
    Case(
        *("ssm_scan-bilinear", scan("bilinear", True), scan_inputs, (("outputs", (2,)), ("ends", True))),
        *("ssm_scan_steps", True, ("u",)),
    ),
    Case("ssm_scan-euler", scan("backward_euler", True), scan_inputs, (), "ssm_scan_steps", True, ("u",)),
    Case("lti_memory", lti(), lti_inputs, op="lti_memory", triton=True),
    Case("lti_memory-rows", lti(every=1), lti_inputs, (("shared", True),), "lti_memory", triton=True),
    Case("lti_memory-stretches", lti(every=30), lti_inputs, op="lti_memory", triton=True),
    Case("lti_memory-lengths", lti(every=7, part=0.6), lti_inputs, (("order", 3),), "lti_memory", triton=True),
]
SIZED = (krylov_inputs, vandermonde_inputs, cauchy_inputs)  # these name their length, others have that of their samples
by_name = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
smooth = pytest.mark.parametrize("case", [case for case in CASES if not case.codes], ids=lambda case: case.name)


@pytest.fixture(autouse=True)
def poisoned_memory() -> Iterator[None]:
    """Fills what `torch.empty` returns with NaN, so that a value never written shows."""
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(False)


def run(case: Case, backend: str, length: int, tensors: dict[str, Tensor], wanted: list[str] | None = None):
    """Returns the outputs, joined, and the named gradients of a fixed random functional of them."""
    if case.codes:
        return (case.call(backend, length, **tensors),), {}
    wanted = [name for name, value in tensors.items() if differentiable(value)] if wanted is None else wanted
    leaves = {name: value.detach().requires_grad_(name in wanted) for name, value in tensors.items()}
    outputs = case.call(backend, length, **leaves)
    outputs = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
    torch.manual_seed(1)
    directions = [torch.randn(output.shape, dtype=torch.float64).to(output) for output in outputs]
    # A single sample reads neither A nor Lambda in some operators: an absent gradient is a zero one.
    gradients = torch.autograd.grad(outputs, [leaves[name] for name in wanted], directions, materialize_grads=True)
    return tuple(output.detach() for output in outputs), dict(zip(wanted, gradients, strict=True))


def differentiable(value: Tensor) -> bool:
    return value.is_floating_point() or value.is_complex()


def worst(got: tuple[Tensor, ...], want: tuple[Tensor, ...]) -> float:
    return max(error(one, other) for one, other in zip(got, want, strict=True))


def error(got: Tensor, want: Tensor) -> float:
    """RMS of the difference over RMS of the reference; absolute where the reference is 0."""
    got, want = got.to(torch.complex128), want.to(torch.complex128)
    scale = want.abs().pow(2).mean().sqrt()
    difference = (got - want).abs().pow(2).mean().sqrt()
    return float(difference / scale if scale > 0 else difference)


def widened(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    def wide(value: Tensor) -> Tensor:
        return value.to(torch.complex128 if value.is_complex() else torch.float64) if differentiable(value) else value

    return {name: wide(value) for name, value in tensors.items()}


@by_name
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("dtype", LIMITS, ids=str)
@pytest.mark.parametrize("backend", FAST)
def test_backend_equals_reference(case: Case, length: int, dtype: torch.dtype, backend: str) -> None:
    if case.codes and dtype == torch.float64:
        with pytest.raises(TypeError, match=r"`x` must be float32, got torch\.float64; convert it"):
            case.call(backend, length, **case.make(dtype, length))
        return
    tensors = case.make(dtype, length)
    output, gradients = run(case, backend, length, tensors)
    want, want_gradients = run(case, "reference", length, case.widened(tensors))
    same(case, tensors, dtype, (output, gradients), (want, want_gradients))


def same(case: Case, tensors: dict[str, Tensor], dtype: torch.dtype, got, want) -> None:
    """Compares outputs and gradients in shape, dtype and value."""
    if case.codes:
        assert got[0][0].dtype == want[0][0].dtype
        assert torch.equal(got[0][0], want[0][0])
        return
    for one, other in zip(got[0], want[0], strict=True):
        assert one.dtype == (dtype.to_complex() if other.is_complex() else dtype)
        assert one.shape == other.shape
    assert worst(got[0], want[0]) < LIMITS[dtype]["output"]
    for name, gradient in got[1].items():
        assert gradient.shape == tensors[name].shape, name
        assert gradient.dtype == tensors[name].dtype, name
        assert error(gradient, want[1][name]) < LIMITS[dtype]["gradient"], name


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.triton and not case.name.endswith("many")], ids=lambda case: case.name
)
@pytest.mark.parametrize("length", TRITON_LENGTHS)
def test_triton_equals_reference(case: Case, length: int) -> None:
    pytest.importorskip("triton")
    if case.op == "ssm_scan_steps" and length > 7 and not torch.cuda.is_available():
        pytest.skip(
            "a parallel scan takes a millisecond a number under the interpreter; test_ssm_scan.py has a long one"
        )
    tensors = case.make(torch.float32, length)
    device = "cuda" if torch.cuda.is_available() else "cpu"  # without a device, under the interpreter
    given = {name: value.to(device) for name, value in tensors.items()}
    outputs, gradients = run(case, "triton", length, given)
    got = tuple(value.cpu() for value in outputs), {name: value.cpu() for name, value in gradients.items()}
    same(case, tensors, torch.float32, got, run(case, "reference", length, case.widened(tensors)))


@by_name
def test_strided_inputs(case: Case) -> None:
    tensors = case.make(case.widest, 70)
    strided = {name: torch.stack([value, value], dim=-1)[..., 0] for name, value in tensors.items()}
    turned = {
        name: value.transpose(0, -1).contiguous().transpose(0, -1) if value.dim() > 1 else value
        for name, value in tensors.items()
    }
    want, want_gradients = run(case, "reference", 70, tensors)
    for given in (strided, turned):
        output, gradients = run(case, "cpu", 70, given)
        assert worst(output, want) < 1e-12
        for name, gradient in gradients.items():
            assert error(gradient, want_gradients[name]) < 1e-11, name


@smooth
def test_gradient_of_one_input_alone(case: Case) -> None:
    tensors = case.make(torch.float64, 70)
    _, want = run(case, "reference", 70, tensors)
    for name in want:
        _, gradients = run(case, "cpu", 70, tensors, wanted=[name])
        assert error(gradients[name], want[name]) < 1e-11, name


@smooth
@pytest.mark.parametrize("length", [1, 6])
def test_gradcheck(case: Case, length: int) -> None:
    tensors = case.make(torch.float64, length)
    if "n_pairs" in dict(case.options):
        pytest.skip("too many numbers to differentiate one by one; compared with the reference above")
    names = [name for name, value in tensors.items() if differentiable(value)]
    leaves = [tensors[name].requires_grad_() for name in names]

    def function(*values: Tensor):
        return case.call("cpu", length, **{**tensors, **dict(zip(names, values, strict=True))})

    assert torch.autograd.gradcheck(function, leaves, fast_mode=False)
    assert torch.autograd.gradgradcheck(function, leaves, fast_mode=True)


@by_name
def test_opcheck(case: Case) -> None:
    if not case.op:
        pytest.skip("composed of the other operators, which are checked here")
    tensors = case.make(case.widest, 70)
    if case.op == "long_conv":
        k, none = tensors["k"], torch.zeros(0)
        k = k if k.dim() == 3 else k.unsqueeze(0)
        gate = tensors.get("gate", none.double())
        gate = gate if gate.dim() != 3 else gate.unsqueeze(1).expand(-1, len(k), -1, -1)
        args = (
            tensors["u"],
            k,
            gate,
            tensors.get("lengths", none.long()),
            0 if case.call is conv else k.shape[-1] // 2,
        )
    elif case.op == "lti_memory":
        order = tensors["B_bar"].shape[-1]
        A_bar, B_bar = tensors["A_bar"].expand(3, order, order), tensors["B_bar"].expand(3, order)
        u, state = tensors["u"].transpose(0, 1), tensors["state"].transpose(0, 1)
        args = (*(value.contiguous() for value in (u, A_bar, B_bar, state)), True, 9)
    elif case.op == "legs_update":
        args = (tensors["u"], 1 + 2 * torch.arange(70, dtype=torch.float64)[None], tensors["state"], 7)
    elif case.op.startswith("ssm_scan"):
        C, lengths = tensors["C"], torch.tensor([70, 33])
        args = (tensors["u"], tensors["A"], tensors["B"], C if C.dim() == 3 else C.unsqueeze(0), tensors["state"])
        steps = 0.5 + torch.rand(2, 70, dtype=torch.float64)
        args = (*args, *((lengths,) if case.op == "ssm_scan" else (steps, lengths, "bilinear")))
    elif case.op == "ssm_step":
        C, outputs = tensors["C"], dict(case.options).get("outputs", ())
        D = tensors.get("D", torch.zeros(3, *outputs, dtype=torch.float64))
        if not outputs:
            C, D = C.unsqueeze(-2), D.unsqueeze(-1)
        args = (tensors["u"], tensors["A"], tensors["B"], C, tensors["state"], D)
    elif case.op == "butterfly":
        x, twiddle = tensors.values()
        args = (x, twiddle if twiddle.dim() == 6 else twiddle.unsqueeze(0), False)
    elif case.op == "attention":
        none, mask = torch.zeros(0, dtype=torch.int64), butterfly_mask(70, 1, tile=8)
        q, k, v = (tensors[name] for name in ("q", "k", "v"))
        numbers = (8, 8, 20, 3, True, 2.0, 0.5, 0.2)
        args = (q, k, v, none.double(), torch.tensor(3), none, *mask[2:], *numbers)
    elif case.op == "quantise":
        args = (tensors["x"], torch.tensor(7), 3, 16, case.name.endswith("stochastic"), case.name.endswith("minimax"))
    elif case.op == "dequantise":
        args = (quantise(tensors["x"], 3, 16), tensors["x"], 70, 3, 16)
    elif case.op == "block_product":
        args = (tensors["x"], tensors["blocks"], tensors["columns"])
    elif case.op == "monarch":
        args = tuple(tensors.values())
    else:
        args = (*tensors.values(), 70)
        if tensors.get("A") is not None and tensors["A"].dim() == 2:
            args = (tensors["A"].unsqueeze(0), *args[1:])
    args = (*args, "cpu")
    leaves = args
    if not case.codes:
        leaves = tuple(arg.requires_grad_() if isinstance(arg, Tensor) and differentiable(arg) else arg for arg in args)
    torch.library.opcheck(getattr(torch.ops.seqkit, case.op).default, leaves)


@by_name
def test_compiles_whole(case: Case) -> None:
    tensors = case.make(case.widest, 70)
    torch._dynamo.reset()
    compiled = torch.compile(case.call, backend="aot_eager", fullgraph=True)
    output, gradients = run(replace(case, call=compiled), "auto", 70, tensors)
    want, want_gradients = run(case, "reference", 70, tensors)
    assert worst(output, want) < 1e-12
    for name, gradient in gradients.items():
        assert error(gradient, want_gradients[name]) < 1e-11, name


@by_name
def test_autocast_does_not_reach_inside(case: Case) -> None:
    tensors = case.make(torch.float32, 100)
    want, want_gradients = run(case, "reference", 100, case.widened(tensors))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, gradients = run(case, "auto", 100, tensors)
        assert worst(run(case, "reference", 100, tensors)[0], want) < 1e-5  # a float32 recurrence
    assert worst(output, want) < 2e-6
    for name, gradient in gradients.items():
        assert error(gradient, want_gradients[name]) < 1e-5, name


@by_name
def test_inputs_stay_untouched(case: Case) -> None:
    tensors = case.make(torch.float32, 100)
    before = {name: value.clone() for name, value in tensors.items()}
    run(case, "cpu", 100, tensors)
    assert all(torch.equal(value, before[name]) for name, value in tensors.items())


@by_name
def test_values_that_are_not_finite_are_named(case: Case) -> None:
    for bad in (float("nan"), float("inf")):
        tensors = case.make(torch.float32, 7)
        for name, value in tensors.items():
            if differentiable(value):
                spoiled = value.clone()
                spoiled.view(-1)[-1] = bad
                with pytest.raises(ValueError, match=f"`{name}` has 1 NaN or infinite values, the first at"):
                    case.call("auto", 7, **{**tensors, name: spoiled})


@smooth
def test_backend_that_cannot_serve_says_why(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = case.make(torch.float64, 7)
    why = "compute in float32, and the tensors are (float|complex)" if case.triton else "no Triton kernels"
    with pytest.raises(ValueError, match=f'`backend` must not be "triton" here: .*{why}'):
        case.call("triton", 7, **tensors)
    monkeypatch.setenv("SEQKIT_BACKEND", "triton")
    with pytest.raises(ValueError, match=f'`SEQKIT_BACKEND` must not be "triton" here: .*{why}'):
        case.call("auto", 7, **tensors)


@by_name
def test_exports(case: Case) -> None:
    tensors = case.make(torch.float32, 70)

    class Module(torch.nn.Module):
        def forward(self, *values: Tensor):
            return case.call("auto", 70, **dict(zip(tensors, values, strict=True)))

    program = torch.export.export(Module(), tuple(tensors.values()), strict=False)
    outputs = program.module()(*tensors.values())
    outputs = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
    want, _ = run(case, "reference", 70, case.widened(tensors))
    assert worst(outputs, want) < 2e-6


@by_name
def test_unknown_backend_is_named(case: Case) -> None:
    with pytest.raises(ValueError, match=r"`backend` must be one of auto, reference, cpu, triton(, sdpa)?, got 'gpu'"):
        case.call("gpu", 7, **case.make(torch.float32, 7))


@by_name
@pytest.mark.parametrize("dtype", [torch.int64, torch.float16, torch.bfloat16])
def test_other_dtypes_are_refused(case: Case, dtype: torch.dtype) -> None:
    tensors = case.make(torch.float32, 7)
    for name, value in tensors.items():
        if not differentiable(value) or (name in case.halves and dtype.is_floating_point):
            continue
        allowed = (
            "complex64 or complex128" if value.is_complex() else "float32( or float64|, float64, bfloat16 or float16)"
        )
        allowed = "float32" if case.codes else allowed
        with pytest.raises(TypeError, match=f"`{name}` must be {allowed}, got {dtype}; convert it"):
            case.call("auto", 7, **{**tensors, name: value.real.to(dtype)})


@smooth
def test_mixed_precision_is_refused(case: Case) -> None:
    tensors = case.make(torch.float32, 7)
    last = list(tensors)[-1] if "dt" not in tensors else "C"
    with pytest.raises(TypeError, match=f"`{last}` must have the precision of"):
        case.call("auto", 7, **{**tensors, last: widened(tensors)[last]})


@pytest.mark.parametrize("case", [case for case in CASES if case.inputs in SIZED], ids=lambda case: case.name)
@pytest.mark.parametrize("length", [0, -3, 2.0])
def test_length_must_be_at_least_one(case: Case, length: int) -> None:
    with pytest.raises(ValueError, match="`length` must be a whole number of at least 1"):
        case.call("auto", length, **case.make(torch.float32, 7))


SHAPES = [
    ("attention", {"q": (2, 7, 4)}, r"`q` must have shape \(B, L, H, D\), got \(2, 7, 4\)"),
    ("attention", {"k": (2, 7, 2, 3)}, r"`k` must have shape \(2, T, G, 4\), got \(2, 7, 2, 3\)"),
    ("attention", {"v": (2, 6, 2, 4)}, r"`v` must have shape \(2, 7, 2, E\), got \(2, 6, 2, 4\)"),
    ("block_product", {"x": (3, 13)}, r"`x` must have shape \(..., 12\) to fit `blocks`, got \(3, 13\)"),
    ("block_product", {"blocks": (4, 9)}, r"`blocks` must have shape \(n, p, K q\), got \(4, 9\)"),
    ("block_product", {"blocks": (4, 3, 10)}, r"for the K = 3 of `columns`, got \(4, 3, 10\); 10 numbers do not"),
    ("block_product", {"blocks": (4, 0, 9)}, r"`blocks` must keep at least one number a row, got \(4, 0, 9\)"),
    ("block_product", {"blocks": (5, 3, 9)}, r"`columns` must have shape \(5, K\), got \(4, 3\)"),
    ("butterfly", {"x": ()}, r"`x` must have a power of two of at least 2 numbers .*, got \(\)"),
    ("butterfly", {"x": (2, 12)}, r"`x` must have a power of two of at least 2 numbers .*, got \(2, 12\)"),
    ("butterfly", {"x": (2, 16)}, r"`twiddle` must have shape \(K, 4, 8, 2, 2\) or \(S, K, 4, 8, 2, 2\) to fit `x`"),
    ("butterfly-blocks", {"twiddle": (2, 0, 3, 4, 2, 2)}, r"`twiddle` must have shape .*, got \(2, 0, 3, 4, 2, 2\)"),
    ("ssm_scan", {"u": (3, 7)}, r"`u` must have shape \(B, H, L\), got \(3, 7\)"),
    ("ssm_scan", {"u": (2, 3, 0)}, r"`u` must have at least 1 sample, got 0"),
    ("ssm_scan", {"A": (4, 5)}, r"`A` must have shape \(3, N\), got \(4, 5\)"),
    ("ssm_scan", {"A": (3, 0)}, r"`A` must have at least 1 pair per channel, got \(3, 0\)"),
    ("ssm_scan", {"B": (3, 4)}, r"`B` must have shape \(3, 5\), got \(3, 4\)"),
    ("ssm_scan", {"C": (4, 5)}, r"`C` must have shape \(3, 5\), got \(4, 5\)"),
    ("ssm_scan", {"C": (2, 4, 5)}, r"`C` must have shape \(M, 3, 5\), got \(2, 4, 5\)"),
    ("ssm_scan", {"state": (1, 3, 5)}, r"`state` must have shape \(2, 3, 5\), got \(1, 3, 5\)"),
    ("monarch", {"x": (3, 15)}, r"`x` must have shape \(..., 16\) to fit `w1`, got \(3, 15\)"),
    ("monarch", {"w1": (4, 16)}, r"`w1` must have shape \(k, r l, p\), got \(4, 16\)"),
    ("monarch", {"w2": (4, 4)}, r"`w2` must have shape \(l, s, k r\), got \(4, 4\)"),
    ("monarch", {"w2": (4, 4, 5)}, r"for one r, got \(4, 4, 4\) and \(4, 4, 5\)"),
    ("monarch", {"w2": (3, 4, 4)}, r"for one r, got \(4, 4, 4\) and \(3, 4, 4\)"),
    ("monarch", {"w1": (4, 0, 4)}, r"`w1` and `w2` must not be empty, got \(4, 0, 4\)"),
    ("krylov", {"A": (3, 6, 5)}, r"`A` must have shape \(..., N, N\), got \(3, 6, 5\)"),
    ("krylov", {"B": (3, 5)}, r"`B` must have shape \(..., 6\) to fit `A`, got \(3, 5\)"),
    ("krylov", {"C": (6,)}, r"`C` must have shape \(..., M, 6\) to fit `A`, got \(6,\)"),
    ("krylov", {"B": (4, 6)}, r"leading dimensions must broadcast, got `A` \(3,\), `B` \(4,\)"),
    ("vandermonde", {"a": ()}, r"`a` must have shape \(..., N\), got \(\)"),
    ("vandermonde", {"weight": (4, 1, 5)}, r"leading dimensions must broadcast"),
    ("vandermonde", {"weight": (3, 1, 4)}, r"`weight` must have shape \(..., M, 5\) to fit `a`"),
    ("cauchy", {"Lambda": ()}, r"`Lambda` must have shape \(..., N\), got \(\)"),
    ("cauchy", {"P": (3, 4)}, r"`P` must have shape \(..., 5\) with as many dimensions as `Lambda` \(3, 5\)"),
    ("cauchy", {"P": (5,)}, r"`P` must have shape \(..., 5\) with as many dimensions as `Lambda` \(3, 5\)"),
    ("cauchy", {"B": (3, 6)}, r"`B` must have shape \(..., 5\) to fit `Lambda`"),
    ("cauchy", {"C": (3, 1, 6)}, r"`C` must have shape \(..., M, 5\) to fit `Lambda`"),
    ("cauchy", {"dt": (4,)}, r"leading dimensions must broadcast, got .*`dt` \(4,\)"),
    ("long_conv", {"u": (3, 7)}, r"`u` must have shape \(B, H, L\), got \(3, 7\)"),
    ("long_conv", {"u": (2, 4, 0)}, r"`u` and `k` must have at least 1 sample, got 0 and 7"),
    ("long_conv", {"k": (4, 0)}, r"`u` and `k` must have at least 1 sample, got 7 and 0"),
    ("long_conv", {"k": (5, 7)}, r"`k` must have shape \(4, taps\), got \(5, 7\)"),
    ("long_conv", {"k": (2, 5, 7)}, r"`k` must have shape \(M, 4, taps\), got \(2, 5, 7\)"),
    ("long_conv", {"D": (2, 4)}, r"`D` must have shape \(4\), got \(2, 4\)"),
    ("long_conv", {"gate": (4, 7)}, r"`gate` must have shape \(2, 4, 7\), got \(4, 7\)"),
    ("long_conv", {"gate": (2, 1, 4, 7)}, r"`gate` must have shape \(2, 4, 7\), got \(2, 1, 4, 7\)"),
    ("long_conv-outputs-long", {"gate": (2, 3, 4, 7)}, r"`gate` must have shape \(2, 2, 4, 7\), got \(2, 3, 4, 7\)"),
    ("long_conv-both-sides-outputs-gates-lengths", {"k": (2, 4, 6)}, "odd number of taps with causal=False, got 6"),
    ("ssm_step", {"u": ()}, r"`u` must have shape \(..., H\), got \(\)"),
    ("ssm_step", {"A": (5,)}, r"`A` must have shape \(..., H, N\), got \(5,\)"),
    ("ssm_step", {"B": (3, 4)}, r"`B` must have shape \(..., H, 5\) to fit `A`, got \(3, 4\)"),
    ("ssm_step", {"state": (7, 3, 4)}, r"`state` must have shape \(..., H, 5\) to fit `A`, got \(7, 3, 4\)"),
    ("ssm_step", {"C": (5,)}, r"`C` must have shape \(..., H, 5\) with as many dimensions as `A` \(3, 5\), or"),
    ("ssm_step", {"u": (7, 4)}, r"leading dimensions must broadcast, got `u` \(7, 4\), `A` \(3,\)"),
    ("ssm_step", {"D": (4,)}, r"leading dimensions must broadcast, got .*`D` \(4,\)"),
    ("ssm_step-layers", {"D": (3, 3)}, r"`D` must have shape \(..., H, 2\) to fit `C`, got \(3, 3\)"),
    ("legs_update-rows", {"u": ()}, r"`u` must have shape \(..., L\), got \(\)"),
    ("legs_update-rows", {"state": (4, 9)}, r"leading dimensions must broadcast, got `u` \(3,\), `state` \(4,\)"),
    ("lti_memory", {"A_bar": (3, 5, 4)}, r"`A_bar` must have shape \(..., N, N\), got \(3, 5, 4\)"),
    ("lti_memory", {"B_bar": (4,)}, r"`B_bar` must have shape \(..., 5\) to fit `A_bar`, got \(4,\)"),
    ("lti_memory", {"A_bar": (4, 5, 5)}, r"leading dimensions must broadcast, got `u` \(2, 3\), `A_bar` \(4,\)"),
]


@pytest.mark.parametrize(("name", "change", "words"), SHAPES)
def test_wrong_shapes_are_named(name: str, change: dict[str, tuple[int, ...]], words: str) -> None:
    case = next(case for case in CASES if case.name == name)
    tensors = case.make(torch.float32, 7)
    for key, shape in change.items():
        complex_input = key in tensors and tensors[key].is_complex()
        tensors[key] = torch.zeros(shape, dtype=torch.complex64 if complex_input else torch.float32)
    with pytest.raises(ValueError, match=words):
        case.call("auto", 7, **tensors)
