"""A trained transformer with less memory for its attention, without training it again, and put back.

An estimator learns four activities from a wrist's movements with exact attention; then `seqkit.attention.replace`
changes how its layers attend. What is kept of the memory is a share of the keys: numbers per query and head.

    python examples/16_cheaper_attention.py [FOLDER]

Expect the accuracy to hold at an eighth of the memory, and to be the old one when all is put back. FOLDER
(runs/examples) gets 16_cheaper_attention.png: how much the probabilities change, by memory and method.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is imported

import sys
from pathlib import Path

import numpy as np
from sktime.datasets import load_basic_motions

from seqkit import LSSLClassifier
from seqkit.attention import replace, restore
from seqkit.figures import new_figure, save_figure

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")

X, y = load_basic_motions(split="train", return_type="numpy3D")  # 40 series of 100 samples, six channels
X_test, y_test = load_basic_motions(split="test", return_type="numpy3D")
model = LSSLClassifier("attention", d_model=32, n_layers=2, epochs=15, dropout=0.1, random_state=0).fit(X, y)
exact = model.predict_proba(X_test)
print(f"exact attention: {model.score(X_test, y_test):.1%}")

shares, methods = (1 / 2, 1 / 4, 1 / 8, 1 / 16), ("scatterbrain", "lsh", "local")
changes: dict[str, list[float]] = {method: [] for method in methods}
for method in methods:
    scores = []
    for memory in shares:
        replace(model.model_, method, memory=memory)
        scores.append(model.score(X_test, y_test))
        changes[method].append(float(np.abs(model.predict_proba(X_test) - exact).max(axis=1).mean()))
    print(f"{method:>12}: " + ", ".join(f"{m:.3g} of the keys {s:.1%}" for m, s in zip(shares, scores, strict=True)))

done = replace(model.model_, memory=1 / 16, names="*.blocks.1.*")  # the second layer alone, features and keys
print("replaced once more:", [(one.name, one.method) for one in done])
restore(model.model_)
print("put back, the largest difference is", np.abs(model.predict_proba(X_test) - exact).max())

figure = new_figure(6, 4)
axes = figure.subplots()
for method, change in changes.items():
    axes.plot(shares, change, marker="o", label=method)
axes.set(
    title="A trained transformer with less memory",
    xscale="log",
    xlabel="share of the attention memory kept",
    ylabel="mean change of a class's probability",
)
axes.set_xticks(shares, [f"1/{round(1 / share)}" for share in shares])
axes.set_xticks([], minor=True)
axes.grid(alpha=0.3)
axes.legend()
save_figure(figure, folder / "16_cheaper_attention.png")
print("picture:", folder / "16_cheaper_attention.png")
