"""Forecast the next day of an hourly series from the five days before it, and compare with the simplest forecasts.

The same from the shell:
    seqkit train --data load.csv data.horizon=24 data.window=120 data.target=load
    seqkit predict runs/load-s4d-001 load.csv -o tomorrow.csv

    python examples/10_forecasting.py [FOLDER]

Expect a smaller error than both naive forecasts. FOLDER (runs/examples) gets load.csv, the run, and 10_forecasting.png:
the day after the end of the table, forecast and as it came.
"""

import csv
import math
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import seqkit
from seqkit.figures import new_figure, save_figure

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
folder.mkdir(parents=True, exist_ok=True)


def write_table(path: Path, days: int) -> list[float]:
    """Writes an electric load at each hour: the course of a day and a week, the temperature, and what lingers.

    Returns the load in MW of all days and of one more, which is not written.
    """
    rng = random.Random(0)
    start, lingering, loads = datetime(2026, 1, 1, tzinfo=UTC), 0.0, []
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["time", "load", "temperature"])
        for hour in range(24 * (days + 1)):
            now = start + timedelta(hours=hour)
            lingering = 0.95 * lingering + rng.gauss(0, 1)
            temperature = 8 - 4 * math.cos(2 * math.pi * hour / 24) + lingering
            weekend = 15 if now.weekday() >= 5 else 0
            load = 100 - 25 * math.cos(2 * math.pi * (hour - 4) / 24) - weekend - 2 * lingering + rng.gauss(0, 1)
            loads.append(load)
            if hour < 24 * days:
                table.writerow([now.isoformat(), f"{load:.2f}", f"{temperature:.2f}"])
    return loads


loads = write_table(folder / "load.csv", 120)

# Parts are cut in time: training ends before validation starts, and that before testing.
run = seqkit.train(
    folder / "load.csv",
    horizon=24,
    target="load",
    stride=5,
    epochs=5,
    d_model=32,
    n_layers=2,
    out=folder / "load",
    overwrite=True,
    **{"data.window": 120},
)
print(f"test RMSE {run.metrics['rmse']:.1f} MW")
for method, metrics in run.summary["naive"]["test"].items():
    print(f"  {method}: {metrics['rmse']:.1f} MW")
(row,) = seqkit.predict(run.path, folder / "load.csv")  # what comes after the end of the file
forecast = [row[f"prediction load+{step}"] for step in range(1, 25)]
print("next hours:", ", ".join(f"{one:.0f}" for one in forecast))

figure = new_figure(8, 3.5)
axes = figure.subplots()
axes.plot(range(-96, 24), loads[-120:], color="0.7", linewidth=3, label="as it was")
axes.plot(range(24), loads[-48:-24], ":", color="C0", label="the day before, repeated")
axes.plot(range(24), forecast, color="C1", label="forecast")
axes.axvline(0, color="black", linewidth=0.8)
axes.set(title="The day after the end of the table", xlabel="hours from its end", ylabel="load, MW")
axes.set_xticks(range(-96, 25, 24))
axes.grid(alpha=0.3)
axes.legend(fontsize=8)
save_figure(figure, folder / "10_forecasting.png")
print("picture:", folder / "10_forecasting.png")
