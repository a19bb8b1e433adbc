"""A training on everything: no validation part is kept, and nothing that would be chosen by one is allowed."""

from __future__ import annotations

import csv

import numpy as np
import pytest

import seqkit
from seqkit.datasets import SeriesDataModule, get_source
from seqkit.datasets.forecast import Forecast
from seqkit.datasets.series import SeriesSet
from seqkit.runs.config import RunConfig
from seqkit.runs.source import data_config

WHOLE = {"data.validation": 0, "training.keep": "last", "training.patience": None}


def parts(validation: float, seed: int = 3) -> dict[str, SeriesSet]:
    module = SeriesDataModule(get_source("character_trajectories"), validation=validation, seed=seed)
    module.setup()
    return module.sets


def test_everything_that_is_not_for_testing_is_trained_on(data_root) -> None:
    whole, cut = parts(0), parts(0.1)
    assert list(whole) == ["train", "test"]
    assert whole["test"].names == cut["test"].names
    assert sorted(whole["train"].names) == sorted([*cut["train"].names, *cut["val"].names])


def test_a_validation_file_stays_one(tmp_path) -> None:
    for name in ("train", "val", "test"):
        rows = "\n".join(f"{name}{i},{i % 2}.5,{'ab'[i % 2]}" for i in range(4))
        (tmp_path / f"{name}.csv").write_text(f"series,x,target\n{rows}\n")
    module = SeriesDataModule(get_source("folder", path=str(tmp_path)), validation=0)
    module.setup()
    assert {part: len(series) for part, series in module.sets.items()} == {"train": 4, "val": 4, "test": 4}


def test_forecasts_train_up_to_the_test_part() -> None:
    series = SeriesSet([np.arange(100.0)[:, None]], channels=("price",))
    cut = Forecast(horizon=2, window=3).cut({"all": series}, validation=0, test=0.2)
    assert list(cut) == ["train", "test"]
    assert cut["train"].target[-1].tolist() == [78.0, 79.0]
    assert list(Forecast(horizon=2, window=3).cut({"train": series, "test": series}, 0, 0.2)) == ["train", "test"]


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ({}, r"got 0 with keep=best and patience=20; set keep=last and patience=null"),
        ({"keep": "last"}, "got 0 with keep=last and patience=20"),
        ({"patience": None}, "got 0 with keep=best and patience=null"),
    ],
)
def test_an_epoch_cannot_be_chosen_without(training, words) -> None:
    with pytest.raises(ValueError, match=words):
        RunConfig.build("digits", "gru", settings={"data.validation": 0, **training})


def test_a_share_out_of_range_is_refused() -> None:
    for share in (-0.1, 1, 1.5, float("nan"), True):
        with pytest.raises(ValueError, match=r"`validation` must lie between 0 \(keep none\) and 1"):
            RunConfig.build("digits", "gru", settings={**WHOLE, "data.validation": share})


def test_a_run_without_it(tmp_path) -> None:
    small = {**WHOLE, "model.d_model": 4, "model.n_layers": 1}
    config = RunConfig.build("japanese_vowels", "gru", settings={**small, "training.epochs": 2})
    run = seqkit.train(config=config, out=tmp_path / "run", progress=False)
    assert RunConfig.from_file(tmp_path / "run" / "config.yaml") == config
    assert run.split == "test"
    assert list(run.summary["results"]) == ["test"]
    assert run.summary["n_series"] == {"train": 270, "test": 370}
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").read_text().splitlines()))
    assert len(rows) == 2
    assert not any(key.startswith("val") for key in rows[0])
    assert seqkit.evaluate(tmp_path / "run").metrics["accuracy"] == run.metrics["accuracy"]
    with pytest.raises(ValueError, match="has no part 'val'; choose one of train, test, all"):
        seqkit.evaluate(tmp_path / "run", split="val")


def test_what_looks_at_validation_alone_refuses(tmp_path) -> None:
    from seqkit.runs import train_distilled

    with pytest.raises(ValueError, match="`validation` must be above 0 for a distillation"):
        train_distilled("japanese_vowels", "lssl", "gru", out=tmp_path / "d", progress=False, **WHOLE)


def test_a_search_for_settings_refuses(tmp_path) -> None:
    pytest.importorskip("optuna")
    from seqkit.runs import tune

    with pytest.raises(ValueError, match="`validation` must be above 0 for a search"):
        tune("japanese_vowels", "gru", trials=1, out=tmp_path / "t", progress=False, settings=WHOLE)


def test_the_parts_can_be_looked_at_without_training_settings() -> None:
    assert data_config("japanese_vowels", {"validation": 0}, cutting=True).validation == 0
