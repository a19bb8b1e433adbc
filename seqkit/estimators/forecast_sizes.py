"""Sizes of a forecaster from what the data are: the rule behind "auto"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from seqkit.checks import check_positive, check_positive_int, check_unit_interval
from seqkit.datasets.naive import season_of
from seqkit.estimators.past import Past
from seqkit.estimators.plain import plain
from seqkit.estimators.sizes import AUTO
from seqkit.estimators.times import times_of
from seqkit.models import ModelConfig
from seqkit.models.config import get_preset, model_options, takes_length
from seqkit.runs.steps import step_size_range

__all__ = ["ForecastSizes", "choose_forecast_sizes", "choose_season", "choose_window"]

MOST_WINDOWS = 10_000
"""Training windows at most: neighbours differ by one sample, so that more of them tell little."""


@dataclass(frozen=True)
class ForecastSizes:
    """Sizes of a forecaster and of its training.

    Args:
        model: Preset, sizes and options of the network.
        window: Samples W that a forecast looks back on.
        horizon: Steps H that it looks ahead.
        epochs: Passes over the training windows at most.
        batch_size: Windows in a batch.
        learning_rate: Peak learning rate.
        weight_decay: Decay of matrices outside the state-space parameters.
        validation: Share of each series, its last samples, that the trial's cuts move through; 0 for none.
        patience: Epochs without a better validation loss after which training stops; None for never.

    Raises:
        ValueError: a value out of range.

    Example:
        >>> sizes = choose_forecast_sizes(24, 12, 100, "s4d", {"epochs": 3})
        >>> sizes.epochs, sizes.model.pool
        (3, 'last')
    """

    model: ModelConfig
    window: int
    horizon: int
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    validation: float
    patience: int | None

    def __post_init__(self) -> None:
        """Refuses what no training could go by."""
        for name in ("window", "horizon", "batch_size"):
            check_positive_int(name, getattr(self, name))
        if self.epochs != 0:
            check_positive_int("epochs", self.epochs)
        check_positive("learning_rate", self.learning_rate)
        check_unit_interval("validation", self.validation)
        if self.patience is not None:
            check_positive_int("patience", self.patience)

    def shown(self) -> dict[str, Any]:
        """All of it as one flat dictionary of plain values."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "model"}
        model = {key: getattr(self.model, key) for key in ("d_model", "n_layers", "dropout", "pool")}
        return {"mixer": self.model.name, **model, **self.model.options, **own}


def choose_forecast_sizes(
    window: int, horizon: int, n_windows: int, mixer: str, given: dict[str, Any], options: dict[str, Any] | None = None
) -> ForecastSizes:
    """What was given, and for each "auto" what suits the data.

    Args:
        window: Samples W of a window.
        horizon: Steps H.
        n_windows: Training windows.
        mixer: Name of a preset.
        given: Sizes by name, `AUTO` where the rule chooses.
        options: Further options of the mixer.

    Raises:
        ValueError: an unknown mixer or option, or a value out of range.
    """
    given, options = plain(given), plain(options or {})
    preset = get_preset(mixer, "mixer")
    many = n_windows >= 2000
    batch = 16 if n_windows < 200 else 32
    rule: dict[str, Any] = {
        "d_model": 64 if many else 32,
        "n_layers": 2 if many else 1,
        "order": 16,
        "dropout": 0.1,
        "epochs": int(np.clip(round(400 * batch / max(n_windows, 1)), 5, 60)),
        "batch_size": batch,
        "learning_rate": 0.004,
        "weight_decay": 0.01,
        "validation": 0.4,
        "patience": 10,
    }
    low, high = step_size_range(window)
    rule |= {"dt_min": low, "dt_max": high}
    allowed = model_options(mixer)
    if takes_length(mixer) and {**allowed, **options}.get("measure", "legt") in ("legt", "fourier"):
        rule["window"] = float(window)  # other measures have no edge that would have to lie somewhere
    sizes = ("d_model", "n_layers", "dropout")
    own = {**preset.sizes, **preset.options}
    fitting = {k: rule[k] for k in rule if (k in allowed or k in sizes) and (k not in own or k == "window")}
    if "pool" not in own:
        fitting["pool"] = "last"  # what comes next hangs most on what was last
    chosen = {key: value for key, value in given.items() if not (isinstance(value, str) and value == AUTO)}
    model = {key: chosen.pop(key) for key in list(chosen) if key in (*sizes, "order")}
    training = {f.name: rule[f.name] for f in fields(ForecastSizes) if f.name in rule and f.name not in ("window",)}
    return ForecastSizes(
        model=ModelConfig.preset(mixer, **{**fitting, **options, **model}),
        window=window,
        horizon=horizon,
        **{**training, **chosen},
    )


def choose_season(pasts: Sequence[Past], season: int | str | None) -> int | None:
    """Samples of a season; None for none.

    Args:
        pasts: The series.
        season: `AUTO` for what the step of the time index or the longest series itself suggests.

    Raises:
        ValueError: a number below 1, or a word other than "auto".

    Example:
        >>> choose_season([Past((), None, np.sin(np.arange(100.0) * np.pi / 6)[:, None], np.zeros((100, 0)))], "auto")
        12
    """
    if season == AUTO:
        longest = max(pasts, key=lambda past: past.length)
        return season_of(times_of(longest.index).rate) or _repeats(longest.y)
    return None if season is None else check_positive_int("season", plain(season))


def choose_window(pasts: Sequence[Past], horizon: int, window: int | str, season: int | None) -> int:
    """Samples of a window: two seasons and two horizons where the longest series has room, else half of its room.

    Args:
        pasts: The series.
        horizon: Steps H.
        window: A number of samples, or `AUTO`.
        season: Samples of a season; None for none.

    Returns:
        The window; 0 where no series has room for one and what comes after it, twice.

    Raises:
        ValueError: a number below 1, or a word other than "auto".

    Example:
        >>> choose_window([Past((), None, np.zeros((100, 1)), np.zeros((100, 0)))], 12, "auto", 12)
        24
    """
    longest = max(pasts, key=lambda past: past.length)
    if window != AUTO:
        size = check_positive_int("window", plain(window))
        return size if longest.length - horizon - size >= 1 else 0
    wanted = max(16, 2 * (season or 0), 2 * horizon)
    room = (longest.length - horizon) // 2
    return min(wanted, room) if room >= 2 else 0


def _repeats(y: np.ndarray[Any, Any]) -> int | None:
    """Lag after which changes of the first channel repeat most clearly, where they do."""
    values = y[:, 0][np.isfinite(y[:, 0])]
    changes = np.diff(values)
    most = min(len(changes) // 3, 400)
    if most < 3 or not changes.std() > 0:
        return None
    x = (changes - changes.mean()) / changes.std()
    size = 2 * len(x)
    power = np.abs(np.fft.rfft(x, size)) ** 2
    similar = np.fft.irfft(power, size)[: most + 1] / len(x)
    peaks = [k for k in range(2, most) if similar[k] >= max(similar[k - 1], similar[k + 1])]
    best = max(peaks, key=lambda k: similar[k], default=None)
    return best if best is not None and similar[best] > max(0.3, 3 / np.sqrt(len(x))) else None
