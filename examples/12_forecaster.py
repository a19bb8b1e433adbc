"""Forecast airline passengers with intervals, month by month as they come in, and keep a series in a memory.

    python examples/12_forecaster.py [FOLDER]

Expect about a third of the error of repeating last year. FOLDER (runs/examples) gets 12_forecaster.png: the
forecast of a year with its interval, and the year as it came.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sktime.datasets import load_airline

from seqkit.estimators import HiPPOTransformer, LSSLForecaster
from seqkit.figures import new_figure, save_figure

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")

warnings.simplefilter("ignore")  # of sktime, on what a later version will change

# 1. Twelve months ahead, with the interval that 90 of 100 values should lie in.
passengers = load_airline()
known, coming = passengers[:-24], passengers[-24:]
forecaster = LSSLForecaster("s4d", horizon=12, random_state=0).fit(known)
print("what was chosen:", {key: forecaster.sizes_[key] for key in ("window", "d_model", "epochs", "penalty")})
year = forecaster.predict(range(1, 13))
bounds = forecaster.predict_interval(range(1, 13), coverage=0.9)
table = pd.DataFrame(
    {"true": coming[:12], "forecast": year.round(), "low": bounds.iloc[:, 0], "high": bounds.iloc[:, 1]}
)
print(table.round().astype(int))
last_year = np.abs(coming[:12].to_numpy() - known[-12:].to_numpy()).mean()
print(f"mean error {(year - coming[:12]).abs().mean():.1f}, of the same months of last year {last_year:.1f}")

figure = new_figure(8, 3.8)
axes = figure.subplots()
axes.plot(passengers.index[-84:-12].to_timestamp(), passengers[-84:-12], color="0.6", linewidth=3, label="as it was")
months = table.index.to_timestamp()
axes.plot(months, table["forecast"], color="C1", label="forecast")
axes.fill_between(months, table["low"], table["high"], color="C1", alpha=0.2, linewidth=0, label="90 % interval")
axes.set(title="Airline passengers, forecast from the dashed line on", xlabel="year", ylabel="thousands in a month")
axes.axvline(months[0], color="black", linewidth=0.8, linestyle="--")
axes.grid(alpha=0.3)
axes.legend(loc="upper left", fontsize=8)
save_figure(figure, folder / "12_forecaster.png")
print("picture:", folder / "12_forecaster.png")

# 2. As months come in: the stream forecasts from each, in constant time, and `update` also learns from them.
stream = forecaster.stream()
for value in coming[:12]:
    ahead = stream.push(value)
print(f"after {coming.index[11]} the stream expects {ahead[0, 0]:.0f} next; it was {coming.iloc[12]:.0f}")
forecaster.update(coming[:12])
year = forecaster.predict(range(1, 13))
print(f"mean error of the second year, updated: {(year - coming[12:]).abs().mean():.1f}")

# 3. What is known beforehand, such as a price that is set a week ahead, goes in as X.
random = np.random.default_rng(0)
price = pd.DataFrame({"price": random.normal(size=200)})
sales = pd.Series(10 - 2 * price["price"] + 0.2 * random.normal(size=200))
seller = LSSLForecaster("s4d", window=8, epochs=5, random_state=0).fit(sales[:190], X=price[:190], fh=range(1, 8))
for words, X in {"prices told": price[190:197], "not told": None}.items():
    print(f"sales, {words}: mean error {(seller.predict(X=X) - sales[190:197]).abs().mean():.2f}")

# 4. Series as coefficients of a HiPPO memory, for any classifier of tables; and read back from them.
t = np.arange(80)
pace = np.where(np.arange(60) % 2 == 0, 4.0, 6.0)
waves = np.sin(t / pace[:, None, None] + random.uniform(0, 6, (60, 1, 1)))
classifier = make_pipeline(HiPPOTransformer(order=16), RandomForestClassifier(random_state=0))
print("share right:", classifier.fit(waves[:40], pace[:40].astype(str)).score(waves[40:], pace[40:].astype(str)))
memory = HiPPOTransformer(order=24, output="course").fit(passengers)
back = memory.inverse_transform(memory.transform(passengers))
off = (back.to_numpy().ravel() - passengers.to_numpy()).std() / passengers.std()
print(f"144 months read back from 24 coefficients: off by {100 * off:.0f} % of their deviation")
