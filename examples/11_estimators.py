"""Estimators of sktime: fit and predict on a panel, then the same model on one series as it comes in.

Series of unequal length, with missing values, from nine speakers; then power demand at another sampling rate.

    python examples/11_estimators.py [FOLDER]

Expect about 97 % of the utterances, a little less with a third of the values missing. FOLDER (runs/examples) gets
11_estimators.png: the probability of each speaker while one utterance comes in.
"""

import sys
from pathlib import Path

import numpy as np
from sktime.datasets import load_italy_power_demand, load_japanese_vowels

from seqkit import LSSLClassifier
from seqkit.figures import new_figure, save_figure

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")

X, y = load_japanese_vowels(split="train", return_type="df-list")
X_test, y_test = load_japanese_vowels(split="test", return_type="df-list")
model = LSSLClassifier("s4d", d_model=32, epochs=12, random_state=0, verbose=True).fit(X, y)
print("chosen by the data:", {name: model.sizes_[name] for name in ("n_layers", "dropout", "dt_min", "batch_size")})
print(f"370 utterances of 7 to 29 samples: {model.score(X_test, y_test):.1%}")

random = np.random.default_rng(0)
gaps = [series.mask(random.random(series.shape) < 0.3) for series in X]
tolerant = LSSLClassifier("s4d", d_model=32, epochs=12, random_state=0).fit(gaps, y)
gaps = [series.mask(random.random(series.shape) < 0.3) for series in X_test]
print(f"the same with 30 % of the values missing: {tolerant.score(gaps, y_test):.1%}")

print("one utterance as it comes in:")
stream, course = model.stream(), []
for k, sample in enumerate(X_test[0].to_numpy(), start=1):
    shares = stream.push(sample)  # what predict_proba gives for the samples so far
    course.append(shares)
    if k % 6 == 0:
        print(f"  after {k:2} samples: speaker {stream.predict()} with {shares.max():.0%}")

figure = new_figure(6, 4)
axes = figure.subplots()
for speaker, shares in zip(model.classes_, np.array(course).T, strict=True):
    style = {"color": "C3", "linewidth": 2, "zorder": 3} if speaker == y_test[0] else {"color": "0.7"}
    axes.plot(range(1, len(shares) + 1), shares, **style)
axes.plot([], color="C3", linewidth=2, label=f"speaker {y_test[0]}, who it is")
axes.plot([], color="0.7", label="the eight others")
axes.set(title="One utterance as it comes in", xlabel="samples heard", ylabel="probability", ylim=(0, 1))
axes.grid(alpha=0.3)
axes.legend(fontsize=8)
save_figure(figure, folder / "11_estimators.png")

X, y = load_italy_power_demand(split="train", return_type="numpy3D")  # a day by the hour: winter or summer
X_test, y_test = load_italy_power_demand(split="test", return_type="numpy3D")
model = LSSLClassifier("s4d", d_model=32, epochs=40, sample_rate=24.0, random_state=0).fit(X, y)
half = X_test[:, :, ::2]
print(f"power demand by the hour: {model.score(X_test, y_test):.1%}")
print(f"every second hour, told:  {np.mean(model.predict(half, sample_rate=12.0) == y_test):.1%}")
print(f"every second hour, not:   {np.mean(model.predict(half) == y_test):.1%}")
print("picture:", folder / "11_estimators.png")
