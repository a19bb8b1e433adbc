"""Forecast the next day of an hourly series from the five days before it, and compare with the simplest forecasts.

The same from the shell:
    seqkit train --data load.csv data.horizon=24 data.window=120 data.target=load
    seqkit predict runs/load-s4d-001 load.csv -o tomorrow.csv
"""

import csv
import math
import random
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import seqkit


def write_table(path: Path, days: int) -> None:
    """Writes an electric load at each hour: the course of a day and a week, the temperature, and what lingers."""
    rng = random.Random(0)
    start, lingering = datetime(2026, 1, 1, tzinfo=UTC), 0.0
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["time", "load", "temperature"])
        for hour in range(24 * days):
            now = start + timedelta(hours=hour)
            lingering = 0.95 * lingering + rng.gauss(0, 1)
            temperature = 8 - 4 * math.cos(2 * math.pi * hour / 24) + lingering
            weekend = 15 if now.weekday() >= 5 else 0
            load = 100 - 25 * math.cos(2 * math.pi * (hour - 4) / 24) - weekend - 2 * lingering + rng.gauss(0, 1)
            table.writerow([now.isoformat(), f"{load:.2f}", f"{temperature:.2f}"])


with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    write_table(folder / "load.csv", 120)

    # Parts are cut in time: training ends before validation starts, and that before testing.
    run = seqkit.train(
        folder / "load.csv",
        horizon=24,
        target="load",
        stride=5,
        epochs=5,
        d_model=32,
        n_layers=2,
        out=folder / "run",
        **{"data.window": 120},
    )
    print(f"test RMSE {run.metrics['rmse']:.1f}")
    for method, metrics in run.summary["naive"]["test"].items():
        print(f"  {method}: {metrics['rmse']:.1f}")
    (row,) = seqkit.predict(run.path, folder / "load.csv")  # what comes after the end of the file
    print("next hours:", ", ".join(f"{row[f'prediction load+{step}']:.0f}" for step in range(1, 25)))
