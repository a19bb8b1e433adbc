"""From a table to predictions, a stream and exported programs, by the command line alone.

Each command is printed before it runs, as you would type it. The table holds noisy waves of two paces.

    python examples/25_command_line.py [FOLDER]

Expect a line from each command, and a prediction for every new series. FOLDER (runs/examples) gets `commands` with the
table, the run, the answers and the programs, and 25_command_line.png, which `seqkit data show` draws of the table.
"""

import csv
import math
import random
import subprocess
import sys
from pathlib import Path

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
place = folder / "commands"
place.mkdir(parents=True, exist_ok=True)


def write_waves(path: Path, n_series: int, *, with_target: bool) -> None:
    """Series of 60 samples at 20 Hz, one row per sample."""
    rng = random.Random(n_series)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["series", "time", "level", *(["target"] if with_target else [])])
        for i in range(n_series):
            pace, label = (0.7, "slow") if i % 2 else (1.6, "fast")
            phase = rng.uniform(0, 6)
            for k in range(60):
                level = math.sin(2 * math.pi * pace * k / 20 + phase) + rng.gauss(0, 0.2)
                table.writerow([f"wave-{i}", k / 20, f"{level:.4f}", *([label] if with_target else [])])


def seqkit(*words: str, given: Path | None = None, into: Path | None = None) -> None:
    """Runs a command, as the shell would with `< given > into`."""
    print("$ seqkit", *words, *(["<", str(given)] if given else []), *([">", str(into)] if into else []), flush=True)
    source = given.read_text() if given else None
    command = [sys.executable, "-m", "seqkit", *words]
    done = subprocess.run(command, input=source, stdout=subprocess.PIPE if into else None, text=True, check=True)
    if into:
        into.write_text(done.stdout)


write_waves(place / "waves.csv", 60, with_target=True)
write_waves(place / "new.csv", 4, with_target=False)
waves, new, run = str(place / "waves.csv"), place / "new.csv", str(place / "run")
picture = folder / "25_command_line.png"

seqkit("data", "show", waves, "--out", str(picture), "--overwrite")
sizes = ("epochs=15", "batch_size=8", "d_model=32", "n_layers=1", "order=16")
seqkit("train", "--data", waves, "--out", run, "--overwrite", *sizes)
seqkit("predict", run, str(new), "-o", str(place / "answers.csv"))
seqkit("stream", run, given=new, into=place / "stream.csv")
for row in csv.DictReader((place / "answers.csv").open()):
    print(row["series"], row["prediction"])
print(len((place / "stream.csv").read_text().splitlines()) - 1, "answers in stream.csv, one after each sample")
print("picture:", picture)
