"""Several models under the same rules on the same data: accuracy, cost, a table and a picture.

Each training is a process of its own, and a run that `seqkit predict`, `evaluate` and `stream` read. Stopped with
Ctrl-C, the same call goes on where it was. The same from the shell:

    seqkit compare --data japanese_vowels --models s4d,gru --seeds 3 --budget 2m

    python examples/23_compare.py [FOLDER]

Expect rough accuracies, and an order that may change: eight epochs and one seed keep the example short, and say little.
FOLDER (runs/examples) gets `comparison` with rows.csv, table.md and the runs, and 23_compare.png: accuracy over
training time.
"""

import shutil
import sys
from pathlib import Path

import seqkit

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
found = seqkit.compare(
    "japanese_vowels",
    ["s4d", "gru"],
    budget="30s",  # for one training; give seeds=3 to see how far a result can be trusted
    out=folder / "comparison",
    overwrite=True,
    settings={"epochs": 8, "d_model": 32, "n_layers": 1, "s4d.order": 16},
)
for one in found.summaries:  # the best first
    print(f"{one.model}: {one.words()} % right, {one.n_parameters:,} parameters, {one.train_seconds:.1f} s of training")
print("table:", found.path / "table.md")
shutil.copyfile(found.path / "comparison.png", folder / "23_compare.png")
print("picture:", folder / "23_compare.png")
