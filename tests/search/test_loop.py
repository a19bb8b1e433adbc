"""The search in plain torch: what is trained when, and what it comes to."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from seqkit.search import SearchConfig, search_operations
from seqkit.structured.xd import model_parameters, operation_layers, operation_parameters, patch_convolutions


def network() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv1d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv1d(4, 4, 3, padding=1), nn.ReLU()),
        *(nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 2)),
    ).double()


def far_apart(n: int = 64, length: int = 16) -> tuple[Tensor, Tensor]:
    """Series whose class is whether one sample and one far from it have the same sign."""
    x = torch.randn(n, 1, length, dtype=torch.float64)
    return x, (x[:, 0, 2] * x[:, 0, 11] > 0).long()


def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def test_a_search_beats_the_convolution_where_samples_far_apart_count() -> None:
    batch = far_apart()
    plain = network()
    searched = copy.deepcopy(plain)
    patch_convolutions(searched, batch[0])
    losses = []
    optimizer = torch.optim.Adam(plain.parameters(), 0.01)
    for _ in range(40):
        value = loss(plain, batch)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    for found in search_operations(
        searched,
        [batch],
        loss,
        optimizer=torch.optim.Adam(model_parameters(searched), 0.01),
        operation_optimizer=torch.optim.Adam(operation_parameters(searched), 0.01),
        epochs=40,
    ):
        losses.append(found.loss)
    assert losses[-1] < 0.5 * value.item()
    assert set(found.moved) == set(operation_layers(searched))
    assert min(found.moved.values()) > 0.05


def test_warm_up_keeps_the_network_what_it_was() -> None:
    batch, plain = far_apart(8), network()
    searched = copy.deepcopy(plain)
    patch_convolutions(searched, batch[0])
    before = [one.clone() for one in operation_parameters(searched)]
    search = search_operations(searched, [batch], loss, epochs=3, warmup_epochs=2)
    optimizer, wanted = torch.optim.Adam(plain.parameters(), 1e-3), []
    for _ in range(3):
        value = loss(plain, batch)
        wanted.append(value.item())
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        optimizer.step()
    found = [next(search), next(search)]
    assert all(layer.is_convolution for layer in operation_layers(searched).values())
    assert all(torch.equal(a, b) for a, b in zip(before, operation_parameters(searched), strict=True))
    found += list(search)
    assert [one.loss for one in found] == pytest.approx(wanted, rel=1e-10)
    assert not any(layer.is_convolution for layer in operation_layers(searched).values())


def test_refusals() -> None:
    model = network()
    with pytest.raises(ValueError, match="`model` must hold operations"):
        search_operations(model, [], loss)
    patch_convolutions(model, far_apart(4)[0])
    with pytest.raises(ValueError, match="`batches` must give"):
        list(search_operations(model, [], loss))
    with pytest.raises(ValueError, match="`epochs` must be"):
        search_operations(model, [], loss, epochs=0)
    broken = [(torch.full((4, 1, 16), torch.nan, dtype=torch.float64), torch.zeros(4).long())]
    with pytest.raises(FloatingPointError, match=r"finite.*lower the rate"):
        list(search_operations(model, broken, loss))
    with pytest.raises(FloatingPointError, match="lower the rate"):
        list(search_operations(model, [far_apart(4)], lambda net, batch: loss(net, batch) * torch.nan))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"depth": 0}, "`depth` must be"),
        ({"operation_learning_rate": -1}, "`operation_learning_rate` must be"),
        ({"warmup_epochs": 0.5}, "`warmup_epochs` must be"),
        ({"causal": True}, "`causal` must be"),
        ({"dept": 1}, "did you mean|depth"),
    ],
)
def test_settings_out_of_range(values: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SearchConfig.from_dict(values)


def test_settings_come_back() -> None:
    config = SearchConfig(depth=1, warmup_epochs=2, causal="stack")
    assert SearchConfig.from_dict(config.to_dict()) == config
