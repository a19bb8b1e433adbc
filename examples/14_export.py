"""A trained model leaves seqkit: exported to ONNX and run sample by sample by onnxruntime alone, without torch.

The same from the shell:
    seqkit export runs/walks-s4d-001 --format onnx

    python examples/14_export.py [FOLDER]

Expect the exported program and seqkit's stream to agree to 1e-5 after each sample. FOLDER (runs/examples) gets the run
with its programs in `onnx`, and 14_export.png: both answers while somebody runs and somebody walks.
"""

import csv
import json
import math
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

import seqkit
from seqkit.figures import new_figure, save_figure
from seqkit.streaming.export import export_model

# What runs where the model is used: it needs numpy and onnxruntime.
ELSEWHERE = """
import json, sys
import numpy as np, onnxruntime

folder, series = sys.argv[1], np.load(sys.argv[2])
made = json.load(open(folder + "/model.json"))
session = onnxruntime.InferenceSession(folder + "/step.onnx")
state, answers = dict(np.load(folder + "/initial.npz")), []
for sample in series:
    here = {"sample": np.nan_to_num(sample)[None], "observed": ~np.isnan(sample)[None]}
    output, *after = session.run(None, {**here, **state})
    state = dict(zip(state, after))
    answers.append(output[0].tolist())
assert "torch" not in sys.modules and "seqkit" not in sys.modules
print(json.dumps({"class": made["classes"][int(output.argmax())], "probabilities": answers}))
"""
folder, rng = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples"), random.Random(0)
folder.mkdir(parents=True, exist_ok=True)


def swing(pace: float, n: int, rng: random.Random) -> list[tuple[float, float]]:
    """Arm and hip of someone who walks or runs, at 50 Hz."""
    angles = (2 * math.pi * pace * k / 50 for k in range(n))
    return [(math.sin(a) + rng.gauss(0, 0.2), 0.3 * math.cos(2 * a) + rng.gauss(0, 0.2)) for a in angles]


with (folder / "swings.csv").open("w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["series", "time", "arm", "hip", "target"])
    for i in range(40):
        pace, label = (1.5, "walk") if i % 2 else (2.8, "run")
        for k, values in enumerate(swing(pace, rng.randint(50, 80), rng)):
            table.writerow([f"person-{i}", k / 50, *(f"{value:.4f}" for value in values), label])

# One layer is enough here. The step is fixed at 50 Hz, which spares an input; without `fixed_step` each sample could
# come at its own time.
sizes = {"d_model": 16, "n_layers": 1, "order": 16}
how = {"epochs": 20, "batch_size": 8, "out": folder / "swings", "overwrite": True, "progress": False}
run = seqkit.train(folder / "swings.csv", **how, **sizes)
shutil.rmtree(run.path / "onnx", ignore_errors=True)  # of an earlier call: an export writes over nothing
made = export_model(run.path, run.path / "onnx", fixed_step=True)
print(f"exported; the programs differ from the model's own stream by {made['error']:.1e}")

figure = new_figure(7, 3.8)
axes = figure.subplots()
stream, classes = seqkit.Stream(run.path), seqkit.load(run.path).info.classes
for pace, colour in ((1.5, "C0"), (2.8, "C1")):
    series = np.array(swing(pace, 60, rng), dtype=np.float32)
    series[10:13, 0] = np.nan  # the arm was not seen for a while
    np.save(folder / "series.npy", series)
    words = [sys.executable, "-c", ELSEWHERE, str(run.path / "onnx"), str(folder / "series.npy")]
    answer = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    stream.reset()
    own = np.array([stream.push(sample) for sample in series])
    elsewhere = np.array(answer["probabilities"])
    print(f"onnxruntime alone: {answer['class']}, {elsewhere[-1]}\nseqkit:            {stream.predict()}, {own[-1]}")
    assert np.allclose(elsewhere, own, atol=1e-5)
    times, run_share = np.arange(len(series)) / 50, list(classes).index("run")
    axes.plot(times, own[:, run_share], color="0.8", linewidth=5)
    axes.plot(times, elsewhere[:, run_share], color=colour, label=f"onnxruntime alone, somebody at {pace} Hz")
axes.plot([], color="0.8", linewidth=5, label="seqkit's stream")
axes.set(title="The answer after each sample", xlabel="time, s", ylabel="probability of running", ylim=(0, 1))
axes.grid(alpha=0.3)
axes.legend(fontsize=8)
save_figure(figure, folder / "14_export.png")
print("picture:", folder / "14_export.png")
