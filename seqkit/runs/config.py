"""Configuration of a run: typed sections, YAML, and `key=value` settings with nearest names for a wrong key."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from seqkit.checks import check_choice, check_keys, check_positive_int, nearest
from seqkit.datasets.registry import source_names, source_options
from seqkit.models.config import PRESETS, ModelConfig, model_names
from seqkit.nn import mixer_options
from seqkit.runs.recipes import recipe
from seqkit.runs.steps import AUTO
from seqkit.tasks.config import TrainingConfig

__all__ = ["FORMAT", "DataConfig", "RunConfig", "parse_settings"]

FORMAT = 1
"""Version of the configuration's layout; a reader refuses a newer one."""


@dataclass(frozen=True)
class DataConfig:
    """Which data, and how they are cut and batched.

    Args:
        name: Data set of the registry; "folder" for a user's own files.
        path: The user's own file or folder; only for "folder".
        batch_size: Series in a batch.
        validation: Share of the training part kept for validation, in (0, 1).
        test: Share cut off for testing where the set has no test part of its own.
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
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuses unknown names and sizes out of range."""
        check_choice("data", self.name, source_names())
        if (self.path is not None) != (self.name == "folder"):
            what = "data 'folder' needs `path`" if self.path is None else f"data {self.name!r} takes no `path`"
            raise ValueError(f"{what}; give a registered name, or the path of your own data")
        check_positive_int("batch_size", self.batch_size)
        for name in ("validation", "test"):
            share = getattr(self, name)
            if not (isinstance(share, (int, float)) and 0 < share < 1):
                raise ValueError(f"`{name}` must lie between 0 and 1, got {share!r}")
        check_keys(f"data {self.name}", self.options, source_options(self.name))


@dataclass(frozen=True)
class RunConfig:
    """Everything that determines a run; equal configurations give equal weights.

    Args:
        data: Which data.
        model: Which model.
        training: How it is trained.
        seed: Seed of splits, starting weights, order of batches and dropout.

    Example:
        >>> config = RunConfig.build(data="japanese_vowels", model="lssl", settings={"epochs": 3, "model.order": 16})
        >>> config.training.epochs, config.model.options["order"]
        (3, 16)
    """

    data: DataConfig
    model: ModelConfig
    training: TrainingConfig
    seed: int = 0

    @classmethod
    def build(
        cls,
        data: str | None = None,
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
            ValueError: an unknown name or key, or a value out of range.
        """
        given = _read_yaml(Path(file)) if file is not None else {}
        sections = {name: _section(given, name) for name in ("data", "model", "training")}
        if data is not None:
            sections["data"].update(_name_or_path(data))
        if model is not None:
            sections["model"]["name"] = check_choice("model", model, model_names())
        data_name = sections["data"].get("name", "folder" if sections["data"].get("path") else DataConfig.name)
        sections["data"]["name"] = check_choice("data", data_name, source_names())
        defaults = recipe(data_name, sections["model"].get("name"))
        model_name = str(sections["model"].setdefault("name", defaults["model"].get("name", ModelConfig.name)))
        check_choice("model", model_name, model_names())
        seed = given.get("seed", 0)
        for key, value in _resolve_keys(settings or {}, data_name, model_name):
            if key == "seed":
                seed = value
            else:
                section, name = key.split(".", 1)
                sections[section][name] = value
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise ValueError(f"`seed` must be a whole number of at least 0, got {seed!r}")
        automatic: dict[str, Any] = {
            key: AUTO for key in ("dt_min", "dt_max") if key in mixer_options(PRESETS[model_name].mixer)
        }
        model_values = {**automatic, **defaults["model"], **sections["model"]}
        return cls(
            data=_data_config({**defaults["data"], **sections["data"]}),
            model=ModelConfig.preset(model_values.pop("name"), **_fitting(model_values, model_name, sections["model"])),
            training=_training_config({**defaults["training"], **sections["training"]}),
            seed=seed,
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunConfig:
        """Reads what `to_dict` wrote.

        Raises:
            ValueError: an unknown key, or a newer format.
        """
        values = dict(values)
        _check_format(values.pop("format", FORMAT), "the configuration")
        check_keys("the configuration", values, ("seed", "data", "model", "training"))
        return cls(
            data=_data_config(_section(values, "data")),
            model=ModelConfig.from_dict(_section(values, "model")),
            training=_training_config(_section(values, "training")),
            seed=values.get("seed", 0),
        )

    @classmethod
    def from_file(cls, path: str | Path) -> RunConfig:
        """Reads the resolved configuration of a run."""
        return cls.from_dict(_read_yaml(Path(path)))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML, with the version of the layout."""
        return {"format": FORMAT, **asdict(self)}

    def with_model_options(self, **options: Any) -> RunConfig:
        """A copy with mixer options replaced."""
        return replace(self, model=replace(self.model, options={**self.model.options, **options}))


def parse_settings(pairs: Iterable[str]) -> dict[str, Any]:
    """Parses `key=value` words as YAML values.

    Raises:
        ValueError: a word without `=`.

    Example:
        >>> parse_settings(["epochs=5", "model.dropout=0.1", "patience=null"])
        {'epochs': 5, 'model.dropout': 0.1, 'patience': None}
    """
    settings = {}
    for pair in pairs:
        key, sign, text = pair.partition("=")
        if not sign or not key:
            raise ValueError(f"settings are written key=value, got {pair!r}; for example epochs=20")
        settings[key.strip()] = _value(text)
    return settings


class _Loader(yaml.SafeLoader):
    """YAML in which 1e-3 is a number, as people mean it; YAML 1.1 takes it for a word."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def _value(text: str) -> Any:
    try:
        return yaml.load(text, _Loader) if text else ""
    except yaml.YAMLError as error:
        raise ValueError(f"{text!r} is not a value that YAML can read; quote it") from error


def _known_keys(data: str, model: str) -> list[str]:
    """Every dotted key that a configuration with this data and model can have."""
    data_keys = [f.name for f in fields(DataConfig) if f.name != "options"] + list(source_options(data))
    own = [f.name for f in fields(ModelConfig) if f.name != "options"]
    model_keys = own + list(mixer_options(PRESETS[model].mixer))
    training_keys = [f.name for f in fields(TrainingConfig)]
    return [
        "seed",
        *(f"data.{key}" for key in data_keys),
        *(f"model.{key}" for key in model_keys),
        *(f"training.{key}" for key in training_keys),
    ]


def _resolve_keys(settings: Mapping[str, Any], data: str, model: str) -> Iterable[tuple[str, Any]]:
    """Turns each given key into its dotted form."""
    known = _known_keys(data, model)
    for key, value in settings.items():
        fits = [full for full in known if full == key or full.split(".")[-1] == key]
        if len(fits) > 1:
            raise ValueError(f"key {key!r} could be {' or '.join(fits)}; write the whole one")
        if not fits:
            short = sorted({full.split(".")[-1] for full in known} | set(known))
            raise ValueError(f"there is no key {key!r} for data {data} and model {model}; {nearest(key, short)}")
        yield fits[0], value


def _fitting(values: dict[str, Any], model: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Drops recipe values that the chosen mixer has no option for; what the user gave is never dropped."""
    allowed = {f.name for f in fields(ModelConfig)} | set(mixer_options(PRESETS[model].mixer))
    return {key: value for key, value in values.items() if key in allowed or key in given}


def _name_or_path(data: str) -> dict[str, Any]:
    if data in source_names():
        return {"name": data}
    if Path(data).exists():
        return {"name": "folder", "path": str(Path(data).resolve())}  # found again from any folder
    if "/" in data or "." in data:
        raise FileNotFoundError(f"there is no file or folder {data}; give an existing path or a registered name")
    raise ValueError(f"there is no data set and no file named {data!r}; {nearest(data, source_names())}")


def _data_config(values: dict[str, Any]) -> DataConfig:
    own = {f.name for f in fields(DataConfig)}
    options = dict(values.pop("options", None) or {})
    allowed = source_options(values.get("name", DataConfig.name))
    check_keys("section `data`", values, [*own, *allowed])
    options.update({key: values.pop(key) for key in list(values) if key not in own})
    return DataConfig(**values, options=options)


def _training_config(values: dict[str, Any]) -> TrainingConfig:
    check_keys("section `training`", values, [f.name for f in fields(TrainingConfig)])
    hints = get_type_hints(TrainingConfig)
    for key, value in values.items():  # a whole number is a fine value for a real setting
        if isinstance(value, int) and not isinstance(value, bool) and float in (hints[key], *_members(hints[key])):
            values[key] = float(value)
    return TrainingConfig(**values)


def _members(hint: Any) -> tuple[Any, ...]:
    return tuple(getattr(hint, "__args__", ()))


def _section(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    section = values.get(name) or {}
    if not isinstance(section, Mapping):
        raise ValueError(f"section `{name}` of a configuration must hold keys and values, got {section!r}")
    return dict(section)


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no configuration file {path}")
    try:
        values = yaml.load(path.read_text(), _Loader) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a YAML file ({str(error).splitlines()[0]}); correct it") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold sections data, model and training, got {type(values).__name__}")
    _check_format(values.pop("format", FORMAT), str(path))
    check_keys(str(path), values, ("seed", "data", "model", "training"))
    return values


def _check_format(version: Any, what: str) -> None:
    if not isinstance(version, int) or version > FORMAT:
        raise ValueError(f"{what} has format {version!r}, this seqkit reads up to {FORMAT}; upgrade seqkit")
