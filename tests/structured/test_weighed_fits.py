"""Projections that are near where inputs are: what each promises of E|(W - M) x|^2, and what is no covariance."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from seqkit.structured import get_structure, project
from seqkit.structured.covariance import RIDGE, steadied
from seqkit.structured.monarch_weighed import weighed_monarch
from seqkit.structured.pixelfly_weighed import weighed_pixelfly

FORMS = [
    ("low_rank", {"rank": 3}),
    ("monarch", {"n_blocks": 4, "slice_rank": 2}),
    ("monarch", {"n_blocks": (3, 2)}),
    ("pixelfly", {"block_size": 3, "n_factors": 1, "rank": 2}),
    ("pixelfly", {"block_size": 3, "n_factors": 2, "rank": 0}),
]


def gaussian(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def inputs(n_features: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Rows that fill few directions and a little of all others."""
    return gaussian(200, 4, dtype=dtype) @ gaussian(4, n_features, seed=1, dtype=dtype) + 0.1 * gaussian(
        200, n_features, seed=2, dtype=dtype
    )


def loss(W: Tensor, M: Tensor, X: Tensor) -> Tensor:
    """The mean of |(W - M) x|^2 and what is added for directions without inputs."""
    square = (X @ (W - M).mT).abs().square().sum() / len(X)
    mean = X.abs().square().mean()
    return square + RIDGE * mean * (W - M).abs().square().sum()


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize(("structure", "options"), FORMS)
def test_nearer_where_inputs_are_and_no_descent_ends_lower(
    structure: str, options: dict[str, int], dtype: torch.dtype
) -> None:
    W, X = gaussian(13, 16, seed=3, dtype=dtype), inputs(16, dtype)
    covariance = X.mT @ X.conj() / len(X)
    member = project(W, structure, covariance=covariance, **options)
    with torch.no_grad():
        found = float(loss(W, member.dense(), X))
        plain = float(loss(W, project(W, structure, **options).dense(), X))
    assert found < (0.15 if structure == "low_rank" else 0.06) * plain
    search = torch.optim.LBFGS(member.parameters(), max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        search.zero_grad()
        value = loss(W, member.dense(), X)
        value.backward()
        return value

    search.step(closure)
    after = float(loss(W, member.dense(), X).detach())
    closed = structure == "low_rank" or options.get("rank") == 0
    assert found - after < 1e-7 * found if closed else found - after < 0.005 * plain


def test_low_rank_error_is_the_discarded_squares_of_the_weighed_matrix() -> None:
    W, X = gaussian(7, 9, seed=3), inputs(9)
    covariance = X.mT @ X / len(X)
    root = torch.linalg.cholesky(covariance + RIDGE * covariance.diagonal().mean() * torch.eye(9))
    discarded = torch.linalg.svdvals(W @ root)[3:].square().sum()
    member = project(W, "low_rank", rank=3, covariance=covariance).dense()
    assert float(loss(W, member.detach(), X)) == pytest.approx(float(discarded), rel=1e-9)


@pytest.mark.parametrize(("structure", "options"), FORMS)
def test_equal_weights_are_the_plain_projection(structure: str, options: dict[str, int]) -> None:
    W = gaussian(13, 16, seed=4)
    plain = project(W, structure, **options).dense().detach()
    for covariance in (5 * torch.eye(16), torch.zeros(16, 16)):
        weighed = project(W, structure, covariance=covariance, **options).dense().detach()
        if structure == "pixelfly" and options["rank"]:  # local minima may differ
            near = torch.linalg.norm(weighed - W) / torch.linalg.norm(plain - W)
            assert 0.95 < float(near) < 1.05
        else:
            assert torch.allclose(weighed, plain, atol=1e-10)


@pytest.mark.parametrize(("structure", "options"), FORMS)
def test_members_stay(structure: str, options: dict[str, int]) -> None:
    torch.manual_seed(5)
    member = get_structure(structure)(16, 13, **options, dtype=torch.float64).dense().detach()
    X = inputs(16)
    found = project(member, structure, covariance=X.mT @ X / len(X), **options).dense()
    limit = 0.05 if structure == "pixelfly" and options["rank"] else 1e-10
    assert torch.linalg.norm((found - member) @ X.mT) < limit * torch.linalg.norm(member @ X.mT)


def test_turns_never_raise_the_error() -> None:
    W, X = gaussian(12, 16, seed=6), inputs(16)
    C = steadied(X.mT @ X / len(X), W)
    _, errors = weighed_monarch(W, (4, 3), 1, C, 30)
    mask = get_structure("pixelfly")(16, 12, block_size=3, n_factors=1, rank=0).mask()
    *terms, more = weighed_pixelfly(W, mask, 2, C, 30)
    for one in (errors, more):
        assert len(one) > 3
        assert all(after <= before * (1 + 1e-12) for before, after in pairwise(one))
    flat, left, right = terms
    assert not bool(flat[~mask].any())
    rest = W - flat - left @ right
    assert float(torch.einsum("oi,ij,oj", rest, C, rest).sqrt()) == pytest.approx(more[-1], rel=1e-9)


def test_what_is_no_covariance_is_refused() -> None:
    W, eye = gaussian(4, 4), torch.eye(4)
    with pytest.raises(ValueError, match=r"`covariance` must have shape \(4, 4\), got \(3, 3\)"):
        project(W, "low_rank", covariance=torch.eye(3))
    with pytest.raises(ValueError, match="`covariance` must be real for a real matrix"):
        project(W, "pixelfly", covariance=eye.to(torch.complex64))
    with pytest.raises(ValueError, match="`covariance` must equal its adjoint"):
        project(W, "monarch", covariance=gaussian(4, 4))
    with pytest.raises(ValueError, match="`covariance` must have no negative eigenvalue, got -1"):
        project(W, "monarch", covariance=torch.diag(torch.tensor([1.0, 2.0, -1.0, 1.0])))
    with pytest.raises(ValueError, match=r"`covariance` has 1 NaN or infinite values, the first at \(0, 0\)"):
        project(W, "low_rank", covariance=torch.diag(torch.tensor([torch.nan, 1.0, 1.0, 1.0])))
    with pytest.raises(ValueError, match="`covariance` must be None for an order above 2"):
        project(gaussian(8, 8), "monarch", order=3, covariance=torch.eye(8))
    with pytest.raises(ValueError, match="has no key 'covariance'"):
        project(W, "butterfly", covariance=eye)
