"""A sequence model cut into the stages of a pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

from torch import Tensor, nn

from seqkit.checks import check_positive_int
from seqkit.models import SequenceModel
from seqkit.nn import Backbone, ResidualBlock, mask_past_end

__all__ = ["Split", "join_states", "split_model", "split_sizes"]


class Split(NamedTuple):
    """Stages of a model.

    Args:
        stages: A module for each stage; they share their parameters with the model.
        shapes: Shape of one sample before the first stage, between the stages, and after the last.
    """

    stages: list[nn.Module]
    shapes: list[tuple[int, ...]]


def split_sizes(n_layers: int, n_stages: int) -> list[int]:
    """Layers of each stage, as equal as they can be; the later stages get the larger share.

    Raises:
        ValueError: fewer layers than stages.

    Example:
        >>> split_sizes(5, 2)
        [2, 3]
    """
    check_positive_int("n_stages", n_stages)
    if n_layers < n_stages:
        raise ValueError(
            f"`n_stages` must be at most the number of layers, {n_layers}, got {n_stages}; take fewer stages or more "
            "layers"
        )
    return [(k + 1) * n_layers // n_stages - k * n_layers // n_stages for k in range(n_stages)]


def split_model(model: SequenceModel, n_stages: int, *, length: int) -> Split:
    """Cuts a model between its layers.

        encoder + layers | layers | ... | layers + norm + pooling + head

    Each stage takes the outputs of the one before and, by name, what all stages know of a batch: `lengths` and
    `timestamps`; the first also takes `observed`. What lies past a series' end is 0 between stages, so that it costs
    nothing in a group's step and comes back as 0.

    Args:
        model: The model; its stages share its parameters.
        n_stages: Number of stages.
        length: Samples of each series with its padding, the same in all batches.

    Returns:
        Stages, and the shapes of what passes between them.

    Raises:
        ValueError: fewer layers than stages, or a model without layers.

    Example:
        >>> import torch
        >>> from seqkit.batch import DataInfo
        >>> from seqkit.models import ModelConfig
        >>> info = DataInfo("toy", "classification", n_channels=3, classes=("a", "b"))
        >>> config = ModelConfig.preset("s4d", d_model=8, n_layers=2, order=4)
        >>> split = split_model(SequenceModel.from_config(config, info), 2, length=16)
        >>> split.shapes
        [(16, 3), (16, 8), (2,)]
        >>> x = torch.randn(5, 16, 3)
        >>> split.stages[1](split.stages[0](x)).shape
        torch.Size([5, 2])
    """
    check_positive_int("length", length)
    if check_positive_int("n_stages", n_stages) == 1:
        raise ValueError("`n_stages` must be at least 2, got 1; one stage is the model itself")
    blocks = cast("list[ResidualBlock]", list(model.backbone.blocks))
    if not blocks:
        raise ValueError(f"{model.config.name} has no layers to cut between; choose a model with a mixer, such as s4d")
    stages: list[nn.Module] = []
    done = 0
    for number, size in enumerate(split_sizes(len(blocks), n_stages)):
        part = blocks[done : done + size]
        last = number == n_stages - 1
        stages.append(_First(model, part) if number == 0 else _Later(model, part, done, last=last))
        done += size
    width = blocks[0].mixer.d_model
    after = (model.info.n_outputs,) if model.pool is not None else (length, model.info.n_outputs)
    return Split(stages, [(length, model.info.n_channels), *[(length, width)] * (n_stages - 1), after])


def join_states(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Weights of a whole model from those of its stages, `[stage.state_dict() for stage in split.stages]`.

    Raises:
        ValueError: two stages hold the same weight.

    Example:
        >>> import torch
        >>> sorted(join_states([{"encoder.weight": torch.zeros(1)}, {"head.linear.bias": torch.ones(1)}]))
        ['encoder.weight', 'head.linear.bias']
    """
    whole: dict[str, Tensor] = {}
    for state in states:
        twice = sorted(set(state) & set(whole))
        if twice:
            raise ValueError(f"`states` must be of different stages, got {twice[0]} in two of them")
        whole.update(state)
    return whole


class _First(nn.Module):
    """Encoder and first layers; its weights have the names they have in the model."""

    def __init__(self, model: SequenceModel, blocks: list[ResidualBlock]) -> None:
        super().__init__()
        # The model's own way from samples to its layers, with only these layers in it.
        part = SequenceModel(
            info=model.info,
            encoder=model.encoder,
            backbone=Backbone(blocks, norm="none"),
            pool=None,
            head=model.head,
            config=model.config,
            reads_missing=model.reads_missing,
        )
        self.input_norm = part.input_norm = model.input_norm
        self.encoder = part.encoder
        self.backbone = part.backbone
        self._way = (part,)  # in a tuple, so that its weights are not counted here a second time

    def forward(
        self,
        values: Tensor,
        lengths: Tensor | None = None,
        timestamps: Tensor | None = None,
        observed: Tensor | None = None,
    ) -> Tensor:
        part = self._way[0].train(self.training)
        return part.course(values, lengths, timestamps=timestamps, observed=observed)


class _Later(nn.Module):
    """Layers after the first stage; the last stage adds norm, pooling and head."""

    def __init__(self, model: SequenceModel, blocks: list[ResidualBlock], offset: int, *, last: bool) -> None:
        super().__init__()
        self.backbone = nn.Module()
        # Under their numbers in the model, so that their weights have the names they have there.
        self.backbone.blocks = nn.ModuleDict({str(offset + k): block for k, block in enumerate(blocks)})
        self.sample_rate = model.info.sample_rate or 1.0
        self.last = last
        if last:
            self.backbone.norm = model.backbone.norm
            self.pool = model.pool
            self.readout = model.readout
            self.head = model.head

    def forward(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        timestamps: Tensor | None = None,
        observed: Tensor | None = None,  # of the first stage alone, but each stage is told the same
    ) -> Tensor:
        times = None if timestamps is None else timestamps.double() * self.sample_rate
        for block in cast("nn.ModuleDict", self.backbone.blocks).values():
            x = block(x, lengths=lengths, rate=1.0, timestamps=times)
        if not self.last:
            return mask_past_end(x, lengths)
        x = mask_past_end(cast("nn.Module", self.backbone.norm)(x), lengths)
        if self.pool is None:
            return mask_past_end(cast("Tensor", self.head(self.readout(x))), lengths)
        return cast("Tensor", self.head(self.readout(self.pool(x, lengths, rate=1.0, timestamps=times))))
