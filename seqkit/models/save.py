"""A model on disk: weights as safetensors beside a JSON description; nothing is ever unpickled."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from seqkit.batch import DataInfo
from seqkit.extensions import records_of, require
from seqkit.files import write_whole
from seqkit.models.config import ModelConfig, get_preset, names_used
from seqkit.models.sequence_model import SequenceModel
from seqkit.nn import get_mixer, get_pool

__all__ = ["FORMAT", "load_model", "save_model"]

FORMAT = 1
"""Version of the description's layout; a reader refuses a newer one."""

_WEIGHTS, _DESCRIPTION = "model.safetensors", "model.json"


def save_model(model: SequenceModel, folder: str | Path) -> None:
    """Writes `model.safetensors` and `model.json`.

    Args:
        model: Any `SequenceModel`; layers replaced by `seqkit.structured.replace_linear` are described with it, and
            so are the files, modules and packages that must be imported before it is loaded.
        folder: Folder, made if needed.

    Raises:
        OSError: the disk is full or the folder cannot be written; no file is left half written.

    Example:
        >>> import tempfile
        >>> from seqkit.models import ModelConfig
        >>> info = DataInfo("toy", "regression", n_channels=1)
        >>> model = SequenceModel.from_config(ModelConfig.preset("gru", d_model=4, n_layers=1), info)
        >>> folder = tempfile.mkdtemp()
        >>> save_model(model, folder)
        >>> load_model(folder).info.name
        'toy'
    """
    folder = Path(folder)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    description = {"format": FORMAT, "config": model.config.to_dict(), "info": asdict(model.info)}
    structured = importlib.import_module("seqkit.structured").describe_structured(model)  # late: models load sooner
    if structured:
        description["structured"] = structured
    families = sorted({("structure", one["structure"]) for one in structured.values()})
    imports = records_of([*names_used(model.config), *families])
    if imports:
        description["imports"] = imports
    text = json.dumps(description, indent=2) + "\n"
    write_whole(folder / _WEIGHTS, lambda path: save_file(tensors, path))
    write_whole(folder / _DESCRIPTION, lambda path: path.write_text(text, encoding="utf-8"))


def load_model(folder: str | Path) -> SequenceModel:
    """Reads a model that `save_model` or a training run wrote, in evaluation mode, on the CPU.

    Args:
        folder: Folder with `model.json` and `model.safetensors`, such as a run.

    Raises:
        FileNotFoundError: the folder or one of the two files is missing.
        ValueError: a file is damaged, does not fit the other, or was written by a newer version; or the model has
            layers of one's own that were not imported, which the sentence says how to do.

    Example:
        >>> import seqkit
        >>> seqkit.load("runs/vowels").info.n_channels  # doctest: +SKIP
        12
    """
    folder = Path(folder)
    for name in (_DESCRIPTION, _WEIGHTS):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder} holds no {name}; give the folder of a finished run (an unfinished one can be continued "
                "with `seqkit train --resume`)"
            )
    description = _read_description(folder / _DESCRIPTION)
    _require(description, folder)
    try:
        info = DataInfo(**_tuples(description["info"]))
        config, structured = ModelConfig.from_dict(description["config"]), description.get("structured", {})
        model = SequenceModel.from_config(config, info, seed=0)
        if structured or config.output == "monarch":  # one that was drawn with Monarch matrices may be dense by now
            importlib.import_module("seqkit.structured").restore_structured(model, structured)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        path = folder / _DESCRIPTION
        raise ValueError(f"{path} does not describe a model ({error}); restore it or retrain") from error
    try:
        weights = load_file(folder / _WEIGHTS)
        model.to(_dtype(weights)).load_state_dict(weights)
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip().rstrip(".")  # torch lists every tensor, one a line
        raise ValueError(
            f"{folder / _WEIGHTS} is damaged or does not belong to {_DESCRIPTION} ({reason}); restore it or retrain"
        ) from error
    return model.eval()


def _require(description: dict[str, Any], folder: Path) -> None:
    """Refuses a model that needs code which was not imported."""
    known: dict[str, Callable[[str], object]] = {
        **{"model": get_preset, "mixer": get_mixer, "pool": get_pool},
        "structure": _get_structure,
    }
    require(description.get("imports"), str(folder), known)
    config = description.get("config")
    name = config.get("name") if isinstance(config, dict) else None
    if isinstance(name, str):
        try:
            get_preset(name)
        except ValueError as error:
            raise ValueError(f"{folder} holds a model that is not known here: {error}") from error


def _get_structure(name: str) -> object:
    return importlib.import_module("seqkit.structured").get_structure(name)


def _dtype(weights: dict[str, Tensor]) -> torch.dtype:
    """Dtype of a model with these weights: one saved in float64 must not come back rounded."""
    return next((w.dtype for w in weights.values() if w.is_floating_point()), torch.get_default_dtype())


def _read_description(path: Path) -> dict[str, Any]:
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        version = description["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}); restore it or retrain") from error
    if not isinstance(version, int):
        raise ValueError(f"{path} is damaged (its format is {version!r}); restore it or retrain")
    if version > FORMAT:
        raise ValueError(f"{path} has format {version}, this seqkit reads up to {FORMAT}; upgrade seqkit")
    return dict(description)


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has lists where `DataInfo` has tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
