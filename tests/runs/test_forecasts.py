"""Forecasts through a whole run: trained, measured beside naive ones, evaluated again, and made for a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

import seqkit
from seqkit.cli.main import app

SIZES = {"d_model": 8, "n_layers": 1, "order": 8, "epochs": 2, "progress": False}


def prices(folder: Path, n: int = 220, name: str = "prices.csv") -> Path:
    days = np.datetime64("2026-01-01") + np.arange(n)
    price = 50 + 10 * np.sin(2 * np.pi * np.arange(n) / 7) + 0.01 * np.arange(n)
    rows = [f"{day},{p:.3f},{k % 3}" for k, (day, p) in enumerate(zip(days, price, strict=True))]
    (folder / name).write_text("\n".join(["date,price,volume", *rows]) + "\n")
    return folder / name


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> seqkit.runs.TrainResult:
    folder = tmp_path_factory.mktemp("forecast")
    return seqkit.train(prices(folder), horizon=3, target="price", out=folder / "run", **{"data.window": 10}, **SIZES)


def test_a_run_is_measured_beside_naive_forecasts(run: seqkit.runs.TrainResult) -> None:
    test = run.summary["naive"]["test"]
    assert list(test) == ["last value", "last season (7 samples)"]
    # From the file, written out: the test part are the last 44 days, and its first window ends 10 days into it.
    price = np.loadtxt(run.summary["data"], delimiter=",", skiprows=1, usecols=1).astype(np.float32)
    origins = np.arange(176 + 10, 220 - 3 + 1)
    ahead = price[origins[:, None] + np.arange(3)]
    for name, guess in (
        ("last value", price[origins - 1][:, None] + np.zeros(3)),
        ("last season (7 samples)", price[origins[:, None] - 7 + np.arange(3)]),
    ):
        assert test[name]["rmse"] == pytest.approx(np.sqrt(np.mean((ahead - guess) ** 2)), rel=1e-4)
        assert test[name]["mae"] == pytest.approx(np.mean(np.abs(ahead - guess)), rel=1e-4)
    assert run.summary["n_series"]["test"] == len(origins)
    assert seqkit.evaluate(run.path).naive == test
    assert seqkit.evaluate(run.path).metrics["rmse"] == pytest.approx(run.metrics["rmse"], rel=1e-5)


def test_predictions_go_on_from_the_end_of_a_file(run: seqkit.runs.TrainResult, tmp_path: Path) -> None:
    path = prices(tmp_path, 60, "new.csv")
    (row,) = seqkit.predict(run.path, path, tmp_path / "next.csv")
    assert list(row) == ["series", "prediction price+1", "prediction price+2", "prediction price+3"]
    assert (tmp_path / "next.csv").read_text().splitlines()[0] == ",".join(row)
    # Only the last window counts, and what comes before it does not.
    lines = path.read_text().splitlines()
    (tmp_path / "end.csv").write_text("\n".join([lines[0], *lines[-10:]]))
    (short,) = seqkit.predict(run.path, tmp_path / "end.csv")
    assert [short[key] for key in list(row)[1:]] == pytest.approx([row[key] for key in list(row)[1:]], rel=1e-5)
    assert seqkit.evaluate(run.path, path).n_series == 60 - 10 - 3 + 1


def test_without_targets_the_next_value_is_forecast_and_that_is_written_down(tmp_path: Path, capsys) -> None:
    app = seqkit.train(prices(tmp_path), out=tmp_path / "run", **{**SIZES, "progress": True})
    said = capsys.readouterr().err
    assert "windows of 32 samples" in said
    assert "the next value of price, volume to forecast; a sample every day" in said
    config = yaml.safe_load((app.path / "config.yaml").read_text())
    assert (config["data"]["options"], config["model"]["pool"]) == ({"horizon": 1, "window": 32}, "last")
    (row,) = seqkit.predict(app.path, prices(tmp_path, 40, "new.csv"))
    assert list(row) == ["series", "prediction price+1", "prediction volume+1"]


def test_the_command_line_shows_naive_forecasts(run: seqkit.runs.TrainResult, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    shown = CliRunner().invoke(app, ["evaluate", str(run.path)])
    assert shown.exit_code == 0, shown.output
    assert "last season (7 samples)" in shown.output
    with_gap = prices(tmp_path).read_text().splitlines()
    (tmp_path / "gap.csv").write_text("\n".join(line for k, line in enumerate(with_gap) if k not in (50, 51)))
    settings = ["data.horizon=2", "data.window=8", "data.gaps=grid", "d_model=8", "n_layers=1", "epochs=1"]
    arguments = ["train", "--data", str(tmp_path / "gap.csv"), *settings, "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "test, last value" in result.output
    assert "windows left out since values to forecast are missing" in result.output
