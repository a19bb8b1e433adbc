"""What a comparison is to run: one configuration for each data set, model and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seqkit.checks import check_positive_int, nearest
from seqkit.models.config import PRESETS, get_preset, model_names
from seqkit.runs.config import RunConfig, setting_keys

__all__ = ["Entry", "check_models", "mixer_models", "plan"]


@dataclass(frozen=True)
class Entry:
    """One training of a comparison.

    Args:
        data: Data set as the user named it.
        config: What to train.

    Example:
        >>> Entry("japanese_vowels", RunConfig.build("japanese_vowels", "gru")).place.as_posix()
        'runs/japanese_vowels/gru/seed-0'
    """

    data: str
    config: RunConfig

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.config.model.name

    @property
    def place(self) -> Path:
        """Folder of the run within that of the comparison."""
        return Path("runs", Path(self.data).stem or "data", self.model, f"seed-{self.config.seed}")

    def with_epochs(self, epochs: int) -> Entry:
        """The same with another number of epochs."""
        return replace(self, config=replace(self.config, training=replace(self.config.training, epochs=epochs)))

    def with_d_model(self, d_model: int) -> Entry:
        """The same with another width."""
        return replace(self, config=replace(self.config, model=replace(self.config.model, d_model=d_model)))


def mixer_models() -> tuple[str, ...]:
    """Every model but those whose size is a paper's: what "all" means.

    Example:
        >>> "s4d" in mixer_models(), "lssl_large" in mixer_models()
        (True, False)
    """
    presets = {name: PRESETS[name] for name in model_names()}
    return tuple(name for name, preset in presets.items() if preset.mixer is None or "d_model" not in preset.sizes)


def check_models(models: Sequence[str]) -> tuple[str, ...]:
    """The models meant, "all" replaced by their names.

    Raises:
        ValueError: none, an unknown one, or one twice.
    """
    if not models:
        raise ValueError("`models` must name at least one model, got none; `seqkit models` lists them")
    names = [name for given in models for name in (mixer_models() if given == "all" else (given,))]
    for name in names:
        get_preset(name, "models")
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"`models` must name each model once, got {sorted(twice)[0]} twice")
    return tuple(names)


def plan(
    data: Sequence[str], models: Sequence[str], seeds: int, settings: Mapping[str, Any] | None = None
) -> list[Entry]:
    """One entry for each data set, model and seed: the same rules for all, each data set's recipe where it has one.

    Args:
        data: Data sets, by name or path.
        models: Models by name, or "all".
        seeds: Number of seeds, counted from 0.
        settings: Values by key as for `seqkit train`. A key counts for every model that has it; "s4d.order" counts for
            the model s4d alone.

    Returns:
        The entries: all models of the first seed, then the next seed, so that a comparison that is stopped early has
        every model in it.

    Raises:
        FileNotFoundError: a path to data that does not exist.
        ValueError: an unknown data set, model or key; a key that no model has; a value out of range.

    Example:
        >>> [entry.model for entry in plan(["japanese_vowels"], ["gru", "s4d"], 1, {"epochs": 2, "s4d.order": 8})]
        ['gru', 's4d']
    """
    if not data:
        raise ValueError("`data` must name at least one data set, got none; `seqkit data list` shows them")
    if len({Entry(name, _DEFAULT).place for name in data}) < len(data):
        raise ValueError(
            f"`data` must name different data sets, got {', '.join(data)}; their runs would share a folder"
        )
    names = check_models(models)
    check_positive_int("seeds", seeds)
    settings = dict(settings or {})
    if "seed" in settings:
        raise ValueError(
            f"`seed` must be left out of a comparison, got {settings['seed']}; `seeds` says how many to run"
        )
    entries = [
        Entry(one, RunConfig.build(one, name, settings={**_settings_of(name, one, names, settings), "seed": seed}))
        for one in data
        for seed in range(seeds)
        for name in names
    ]
    return entries


_DEFAULT = RunConfig.build()


def _settings_of(model: str, data: str, models: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that concern a model: its own, and those of all that it has a key for."""
    chosen: dict[str, Any] = {}
    for key, value in settings.items():
        first, _, rest = key.partition(".")
        if first in PRESETS:  # those of packages are there, as the models were looked up before
            if first not in models:
                raise ValueError(f"setting {key!r} is for {first}, which is not compared; add it to the models")
            if first == model:
                chosen[rest] = value
        elif any(_known(key, data, name) for name in models):
            if _known(key, data, model):
                chosen.setdefault(key, value)  # what was said of the model alone wins
        else:
            known = {full.split(".")[-1] for name in models for full in setting_keys(_data_name(data), name)}
            raise ValueError(
                f"there is no key {key!r} for {data} and any of {', '.join(models)}; {nearest(key, known)}"
            )
    return chosen


def _known(key: str, data: str, model: str) -> bool:
    return any(key in (full, full.split(".")[-1]) for full in setting_keys(_data_name(data), model))


def _data_name(data: str) -> str:
    return RunConfig.build(data).data.name
