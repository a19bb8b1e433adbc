"""Configuration of a run: typed sections, YAML, and `key=value` settings with nearest names for a wrong key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

from seqkit.checks import IMPORT_FIRST, check_keys, check_path, check_positive_int, nearest
from seqkit.datasets.registry import is_source, source_names, source_options
from seqkit.datasets.splits import check_share, check_validation
from seqkit.datasets.variation import Variation
from seqkit.extensions import records_of, require
from seqkit.models.config import ModelConfig, get_preset, model_options, names_used, takes_length
from seqkit.nn import get_mixer, get_pool
from seqkit.runs.recipes import recipe, refinement
from seqkit.runs.settings import FORMAT, IMPORTS, SECTIONS, check_format, read_yaml
from seqkit.runs.steps import AUTO
from seqkit.tasks.config import TrainingConfig

__all__ = ["DataConfig", "RunConfig", "setting_keys"]


@dataclass(frozen=True)
class DataConfig:
    """Which data, and how they are cut and batched.

    Args:
        name: Data set of the registry; "folder" for a user's own files.
        path: The user's own file or folder; only for "folder".
        batch_size: Series in a batch.
        validation: Share of the training part kept for validation, in [0, 1), where the set has no such part of its
            own; 0 keeps none, so that a model trains on everything. An epoch cannot be chosen then: `training.keep`
            must be "last" and `training.patience` None.
        test: Share cut off for testing where the set has no test part of its own.
        train_series: Series to train on at most, drawn by class; None for all.
        bucket: Whether training batches hold series of similar length, so that little is padded.
        num_workers: Processes that read and make batches.
        prepared: Whether the set is laid down once as one file, which opens at once and may be larger than memory; None
            for large sets where there is room.
        frame: Samples in one step of a model, side by side as channels: fewer steps over raw sound or sensors. New
            files are framed alike; what is streamed comes a frame at a time.
        vary_speed: By what part training series are faster or slower at most, drawn anew each time: 0.25 for 0.8 to
            1.25 times as fast. Only for targets that do not depend on speed.
        vary_gain: By what part their values are larger or smaller at most, in the same sense.
        vary_shift: Samples left out at their start at most.
        vary_drop: Largest share of their samples that is left out at random; with their times, where they have any.
        standardize: Whether the model takes each channel, and each value it predicts, in units of the training part's
            deviation from its mean; false leaves both as they are in the files.
        options: Options of the data set, such as `permutation`, or `id`, `time`, `target` of a user's own table.

    Example:
        >>> DataConfig().name
        'japanese_vowels'
    """

    name: str = "japanese_vowels"
    path: str | None = None
    batch_size: int = 32
    validation: float = 0.2
    test: float = 0.2
    train_series: int | None = None
    bucket: bool = True
    num_workers: int = 0
    prepared: bool | None = None
    frame: int = 1
    vary_speed: float = 0.0
    vary_gain: float = 0.0
    vary_shift: int = 0
    vary_drop: float = 0.0
    standardize: bool = True
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuses unknown names and sizes out of range."""
        source_options(self.name)
        if (self.path is not None) != (self.name == "folder"):
            what = "data 'folder' needs `path`" if self.path is None else f"data {self.name!r} takes no `path`"
            raise ValueError(f"{what}; give a registered name, or the path of your own data")
        check_positive_int("batch_size", self.batch_size)
        check_validation(self.validation)
        check_share("test", self.test)
        if self.train_series is not None:
            check_positive_int("train_series", self.train_series)
        check_positive_int("frame", self.frame)
        Variation(self.vary_speed, self.vary_gain, self.vary_shift, self.vary_drop)
        for name in ("bucket", "standardize"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"`{name}` must be true or false, got {getattr(self, name)!r}")
        if self.prepared is not None and not isinstance(self.prepared, bool):
            raise ValueError(f"`prepared` must be true, false or null, got {self.prepared!r}")
        if isinstance(self.num_workers, bool) or not isinstance(self.num_workers, int) or self.num_workers < 0:
            raise ValueError(f"`num_workers` must be a whole number of at least 0, got {self.num_workers!r}")
        check_keys(f"data {self.name}", self.options, source_options(self.name))

    @property
    def variation(self) -> Variation | None:
        """How training series differ each time they are read; None for not at all."""
        drawn = Variation(self.vary_speed, self.vary_gain, self.vary_shift, self.vary_drop)
        return None if drawn == Variation() else drawn


@dataclass(frozen=True)
class RunConfig:
    """Everything that determines a run; equal configurations give equal weights.

    Args:
        data: Which data.
        model: Which model.
        training: How it is trained.
        seed: Seed of splits, starting weights, order of batches and dropout.

    Raises:
        ValueError: no validation part with an epoch to be chosen by one.

    Example:
        >>> config = RunConfig.build(data="japanese_vowels", model="lssl", settings={"epochs": 3, "model.order": 16})
        >>> config.training.epochs, config.model.options["order"]
        (3, 16)
    """

    data: DataConfig
    model: ModelConfig
    training: TrainingConfig
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses to choose an epoch by a validation part that is not kept: the training loss would choose the last."""
        keep, patience = self.training.keep, self.training.patience
        if self.data.validation == 0 and (keep != "last" or patience is not None):
            raise ValueError(
                f"`validation` must be above 0 where it chooses when to stop and what to keep, got 0 with keep={keep} "
                f"and patience={'null' if patience is None else patience}; set keep=last and patience=null with it"
            )

    @classmethod
    def build(
        cls,
        data: str | Path | None = None,
        model: str | None = None,
        *,
        settings: Mapping[str, Any] | None = None,
        file: str | Path | None = None,
    ) -> RunConfig:
        """Joins defaults, the data set's recipe, a YAML file and settings; the later ones win.

        Args:
            data: Registered name, or path of the user's own data.
            model: Name of a preset.
            settings: Values by dotted key ("training.epochs") or by last part where that is unique ("epochs").
            file: YAML file with sections `data`, `model`, `training` and `seed`.

        Raises:
            FileNotFoundError: no such file, or a path to data that does not exist.
            ValueError: an unknown name or key, a value out of range, or a run's file whose own code was not imported.
        """
        settings = dict(settings or {})
        data, model = settings.pop("data.name", data), settings.pop("model.name", model)
        given = read_yaml(Path(file)) if file is not None else {}
        require(given.get(IMPORTS), str(file), _KNOWN)
        sections = {name: _section(given, name) for name in ("data", "model", "training")}
        if data is not None:
            check_path("data", data, "save arrays by numpy.savez(path, X=..., y=...), or fit an estimator to them")
            sections["data"].pop("path", None)
            sections["data"].update(_name_or_path(str(data)))
        if model is not None:
            sections["model"]["name"] = model
        data_name = sections["data"].get("name", "folder" if sections["data"].get("path") else DataConfig.name)
        sections["data"]["name"] = data_name
        source_options(data_name)
        defaults = recipe(data_name, sections["model"].get("name"))
        model_name = str(sections["model"].setdefault("name", defaults["model"].get("name", ModelConfig.name)))
        preset = get_preset(model_name)  # a model of a paper has that paper's size on every data set
        kept = {} if preset.has_size else defaults["model"]
        defaults["model"] = {key: value for key, value in kept.items() if key not in preset.sizes}
        finer = refinement(data_name, model_name)
        defaults = {name: {**values, **finer[name]} for name, values in defaults.items()}
        seed = given.get("seed", 0)
        for key, value in _resolve_keys(settings, data_name, model_name):
            if key == "seed":
                seed = value
            else:
                section, name = key.split(".", 1)
                sections[section][name] = value
        if sections["data"].get("horizon") is not None and not preset.has_size:
            defaults["model"].setdefault("pool", "last")  # the next values depend on the last ones most
        options = model_options(model_name)
        chosen_by_data = ("dt_min", "dt_max", *(("window",) if takes_length(model_name) else ()))
        automatic: dict[str, Any] = {key: AUTO for key in chosen_by_data if key in options}
        model_values = {**automatic, **defaults["model"], **sections["model"]}
        return cls(
            data=_data_config({**defaults["data"], **sections["data"]}),
            model=_check_options(ModelConfig.preset(**_fitting(model_values, model_name, sections["model"]))),
            training=_training_config({**defaults["training"], **sections["training"]}),
            seed=_seed(seed),
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunConfig:
        """Reads what `to_dict` wrote.

        Raises:
            ValueError: a key that is unknown or missing, a newer format, or code of one's own that was not imported.
        """
        return cls._resolved(values, "the configuration")

    @classmethod
    def from_file(cls, path: str | Path) -> RunConfig:
        """Reads the resolved configuration of a run.

        Raises:
            FileNotFoundError: no such file.
            ValueError: a damaged file, a key that is unknown or missing, a newer format, or code of one's own that was
                not imported; the sentence says how.
        """
        return cls._resolved(read_yaml(Path(path)), str(path))

    @classmethod
    def _resolved(cls, values: Mapping[str, Any], what: str) -> RunConfig:
        check_format(values.get("format", FORMAT), what)
        check_keys(what, values, ("format", IMPORTS, *SECTIONS))
        require(values.get(IMPORTS), what.removesuffix("/config.yaml"), _KNOWN)  # named as the run, as its model is
        missing = [key for key in ("format", *SECTIONS) if key not in values]
        if missing:  # defaults in their place would quietly be another run
            raise ValueError(f"{what} lacks {', '.join(missing)}, so it is not a whole one of a run; restore it")
        return cls(
            data=_data_config(_section(values, "data")),
            model=_check_options(ModelConfig.preset(**_section(values, "model"))),
            training=_training_config(_section(values, "training")),
            seed=_seed(values["seed"]),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML, with the version of the layout, and what must be imported to read them back."""
        imports = records_of([*names_used(self.model), ("data", self.data.name)])
        return {"format": FORMAT, **({IMPORTS: imports} if imports else {}), **asdict(self)}

    def with_model_options(self, **options: Any) -> RunConfig:
        """A copy with mixer options replaced."""
        return replace(self, model=replace(self.model, options={**self.model.options, **options}))


# What looks up the names that a configuration holds, by kind.
_KNOWN: dict[str, Callable[[str], object]] = {
    "model": get_preset,
    "mixer": get_mixer,
    "pool": get_pool,
    "data": source_options,
}


def setting_keys(data: str, model: str) -> list[str]:
    """Every dotted key that a configuration with this data set and model can have.

    Example:
        >>> "model.order" in setting_keys("digits", "s4d"), "model.order" in setting_keys("digits", "gru")
        (True, False)
    """
    data_keys = [f.name for f in fields(DataConfig) if f.name != "options"] + list(source_options(data))
    own = [f.name for f in fields(ModelConfig) if f.name != "options"]
    model_keys = own + list(model_options(model))
    training_keys = [f.name for f in fields(TrainingConfig)]
    return [
        "seed",
        *(f"data.{key}" for key in data_keys),
        *(f"model.{key}" for key in model_keys),
        *(f"training.{key}" for key in training_keys),
    ]


def _resolve_keys(settings: Mapping[str, Any], data: str, model: str) -> Iterable[tuple[str, Any]]:
    """Turns each given key into its dotted form."""
    known = setting_keys(data, model)
    for key, value in settings.items():
        fits = [full for full in known if full == key or full.split(".")[-1] == key]
        if len(fits) > 1:
            raise ValueError(f"key {key!r} could be {' or '.join(fits)}; write the whole one")
        if not fits:
            allowed = known if "." in key else {full.split(".")[-1] for full in known}
            raise ValueError(f"there is no key {key!r} for data {data} and model {model}; {nearest(key, allowed)}")
        yield fits[0], value


def _fitting(values: dict[str, Any], model: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Drops recipe values that the chosen mixer has no option for; what the user gave is never dropped."""
    allowed = {f.name for f in fields(ModelConfig)} | set(model_options(model))
    return {key: value for key, value in values.items() if key in allowed or key in given}


def _name_or_path(data: str) -> dict[str, Any]:
    if is_source(data):
        return {"name": data}
    if Path(data).exists():
        return {"name": "folder", "path": data}
    if "/" in data or "." in data:
        raise FileNotFoundError(f"there is no file or folder {data}; give an existing path or a registered name")
    names = [name for name in source_names() if name != "folder"]
    close = nearest(data, names)
    hint = f", or {close}" if close.startswith("did") else f"; {close}"
    raise ValueError(f"there is no data set and no file named {data!r}; {IMPORT_FIRST}{hint}")


def _data_config(values: dict[str, Any]) -> DataConfig:
    own = {f.name for f in fields(DataConfig)} - {"options"}
    check_keys("section `data`", values, [*own, *source_options(values.get("name", DataConfig.name))])
    options = {key: value for key, value in values.items() if key not in own}
    if values.get("name", DataConfig.name) == "folder":
        options = {key: _as_text(value) if key in _COLUMNS else value for key, value in options.items()}
    fixed = {key: value for key, value in values.items() if key in own}
    if fixed.get("path") is not None:
        fixed["path"] = str(Path(str(fixed["path"])).expanduser().resolve())  # found again from any folder
    return DataConfig(**fixed, options=options)


_COLUMNS = ("id", "time", "target", "channels")  # options of "folder" that name columns


def _as_text(value: Any) -> Any:
    """Names as text: YAML takes the column 3 for a number."""
    if isinstance(value, list):
        return [_as_text(item) for item in value]
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _training_config(values: dict[str, Any]) -> TrainingConfig:
    check_keys("section `training`", values, [f.name for f in fields(TrainingConfig)])
    hints = get_type_hints(TrainingConfig)
    for key, value in values.items():
        if isinstance(value, int) and not isinstance(value, bool):
            if float in (hints[key], *get_args(hints[key])):  # a whole number is a fine value for a real setting
                values[key] = float(value)
            elif hints[key] is str:  # YAML takes the precision 32 for a number
                values[key] = str(value)
    return TrainingConfig(**values)


def _check_options(model: ModelConfig) -> ModelConfig:
    """Refuses options of the wrong kind that a mixer would only meet deep inside; it checks numbers itself."""
    for key, default in model_options(model.name).items():
        value = model.options[key]
        if isinstance(default, bool) and not isinstance(value, bool):
            raise ValueError(f"`{key}` must be true or false, got {value!r}")
        if isinstance(default, str) and not isinstance(value, str):
            raise ValueError(f"`{key}` must be a name such as {default}, got {value!r}")
    return model


def _seed(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"`seed` must be a whole number of at least 0, got {value!r}")
    return value


def _section(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    section = values.get(name) or {}
    options = section.get("options") or {} if isinstance(section, Mapping) else {}
    if not isinstance(section, Mapping) or not isinstance(options, Mapping):
        raise ValueError(f"section `{name}` of a configuration must hold keys and values, got {section!r}")
    # A resolved configuration has its options under a key of their own; left there, a recipe's would win over them.
    return {**options, **{key: value for key, value in section.items() if key != "options"}}
