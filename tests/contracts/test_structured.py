"""What every family of structured matrices promises, by name; a new family adds its cases to CASES."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from seqkit.structured import (
    StructuredLinear,
    StructuredMatrix,
    get_structure,
    project,
    register_structure,
    structure_names,
    structure_options,
)
from seqkit.structured.registry import structure_class


class Case(NamedTuple):
    structure: str
    in_features: int
    out_features: int
    options: Mapping[str, Any] = MappingProxyType({})

    def make(self, dtype: torch.dtype = torch.float64, seed: int = 0, **more: Any) -> StructuredMatrix:
        torch.manual_seed(seed)
        return get_structure(self.structure)(self.in_features, self.out_features, **self.options, dtype=dtype, **more)

    @property
    def type(self) -> type[StructuredMatrix]:
        return structure_class(self.structure)


# Every family: a square, a wide, a tall case and one whose sizes do not divide into blocks.
CASES = [
    Case("dense", 6, 4),
    Case("low_rank", 16, 16),
    Case("low_rank", 6, 9, {"rank": 2}),
    Case("low_rank", 7, 5, {"rank": 5}),
    Case("butterfly", 16, 16),
    Case("butterfly", 7, 5, {"first": "decreasing"}),
    Case("butterfly", 4, 9),
    Case("kaleidoscope", 4, 4),
    Case("kaleidoscope", 3, 6, {"width": 2}),
    Case("kaleidoscope", 4, 3, {"expansion": 2}),
    Case("orthogonal_kaleidoscope", 4, 4),
    Case("orthogonal_kaleidoscope", 4, 6, {"width": 2}),
    Case("orthogonal_kaleidoscope", 3, 2),
    Case("monarch", 16, 16),
    Case("monarch", 12, 20, {"n_blocks": (4, 5), "slice_rank": 2}),
    Case("monarch", 14, 6, {"n_blocks": (3, 2)}),
    Case("monarch", 13, 11),
    Case("monarch", 16, 16, {"n_blocks": 2, "slice_rank": 3}),
    Case("monarch", 27, 16, {"order": 3}),
    Case("monarch", 15, 17, {"order": 4}),
    Case("pixelfly", 16, 16),
    Case("pixelfly", 8, 20, {"block_size": 2, "n_factors": 1}),
    Case("pixelfly", 14, 7, {"block_size": 1, "n_factors": 1, "rank": 0}),
    Case("pixelfly", 19, 17, {"block_size": 2}),
]
# Case -> sentence part: options and sizes that cannot be.
IMPOSSIBLE = [
    (Case("low_rank", 4, 3, {"rank": 4}), "`rank` must be at most the smaller size, 3, got 4"),
    (Case("butterfly", 8, 8, {"first": "up"}), "`first` must be one of increasing, decreasing, got 'up'"),
    (Case("kaleidoscope", 8, 8, {"width": 0}), "`width` must be a whole number of at least 1, got 0"),
    (Case("kaleidoscope", 8, 8, {"expansion": 3}), "`expansion` must be a power of two, got 3; take 2 or 4"),
    (Case("orthogonal_kaleidoscope", 8, 8, {"width": 0}), "`width` must be a whole number of at least 1, got 0"),
    (Case("monarch", 16, 16, {"n_blocks": 17}), "`n_blocks` must leave each block of the 16 in_features at least one"),
    (Case("monarch", 16, 4, {"n_blocks": (4, 5)}), "at least one number, got (5,); use fewer"),
    (Case("monarch", 10, 10, {"n_blocks": 7}), "at least one number, got (7,); use fewer"),
    (Case("monarch", 16, 16, {"n_blocks": 0}), "`n_blocks` must be a whole number of at least 1, got 0"),
    (Case("monarch", 16, 16, {"n_blocks": (1, 2, 3)}), "`n_blocks` must be a number, a pair (input, output) or None"),
    (Case("monarch", 16, 16, {"slice_rank": 5}), "`slice_rank` must be at most the slices' smaller size"),
    (Case("monarch", 16, 16, {"order": 1}), "`order` must be at least 2, got 1"),
    (Case("monarch", 16, 16, {"order": 3, "n_blocks": 2}), "`n_blocks` must be None for an order above 2"),
    (Case("monarch", 16, 16, {"order": 3, "slice_rank": 2}), "`slice_rank` must be 1 for an order above 2"),
    (Case("pixelfly", 16, 8, {"block_size": 9}), "`block_size` must be at most the smaller size, 8, got 9"),
    (
        Case("pixelfly", 16, 8, {"block_size": 2, "n_factors": 3}),
        "`n_factors` must be a whole number from 0 to 2 for 4",
    ),
    (Case("pixelfly", 16, 8, {"rank": 9}), "`rank` must be a whole number from 0 to the smaller size, 8, got 9"),
    (Case("low_rank", 4, 3, {"rank": 0}), "`rank` must be a whole number of at least 1, got 0"),
]
# What a family whose fit is iterative reaches on its own members, relative error; closed forms reach 1e-10.
FIT_LIMITS: dict[str, float] = {"kaleidoscope": 1e-2, "orthogonal_kaleidoscope": 1e-2}

by_case = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}-{case[2]}-{len(case[3])}")


def error(got: Tensor, want: Tensor) -> float:
    difference, want = (got - want).detach().abs().double(), want.detach().abs().double()
    return float(difference.square().mean().sqrt() / want.square().mean().sqrt())


def rows(case: Case, *batch: int, dtype: torch.dtype = torch.float64) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(*batch, case.in_features, dtype=dtype)


def dtypes(case: Case) -> list[torch.dtype]:
    return [torch.float64, torch.float32, *([torch.complex128] if case.type.allows_complex else [])]


def test_every_family_has_cases() -> None:
    assert {case.structure for case in CASES} == set(structure_names())


@by_case
def test_product_is_that_of_the_dense_view(case: Case) -> None:
    for dtype in dtypes(case):
        matrix, x = case.make(dtype), rows(case, 3, 2, dtype=dtype)
        dense = matrix.dense()
        assert dense.shape == (case.out_features, case.in_features)
        assert dense.dtype == dtype
        y = matrix(x)
        assert y.shape == (3, 2, case.out_features)
        assert y.dtype == dtype
        assert error(y, x @ dense.mT) < (2e-6 if dtype == torch.float32 else 1e-12)
        # The dense view itself: the columns of the matrix are the images of the unit vectors.
        eye = torch.eye(case.in_features, dtype=dtype)
        assert error(matrix(eye).mT, dense) < (2e-6 if dtype == torch.float32 else 1e-12)


@by_case
def test_shapes_of_rows(case: Case) -> None:
    matrix = case.make()
    assert matrix(rows(case)).shape == (case.out_features,)
    assert matrix(rows(case, 0)).shape == (0, case.out_features)
    x = rows(case, 2, 5)
    turned = x.mT.contiguous().mT
    assert error(matrix(turned), matrix(x)) < 1e-14
    assert error(matrix(x[:, 2]), matrix(x)[:, 2]) < 1e-12


@by_case
def test_every_parameter_gets_the_gradient_of_the_dense_product(case: Case) -> None:
    matrix, x = case.make(), rows(case, 5).requires_grad_()
    weight = torch.randn(5, case.out_features, dtype=torch.float64)
    leaves = [x, *matrix.parameters()]
    got = torch.autograd.grad((matrix(x) * weight).sum(), leaves)
    want = torch.autograd.grad(((x @ matrix.dense().mT) * weight).sum(), leaves)
    for one, other, leaf in zip(got, want, leaves, strict=True):
        assert one.shape == leaf.shape
        assert bool(one.any())
        assert error(one, other) < 1e-11


@by_case
def test_gradcheck(case: Case) -> None:
    for dtype in dtypes(case)[::2]:
        matrix = case.make(dtype)
        names = [name for name, _ in matrix.named_parameters()]
        values = [value.detach().clone().requires_grad_() for value in matrix.parameters()]

        def call(x: Tensor, *leaves: Tensor, matrix: nn.Module = matrix, names: list[str] = names) -> Tensor:
            return torch.func.functional_call(matrix, dict(zip(names, leaves, strict=True)), (x,))

        x = rows(case, 2, dtype=dtype).requires_grad_()
        assert torch.autograd.gradcheck(call, (x, *values), fast_mode=True)


@by_case
def test_projecting_a_member_returns_it(case: Case) -> None:
    limit = FIT_LIMITS.get(case.structure, 1e-10)
    for dtype in dtypes(case)[::2]:
        member = case.make(dtype, seed=2).dense().detach()
        again = project(member, case.structure, **case.options)
        assert error(again.dense(), member) < limit
        assert again.dtype == dtype
        assert all(parameter.requires_grad for parameter in again.parameters())


@by_case
def test_no_random_member_is_nearer(case: Case) -> None:
    torch.manual_seed(3)
    target = torch.randn(case.out_features, case.in_features, dtype=torch.float64)
    nearest = project(target, case.structure, **case.options).dense()
    distance = torch.linalg.norm(nearest - target)
    assert distance <= torch.linalg.norm(target) * (1 + 1e-12)  # that of the zero matrix
    for seed in range(5):
        member = case.make(seed=seed).dense()
        scale = (member * target).sum() / member.square().sum()
        assert distance <= torch.linalg.norm(scale * member - target) * (1 + 1e-12)


@by_case
def test_descent_does_not_find_a_nearer_member(case: Case) -> None:
    torch.manual_seed(4)
    target = torch.randn(case.out_features, case.in_features, dtype=torch.float64)
    if not case.make().exact_fit:
        pytest.skip("the fit promises no global minimum")
    best = float((project(target, case.structure, **case.options).dense() - target).detach().square().sum())
    member = case.make(seed=5)
    search = torch.optim.LBFGS(member.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        value = (member.dense() - target).square().sum()
        value.backward()
        return value

    search.step(loss)
    assert float((member.dense() - target).detach().square().sum()) >= best - 1e-9 * float(target.square().sum())


@by_case
def test_projection_is_reproducible_and_draws_nothing(case: Case) -> None:
    target = torch.randn(case.out_features, case.in_features, dtype=torch.float64)
    torch.manual_seed(6)
    first = project(target, case.structure, **case.options).dense()
    follows = torch.rand(())
    torch.manual_seed(6)
    assert torch.equal(torch.rand(()), follows)
    assert torch.equal(project(target, case.structure, **case.options).dense(), first)


@by_case
def test_starts_with_the_variance_of_a_dense_layer(case: Case) -> None:
    for dtype in dtypes(case)[1:]:
        square = torch.stack([case.make(dtype, seed=s).dense().detach().abs().square().mean() for s in range(60)])
        assert 0.8 < float(square.mean()) * 3 * case.in_features < 1.25


@by_case
def test_counts(case: Case) -> None:
    matrix = case.make()
    assert matrix.n_parameters == sum(parameter.numel() for parameter in matrix.parameters())
    assert matrix.density == pytest.approx(matrix.n_parameters / (case.in_features * case.out_features))
    assert isinstance(matrix.flops, int)
    assert matrix.flops > 0
    for options in case.type.candidates(case.in_features, case.out_features):
        assert get_structure(case.structure)(case.in_features, case.out_features, **options).n_parameters > 0


@by_case
def test_save_and_load(case: Case) -> None:
    file = io.BytesIO()
    torch.save(case.make(seed=7).state_dict(), file)
    file.seek(0)
    other = case.make(seed=8)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other.dense(), case.make(seed=7).dense())


@by_case
def test_device_and_dtype(case: Case) -> None:
    assert next(case.make(torch.float32, device="meta").parameters()).device.type == "meta"
    matrix = case.make().to(torch.float32)
    assert matrix(rows(case, 2, dtype=torch.float32)).dtype == torch.float32
    half = case.make(torch.bfloat16)
    assert half(rows(case, 2, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert error(half.dense(), half.to(torch.float64).dense()) < 0.02
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = matrix(rows(case, 2, dtype=torch.float32))
    assert error(y, rows(case, 2, dtype=torch.float32) @ matrix.dense().mT) < 0.03


@by_case
def test_layer_stands_in_for_a_dense_one(case: Case) -> None:
    torch.manual_seed(9)
    layer = StructuredLinear(case.in_features, case.out_features, case.structure, dtype=torch.float64, **case.options)
    x = rows(case, 4)
    assert (layer.in_features, layer.out_features) == (case.in_features, case.out_features)
    assert error(layer(x), nn.functional.linear(x, layer.weight, layer.bias)) < 1e-12
    assert error(layer.to_linear()(x), layer(x)) < 1e-12
    again = StructuredLinear.from_linear(layer.to_linear().eval(), case.structure, **case.options)
    assert error(again(x), layer(x)) < FIT_LIMITS.get(case.structure, 1e-10)
    assert not again.training
    assert again.state_dict().keys() == layer.state_dict().keys()
    bare = StructuredLinear(case.in_features, case.out_features, case.structure, bias=False, **case.options)
    assert bare.bias is None
    assert error(bare(x.float()), x.float() @ bare.weight.mT) < 1e-6


@pytest.mark.parametrize("structure", structure_names())
def test_compiles(structure: str) -> None:
    case = next(case for case in CASES if case.structure == structure)
    matrix, x = case.make(), rows(case, 3)
    compiled = torch.compile(matrix, backend="aot_eager", fullgraph=True)
    assert error(compiled(x), matrix(x)) < 1e-12


@pytest.mark.parametrize("structure", structure_names())
def test_refuses_what_is_no_matrix(structure: str) -> None:
    case = next(case for case in CASES if case.structure == structure)
    cls = get_structure(structure)
    with pytest.raises(ValueError, match="`in_features` must be a whole number of at least 1, got 0"):
        cls(0, 4)
    with pytest.raises(ValueError, match="`out_features` must be a whole number of at least 1, got -1"):
        cls(4, -1)
    with pytest.raises(ValueError, match=r"`dtype` must be floating.*, got torch.int64"):
        case.make(torch.int64)
    if not case.type.allows_complex:
        with pytest.raises(ValueError, match=r"`dtype` must be floating, got torch.complex64"):
            case.make(torch.complex64)
    matrix = case.make()
    with pytest.raises(ValueError, match=rf"`x` must have shape \(..., {case.in_features}\)"):
        matrix(torch.zeros(2, case.in_features + 1, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"`x` must have the matrix's dtype torch.float64, got torch.float32"):
        matrix(torch.zeros(2, case.in_features))
    target = torch.zeros(case.out_features, case.in_features)
    with pytest.raises(ValueError, match=r"`matrix` must have shape"):
        matrix.fit(target.new_zeros(case.out_features + 1, case.in_features))
    with pytest.raises(ValueError, match=r"`matrix` has 1 NaN or infinite values, the first at \(0, 1\)"):
        project(target.index_put((torch.tensor([0]), torch.tensor([1])), torch.tensor(torch.nan)), structure)
    with pytest.raises(ValueError, match=r"at least one row and one column, got shape \(0, 3\)"):
        project(torch.zeros(0, 3), structure)
    with pytest.raises(ValueError, match="has no key 'rnak'"):
        project(target, structure, rnak=2)
    with pytest.raises(ValueError, match=r"`matrix` must be real for a structure of dtype torch.float64"):
        matrix.fit(target.to(torch.complex64))


@pytest.mark.parametrize(("case", "sentence"), IMPOSSIBLE, ids=lambda value: value[0] if value else "")
def test_refuses_impossible_options(case: Case, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        case.make()


def test_zero_matrix_is_fitted() -> None:
    for case in CASES:
        zero = torch.zeros(case.out_features, case.in_features)
        fitted = project(zero, case.structure, **case.options).dense().detach()
        assert float(fitted.abs().max()) < 1e-12


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="did you mean low_rank"):
        get_structure("lowrank")
    with pytest.raises(ValueError, match="already registered"):
        register_structure("dense")(structure_class("low_rank"))
    assert structure_options("low_rank", {"rank": 3}) == {"rank": 3}
    with pytest.raises(ValueError, match=r"must be an nn.Linear, got ReLU"):
        StructuredLinear.from_linear(nn.ReLU(), "dense")  # type: ignore[arg-type]
