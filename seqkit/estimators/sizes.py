"""Sizes of a model and of its training from what the data are: the rule behind "auto"."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from seqkit.checks import check_positive, check_positive_int, check_unit_interval
from seqkit.estimators.filters import memories
from seqkit.estimators.plain import plain
from seqkit.models import ModelConfig
from seqkit.models.config import get_preset, model_options, takes_length
from seqkit.runs.steps import step_size_range

__all__ = ["AUTO", "DataShape", "Sizes", "choose_sizes"]

AUTO = "auto"
"""Value of a size that asks for a choice from the data."""


@dataclass(frozen=True)
class DataShape:
    """What the rule looks at.

    Args:
        n_series: Number of training series.
        length: Samples of a typical series (the median).
        n_channels: Channels of a sample.
        classes: Whether the target is a class.

    Example:
        >>> DataShape(50, 150.0, 1, True).n_series
        50
    """

    n_series: int
    length: float
    n_channels: int
    classes: bool


@dataclass(frozen=True)
class Sizes:
    """Sizes of a training; those of the model are in `model`.

    Args:
        model: Preset, sizes and options of the model.
        epochs: Passes over the training series.
        batch_size: Series in a batch.
        learning_rate: Peak learning rate.
        weight_decay: Decay of matrices outside the state-space parameters.
        label_smoothing: Share of a class target spread over all classes.
        input_noise: Deviation of noise added to training samples, in units of each channel's own.
        validation: Share of the series held out; 0 for none.
        patience: Epochs without a better validation loss after which training stops; None for never.

    Raises:
        ValueError: a value out of range.

    Example:
        >>> choose_sizes(DataShape(50, 150.0, 1, True), "s4d", {"epochs": 3}).epochs
        3
    """

    model: ModelConfig
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    label_smoothing: float
    input_noise: float
    validation: float
    patience: int | None

    def __post_init__(self) -> None:
        """Refuses what the task does not look at itself."""
        check_positive_int("epochs", self.epochs)
        check_positive_int("batch_size", self.batch_size)
        check_positive("learning_rate", self.learning_rate)
        check_unit_interval("validation", self.validation)
        if self.patience is not None:
            check_positive_int("patience", self.patience)
            if not self.validation:
                raise ValueError("`patience` needs series to look at, and `validation` is 0; give a share of them")

    def shown(self) -> dict[str, Any]:
        """All of it as one flat dictionary of plain values."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "model"}
        model = {key: getattr(self.model, key) for key in ("d_model", "n_layers", "dropout", "pool")}
        return {"mixer": self.model.name, **model, **self.model.options, **own}


def choose_sizes(shape: DataShape, mixer: str, given: dict[str, Any], options: dict[str, Any] | None = None) -> Sizes:
    """What was given, and for each "auto" what suits the data.

    Args:
        shape: What the data are.
        mixer: Name of a preset; its own sizes, where it has any, go before the rule's.
        given: Sizes by name, `AUTO` or left out where the rule chooses.
        options: Further options of the mixer.

    Raises:
        ValueError: an unknown mixer or option, a value out of range, or a size that the mixer does not have.

    Example:
        >>> sizes = choose_sizes(DataShape(270, 15.0, 12, True), "lssl", {"d_model": 64})
        >>> sizes.model.d_model, sizes.model.n_layers, sizes.validation
        (64, 1, 0.0)
    """
    given, options = plain(given), plain(options or {})
    allowed = model_options(mixer)
    preset = get_preset(mixer)
    rule = _rule(shape, _is_bank(shape, mixer, given, options))
    measure = {**allowed, **preset.options, **options}.get("measure", "legt")
    if takes_length(mixer) and measure in ("legt", "fourier"):
        rule["window"] = max(shape.length, 1.0)  # other measures have no edge that would have to lie somewhere
    fitting = {key: value for key, value in rule.items() if key in allowed or key in _MODEL_SIZES}
    own = {**preset.sizes, **preset.options}
    # A window of the preset's own is as long as its paper's series; the data's own length is better.
    fitting = {key: value for key, value in fitting.items() if key not in own or key == "window"}
    chosen = {key: value for key, value in given.items() if not (isinstance(value, str) and value == AUTO)}
    model = {key: chosen.pop(key) for key in list(chosen) if key in _SIZES or key == "order"}
    training = {key: value for key, value in rule.items() if key in _TRAINING_SIZES} | chosen
    if not training["validation"] and "patience" not in chosen:
        training["patience"] = None
    return Sizes(model=ModelConfig.preset(mixer, **{**fitting, **options, **model}), **training)


SHORT = 50
"""Samples up to which a series counts as short."""

MANY = 400
"""Series from which on there are enough to hold some out."""

MANY_FOR_FILTERS = 2000
"""The same for classes by filters, which start as a drawn bank with a ridge model behind: fewer hardly better that."""

FILTERS = ("lssl", "s4", "s4d")
"""Models that make a bank of filters for longer series."""

_SIZES = ("d_model", "n_layers", "dropout")
_MODEL_SIZES = (*_SIZES, "norm", "activation", "output", "pool")
_TRAINING_SIZES = tuple(f.name for f in fields(Sizes) if f.name != "model")


def _is_bank(shape: DataShape, mixer: str, given: dict[str, Any], options: dict[str, Any]) -> bool:
    """Whether it is one layer of filters with pooled shares: several layers, or parts named, are another network."""
    single = given.get("n_layers", AUTO) in (AUTO, 1)
    return mixer in FILTERS and shape.length > SHORT and single and not any(key in options for key in _MODEL_SIZES)


def _many(shape: DataShape, bank: bool) -> bool:
    return shape.n_series >= (MANY_FOR_FILTERS if bank and shape.classes else MANY)


def _learning_rate(shape: DataShape, bank: bool) -> float:
    """Filters start well and their head at its best: from few series, large steps would undo both.

    By cross-validation of training parts, steps of 0.0005 lose 4 points on PLAID and raise Tecator's error by a third,
    and no series are held out that would show it. Elsewhere values are learned finer without noise and in larger steps
    than classes.
    """
    if bank:
        return 0.0005 if _many(shape, bank) else 0.00002 if shape.classes else 0.00001
    return 0.004 if shape.classes else 0.01


def _rule(shape: DataShape, bank: bool) -> dict[str, Any]:
    """The rule, with its reasons.

    Few series are the usual case of a classification archive: weights are soon too many, so the model is shallow, and
    what is trained long enough is counted in steps, not in epochs.
    """
    n = shape.n_series
    short, many = shape.length <= SHORT, _many(shape, bank)
    batch_size = 16 if n < MANY else 32
    steps = (200 if bank else 2000) if many else 100 if bank else 500
    batches = -(-n // batch_size)
    low, high = step_size_range(shape.length)
    layers: dict[str, Any]
    if bank:
        # What tells longer series apart are shapes, wherever they lie: filters with memories from below a sample to a
        # fifth of a series, side by side, and how often each is above several levels. By cross-validation of training
        # parts 90 to 92 % instead of 71 (OSULeaf) and 86 instead of 69 (ArrowHead) with the two layers below.
        shortest, longest = memories(shape.length)
        low, high = 1 / longest, 1 / shortest
        layers = {"d_model": 256 if many else 512, "n_layers": 1, "dropout": 0.5 if shape.classes else 0.0}
        layers |= {"norm": "none", "activation": "none", "output": "none", "pool": "share"}
    elif short:
        # Short series have little to remember: width and strong regularisers, as the recipe of japanese_vowels found
        # by cross-validation.
        layers = {"d_model": 256, "n_layers": 1, "dropout": 0.5}
    else:
        layers = {"d_model": 64, "n_layers": 2, "dropout": 0.1}
    return {
        **layers,
        "order": 16,
        "dt_min": low,
        "dt_max": high,
        "epochs": min(200, max(10 if bank else 30, round(steps / batches))),
        "batch_size": batch_size,
        "learning_rate": _learning_rate(shape, bank),
        "weight_decay": 0.1,
        "label_smoothing": 0.1 if shape.classes else 0.0,
        "input_noise": (0.5 if short else 0.0 if bank else 0.1) if shape.classes else 0.0,
        # A tenth of fewer series is too little to choose an epoch by, and they are missed in training.
        "validation": 0.1 if many else 0.0,
        "patience": 20,
    }
