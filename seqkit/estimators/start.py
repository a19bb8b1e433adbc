"""Where a model of pooled shares starts: filters that do not see the level, levels from data, a ridge model as head."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from seqkit.datasets.batching import loader
from seqkit.datasets.rows import Array
from seqkit.datasets.series import SeriesSet
from seqkit.estimators.bank import level_skip, start_as
from seqkit.estimators.filters import draw_filters
from seqkit.estimators.ridge import fit_ridge, temperature_of
from seqkit.models import SequenceModel
from seqkit.nn import SharePool, ValueHead
from seqkit.ssm.base import StateSpaceMixer

__all__ = ["LEVEL_FREE", "start_from"]

LEVEL_FREE = 0.75
"""Share of random filters whose answer to a constant is 0."""

STEEPNESS = 120.0
"""How many times the slope of a level fits into its width, under drawn filters."""

SMALL = 0.1
"""Range of most series, in deviations of the set, below which they count as small."""

SERIES = 256
"""Most series that levels are taken from."""

PENALTIES = tuple(float(penalty) for penalty in np.logspace(-3, 6, 19))
"""Penalties of the ridge model to choose from."""


@torch.no_grad()
def start_from(model: SequenceModel, train: SeriesSet, seed: int, class_weight: list[float] | None = None) -> None:
    """Sets what a fresh model with pooled shares takes from data; any other model stays as it is.

    For classes, one layer of filters without norm, activation and output map, which "auto" chooses for longer series,
    starts as a bank drawn as that of `HiPPOFeaturesClassifier` (`start_as`), with levels so steep that they count
    nearly yes or no. Layers of other models keep their random filters, which answer mostly to how high a series lies:
    for three quarters of them the skip D is set so that a constant gives 0, and what is left is how the series moves
    (`level_skip`).

    Levels of the pooling come from the outputs for up to 256 training series. The head starts as the ridge model of
    what is pooled, with the penalty that is best on series left out; scores of classes are divided by the temperature
    that makes the classes of these most likely.

    Args:
        model: A fresh model, with the statistics of its inputs and targets set.
        train: Training series.
        seed: Seed of the series drawn.
        class_weight: Weight of each class; None for equal ones.

    Example:
        >>> from seqkit.batch import DataInfo
        >>> from seqkit.models import ModelConfig
        >>> info = DataInfo("toy", "classification", n_channels=1, classes=("a", "b"))
        >>> config = ModelConfig.preset("s4d", d_model=4, n_layers=1, order=4, norm="none", output="none", pool="share")
        >>> model = SequenceModel.from_config(config, info, seed=0)
        >>> series = [np.sin(np.arange(30.0) / (1 + i % 2) + i)[:, None] for i in range(8)]
        >>> start_from(model, SeriesSet(series, ["a", "b"] * 4), seed=0)
        >>> model.eval().predict(torch.from_numpy(np.stack(series))).argmax(dim=1).tolist()
        [0, 1, 0, 1, 0, 1, 0, 1]
    """
    if not isinstance(model.pool, SharePool):
        return
    assert isinstance(model.encoder, torch.nn.Linear)  # there is no pooling of shares without an encoder
    model.encoder.bias.zero_()  # a constant that sets in with the first sample is a step that no series has
    bank = _bank_of(model)
    if bank is not None:
        _draw_bank(model, bank, train, seed)
    else:
        for mixer in model.backbone.mixers():
            if isinstance(mixer, StateSpaceMixer):
                free = level_skip(mixer)
                free[round(LEVEL_FREE * mixer.d_model) :] = -1.0
                mixer.D.copy_(free)
    _start_level(model, train)
    random = np.random.default_rng([seed, 2])
    few = train.select(np.sort(random.permutation(len(train))[:SERIES]).tolist())
    courses = _courses(model, few)
    if bank is not None:
        model.pool.set_levels(courses, random, STEEPNESS)
    else:
        model.pool.set_levels(courses, random)
    _start_head(model, train, class_weight)


def _bank_of(model: SequenceModel) -> StateSpaceMixer | None:
    """The one layer of a model of classes that is a bank of filters and nothing else."""
    if not model.info.classes:
        return None
    config, mixers = model.config, list(model.backbone.mixers())
    plain = (config.norm, config.activation, config.output) == ("none", "none", "none")
    if plain and len(mixers) == 1 and isinstance(mixers[0], StateSpaceMixer) and mixers[0].mix is None:
        return mixers[0]
    return None


def _draw_bank(model: SequenceModel, mixer: StateSpaceMixer, train: SeriesSet, seed: int) -> None:
    steps = mixer.log_dt.double().exp()
    between = float(1 / steps.max()), float(1 / steps.min())
    filters = draw_filters(mixer.d_model, train.n_channels, between, np.random.default_rng([seed, 3]))
    start_as(mixer, filters, max(2, round(float(np.median(train.lengths)))))
    assert isinstance(model.encoder, torch.nn.Linear)  # as above
    model.encoder.weight.zero_()  # what tells missing values apart, if it is there, is learned from 0
    model.encoder.weight[:, : train.n_channels] = filters.mix


def _start_level(model: SequenceModel, train: SeriesSet) -> None:
    """Moves the zero of channels where most series are small beside the set's deviation to where these begin.

    From the set's mean such a series would begin with a step that is far larger than itself; any step of the
    encoder's bias would bring it back, so that this stays 0.
    """
    norm = model.input_norm
    firsts = np.stack([one[0] for one in train.values])
    swings = np.stack([np.ptp(one, axis=0) for one in train.values])
    for c in np.flatnonzero((~np.isnan(firsts)).any(axis=0) & (~np.isnan(swings)).any(axis=0)):
        if np.nanmedian(swings[:, c]) < SMALL * float(norm.std[c]):
            norm.mean[c] = float(np.nanmedian(firsts[:, c]))
            model.encoder.bias.requires_grad_(False)


def _courses(model: SequenceModel, series: SeriesSet) -> list[Tensor]:
    outputs = []
    for batch in loader(series, model.info, batch_size=16, with_target=False):
        course = model.course(batch.values, batch.lengths, timestamps=batch.timestamps, observed=batch.observed)
        outputs += [one[:n] for one, n in zip(course, batch.lengths.tolist(), strict=True)]
    return outputs


def _start_head(model: SequenceModel, train: SeriesSet, class_weight: list[float] | None) -> None:
    pooled, targets = [], []
    pool = model.pool
    assert pool is not None  # the caller looked
    for batch in loader(train, model.info, batch_size=16):
        course = model.course(batch.values, batch.lengths, timestamps=batch.timestamps, observed=batch.observed)
        pooled.append(pool(course, batch.lengths))
        assert batch.target is not None  # they are training series
        targets.append(batch.target)
    X, target = torch.cat(pooled).double().numpy(), torch.cat(targets).numpy()
    if isinstance(model.head, ValueHead):
        offset, scale = (part.double().numpy() for part in (model.head.offset, model.head.scale))
        ridge = fit_ridge(X, (target.reshape(len(X), -1) - offset) / scale, PENALTIES)
        factor = 1.0
    else:
        weight = None if class_weight is None else np.asarray(class_weight)[target]
        ridge = fit_ridge(X, 2.0 * np.eye(len(model.info.classes))[target] - 1.0, PENALTIES, weight)
        factor = 1 / temperature_of(ridge.held_out, target, weight)
    _set_linear(model.head.linear, factor * ridge.coefficients, factor * ridge.intercept)


def _set_linear(linear: torch.nn.Linear, coefficients: Array, intercept: Array) -> None:
    linear.weight.copy_(torch.from_numpy(coefficients.T))
    linear.bias.copy_(torch.from_numpy(intercept))
