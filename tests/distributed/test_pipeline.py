"""Pipelines of two and four ranks against the same training in one process, and the properties of AC-SGD."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from seqkit.distributed import Pipeline
from seqkit.distributed.failures import Watch
from seqkit.distributed.functions import RankError, run_ranks
from seqkit.distributed.message import HEADER


@pytest.fixture(autouse=True, scope="module")
def importable() -> Iterator[None]:
    """Lets the ranks, which are other processes, import what they run."""
    sys.path.insert(0, str(Path(__file__).parent))
    yield
    sys.path.remove(str(Path(__file__).parent))


def run(name: str, n_ranks: int, *arguments: Any, timeout: float = 120.0) -> list[Any]:
    import pipeline_ranks  # found by the fixture's path

    return run_ranks(getattr(pipeline_ranks, name), n_ranks, *arguments, timeout=timeout, limit=550.0)


@pytest.fixture(scope="module")
def two(importable: None, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two ranks found; started once, since starting takes longer than most of what they do."""
    return run("two_ranks", 2, str(tmp_path_factory.mktemp("checkpoints")))


@pytest.fixture(scope="module")
def four(importable: None) -> list[dict[str, Any]]:
    """What each of four ranks found."""
    return run("four_ranks", 4)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize(
    ("ranks", "schedule", "n_stages"), [("two", "gpipe", 2), ("four", "1f1b", 4), ("two", "interleaved", 4)]
)
def test_it_is_the_training_of_one_process(
    ranks: str, schedule: str, n_stages: int, request: pytest.FixtureRequest
) -> None:
    import pipeline_ranks

    losses, weights = pipeline_ranks.alone(2)
    found = [rank[schedule] for rank in request.getfixturevalue(ranks)]
    last = next(one for one in found if one["losses"][0] is not None)
    assert last["losses"] == pytest.approx(losses, rel=1e-5)
    for name, value in found[0]["weights"].items():
        assert torch.allclose(value, weights[name], atol=1e-6), name
    # In the first epoch each sample is sent in full: bit for bit what it is without compression.
    assert same(*found[0]["first epoch"])
    # Both ends of each cut hold the same after the second.
    digests: dict[int, list[str]] = {}
    for cut, digest in found[0]["digests"]:
        digests.setdefault(cut, []).append(digest)
    assert sorted(digests) == list(range(n_stages - 1))
    assert all(len(both) == 2 and both[0] == both[1] for both in digests.values())


@pytest.fixture(scope="module")
def properties(two: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [rank["properties"] for rank in two]


@pytest.mark.parametrize("bits", ["4/8", "2/4 bfloat16"])
def test_both_ends_hold_the_same_and_the_schedule_changes_nothing(bits: str, properties: list[dict[str, Any]]) -> None:
    first, second = (properties[1][f"{schedule} {bits}"] for schedule in ("gpipe", "1f1b"))
    for one in (first, second):
        assert len(one["digests"]) == 2
        assert len({digest for _, digest in one["digests"]}) == 1
    assert first["losses"] == second["losses"]
    assert len(set(first["losses"])) == len(first["losses"])  # it did train
    assert same(first["weights"], second["weights"])


def test_evaluation_changes_no_buffer_and_is_in_full_precision(properties: list[dict[str, Any]]) -> None:
    import pipeline_ranks

    found = properties[1]["evaluated"]
    assert found["before"] == found["after"]
    whole, (x, _, lengths) = pipeline_ranks.model(), pipeline_ranks.data()
    whole.load_state_dict(found["weights"])
    assert torch.allclose(found["outputs"], whole.eval()(x[:5], lengths[:5]), atol=1e-6)
    assert properties[0]["evaluated"]["outputs"] is None


def test_weights_that_do_not_move_leave_nothing_to_send(properties: list[dict[str, Any]]) -> None:
    first, second, meters = properties[1]["still"][0], properties[1]["still"][1], properties[0]["still"][2]
    assert first == second
    assert meters == [(0.0, 0.0, 0)]


def test_the_bytes_are_those_of_the_formula(properties: list[dict[str, Any]]) -> None:
    import pipeline_ranks

    header, samples, numbers = HEADER, pipeline_ranks.N, pipeline_ranks.LENGTH * pipeline_ranks.WIDTH
    messages = 4 + 3  # 8 rows are four micro-batches of 2, 6 rows are three
    steps = 2 * -(-numbers // 64)
    whole = messages * header + samples * (1 + 4 * numbers)
    activations = messages * header + samples * (1 + numbers * 4 // 8 + steps)
    gradients = messages * header + samples * (1 + numbers + steps)
    assert properties[0]["bytes"] == (whole, activations)
    assert properties[1]["bytes"] == (gradients, gradients)


def test_gradients_go_straight_through(two: list[dict[str, Any]]) -> None:
    found = two[0]["straight through"]
    for bits, limit in ((32, 1e-5), (8, 0.02)):
        gradients, true, error = found[bits]
        assert error > 0.01  # the received activation is another one than the true one
        for stage in range(2):
            for name, value in true[stage].items():
                lost = (gradients[stage][name] - value).norm()
                assert lost <= limit * value.norm() + 1e-7, (bits, stage, name)


def test_schedules_call_the_hooks_that_are_replaced(two: list[dict[str, Any]]) -> None:
    found = [rank["contract"] for rank in two]
    for schedule in ("gpipe", "1f1b"):
        for rank in range(2):
            one = found[rank][schedule]
            assert one["calls"] == one["tracked"] == 2, "the module ran for nothing"
            assert one["finite"]
    assert found[0]["gpipe"]["hooks"] == [
        *("fwd_recv_ops 0", "fwd_send_ops 0", "fwd_recv_ops 1", "fwd_send_ops 1"),
        *("bwd_recv_ops 0", "retrieve_recv_grads 0", "bwd_send_ops 0"),
        *("bwd_recv_ops 1", "retrieve_recv_grads 1", "bwd_send_ops 1"),
    ]
    assert found[1]["1f1b"]["hooks"] == [
        *("fwd_recv_ops 0", "retrieve_recv_activations 0", "fwd_send_ops 0", "bwd_recv_ops 0", "bwd_send_ops 0"),
        *("fwd_recv_ops 1", "retrieve_recv_activations 1", "fwd_send_ops 1", "bwd_recv_ops 1", "bwd_send_ops 1"),
    ]


def test_the_names_that_a_stage_relies_on_are_there() -> None:
    import inspect

    from torch.distributed.pipelining import PipelineStage

    from seqkit.distributed.stage import CompressedStage

    source = "".join(inspect.getsource(one) for one in PipelineStage.__mro__[:2])
    for name in CompressedStage.PRIVATE_NAMES:
        assert hasattr(PipelineStage, name) or f"self.{name}" in source, name


def test_what_does_not_fit_is_refused_on_every_rank(two: list[dict[str, Any]]) -> None:
    for words in (rank["refusals"] for rank in two):
        assert words["bits"].startswith("ValueError: `compression` must be the same on all ranks"), words["bits"]
        assert "`stages` must be one for each of the 2 ranks, got 4" in words["micro-batches"]
        assert "`ids` must be the same samples in the same order" in words["other ids"]
        assert "`ids` must hold each sample once" in words["an id twice"]
        assert words["a new id"] == "nothing"  # it is sent in full
        assert "the two sides of cut 0 know different samples" in words["one end forgot"]


@pytest.mark.parametrize(("loss", "got"), [(lambda out, rows: out[:, 0], r"\(2,\)"), (lambda out, rows: 1.0, "float")])
def test_a_loss_is_one_number(loss: Any, got: str) -> None:
    pipeline = object.__new__(Pipeline)
    pipeline._loss, pipeline._rows = loss, 4
    with pytest.raises(ValueError, match=f"`loss` must give a tensor of one number, got {got}; sum it over"):
        pipeline._share_of_loss(torch.zeros(2, 3), torch.tensor([2, 3]))


def test_a_wrapped_error_is_told_by_its_cause() -> None:
    error = RuntimeError("\n    Failed to run stage backward:\n    Stage output: ...")
    error.__cause__ = ZeroDivisionError("division by zero")
    told: dict[str, str] = {}
    store = SimpleNamespace(compare_set=lambda key, old, new: told.update({key: new}))
    watch = Watch(1, store, timeout=10.0)
    with pytest.raises(RuntimeError), watch.during("step 3"):
        raise error
    assert list(told.values()) == ["rank 1 failed in step 3: ZeroDivisionError: division by zero"]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("dies", "lost another rank in step"),
        ("is slow", "waited 8 s for a message of another rank in step"),
        ("raises", "rank 1 failed in step 3: ZeroDivisionError"),
        ("spoils a message", "rank 1 failed in step 3: MessageError"),
    ],
)
def test_a_failure_is_a_sentence_on_the_other_rank_in_bounded_time(how: str, words: str) -> None:
    with pytest.raises(RankError) as caught:
        run("broken", 2, how, timeout=8.0 if how == "is slow" else 30.0)
    assert "PeerError" in caught.value.errors[0]
    assert words in caught.value.errors[0]


def test_a_resumed_training_is_the_unbroken_one_bit_for_bit(two: list[dict[str, Any]]) -> None:
    found = [rank["resumed"] for rank in two]
    for rank in range(2):
        whole, again = found[rank]["whole"], found[rank]["resumed"]
        assert whole[0] == again[0]
        assert same(whole[1], again[1])
        assert whole[2] == again[2]
        assert found[rank]["resumed, seen"] == [True]
        assert found[rank]["resumed, words"] == []
        assert found[rank]["epoch"] == 2
        # A buffer that is missing at one end is forgotten at both: samples go in full, never against zeros.
        assert found[rank]["without buffers, seen"] == [False]
        assert any("send each sample in full once more" in words for words in found[rank]["without buffers, words"])
        digests = found[rank]["without buffers"][2]
        assert digests[0] == digests[1]


def test_pipelines_side_by_side_average_their_gradients(four: list[dict[str, Any]]) -> None:
    import pipeline_ranks

    plain, coded = ([rank[name] for rank in four] for name in ("plain", "coded"))
    for found in (plain, coded):
        assert same(*found[0]["halves"])
    whole, (x, y, lengths) = pipeline_ranks.model(), pipeline_ranks.data()
    optimizer = torch.optim.SGD(whole.parameters(), lr=0.2)
    for _ in range(4):
        torch.nn.functional.cross_entropy(whole(x[:8], lengths[:8]), y[:8]).backward()
        optimizer.step()
        optimizer.zero_grad()
    start = pipeline_ranks.model().state_dict()
    for name, value in whole.state_dict().items():
        assert torch.allclose(plain[0]["halves"][0][name], value, atol=1e-6), name
    moved = sum(float((value - start[name]).square().sum()) for name, value in whole.state_dict().items())
    lost = sum(float((coded[0]["halves"][0][k] - v).square().sum()) for k, v in whole.state_dict().items())
    assert 0 < lost < 0.02**2 * moved
    assert coded[0]["bytes"] > 0
    assert plain[0]["bytes"] == 0


def test_lightning_drives_a_pipeline(two: list[dict[str, Any]]) -> None:
    import pipeline_ranks

    found = [rank["in lightning"] for rank in two]
    whole, (x, y, _), losses = pipeline_ranks.model(), pipeline_ranks.data(), []
    optimizer = torch.optim.SGD(whole.parameters(), lr=0.2)
    for _ in range(2):
        for batch in pipeline_ranks.BATCHES:
            ids = torch.tensor(list(batch))
            loss = torch.nn.functional.cross_entropy(whole(x[ids]), y[ids])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(float(loss.detach()))
    for name, value in whole.state_dict().items():
        assert torch.allclose(found[0]["weights"][name], value, atol=1e-6), name
    assert found[1]["logged"]["train_loss"] == pytest.approx((8 * losses[2] + 6 * losses[3]) / 14, rel=1e-5)


def test_bits_are_raised_at_both_ends_where_the_code_loses_too_much(two: list[dict[str, Any]]) -> None:
    for found in (rank["reviewed"] for rank in two):
        first, second, third = (reports[0] for reports in found["reports"])
        assert (first["bits"], first["bits_next"], first["share_full"], first["code_error"]) == (2, 2, 1.0, 0.0)
        assert (second["bits"], second["bits_next"], second["share_full"]) == (2, 3, 0.0)
        assert second["code_error"] > 0.3 > third["code_error"] > 0
        assert (third["bits"], third["bits_next"]) == (3, 3)
        assert third["bytes"] > second["bytes"]
        assert len({digest for _, digest in found["digests"]}) == 1
        # A checkpoint keeps the bits and what they were raised for.
        assert found["bits"] == [3]
        assert found["again"][0] == [third]
        assert same(found["weights"], found["again"][1])
        assert found["without codecs"] == []


def test_buffers_on_disk_are_read_before_they_are_needed(two: list[dict[str, Any]]) -> None:
    import pipeline_ranks

    samples = pipeline_ranks.N
    for rank in two:
        found = rank["read ahead"]
        assert found["counts"] == [(0, 0), (samples, 0), (2 * samples, 0)]  # none was read when it was needed
        assert found["sizes"][0] == found["sizes"][1] >= samples * pipeline_ranks.LENGTH * pipeline_ranks.WIDTH * 4
        assert found["losses"] == rank["properties"]["1f1b 4/8"]["losses"]
        assert same(found["weights"], rank["properties"]["1f1b 4/8"]["weights"])


def test_copies_resume_bit_for_bit_with_what_coding_had_lost(two: list[dict[str, Any]]) -> None:
    for found in (rank["copies"] for rank in two):
        assert torch.equal(found["whole"], found["again"])
        assert not torch.equal(found["whole"], found["bare"])
        assert torch.equal(found["whole"], two[0]["copies"]["whole"])
