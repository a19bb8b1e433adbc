"""Gradients in a few bits: two ranks that agree bit for bit, and training that ends where plain training does."""

import copy
import math
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from seqkit.distributed import DeltaCodec, EFGradHook, QuantizedAdam, WireMeter, run_ranks
from seqkit.distributed.chunks import mean_of_chunks
from seqkit.distributed.gradient_hook import code_with_feedback


@pytest.fixture(scope="module")
def ranks() -> list[dict]:
    """What two ranks found; started once, since starting takes longer than what they do."""
    folder = str(Path(__file__).parent)
    sys.path.insert(0, folder)
    try:
        import gradient_ranks

        return run_ranks(gradient_ranks.everything, 2, timeout=60.0, limit=300.0)
    finally:
        sys.path.remove(folder)


def test_errors_of_the_mean_fall_with_the_steps(ranks: list[dict]) -> None:
    for found in (rank["feedback"] for rank in ranks):
        assert 0.05 < found["each"] < 0.2
        assert found["mean"] < 0.01  # about 1 / 40 of that of a step
        assert found["equal"]


def test_bytes_are_the_formula(ranks: list[dict]) -> None:
    found = ranks[0]["feedback"]
    groups = sum(math.ceil(size / 32) for size in (20 * 30, 30, 30 * 5, 5))  # of each parameter
    assert found["bytes"] == 40 * groups * (32 // 2 + 2)
    assert found["plain"] == 40 * 4 * (20 * 30 + 30 + 30 * 5 + 5)


def test_not_finite_gradients_arrive_everywhere_and_are_not_remembered(ranks: list[dict]) -> None:
    for bits in (4, 16):
        for rank in ranks:
            (spoiled, equal), (after, equal_after) = rank["not_finite"][bits]
            assert 1 <= spoiled <= 64
            assert (after, equal, equal_after) == (0, True, True)


def test_resumed_hook_goes_on_bit_for_bit(ranks: list[dict]) -> None:
    for rank in ranks:
        assert rank["resumed"] == {"equal": True, "other": False}


def test_half_precision(ranks: list[dict]) -> None:
    assert ranks[0]["half"] == {"dtype": "torch.bfloat16", "equal": True}


def test_training_ends_where_plain_training_does(ranks: list[dict]) -> None:
    loss = ranks[0]["training"]
    assert loss == ranks[1]["training"]
    plain = loss["plain"]
    assert 0 < plain < 1
    assert loss["adam in full"] == pytest.approx(plain, rel=0.05)
    assert loss["hook 8"] == pytest.approx(plain, rel=0.05)
    assert loss["hook 4"] == pytest.approx(plain, rel=0.15)
    assert loss["hook 4"] < loss["hook 2"] < 2.5 * plain
    assert loss["adam 8"] < 1.2 * plain
    assert loss["adam 8"] == pytest.approx(loss["adam in full, frozen"], rel=0.05)  # so freezing is what costs
    assert loss["adam 4"] < 1.2 * plain
    assert loss["adam 8, three epochs of a short memory"] < 1.2 * plain


def test_a_correction_that_goes_on_after_freezing_breaks_training(ranks: list[dict]) -> None:
    loss = ranks[0]["training"]
    assert loss["adam 8, short, advancing"] > 3 * loss["adam 8, short"]


def test_correction_is_frozen_with_the_second_moment() -> None:
    optimiser = QuantizedAdam([nn.Parameter(torch.ones(2))], warmup_steps=15)
    group = optimiser.param_groups[0]
    assert optimiser.correction(10, group) == 1 - 0.999**10
    assert optimiser.correction(1000, group) == optimiser.correction(15, group) == 1 - 0.999**15
    assert math.sqrt((1 - 0.999**1000) / optimiser.correction(1000, group)) > 6  # what it would be too large by


def test_warm_up_is_adamw_to_the_bit_of_one_process() -> None:
    torch.manual_seed(0)
    ours = nn.Linear(5, 3)
    theirs = copy.deepcopy(ours)
    one = QuantizedAdam(ours.parameters(), 0.01, weight_decay=0.1)
    other = torch.optim.AdamW(theirs.parameters(), 0.01, weight_decay=0.1)
    for _ in range(5):
        x = torch.randn(4, 5)
        for model, optimiser in ((ours, one), (theirs, other)):
            optimiser.zero_grad()
            model(x).square().sum().backward()
            optimiser.step(lambda: 0.0)
    for mine, wanted in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, wanted, rtol=1e-5, atol=1e-6)


def test_optimiser_state_resumes_bit_for_bit() -> None:
    def run(model: nn.Module, optimiser: QuantizedAdam, steps: range) -> None:
        for step in steps:
            x = torch.randn(4, 5, generator=torch.Generator().manual_seed(step))
            optimiser.zero_grad()
            model(x).square().sum().backward()
            optimiser.step()

    torch.manual_seed(0)
    whole = nn.Linear(5, 3)
    parts = copy.deepcopy(whole)
    options = {"lr": 0.01, "warmup_steps": 3, "bits": 4}
    run(whole, QuantizedAdam(whole.parameters(), **options), range(10))
    first = QuantizedAdam(parts.parameters(), **options)
    run(parts, first, range(6))
    second = QuantizedAdam(parts.parameters(), **options)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    run(parts, second, range(6, 10))
    assert torch.equal(whole.weight, parts.weight)


def test_feedback_makes_up_for_what_coding_loses() -> None:
    value, error, meter = torch.randn(200), torch.zeros(200), WireMeter()
    codec, total = DeltaCodec(2), torch.zeros(200)
    for _ in range(50):
        data = code_with_feedback(codec, value, error, meter)
        total += codec.decode_rows(data[None], 200).view(-1)
    torch.testing.assert_close(total + error, 50 * value, rtol=1e-4, atol=1e-4)
    assert float(error.norm()) < 3 * float(value.norm())
    assert meter.bytes == 50 * (50 + 2 * 4)


def test_mean_of_chunks_alone_is_the_value_coded_twice() -> None:
    value, error = torch.randn(100), torch.zeros(100)
    mean, chunk = mean_of_chunks(DeltaCodec(32), value, error, None, None, WireMeter())
    assert torch.equal(mean, value)
    assert not bool(chunk.any())
    mean, chunk = mean_of_chunks(DeltaCodec(4), value, error, None, None, WireMeter())
    torch.testing.assert_close(mean + chunk + error, value)


def test_random_numbers_of_the_hook_are_part_of_its_state() -> None:
    value, hooks = torch.randn(100), []
    for seed in (1, 2):
        hooks.append(EFGradHook(4, rounding="stochastic", generator=torch.Generator().manual_seed(seed)))
    code_with_feedback(hooks[0].codec, value, torch.zeros(100), WireMeter())
    hooks[1].load_state_dict(hooks[0].state_dict())
    one, other = (code_with_feedback(hook.codec, value, torch.zeros(100), WireMeter()) for hook in hooks)
    assert torch.equal(one, other)


def test_states_of_another_rounding_are_refused() -> None:
    hook = EFGradHook(rounding="stochastic", generator=torch.Generator())
    with pytest.raises(ValueError, match="`state` must be of a hook with the same rounding"):
        hook.load_state_dict(EFGradHook().state_dict())


WRONG = [
    ({"lr": -1.0}, "`lr` must be a finite number, 0 or above"),
    ({"betas": (0.9, 1.0)}, "`betas` must lie between 0 and 1"),
    ({"warmup_steps": 0}, "`warmup_steps` must be a whole number of at least 1"),
    ({"bits": 9}, "`bits` must be a whole number from 1 to 8, or 16 or 32, got 9"),
]


@pytest.mark.parametrize(("options", "words"), WRONG)
def test_wrong_options_are_named(options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        QuantizedAdam([nn.Parameter(torch.ones(2))], **options)
