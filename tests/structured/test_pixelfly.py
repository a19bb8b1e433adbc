"""The mask of a flat block butterfly, its product and gradients, its start, and projections onto it."""

from __future__ import annotations

import io
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from seqkit.structured import Pixelfly, project
from seqkit.structured.pixelfly_fit import fit_low_rank_outside
from seqkit.structured.pixelfly_mask import butterfly_mask


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def factor(n_blocks: int, size: int) -> Tensor:
    """Pattern of one butterfly factor: blocks of `size`, in each 2 by 2 diagonal matrices of half the size."""
    two = torch.kron(torch.ones(2, 2), torch.eye(size // 2))
    return torch.kron(torch.eye(n_blocks // size), two).bool()


def components(mask: Tensor) -> int:
    reach = mask.double()
    for _ in range(len(mask).bit_length()):
        reach = ((reach @ reach) > 0).double()
    return len(torch.unique(reach, dim=0))


@pytest.mark.parametrize("bits", [1, 2, 4, 5])
def test_mask_joins_the_patterns_of_butterfly_factors(bits: int) -> None:
    nb = 1 << bits
    for s in range(1, bits + 1):
        mask = butterfly_mask(nb, s)
        joined = torch.stack([factor(nb, 2 << level) for level in range(s)]).any(0)
        assert torch.equal(mask, joined)
        assert torch.equal(mask, mask.mT)
        assert mask.sum(0).tolist() == mask.sum(1).tolist() == [s + 1] * nb
        assert components(mask) == nb >> s
    assert torch.equal(butterfly_mask(nb, 0), torch.eye(nb).bool())
    assert bool(butterfly_mask(2, 1).all())


def test_mask_is_the_first_order_of_the_product_of_factors() -> None:
    factors = [gaussian(16, 16, seed=k) * factor(16, 2 << k) for k in range(4)]
    constants = []
    for scale in (1e-1, 1e-2, 1e-3):
        product = torch.linalg.multi_dot([torch.eye(16, dtype=torch.float64) + scale * one for one in factors])
        rest = product - torch.eye(16) - scale * sum(factors)
        constants.append(float(torch.linalg.norm(rest)) / scale**2)
    assert constants[1] == pytest.approx(constants[2], rel=0.05)
    assert constants[0] == pytest.approx(constants[2], rel=0.5)


@pytest.mark.parametrize(
    ("sizes", "block_size", "n_factors", "n_blocks", "density"),
    [
        ((768, 3072), 32, 2, 16, 3 / 16),  # 48 by 192 a block: square tiles of 32 would touch 20.8 %
        ((768, 768), 24, 3, 32, 4 / 32),
        ((512, 2048), 16, 3, 32, 4 / 32),
        ((64, 64), 64, 0, 1, 1.0),
    ],
)
def test_density_is_that_of_the_mask(
    sizes: tuple[int, int], block_size: int, n_factors: int, n_blocks: int, density: float
) -> None:
    matrix = Pixelfly(*sizes, block_size=block_size, n_factors=n_factors, rank=0)
    assert matrix.n_blocks == n_blocks
    assert matrix.mask_density == density == matrix.density == float(matrix.mask().double().mean())
    low = Pixelfly(*sizes, block_size=block_size, n_factors=n_factors, rank=8)
    assert low.n_parameters == matrix.n_parameters + 8 * sum(sizes) + 1


def test_density_of_padded_sizes_counts_no_padding() -> None:
    matrix = Pixelfly(19, 33, block_size=2, n_factors=2, rank=0)
    assert matrix.mask_density == pytest.approx(float(matrix.mask().double().mean()), rel=1e-14)
    assert matrix.mask_density < matrix.density  # what is stored has the padding too


@pytest.mark.parametrize(
    ("sizes", "options"),
    [
        ((32, 32), {"block_size": 2, "n_factors": 3, "rank": 0}),
        ((24, 40), {"block_size": 3, "n_factors": 2, "rank": 0}),
        ((23, 41), {"block_size": 5, "n_factors": 1, "rank": 0}),
        ((24, 40), {"block_size": 6, "n_factors": 1, "rank": 3}),
    ],
)
def test_product_and_gradients_are_those_of_the_masked_dense_weight(
    sizes: tuple[int, int], options: dict[str, int]
) -> None:
    torch.manual_seed(1)
    matrix = Pixelfly(*sizes, **options, dtype=torch.float64)
    mask, x, g = matrix.mask(), gaussian(7, sizes[0]).requires_grad_(), gaussian(7, sizes[1], seed=3)
    weight = matrix.dense().detach().requires_grad_()
    low, scale = torch.zeros_like(weight), 1.0
    if matrix.rank:
        low, scale = (0.5 * matrix.U @ matrix.V).detach(), 0.5
        assert torch.linalg.matrix_rank(low) <= matrix.rank
    flat = weight - low
    assert not bool((flat.detach().abs() > 1e-14)[~mask].any())
    want = nn.functional.linear(x, flat * mask + low)
    y = matrix(x)
    assert torch.allclose(y, want, rtol=1e-12, atol=1e-13)
    assert torch.allclose(matrix.float()(x.float()).double(), want, atol=1e-5)
    matrix.double()
    dx, dw = torch.autograd.grad((want * g).sum(), [x, weight])
    got, blocks = torch.autograd.grad((matrix(x) * g).sum(), [x, matrix.blocks])
    assert torch.allclose(got, dx, rtol=1e-5, atol=1e-6)  # after a round to float32
    # Blocks back in their places: the gradient of the masked weight, nothing outside.
    shell = Pixelfly(*sizes, **{**options, "rank": 0}, dtype=torch.float64)
    shell.blocks.data.copy_(blocks)
    assert torch.allclose(shell.dense(), scale * dw * mask, rtol=1e-5, atol=1e-6)


def test_gradients_to_rounding_and_the_same_in_each_run() -> None:
    matrix = Pixelfly(24, 40, block_size=3, n_factors=2, rank=3, dtype=torch.float64)
    x, g = gaussian(9, 24).requires_grad_(), gaussian(9, 40, seed=2)
    leaves = [x, *matrix.parameters()]
    got = torch.autograd.grad((matrix(x) * g).sum(), leaves)
    want = torch.autograd.grad((nn.functional.linear(x, matrix.dense()) * g).sum(), leaves)
    again = torch.autograd.grad((matrix(x) * g).sum(), leaves)
    for one, other, same in zip(got, want, again, strict=True):
        assert torch.allclose(one, other, rtol=1e-12, atol=1e-12)
        assert torch.equal(one, same)
    many = gaussian(700, 24, seed=4)  # in groups of rows
    assert torch.allclose(matrix(many), many @ matrix.dense().mT, rtol=1e-12, atol=1e-12)
    small = Pixelfly(5, 6, block_size=1, n_factors=1, rank=1, dtype=torch.float64)
    assert torch.autograd.gradgradcheck(small, gaussian(2, 5).requires_grad_(), fast_mode=True)


def test_padding_is_that_of_zeros() -> None:
    torch.manual_seed(2)
    small, large = (Pixelfly(n, m, block_size=3, n_factors=2, rank=0) for n, m in ((31, 29), (32, 32)))
    assert small.blocks.shape == large.blocks.shape
    large.load_state_dict(small.state_dict())
    x = torch.randn(5, 31)
    assert torch.equal(small(x), large(nn.functional.pad(x, (0, 1)))[:, :29])
    assert torch.equal(small.dense(), large.dense()[:29, :31])


@pytest.mark.parametrize("options", [{}, {"rank": 0}, {"block_size": 8, "n_factors": 4, "rank": 32}])
def test_starts_with_the_variance_of_a_dense_layer(options: dict[str, int]) -> None:
    torch.manual_seed(3)
    x = torch.randn(500, 512)
    got = Pixelfly(512, 384, **options)(x).var() / nn.Linear(512, 384, bias=False)(x).var()
    assert 0.9 < got.item() < 1.1


def test_both_terms_start_equally_strong() -> None:
    torch.manual_seed(4)
    matrix = Pixelfly(512, 512)
    low = 0.5 * matrix.U @ matrix.V
    assert 0.9 < (low.square().sum() / (matrix.dense() - low).square().sum()).item() < 1.1


def test_projection_never_gets_worse_and_finds_members() -> None:
    mask = Pixelfly(64, 64, block_size=4, n_factors=2).mask()
    for target in (gaussian(64, 64), gaussian(64, 4) @ gaussian(4, 64, seed=1) + 3 * mask * gaussian(64, 64, seed=2)):
        _, _, errors = fit_low_rank_outside(target, mask, 4, 100)
        assert all(after <= before for before, after in pairwise(errors))
        assert len(errors) > 2
    assert errors[-1] < 1e-12 * float(torch.linalg.norm(target))


def test_projection_needs_both_terms_where_there_is_near_and_far() -> None:
    places = torch.arange(256.0, dtype=torch.float64)
    near = torch.exp(-(places[:, None] - places).abs() / 8)

    def distance(structure: str, **options: int) -> float:
        found = project(near, structure, **options).dense().detach()
        return float(torch.linalg.norm(found - near) / torch.linalg.norm(near))

    both = distance("pixelfly", block_size=8, n_factors=3, rank=8)
    assert both < 0.8 * distance("low_rank", rank=24)  # as many numbers
    assert both < 0.4 * distance("pixelfly", block_size=8, n_factors=3, rank=0)


def test_masks_of_all_kept_blocks_hold_any_matrix() -> None:
    target = gaussian(6, 10)
    for options in ({"block_size": 3, "n_factors": 1, "rank": 1}, {"block_size": 6, "rank": 0}):
        assert torch.allclose(project(target, "pixelfly", **options).dense(), target, atol=1e-12)


def test_saved_weights_keep_the_mask() -> None:
    matrix, file = Pixelfly(40, 24), io.BytesIO()
    torch.save(matrix.state_dict(), file)
    file.seek(0)
    other = Pixelfly(40, 24)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other.mask(), matrix.mask())
    assert torch.equal(other.dense() == 0, matrix.dense() == 0)
    assert set(matrix.state_dict()) == {"blocks", "U", "V", "gate"}


def test_exports_for_any_number_of_rows_and_maps() -> None:
    matrix = Pixelfly(20, 24, dtype=torch.float64)
    shape = {"x": {0: torch.export.Dim("rows", min=2, max=64)}}
    program = torch.export.export(matrix, (gaussian(4, 20),), dynamic_shapes=shape).module()
    x = gaussian(7, 20)
    assert torch.allclose(program(x), matrix(x), rtol=1e-12)
    assert torch.allclose(torch.func.vmap(matrix)(x[None]), matrix(x)[None], rtol=1e-12)


def test_impossible_masks_are_refused() -> None:
    with pytest.raises(ValueError, match="`n_blocks` must be a power of two, got 6; take 4"):
        butterfly_mask(6, 1)
    with pytest.raises(ValueError, match="`n_factors` must be a whole number from 0 to 2 for 4 blocks, got 3"):
        butterfly_mask(4, 3)
    with pytest.raises(ValueError, match="`sweeps` must be a whole number of at least 1, got 0"):
        project(gaussian(8, 8), "pixelfly", sweeps=0)
