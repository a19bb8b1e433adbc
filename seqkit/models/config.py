"""Sizes of a model as plain values, and the named presets they start from."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import seqkit.attention
import seqkit.longconv
import seqkit.ssm  # noqa: F401  all register mixers that the presets name, and one a pooling
from seqkit.checks import check_choice, check_keys, check_positive_int, check_unit_interval
from seqkit.extensions import claim, load_plugins, look_up
from seqkit.nn import get_pool, mixer_options, norm_names, perceptron_norms, pool_options
from seqkit.nn.backbone import ACTIVATIONS
from seqkit.nn.backbone import OUTPUTS as DENSE_OUTPUTS

__all__ = [
    *("OUTPUTS", "PRESETS", "ModelConfig", "Preset"),
    *("get_preset", "model_names", "model_options", "names_used", "register_model", "takes_length"),
]

OUTPUTS = (*DENSE_OUTPUTS, "monarch")
"""Output maps of a block: those of `seqkit.nn.ResidualBlock`, and "mlp" with Monarch matrices."""


@dataclass(frozen=True)
class ModelConfig:
    """Everything that fixes a model's shape, as plain values that go to YAML and JSON and back.

    Args:
        name: Preset, one of `model_names()`; it fixes the mixer and the defaults of the rest.
        d_model: Channels D of the residual stream.
        n_layers: Number of residual blocks; of hidden layers after the pooling in a model without a mixer.
        dropout: Share of values dropped in each block, in [0, 1); with pool "share" of what is pooled instead, as its
            levels must be those of whole outputs.
        norm: "layer", "rms" or "none"; in a model without a mixer also "batch", by the statistics of a training batch.
        activation: "gelu", "relu", "silu" or "none".
        output: Output map of each block: "gated", "linear" or "none"; "mlp" for a transformer's feed-forward part,
            "monarch" for the same with Monarch matrices.
        pool: "mean", "last", "max", "legs" or "share" over time; sequence targets use none.
        options: Options of the mixer, such as `order`, `measure`, `dt_min`, or of the pooling in a model without a
            mixer; the defaults for what is not named.
        reads_missing: Whether the encoder also reads which values are missing, as C further channels; None for where
            the training data have missing values. Only models with a mixer have such an encoder.

    Raises:
        ValueError: an unknown name, option or choice, a size below 1, or a share outside [0, 1). Values of the
            mixer's options are checked by the mixer when a model is built.

    Example:
        >>> ModelConfig.preset("s4d", d_model=32).options["order"]
        64
    """

    name: str = "s4d"
    d_model: int = 128
    n_layers: int = 4
    dropout: float = 0.1
    norm: str = "layer"
    activation: str = "gelu"
    output: str = "gated"
    pool: str = "mean"
    options: dict[str, Any] = field(default_factory=dict)
    reads_missing: bool | None = None

    def __post_init__(self) -> None:
        """Refuses values that no model can be built from, each with its name."""
        get_preset(self.name)
        check_positive_int("d_model", self.d_model)
        check_positive_int("n_layers", self.n_layers)
        check_unit_interval("dropout", self.dropout)
        check_choice("norm", self.norm, perceptron_norms() if self.mixer is None else norm_names())
        check_choice("activation", self.activation, ACTIVATIONS)
        check_choice("output", self.output, OUTPUTS)
        get_pool(self.pool)
        model_options(self.name, _mapping("options", self.options))
        if self.mixer is None and self.pool != PRESETS[self.name].sizes["pool"]:
            raise ValueError(
                f"`pool` must be {PRESETS[self.name].sizes['pool']} for {self.name}, whose only memory it is, got "
                f"{self.pool!r}; choose a model with a mixer for others"
            )
        if not (self.reads_missing is None or isinstance(self.reads_missing, bool)):
            raise ValueError(f"`reads_missing` must be true, false or null, got {self.reads_missing!r}")
        if self.mixer is None and self.reads_missing:
            raise ValueError(
                f"`reads_missing` must be false or null for {self.name}, which has no encoder (it pools what is held), "
                "got true; choose a model with a mixer"
            )

    @classmethod
    def preset(cls, name: str, **changes: Any) -> ModelConfig:
        """Starts from a preset and changes what is named; mixer options may be named directly or in `options`.

        Raises:
            ValueError: an unknown preset, key or choice, or a size out of range.
        """
        preset = get_preset(name)
        own = {f.name for f in fields(cls)} - {"name", "options"}
        options = {**preset.options, **_mapping("options", changes.pop("options", None) or {})}
        check_keys(f"model {name}", changes, [*own, *model_options(name)])
        options.update({key: changes.pop(key) for key in list(changes) if key not in own})
        return cls(name=name, **{**preset.sizes, **changes}, options=model_options(name, options))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """Reads what `to_dict` wrote.

        Raises:
            ValueError: an unknown key or value.
        """
        values = dict(values)
        return cls.preset(values.pop("name", cls.name), **values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML or JSON."""
        return asdict(self)

    @property
    def mixer(self) -> str | None:
        """Name of the mixer in the registry, or None for a model that only pools."""
        return get_preset(self.name).mixer


@dataclass(frozen=True)
class Preset:
    """A named starting point.

    Args:
        summary: One line for `seqkit models`.
        mixer: Name of the mixer; None for a model whose only memory is its pooling.
        sizes: Fields of `ModelConfig` that differ from its defaults.
        options: Options of the mixer, or of the pooling, that differ from the defaults.
    """

    summary: str
    mixer: str | None
    sizes: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def has_size(self) -> bool:
        """Whether it says how large the model is, as one of a paper does, whatever the data."""
        return bool({"d_model", "n_layers"} & self.sizes.keys())


PRESETS: dict[str, Preset] = {
    "lssl": Preset("linear state-space layer, dense trained A", "lssl"),
    "s4": Preset("the same map with A normal plus low rank", "s4"),
    "s4d": Preset("the same map with a diagonal A: fastest", "s4d"),
    "lssl_small": Preset(
        "the small model of the LSSL paper (6 layers, H = N = 128)",
        "lssl",
        {"d_model": 128, "n_layers": 6, "dropout": 0.2, "output": "linear"},
        {"order": 128},
    ),
    "lssl_large": Preset(
        "the large model of the LSSL paper (4 layers, H = N = 256, M = 4)",
        "lssl",
        {"d_model": 256, "n_layers": 4, "dropout": 0.3, "output": "none", "activation": "none"},
        {"order": 256, "channels": 4},
    ),
    "hippo_rnn": Preset(
        "gated recurrent network that writes to and reads from a HiPPO memory",
        "hippo_rnn",
        {"n_layers": 1, "norm": "none", "activation": "none", "output": "none", "dropout": 0.0, "pool": "last"},
        {"order": 128},
    ),
    "lmu": Preset(
        "Legendre memory unit: a recurrent network around a sliding window",
        "lmu",
        {"n_layers": 1, "norm": "none", "activation": "none", "output": "none", "dropout": 0.0, "pool": "last"},
        {"order": 128, "window": 100.0},
    ),
    "hippo_legs": Preset(
        "a perceptron on the course of each channel in Legendre polynomials: needs no sampling rate",
        None,
        {"d_model": 256, "n_layers": 1, "dropout": 0.3, "pool": "legs"},
        {"integrals": True, "features": 24},
    ),
    "attention": Preset(
        "transformer: exact attention over the last samples, positions in time",
        "attention",
        {"output": "mlp"},
    ),
    "block_sparse": Preset(
        "the same with attention within a butterfly of tiles: for long series",
        "block_sparse",
        {"output": "mlp"},
    ),
    "performer": Preset(
        "transformer: all of the past by random features, in constant memory",
        "performer",
        {"output": "mlp"},
    ),
    "lsh": Preset(
        "transformer: exact attention to the samples that a query's hash finds",
        "lsh",
        {"output": "mlp"},
    ),
    "scatterbrain": Preset(
        "transformer: the last samples exactly, all others by random features (hashing: n_hashes)",
        "scatterbrain",
        {"output": "mlp"},
        {"n_hashes": 0},
    ),
    "tcn": Preset("temporal convolution network: causal convolutions whose dilation doubles", "tcn"),
    "monarch": Preset(
        "Monarch mixer: gated long convolution along time, Monarch matrices along channels",
        "monarch",
        {"output": "monarch"},
        {"window": 1024.0},
    ),
    "lstm": Preset("long short-term memory, the classic baseline", "lstm"),
    "gru": Preset("gated recurrent units, the classic baseline", "gru"),
}


def register_model(
    name: str, *, mixer: str, summary: str = "", sizes: dict[str, Any] | None = None, **options: Any
) -> None:
    """Makes a model known by name: to configurations, `seqkit.train`, comparisons and estimators of this process.

    Args:
        name: Name of the model, such as that of its mixer.
        mixer: Name of a registered mixer; see `seqkit.nn.register_mixer`.
        summary: What it is, in a line.
        sizes: Fields of `ModelConfig` that differ from its defaults, such as `{"output": "mlp"}`.
        options: Options of the mixer that differ from its defaults.

    Raises:
        ValueError: the name belongs to another model; no such mixer, field or option, or a value that is not allowed.

    Example:
        >>> register_model("short_gru", mixer="gru", summary="recurrent, last value", sizes={"pool": "last"})
        >>> ModelConfig.preset("short_gru").pool
        'last'
    """
    preset = Preset(summary, mixer, _mapping("sizes", sizes or {}), options)
    if PRESETS.get(name, preset) != preset:
        raise ValueError(f"a model named {name!r} is already registered, with other settings; choose another name")
    mixer_options(mixer, options)
    check_keys(f"sizes of model {name}", preset.sizes, [f.name for f in fields(ModelConfig)][1:])
    known = name in PRESETS
    PRESETS[name] = preset
    try:
        ModelConfig.preset(name)
    except ValueError:
        if not known:
            del PRESETS[name]  # one that no model can be built from stays unknown
        raise
    if not known:
        claim("model", name, str(sys._getframe(1).f_globals.get("__name__", "")))


def get_preset(name: str, what: str = "model") -> Preset:
    """The preset of this name.

    Args:
        name: Name of a model.
        what: What the sentence calls it.

    Raises:
        ValueError: there is none, also of installed packages; the sentence names the nearest.

    Example:
        >>> get_preset("s4d").mixer
        's4d'
    """
    look_up(name, PRESETS)
    return PRESETS[check_choice(what, name, PRESETS, own=True)]


def model_names() -> list[str]:
    """Names of the presets, those of installed packages among them.

    Example:
        >>> "lssl" in model_names()
        True
    """
    load_plugins()
    return list(PRESETS)


def names_used(config: ModelConfig) -> list[tuple[str, str]]:
    """The registered names that a model needs, each with its kind.

    Example:
        >>> names_used(ModelConfig.preset("lssl_small"))
        [('model', 'lssl_small'), ('mixer', 'lssl'), ('pool', 'mean')]
    """
    mixer = [] if config.mixer is None else [("mixer", config.mixer)]
    return [("model", config.name), *mixer, ("pool", config.pool)]


def model_options(name: str, given: dict[str, Any] | None = None) -> dict[str, Any]:
    """Options of a model's mixer, or of its pooling where it has no mixer, overridden by those given.

    Args:
        name: Name of a preset.
        given: Options to override.

    Raises:
        ValueError: an unknown preset, or an option that it does not have.

    Example:
        >>> model_options("hippo_legs")
        {'order': 16, 'integrals': False, 'features': 0, 'interpolate': False}
    """
    preset = get_preset(name)
    return pool_options(preset.sizes["pool"], given) if preset.mixer is None else mixer_options(preset.mixer, given)


def takes_length(name: str) -> bool:
    """Whether a model has a `window` without a default, which should be as long as the series are.

    A memory's window is its unit of time. One with a default counts the samples that attention reads.

    Example:
        >>> takes_length("lmu"), takes_length("attention"), takes_length("gru")
        (True, False, False)
    """
    return model_options(name).get("window", False) is None


def _mapping(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"`{name}` must be a mapping of names to values, got {value!r}; write them as name: value")
    return value
