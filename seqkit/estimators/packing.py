"""Models inside of fitted estimators as plain values, which pickle takes: no modules, and no code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from seqkit.batch import DataInfo
from seqkit.extensions import records_of, require
from seqkit.models import ModelConfig, SequenceModel
from seqkit.models.config import get_preset, names_used
from seqkit.nn import get_mixer, get_pool

__all__ = ["pack_model", "unpack_model"]

_KNOWN: dict[str, Callable[[str], object]] = {"model": get_preset, "mixer": get_mixer, "pool": get_pool}


def pack_model(model: SequenceModel) -> dict[str, Any]:
    """A model's description, its weights on the CPU, and what of one's own must be imported before it can be rebuilt.

    Example:
        >>> from seqkit.models import ModelConfig
        >>> info = DataInfo("toy", "regression", n_channels=1)
        >>> model = SequenceModel.from_config(ModelConfig.preset("gru", d_model=4, n_layers=1), info, seed=1)
        >>> packed = pack_model(model)
        >>> packed["imports"], torch.equal(unpack_model(packed, "a model").head.linear.weight, model.head.linear.weight)
        ([], True)
    """
    weights = {name: tensor.detach().cpu().numpy() for name, tensor in model.state_dict().items()}
    imports = records_of(names_used(model.config))
    return {"config": model.config.to_dict(), "info": asdict(model.info), "weights": weights, "imports": imports}


def unpack_model(packed: dict[str, Any], where: str) -> SequenceModel:
    """The model, in evaluation mode.

    Args:
        packed: What `pack_model` gave.
        where: What to call the model in errors.

    Raises:
        ValueError: it has layers of one's own that were not imported, which the sentence says how to do.
    """
    require(packed.get("imports"), where, _KNOWN)
    model = SequenceModel.from_config(ModelConfig.from_dict(packed["config"]), DataInfo(**packed["info"]), seed=0)
    weights = {name: torch.from_numpy(np.array(value)) for name, value in packed["weights"].items()}
    dtype = next((one.dtype for one in weights.values() if one.is_floating_point()), torch.float32)
    model.to(dtype).load_state_dict(weights)
    return model.eval()
