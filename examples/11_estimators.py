"""Estimators of sktime: fit and predict on a panel, then the same model on one series as it comes in.

Series of unequal length, with missing values, from nine speakers; then power demand at another sampling rate.
"""

import numpy as np
from sktime.datasets import load_italy_power_demand, load_japanese_vowels

from seqkit import LSSLClassifier

X, y = load_japanese_vowels(split="train", return_type="df-list")
X_test, y_test = load_japanese_vowels(split="test", return_type="df-list")
model = LSSLClassifier("s4d", d_model=64, epochs=15, random_state=0, verbose=True).fit(X, y)
print("chosen by the data:", {name: model.sizes_[name] for name in ("n_layers", "dropout", "dt_min", "batch_size")})
print(f"370 utterances of 7 to 29 samples: {model.score(X_test, y_test):.1%}")

random = np.random.default_rng(0)
gaps = [series.mask(random.random(series.shape) < 0.3) for series in X]
tolerant = LSSLClassifier("s4d", d_model=64, epochs=15, random_state=0).fit(gaps, y)
gaps = [series.mask(random.random(series.shape) < 0.3) for series in X_test]
print(f"the same with 30 % of the values missing: {tolerant.score(gaps, y_test):.1%}")

print("one utterance as it comes in:")
stream = model.stream()
for k, sample in enumerate(X_test[0].to_numpy(), start=1):
    shares = stream.push(sample)  # what predict_proba gives for the samples so far
    if k % 6 == 0:
        print(f"  after {k:2} samples: speaker {stream.predict()} with {shares.max():.0%}")

X, y = load_italy_power_demand(split="train", return_type="numpy3D")  # a day by the hour: winter or summer
X_test, y_test = load_italy_power_demand(split="test", return_type="numpy3D")
model = LSSLClassifier("s4d", d_model=64, epochs=40, sample_rate=24.0, random_state=0).fit(X, y)
half = X_test[:, :, ::2]
print(f"power demand by the hour: {model.score(X_test, y_test):.1%}")
print(f"every second hour, told:  {np.mean(model.predict(half, sample_rate=12.0) == y_test):.1%}")
print(f"every second hour, not:   {np.mean(model.predict(half) == y_test):.1%}")
