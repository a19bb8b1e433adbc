"""Train on your own table, with missing values and uneven times: one row per sample.

The table has the columns series, time, the channels and the target. Rows come at uneven times, and a cell that was not
measured is empty. The same from the shell:

    seqkit train --data walks.csv batch_size=8
    seqkit predict runs/walks-s4d-001 new.csv -o answers.csv

    python examples/02_your_own_data.py [FOLDER]

Expect nearly all of the 16 held-out series right. FOLDER (runs/examples) gets walks.csv, new.csv, the run, answers.csv,
and 02_your_own_data.png: four new series, as far as they were measured, with the model's answer.
"""

import csv
import math
import random
import sys
from pathlib import Path

import seqkit
from seqkit.figures import new_figure, save_figure

Row = tuple[float, str, str]
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
folder.mkdir(parents=True, exist_ok=True)


def swing(pace: float, rng: random.Random) -> list[Row]:
    """Arm and hip of somebody for one to two seconds: about every 25 ms a row, a tenth of the cells empty."""
    rows, time, phase = [], 0.0, rng.uniform(0, 6)
    for _ in range(rng.randint(40, 80)):
        angle = 2 * math.pi * pace * time + phase
        values = math.sin(angle) + rng.gauss(0, 0.2), 0.3 * math.cos(2 * angle) + rng.gauss(0, 0.2)
        arm, hip = ("" if rng.random() < 0.1 else f"{value:.4f}" for value in values)
        rows.append((time, arm, hip))
        time = round(time + rng.uniform(0.01, 0.04), 4)
    return rows


def write_table(path: Path, n_series: int, *, with_target: bool) -> dict[str, list[Row]]:
    """Writes series of people who walk and run, in turn, and returns them."""
    rng, written = random.Random(n_series), {}
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["series", "time", "arm", "hip", *(["target"] if with_target else [])])
        for i in range(n_series):
            pace, label = (1.5, "walk") if i % 2 else (2.8, "run")
            written[f"person-{i}"] = swing(pace, rng)
            for row in written[f"person-{i}"]:
                table.writerow([f"person-{i}", *row, *([label] if with_target else [])])
    return written


write_table(folder / "walks.csv", 80, with_target=True)
new = write_table(folder / "new.csv", 4, with_target=False)

# Few series want small batches, so that an epoch has some steps. Uneven times and gaps are found and need no setting.
sizes = {"d_model": 32, "n_layers": 2, "order": 16}
run = seqkit.train(folder / "walks.csv", epochs=10, batch_size=8, out=folder / "walks", overwrite=True, **sizes)
print(f"test accuracy {run.metrics['accuracy']:.1%} on {run.summary['n_series']['test']} series")
answers = {row["series"]: row for row in seqkit.predict(run.path, folder / "new.csv", folder / "answers.csv")}

figure = new_figure(9, 4.5)
figure.suptitle("New series at uneven times with missing values, and what the model says of them")
for axes, (name, rows) in zip(figure.subplots(2, 2, sharex=True, sharey=True).flat, new.items(), strict=True):
    said = answers[name]["prediction"]
    print(f"{name}: {said}, with probability {float(answers[name][f'probability {said}']):.2f}")
    for column, channel in ((1, "arm"), (2, "hip")):
        seen = [(row[0], float(row[column])) for row in rows if row[column]]
        axes.plot(*zip(*seen, strict=True), ".-", markersize=4, linewidth=0.8, label=channel)
    axes.set_title(f"{name}: {said}", fontsize=10)
    axes.grid(alpha=0.3)
    if axes.get_subplotspec().is_last_row():
        axes.set_xlabel("time, s")
    if axes.get_subplotspec().is_first_col():
        axes.set_ylabel("position, m")
axes.legend(loc="lower right", fontsize=8)
save_figure(figure, folder / "02_your_own_data.png")
print("picture:", folder / "02_your_own_data.png")
