"""Kernels computed once for several passes: the same values and gradients, fewer computations."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

import seqkit.models  # noqa: F401 - registers the mixers
from seqkit.nn import Mixer, get_mixer, kernels_once

OPTIONS: dict[str, dict[str, object]] = {
    "s4d": {"order": 8},
    "s4": {"order": 8},
    "lssl": {"order": 6, "channels": 2},
    "monarch": {"window": 16},
}


def made(name: str) -> Mixer:
    torch.manual_seed(0)
    return get_mixer(name)(4, **OPTIONS[name]).double()


def passes(mixer: Mixer, rates: tuple[float, ...] = (1.0, 1.0, 1.0)) -> list[Tensor]:
    """Outputs of three passes, each with its backward pass behind it as in a pipeline."""
    outputs = []
    for k, rate in enumerate(rates):
        u = torch.randn(2, 20, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(k))
        y = mixer(u, rate=rate)
        (y * torch.arange(y.numel()).view_as(y).cos()).sum().backward()
        outputs.append(y.detach())
    return outputs


def count(mixer: Mixer) -> list[int]:
    """How often the kernel is computed, counted from now on."""
    owner, name = (mixer.filter, "forward") if hasattr(mixer, "filter") else (mixer, "_kernel")
    calls, own = [0], getattr(owner, name)

    def counted(*arguments: object) -> object:
        calls[0] += 1
        return own(*arguments)

    setattr(owner, name, counted)
    return calls


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("rates", [(1.0, 1.0, 1.0), (1.0, 0.5, 1.0)], ids=str)
def test_values_and_gradients_are_the_same(name: str, rates: tuple[float, ...]) -> None:
    plain, once = made(name), made(name)
    expected = passes(plain, rates)
    calls = count(once)
    with kernels_once():
        found = passes(once, rates)
    assert calls[0] == (1 if name == "monarch" else len(set(rates)))
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)
    for key, weight in plain.named_parameters():
        torch.testing.assert_close(dict(once.named_parameters())[key].grad, weight.grad, rtol=1e-9, atol=1e-11)


def test_each_block_computes_anew_and_outside_nothing_is_kept() -> None:
    mixer = made("s4d")
    calls = count(mixer)
    for _ in range(2):
        with kernels_once():
            passes(mixer)
    passes(mixer)
    assert calls[0] == 2 + 3


def test_other_weights_have_another_kernel() -> None:
    mixer, u = made("s4d"), torch.randn(1, 9, 4, dtype=torch.float64)
    other = {key: value + 0.1 for key, value in mixer.named_parameters()}
    with kernels_once():
        before = mixer(u)
        swapped = torch.func.functional_call(mixer, other, (u,))
        with torch.no_grad():
            mixer.log_dt.add_(0.3)
            after = mixer(u)
    assert not torch.allclose(before, after)
    torch.testing.assert_close(swapped, torch.func.functional_call(mixer, {**other}, (u,)))
    torch.testing.assert_close(after, mixer(u))


def test_a_pass_without_gradients_leaves_those_of_others_alone() -> None:
    mixer, plain, u = made("s4d"), made("s4d"), torch.randn(1, 9, 4, dtype=torch.float64)
    plain(u).sum().backward()
    with kernels_once():
        with torch.no_grad():
            assert not mixer(u).requires_grad
        mixer(u).sum().backward()
    torch.testing.assert_close(mixer.log_dt.grad, plain.log_dt.grad)


def test_an_error_inside_sends_no_gradients() -> None:
    mixer = made("s4d")
    with pytest.raises(ZeroDivisionError), kernels_once():
        passes(mixer)
        raise ZeroDivisionError
    assert mixer.log_dt.grad is None
    assert mixer.D.grad is not None


def test_frozen_kernels_and_blocks_without_passes_are_fine() -> None:
    mixer = made("s4d")
    for key, weight in mixer.named_parameters():
        weight.requires_grad_(key == "D")
    with kernels_once():
        pass
    with kernels_once():
        passes(mixer)
    assert mixer.log_dt.grad is None
    assert mixer.D.grad is not None


def test_another_thread_computes_its_own() -> None:
    mixer = made("s4d")
    calls = count(mixer)
    with kernels_once():
        passes(mixer)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(passes, mixer).result()
    assert calls[0] == 1 + 3


def test_layers_compile_whole() -> None:
    mixer, u = made("s4d"), torch.randn(2, 16, 4, dtype=torch.float64)
    compiled = torch.compile(mixer, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(u), mixer(u))
