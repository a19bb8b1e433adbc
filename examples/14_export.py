"""A trained model leaves seqkit: exported to ONNX and run sample by sample by onnxruntime alone, without torch.

The same from the shell:
    seqkit export runs/walks-s4d-001 --format onnx
"""

import csv
import json
import math
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import seqkit
from seqkit.streaming.export import export_model

# What runs where the model is used: it needs numpy and onnxruntime.
ELSEWHERE = """
import json, sys
import numpy as np, onnxruntime

folder, series = sys.argv[1], np.load(sys.argv[2])
made = json.load(open(folder + "/model.json"))
session = onnxruntime.InferenceSession(folder + "/step.onnx")
state = dict(np.load(folder + "/initial.npz"))
for sample in series:
    here = {"sample": np.nan_to_num(sample)[None], "observed": ~np.isnan(sample)[None]}
    output, *after = session.run(None, {**here, **state})
    state = dict(zip(state, after))
assert "torch" not in sys.modules and "seqkit" not in sys.modules
print(json.dumps({"class": made["classes"][int(output.argmax())], "probabilities": output[0].tolist()}))
"""


def swing(pace: float, n: int, rng: random.Random) -> list[tuple[float, float]]:
    """Arm and hip of someone who walks or runs, at 50 Hz."""
    angles = (2 * math.pi * pace * k / 50 for k in range(n))
    return [(math.sin(a) + rng.gauss(0, 0.2), 0.3 * math.cos(2 * a) + rng.gauss(0, 0.2)) for a in angles]


with tempfile.TemporaryDirectory() as name:
    folder, rng = Path(name), random.Random(0)
    with (folder / "walks.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["series", "time", "arm", "hip", "target"])
        for i in range(40):
            pace, label = (1.5, "walk") if i % 2 else (2.8, "run")
            for k, values in enumerate(swing(pace, rng.randint(50, 80), rng)):
                table.writerow([f"person-{i}", k / 50, *(f"{value:.4f}" for value in values), label])

    # One layer is enough here. The step is fixed at 50 Hz, which spares an input; without `fixed_step` each sample
    # could come at its own time.
    sizes = {"d_model": 16, "n_layers": 1, "order": 16}
    run = seqkit.train(folder / "walks.csv", epochs=20, batch_size=8, out=folder / "run", progress=False, **sizes)
    made = export_model(run.path, folder / "onnx", fixed_step=True)
    print(f"exported; the programs differ from the model's own stream by {made['error']:.1e}")

    stream = seqkit.Stream(run.path)
    for pace in (1.5, 2.8):
        series = np.array(swing(pace, 60, rng), dtype=np.float32)
        series[10:13, 0] = np.nan  # the arm was not seen for a while
        np.save(folder / "series.npy", series)
        words = [sys.executable, "-c", ELSEWHERE, str(folder / "onnx"), str(folder / "series.npy")]
        answer = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
        stream.reset()
        for sample in series:
            stream.push(sample)
        print(f"onnxruntime alone: {answer}\nseqkit:            {stream.predict()}, {stream.predict_proba()}")
        assert np.allclose(answer["probabilities"], stream.predict_proba(), atol=1e-5)
