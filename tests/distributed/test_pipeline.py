"""Pipelines of two and four ranks against the same training in one process, and the properties of AC-SGD."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from seqkit.distributed.functions import run_ranks


@pytest.fixture(autouse=True, scope="module")
def importable() -> Iterator[None]:
    """Lets the ranks, which are other processes, import what they run."""
    sys.path.insert(0, str(Path(__file__).parent))
    yield
    sys.path.remove(str(Path(__file__).parent))


def run(name: str, n_ranks: int, *arguments: Any, timeout: float = 60.0) -> list[Any]:
    import pipeline_ranks  # noqa: PLC0415 - found by the fixture's path

    return run_ranks(getattr(pipeline_ranks, name), n_ranks, *arguments, timeout=timeout, limit=240.0)


@pytest.mark.parametrize(
    ("schedule", "n_ranks", "n_stages"), [("gpipe", 2, 2), ("1f1b", 2, 2), ("1f1b", 4, 4), ("interleaved", 2, 4)]
)
def test_without_compression_it_is_the_training_of_one_process(schedule: str, n_ranks: int, n_stages: int) -> None:
    import pipeline_ranks  # noqa: PLC0415

    losses, weights = pipeline_ranks.alone(2)
    found = run("train", n_ranks, 2, None, schedule, n_stages)
    last = next(one for one in found if one["losses"][0] is not None)
    assert last["losses"] == pytest.approx(losses, rel=1e-5)
    for name, value in found[0]["weights"].items():
        assert torch.allclose(value, weights[name], atol=1e-6), name
