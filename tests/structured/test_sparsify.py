"""A budget is spent on the layers of any model, and the report says truly how."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from seqkit.batch import DataInfo
from seqkit.models import ModelConfig, SequenceModel
from seqkit.structured import Pixelfly, StructuredLinear, densify, describe_structured, restore_structured, sparsify
from seqkit.structured.budget import choices


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Embedding(10, 64), nn.Linear(64, 256), nn.GELU(), nn.LayerNorm(256), nn.Linear(256, 64), nn.Linear(64, 10)
    )


@pytest.mark.parametrize("budget", [0.08, 0.125, 0.25, 0.5])
@pytest.mark.parametrize("sizes", [(64, 64), (100, 300), (768, 3072), (4096, 4096), (2048, 96)])
def test_no_layer_costs_more_than_its_budget(sizes: tuple[int, int], budget: float) -> None:
    options = choices("pixelfly", *sizes, budget)
    assert options is not None
    matrix = Pixelfly(*sizes, **options, device="meta")
    limit = budget * sizes[0] * sizes[1]
    assert 0.6 * limit < matrix.n_parameters <= limit + 1  # the gate is the one number more
    low = matrix.rank * sum(sizes) / limit
    assert low <= 0.6
    # No mask of blocks as small or larger would be better in what the low rank's quarter leaves.
    tile = min(32, 1 << max(0, (min(sizes) // 16).bit_length() - 1))
    for side, s in itertools.product((tile, 2 * tile, 4 * tile, 8 * tile), range(8)):
        try:
            other = Pixelfly(*sizes, block_size=side, n_factors=s, rank=0, device="meta").n_parameters
        except ValueError:
            continue
        assert other > 0.75 * limit or other <= matrix.blocks.numel()


def test_published_setting_at_a_quarter() -> None:
    options = choices("pixelfly", 1024, 1024, 0.25)
    assert options == {"block_size": 32, "n_factors": 5, "rank": 32}
    assert Pixelfly(1024, 1024, **options).mask_density == 3 / 16


def test_a_model_is_replaced_and_the_report_is_true() -> None:
    model = network()
    before, head = sum(p.numel() for p in model.parameters()), model[5]
    report = sparsify(model, 0.25)
    assert [layer.name for layer in report.layers] == ["1", "4"]
    assert report.kept == {"5": "output layer"}
    assert model[5] is head
    assert type(model[0]) is nn.Embedding
    stored = 0
    for layer in report.layers:
        module = model.get_submodule(layer.name)
        assert isinstance(module, StructuredLinear)
        assert layer.density == module.matrix.n_parameters / (layer.in_features * layer.out_features) <= 0.2501
        stored += module.matrix.n_parameters
    assert report.density == pytest.approx(stored / (2 * 64 * 256))
    assert report.model_density == pytest.approx(sum(p.numel() for p in model.parameters()) / before)
    assert "5: dense, output layer" in str(report)
    x = torch.randint(0, 10, (4,))
    other = network()
    restore_structured(other, describe_structured(model))
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x), model(x))
    with torch.device("meta"):
        elsewhere = network()
    restore_structured(elsewhere, describe_structured(model))  # new layers go where the old ones were
    assert {parameter.device.type for parameter in elsewhere.parameters()} == {"meta"}
    want = model(x)
    assert densify(model) == ["1", "4"]
    assert torch.allclose(model(x), want, atol=1e-5)


def test_projected_weights_are_nearer_than_drawn_ones_and_drawn_ones_are_large() -> None:
    near, fresh, dense = network(), network(), network()
    sparsify(near)
    sparsify(fresh, fresh=True)
    weight = dense[1].weight

    def distance(model: nn.Sequential) -> float:
        return (torch.linalg.norm(model[1].weight - weight) / torch.linalg.norm(weight)).item()

    assert distance(near) < 0.95
    assert distance(fresh) > 1.2
    assert 0.8 < (fresh[1].weight.square().mean() / weight.square().mean()).item() < 1.25


def test_what_is_skipped_stays() -> None:
    report = sparsify(network(), skip=["4"])
    assert [layer.name for layer in report.layers] == ["1", "5"]  # named ones alone are skipped, not the head
    assert report.kept["4"] == "skipped"
    report = sparsify(network(), skip=lambda name, layer: layer.out_features < 256)
    assert [layer.name for layer in report.layers] == ["1"]
    model = nn.TransformerEncoderLayer(64, 2, 128, batch_first=True)
    report = sparsify(model, skip=[])
    assert [layer.name for layer in report.layers] == ["linear1", "linear2"]
    why = "its owner may read its weight, as it is a NonDynamicallyQuantizableLinear"
    assert report.kept == {"self_attn.out_proj": why}
    assert model(torch.randn(2, 3, 64)).shape == (2, 3, 64)


@pytest.mark.parametrize(
    "compute",
    [
        nn.utils.parametrizations.weight_norm,
        nn.utils.spectral_norm,
        lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
        lambda layer: prune.l1_unstructured(layer, "bias", 0.5),
    ],
)
def test_computed_weights_and_biases_stay(compute) -> None:
    model = nn.Sequential(*network()[1:])
    compute(model[0])
    report = sparsify(model, 0.5)
    assert report.kept == {"0": "its weight or bias is computed from others", "4": "output layer"}
    model(torch.randn(3, 64)).square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_layer_with_several_names_is_skipped_by_any() -> None:
    def shared() -> nn.ModuleDict:
        block = nn.Sequential(nn.Linear(64, 64))
        return nn.ModuleDict({"first": block, "mid": nn.Linear(64, 64), "again": nn.Sequential(block), "heads": block})

    for skip in (["again.0.0"], ["again"], lambda name, layer: name.startswith("again"), None):
        report = sparsify(shared(), 0.5, skip=skip)  # type: ignore[arg-type]
        assert list(report.kept) == ["first.0"]
        assert [layer.name for layer in report.layers] == ["mid"]


def test_models_without_numbers_or_sizes() -> None:
    with torch.device("meta"):
        model = network()
    with pytest.raises(ValueError, match=r"`1.weight` must hold numbers, got the device meta"):
        sparsify(model)
    assert sparsify(model, fresh=True).density <= 0.2501
    assert all(parameter.is_meta for parameter in model.parameters())
    with pytest.raises(ValueError, match=r"`model` must know all its sizes, got the lazy 0.weight; run the model once"):
        sparsify(nn.Sequential(nn.LazyLinear(64), nn.Linear(64, 64)), skip=[])


def test_a_model_of_this_toolkit_keeps_its_head_and_trains() -> None:
    torch.manual_seed(1)
    info = DataInfo("pulse", "classification", n_channels=3, classes=("rest", "run"), sample_rate=100.0)
    model = SequenceModel.from_config(ModelConfig.preset("s4d", d_model=32, n_layers=1, order=4), info)
    report = sparsify(model, 0.5, fresh=True)
    assert [why for name, why in report.kept.items() if name.startswith("head.")] == ["output layer"]
    assert report.layers
    y = model(torch.randn(2, 9, 3))
    y.square().mean().backward()
    for layer in report.layers:
        for parameter in model.get_submodule(layer.name).parameters():
            assert parameter.grad is not None
            assert bool(parameter.grad.any())


def test_other_families_spend_the_budget_too() -> None:
    for structure in ("low_rank", "monarch"):
        report = sparsify(network(), 0.3, structure)
        assert all(layer.density <= 0.3 for layer in report.layers)
        assert report.density > 0.15


def test_empty_budgets_and_models_are_refused() -> None:
    for budget in (0, 1, -0.5, float("nan"), True, "half"):
        with pytest.raises(ValueError, match="`budget` must be a share above 0 and below 1, got"):
            sparsify(network(), budget)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"`budget` must be at least 0.0625 for 'pixelfly' to serve one of the 2"):
        sparsify(network(), 0.001)
    for model in (nn.ReLU(), nn.Sequential(nn.Linear(64, 64)), nn.Linear(64, 64)):
        with pytest.raises(ValueError, match=r"`model` must hold an nn.Linear layer to replace, got"):
            sparsify(model)
    with pytest.raises(ValueError, match="`skip` must name modules of the model, got 'haed'"):
        sparsify(network(), skip=["haed"])
    with pytest.raises(ValueError, match="did you mean pixelfly"):
        sparsify(network(), structure="pixelfyl")


def test_a_bad_weight_leaves_the_model_as_it_was() -> None:
    model = network()
    with torch.no_grad():
        model[4].weight[3, 5] = torch.nan
    with pytest.raises(ValueError, match=r"`4.weight` has 1 NaN or infinite values, the first at \(3, 5\)"):
        sparsify(model)
    assert type(model[1]) is nn.Linear
