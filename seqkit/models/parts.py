"""The parts of a model, built from its sizes and from what the data are."""

from __future__ import annotations

import importlib
from typing import Any, TypeVar, cast

import torch
from torch import nn

from seqkit.batch import DataInfo
from seqkit.models.config import ModelConfig
from seqkit.nn import (
    Backbone,
    ClassHead,
    FeedForward,
    Perceptron,
    ResidualBlock,
    SharePool,
    ValueHead,
    build_pool,
    get_mixer,
)

__all__ = ["check_classes", "mixed_parts", "pooled_parts"]


def mixed_parts(config: ModelConfig, info: DataInfo) -> dict[str, Any]:
    """Parts of a model that looks along time by mixers."""
    mixer = get_mixer(cast("str", config.mixer))
    pool = None if info.task == "sequence" else build_pool(config.pool, config.d_model)
    drops_pooled = isinstance(pool, SharePool)
    blocks = [
        _mapped(
            config,
            ResidualBlock(
                mixer(config.d_model, **config.options),
                norm=config.norm,
                activation=config.activation,
                output=_dense(config.output),
                dropout=0.0 if drops_pooled else config.dropout,
            ),
        )
        for _ in range(config.n_layers)
    ]
    reads_missing = info.missing if config.reads_missing is None else config.reads_missing
    encoder = _encoder(info.n_channels, config.d_model, reads_missing=reads_missing)
    backbone = Backbone(blocks, norm=config.norm)
    return {
        "encoder": encoder,
        "backbone": backbone,
        "pool": pool,
        "readout": nn.Dropout(config.dropout) if drops_pooled else None,
        "head": _head(config.d_model if pool is None else pool.width, info),
        "reads_missing": reads_missing,
    }


M = TypeVar("M", bound=nn.Module)


def _dense(output: str) -> str:
    """The output map of `seqkit.nn` that a configuration's is made of."""
    return "mlp" if output == "monarch" else output


def _mapped(config: ModelConfig, module: M) -> M:
    """Draws the matrices of a module's feed-forward parts as Monarch matrices, where the configuration says so."""
    if config.output == "monarch":
        replace_linear = importlib.import_module("seqkit.structured").replace_linear  # late, as few models need it
        for part in module.modules():
            if isinstance(part, FeedForward):
                replace_linear(part, "monarch", select=lambda *_: True, fresh=True)
    return module


def _encoder(n_channels: int, d_model: int, *, reads_missing: bool) -> nn.Linear:
    """A linear map; what is missing weighs nothing at the start, so that training starts from held values."""
    encoder = nn.Linear(n_channels, d_model)
    if reads_missing:
        values = encoder.weight.detach()
        encoder.weight = nn.Parameter(torch.cat([values, torch.zeros_like(values)], dim=1))
        encoder.in_features = 2 * n_channels
    return encoder


def pooled_parts(config: ModelConfig, info: DataInfo) -> dict[str, Any]:
    """Parts of a model that only pools."""
    if info.task == "sequence":
        raise ValueError(
            f"{config.name} has one output for a whole series, and {info.name} has a target for each sample; choose a "
            "model with a mixer, such as s4d"
        )
    pool = build_pool(config.pool, info.n_channels, **config.options)
    readout = Perceptron(
        pool.width,
        config.d_model,
        n_layers=config.n_layers,
        norm=config.norm,
        activation=config.activation,
        output=_dense(config.output),
        dropout=config.dropout,
    )
    _mapped(config, readout)
    return {
        "encoder": nn.Identity(),
        "backbone": Backbone([], norm="none"),
        "pool": pool,
        "readout": readout,
        "head": _head(config.d_model, info),
    }


def _head(width: int, info: DataInfo) -> ClassHead | ValueHead:
    return ClassHead(width, info.n_outputs) if info.classes else ValueHead(width, info.n_outputs)


def check_classes(info: DataInfo) -> None:
    """The kind of target and the classes decide on head and loss together, so they must not contradict each other."""
    if info.task == "classification" and len(info.classes) < 2:
        raise ValueError(
            f"a classification needs at least two classes, got {list(info.classes)}; give `classes`, or data with more"
        )
    if info.task == "regression" and info.classes:
        raise ValueError(
            f"a regression has no classes, got {list(info.classes)}; leave `classes` empty or set task='classification'"
        )
