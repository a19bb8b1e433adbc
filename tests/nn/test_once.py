"""Kernels computed once for several passes: the same values and gradients, fewer computations."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

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

    def broken() -> None:
        with kernels_once():
            passes(mixer)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
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
    with kernels_once():
        torch.testing.assert_close(compiled(u), mixer(u))


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("name", OPTIONS)
def test_checkpointing_repeats_the_same_kernel(name: str, reentrant: bool) -> None:
    plain, once = made(name), made(name)
    passes(plain)
    with kernels_once():
        for k in range(3):
            u = torch.randn(2, 20, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(k))
            y = checkpoint(once, u.requires_grad_(), use_reentrant=reentrant)
            (y * torch.arange(y.numel()).view_as(y).cos()).sum().backward()
    for key, weight in plain.named_parameters():
        torch.testing.assert_close(dict(once.named_parameters())[key].grad, weight.grad, rtol=1e-9, atol=1e-11)


def test_checkpointing_finds_the_kernel_from_another_thread() -> None:
    """On CUDA backward passes, and so the forward passes that they repeat, run in threads of the engine's."""
    mixer, plain, u = made("s4d"), made("s4d"), torch.randn(2, 9, 4, dtype=torch.float64)
    plain(u).sum().backward()
    with kernels_once(), ThreadPoolExecutor(1) as pool:
        loss = checkpoint(mixer, u, use_reentrant=False).sum()
        pool.submit(loss.backward).result()
    torch.testing.assert_close(mixer.log_dt.grad, plain.log_dt.grad)


@torch.no_grad()
def test_weights_that_were_let_go_lend_their_kernel_to_no_others() -> None:
    mixer, u = made("s4d"), torch.randn(1, 9, 4, dtype=torch.float64)

    def shifted(k: int) -> Tensor:  # the second call's weights often lie where the first one's lay
        weights = {key: value + 0.01 * k for key, value in mixer.named_parameters()}
        y: Tensor = torch.func.functional_call(mixer, weights, (u,))
        return y

    expected = [shifted(k) for k in range(30)]
    with kernels_once():
        found = [shifted(k) for k in range(30)]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_step_inside_is_refused_and_one_of_another_model_is_not(name: str) -> None:
    mixer, other = made(name), torch.nn.Linear(1, 1)
    before = {key: weight.clone() for key, weight in mixer.state_dict().items()}
    with kernels_once():
        passes(mixer)
        torch.optim.SGD(other.parameters(), lr=0.1).step()
        with pytest.raises(RuntimeError, match="take an optimiser's steps after the block"):
            torch.optim.SGD(mixer.parameters(), lr=0.1).step()
    torch.testing.assert_close(mixer.state_dict(), before, rtol=0, atol=0)
    torch.optim.SGD(mixer.parameters(), lr=0.1).step()


def test_a_step_by_hand_inside_is_refused() -> None:
    mixer, block = made("s4"), kernels_once()
    block.__enter__()
    passes(mixer)
    with torch.no_grad():
        mixer.log_dt.add_(0.1)
    with pytest.raises(RuntimeError, match="after the block"):
        block.__exit__(None, None, None)


def test_a_backward_pass_after_the_block_is_refused() -> None:
    mixer = made("s4d")
    with kernels_once():
        loss = mixer(torch.randn(1, 9, 4, dtype=torch.float64)).sum()
    with pytest.raises(RuntimeError, match=r"call backward\(\) inside the block"):
        loss.backward()


def test_weights_that_thaw_inside_learn() -> None:
    mixer = made("s4d").requires_grad_(False)
    with kernels_once():
        mixer(torch.randn(1, 9, 4, dtype=torch.float64))
        mixer.requires_grad_()
        passes(mixer)
    assert all(weight.grad is not None for weight in mixer.parameters())


def test_transforms_compute_their_own() -> None:
    mixer, u = made("s4d"), torch.randn(1, 9, 4, dtype=torch.float64)

    def loss(weights: dict[str, Tensor]) -> Tensor:
        y: Tensor = torch.func.functional_call(mixer, weights, (u,))
        return y.square().sum()

    weights = {key: weight.detach() for key, weight in mixer.named_parameters()}
    expected = torch.func.grad(loss)(weights)
    with kernels_once():
        found = torch.func.grad(loss)(weights)
    torch.testing.assert_close(found, expected)
