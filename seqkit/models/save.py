"""A model on disk: weights as safetensors beside a JSON description; nothing is ever unpickled."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from seqkit.batch import DataInfo
from seqkit.files import write_whole
from seqkit.models.config import ModelConfig
from seqkit.models.sequence_model import SequenceModel

__all__ = ["FORMAT", "load_model", "save_model"]

FORMAT = 1
"""Version of the description's layout; a reader refuses a newer one."""

_WEIGHTS, _DESCRIPTION = "model.safetensors", "model.json"


def save_model(model: SequenceModel, folder: str | Path) -> None:
    """Writes `model.safetensors` and `model.json`.

    Args:
        model: Any `SequenceModel`.
        folder: Folder, made if needed.

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
    write_whole(folder / _WEIGHTS, lambda path: save_file(tensors, path))
    write_whole(folder / _DESCRIPTION, lambda path: path.write_text(json.dumps(description, indent=2) + "\n"))


def load_model(folder: str | Path) -> SequenceModel:
    """Reads a model that `save_model` or a training run wrote, in evaluation mode, on the CPU.

    Args:
        folder: Folder with `model.json` and `model.safetensors`, such as a run.

    Raises:
        FileNotFoundError: the folder or one of the two files is missing.
        ValueError: a file is damaged, does not fit the other, or was written by a newer version.
    """
    folder = Path(folder)
    for name in (_DESCRIPTION, _WEIGHTS):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder} holds no {name}; give the folder of a finished run (an unfinished one can be continued "
                "with `seqkit train --resume`)"
            )
    description = _read_description(folder / _DESCRIPTION)
    try:
        info = DataInfo(**_tuples(description["info"]))
        model = SequenceModel.from_config(ModelConfig.from_dict(description["config"]), info, seed=0)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder / _DESCRIPTION} does not describe a model ({error}); restore it or retrain") from error
    try:
        model.load_state_dict(load_file(folder / _WEIGHTS))
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(
            f"{folder / _WEIGHTS} is damaged or does not belong to {_DESCRIPTION} "
            f"({str(error).splitlines()[0]}); restore it or retrain"
        ) from error
    return model.eval()


def _read_description(path: Path) -> dict[str, Any]:
    try:
        description = json.loads(path.read_text())
        version = description["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}); restore it or retrain") from error
    if not isinstance(version, int) or version > FORMAT:
        raise ValueError(f"{path} has format {version}, this seqkit reads up to {FORMAT}; upgrade seqkit")
    return dict(description)


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has lists where `DataInfo` has tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
