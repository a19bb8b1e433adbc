"""The nearest family within a budget, and honest numbers beside it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from seqkit.structured import Monarch, best_fit, project

QUICK = ["dense", "low_rank", "monarch"]


def gaussian(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_finds_the_family_that_a_matrix_comes_from() -> None:
    low = gaussian(32, 3) @ gaussian(3, 32)
    assert best_fit(low, 0.3, structures=QUICK)[0].structure == "low_rank"
    monarch = Monarch(64, 64, dtype=torch.float64).dense().detach()
    found = best_fit(monarch, 0.25, structures=QUICK)
    assert (found[0].structure, found[0].options) == ("monarch", {"slice_rank": 1})
    assert found[0].error < 1e-12
    assert best_fit(gaussian(8, 6), 1.0, structures=QUICK)[0].error < 1e-12


def test_numbers_are_those_of_the_fit() -> None:
    target = gaussian(24, 20)
    found = best_fit(target, 200, structures=QUICK, n_tries=3)
    assert {one.structure for one in found} == {"low_rank", "monarch"}
    assert [one.error for one in found] == sorted(one.error for one in found)
    for one in found:
        assert one.n_parameters == one.matrix.n_parameters <= 200
        assert one.density == one.n_parameters / 480
        assert one.flops == one.matrix.flops
        difference = torch.linalg.norm(one.matrix.dense().detach() - target) / torch.linalg.norm(target)
        assert one.error == pytest.approx(float(difference), rel=1e-12)
    # The rank that the budget allows: 44 r <= 200.
    assert max(one.options["rank"] for one in found if one.structure == "low_rank") == 4
    assert "low_rank(rank=4): error 0." in "\n".join(str(one) for one in found)


def test_zero_and_complex_matrices() -> None:
    assert best_fit(torch.zeros(6, 6), 0.9, structures=QUICK)[0].error == 0
    assert best_fit(torch.complex(gaussian(8, 8), gaussian(8, 8)), 0.8, structures=QUICK)[0].error < 1


@pytest.mark.parametrize("budget", [0, 0.0, 1.5, -3, True, float("nan"), "half"])
def test_budgets_that_are_none(budget: object) -> None:
    with pytest.raises(ValueError, match=r"`budget` must be a share from above 0 to 1.0, or a whole number"):
        best_fit(gaussian(4, 4), budget)


def test_budgets_that_nothing_keeps() -> None:
    with pytest.raises(
        ValueError, match=r"allow one of the families at least 32 numbers, got 0.001, which is 0 of 256"
    ):
        best_fit(gaussian(16, 16), 0.001, structures=QUICK)
    with pytest.raises(ValueError, match="NaN"):
        best_fit(torch.full((4, 4), torch.nan), 0.5)
    with pytest.raises(ValueError, match="did you mean monarch"):
        best_fit(gaussian(4, 4), 0.5, structures=["monarhc"])


@pytest.mark.slow  # some fits are iterative
def test_all_families_together() -> None:
    found = best_fit(gaussian(16, 16), 0.8, n_tries=1)
    assert len({one.structure for one in found}) == len(found) >= 2


def test_errors_count_where_inputs_are() -> None:
    torch.manual_seed(5)
    matrix = torch.randn(16, 16, dtype=torch.float64)
    rows = torch.randn(100, 3, dtype=torch.float64) @ torch.randn(3, 16, dtype=torch.float64)
    names = ["low_rank", "monarch", "pixelfly", "butterfly"]
    plain = best_fit(matrix, 0.6, structures=names)
    found = best_fit(matrix, 0.6, structures=names, covariance=rows.mT @ rows / 100)
    assert found[0].error < 0.02 < plain[0].error
    for fit in found:
        near = torch.linalg.norm(rows @ (fit.matrix.dense() - matrix).mT) / torch.linalg.norm(rows @ matrix.mT)
        assert fit.error == pytest.approx(float(near.detach()), abs=0.02)
    with pytest.raises(ValueError, match=r"`covariance` must have shape \(16, 16\)"):
        best_fit(matrix, 0.6, structures=names, covariance=torch.eye(3))


@pytest.mark.parametrize(("scale", "dtype"), [(1e30, torch.float32), (1e-30, torch.float32), (1e4, torch.float16)])
def test_errors_of_large_and_small_numbers(scale: float, dtype: torch.dtype) -> None:
    target = gaussian(16, 16)
    plain = {str(one.options): one.error for one in best_fit(target, 0.9, structures=["low_rank"])}
    for one in best_fit((scale * target).to(dtype), 0.9, structures=["low_rank"]):
        assert one.error == pytest.approx(plain[str(one.options)], rel=2e-3)


def test_descent_on_rotations_finds_the_scale_of_any_matrix() -> None:
    target = gaussian(8, 8)
    want = project(target, "orthogonal_kaleidoscope", starts=1, steps=40).dense()
    for scale in (1e-6, 1e6):
        found = project(scale * target, "orthogonal_kaleidoscope", starts=1, steps=40).dense()
        assert torch.allclose(found / scale, want, atol=1e-6)


def test_what_is_no_dense_matrix_is_refused() -> None:
    for matrix, words in (
        (np.eye(4), "must be a dense tensor with its numbers, got ndarray; torch.as_tensor makes one"),
        (torch.eye(4).to_sparse(), "must be a dense tensor with its numbers, got torch.sparse_coo on cpu"),
        (torch.eye(4, device="meta"), "got torch.strided on meta"),
        (1e200 * gaussian(4, 4), r"`matrix` must hold no numbers above 1e\+100, got"),
    ):
        with pytest.raises(ValueError, match=words):
            best_fit(matrix, 0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_of_exact_fits_the_smaller_is_first(dtype: torch.dtype) -> None:
    low = (gaussian(24, 2) @ gaussian(2, 24)).to(dtype)
    found = best_fit(low, 1.0, structures=["dense", "low_rank"], n_tries=9)
    sizes = [one.n_parameters for one in found if one.error < 1e-5]
    assert found[0].options == {"rank": 2}  # dense has no error at all, but more numbers
    assert sizes == sorted(sizes)
    assert 576 in sizes
