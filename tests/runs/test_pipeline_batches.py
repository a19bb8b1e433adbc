"""Batches of pipelines side by side: series of their own, each in its turn, and all of one shape."""

from __future__ import annotations

from pathlib import Path

import pytest

from seqkit.datasets.module import SeriesDataModule
from seqkit.runs import RunConfig
from seqkit.runs.data import build_data_module
from seqkit.runs.pipeline_batches import PipelineBatches


def module(path: Path, n: int) -> SeriesDataModule:
    config = RunConfig.build(str(path), "s4d", settings={"train_series": n})
    return build_data_module(config)


def test_series_have_one_pipeline_each_and_none_is_left_out_for_good(waves_file: Path) -> None:
    data = module(waves_file, 11)
    pipelines = [PipelineBatches(data, 2, seed=0, replica=r, n_replicas=3) for r in range(3)]
    assert [len(one) for one in pipelines] == [2, 2, 2]
    seen: list[set[int]] = [set(), set(), set()]
    for epoch in range(4):
        for number, one in enumerate(pipelines):
            draws = one.draws(epoch)
            assert [len(draw.places) for draw in draws] == [2, 1]
            places = [place for draw in draws for place in draw.places]
            assert len(set(places)) == 3
            seen[number].update(places)
    assert [sorted(one) for one in seen] == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8]]


def test_the_batches_of_an_epoch_are_a_function_of_seed_and_epoch(waves_file: Path) -> None:
    one, other = (PipelineBatches(module(waves_file, 11), 4, seed=3, replica=0, n_replicas=2) for _ in range(2))
    assert one.draws(5) == other.draws(5) != other.draws(6)
    assert one.draws(5) == other.draws(5)


def test_validation_comes_whole_and_in_order(waves_file: Path) -> None:
    data = module(waves_file, 12)
    pieces = list(PipelineBatches(data, 5, seed=0, replica=0, n_replicas=1).validation())
    lengths = [length for piece in pieces for length in piece.lengths.tolist()]
    assert lengths == data.sets["val"].lengths.tolist()
    assert max(len(piece.lengths) for piece in pieces) == pytest.approx(5)
