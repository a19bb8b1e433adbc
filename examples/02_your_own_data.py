"""Train on your own table: one row per sample, with the series, the time, the channels and the target.

The same from the shell:
    seqkit train --data walks.csv batch_size=8
    seqkit predict runs/walks-s4d-001 new.csv -o answers.csv
"""

import csv
import math
import random
import tempfile
from pathlib import Path

import seqkit


def write_table(path: Path, n_series: int, *, with_target: bool) -> None:
    """Writes walks and runs: a swinging arm at two paces, recorded at 50 Hz for one to two seconds."""
    rng = random.Random(n_series)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["series", "time", "arm", "hip", *(["target"] if with_target else [])])
        for i in range(n_series):
            pace, label = (1.5, "walk") if i % 2 else (2.8, "run")
            phase = rng.uniform(0, 6)
            for k in range(rng.randint(50, 100)):
                angle = 2 * math.pi * pace * k / 50 + phase
                arm, hip = math.sin(angle) + rng.gauss(0, 0.2), 0.3 * math.cos(2 * angle) + rng.gauss(0, 0.2)
                table.writerow([f"person-{i}", k / 50, f"{arm:.4f}", f"{hip:.4f}", *([label] if with_target else [])])


with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    write_table(folder / "walks.csv", 80, with_target=True)
    write_table(folder / "new.csv", 4, with_target=False)

    # Few series want small batches, so that an epoch has some steps.
    run = seqkit.train(folder / "walks.csv", epochs=10, batch_size=8, d_model=32, n_layers=2, out=folder / "run")
    print(f"test accuracy {run.metrics['accuracy']:.1%} on {run.summary['n_series']['test']} series")
    for row in seqkit.predict(run.path, folder / "new.csv", folder / "answers.csv"):
        print(row["series"], row["prediction"])
