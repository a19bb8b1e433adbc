"""A model as the fused step takes it: plain tensors, or the reason why it cannot."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from seqkit.hippo import discretize
from seqkit.kernels.stack_step import Block, Dense, Diagonal, Levels, Linear, LowRank, Norm, Stack
from seqkit.models import SequenceModel
from seqkit.nn import ClassHead, LastPool, MaxPool, MeanPool, Mixer, ResidualBlock, SharePool, ValueHead
from seqkit.nn.share_pool import FARTHEST
from seqkit.ssm import LSSL, S4, S4D
from seqkit.ssm.diagonal import real_to_pairs

__all__ = ["refusal", "stack_of"]

POOLS: dict[type, str] = {MeanPool: "mean", LastPool: "last", MaxPool: "max", SharePool: "share", type(None): "none"}
ACTIVATIONS: dict[type, str] = {nn.GELU: "gelu", nn.ReLU: "relu", nn.SiLU: "silu", nn.Identity: "none"}
NORMS = (nn.LayerNorm, nn.RMSNorm, nn.Identity)
SYSTEMS = (S4D, S4, LSSL)


def refusal(model: SequenceModel) -> str | None:
    """Why the fused step does not serve a model, or None where it does.

    A part that is not exactly of a known class, such as a wrapped or derived one, may do anything, so it is refused.

    Example:
        >>> from seqkit import DataInfo, ModelConfig
        >>> info = DataInfo("toy", "classification", n_channels=1, classes=("a", "b"))
        >>> print(refusal(SequenceModel.from_config(ModelConfig.preset("gru", d_model=4, n_layers=1), info, seed=0)))
        it serves the mixers s4d, s4 and lssl, and this model has GRU
    """
    mixers = model.backbone.mixers()
    if not mixers:
        return "it serves models with a mixer, and this one only pools"
    for mixer in mixers:
        if type(mixer) not in SYSTEMS:
            return f"it serves the mixers s4d, s4 and lssl, and this model has {type(mixer).__name__}"
    if type(model.pool) not in POOLS:
        return f"it serves the poolings mean, last, max and share, and this model has {type(model.pool).__name__}"
    plain: list[tuple[nn.Module, tuple[type, ...]]] = [
        (model.encoder, (nn.Linear,)),
        (model.readout, (nn.Identity, nn.Dropout)),
        (model.head, (ClassHead, ValueHead)),
        (model.backbone.norm, NORMS),
    ]
    for block in cast("list[ResidualBlock]", list(model.backbone.blocks)):
        plain += [(block, (ResidualBlock,)), (block.norm, NORMS), (block.out, (nn.Linear, nn.Identity))]
        plain += [(block.activation, tuple(ACTIVATIONS))]
    for part, known in plain:
        if type(part) not in known:
            return f"it has no form of the part {type(part).__name__}"
        if isinstance(part, nn.GELU) and part.approximate != "none":
            return f"it has no form of the part GELU with approximate={part.approximate!r}"
    if any(tensor.is_floating_point() and not bool(tensor.isfinite().all()) for tensor in model.state_dict().values()):
        return "its weights hold NaN or infinite values"
    return None


@torch.no_grad()
def stack_of(model: SequenceModel, *, rate: float = 1.0, shares: bool = False) -> Stack:
    """The model's parts as plain tensors.

    Args:
        model: One that `refusal` has nothing against.
        rate: Step that dense and low-rank systems are discretised with, in units of the training step.
        shares: Whether the outputs become shares by a softmax.

    Example:
        >>> from seqkit import DataInfo, ModelConfig
        >>> info = DataInfo("toy", "classification", n_channels=1, classes=("a", "b"))
        >>> model = SequenceModel.from_config(ModelConfig.preset("s4d", d_model=4, n_layers=1, order=6), info, seed=0)
        >>> stack_of(model).blocks[0].system.B.shape
        torch.Size([4, 3])
    """
    head, mean = model.head, model.input_norm.mean
    scale, offset = torch.ones_like(head.linear.bias), torch.zeros_like(head.linear.bias)
    if isinstance(head, ValueHead):
        scale, offset = head.scale, head.offset
    return Stack(
        mean=mean,
        std=model.input_norm.std,
        encoder=_linear(cast("nn.Linear", model.encoder)),
        blocks=tuple(_block(block, rate) for block in cast("list[ResidualBlock]", list(model.backbone.blocks))),
        norm=_norm(model.backbone.norm, mean.new_zeros(model.config.d_model)),
        pool=POOLS[type(model.pool)],
        head=_linear(head.linear),
        scale=scale,
        offset=offset,
        shares=shares,
        levels=_levels(model.pool) if isinstance(model.pool, SharePool) else None,
    )


def _levels(pool: SharePool) -> Levels:
    slope = pool.slope * pool.sharpness.exp()
    return Levels(slope / pool.unit, -(slope * pool.level + pool.shift), pool.unit, pool.centre, pool.scale, FARTHEST)


def _block(block: ResidualBlock, rate: float) -> Block:
    mixer = cast("S4D | S4 | LSSL", block.mixer)
    return Block(
        norm=_norm(block.norm, mixer.D[:, 0]),
        system=_system(mixer, rate),
        D=mixer.D,
        mix=None if mixer.mix is None else _linear(mixer.mix),
        activation=ACTIVATIONS[type(block.activation)],
        output=block.output,
        out=_linear(cast("nn.Linear", block.out)) if block.output != "none" else None,
    )


def _linear(linear: nn.Linear) -> Linear:
    bias = linear.weight.new_zeros(len(linear.weight)) if linear.bias is None else linear.bias
    return Linear(linear.weight, bias)


def _norm(norm: nn.Module, like: Tensor) -> Norm:
    one, zero = torch.ones_like(like), torch.zeros_like(like)
    if isinstance(norm, nn.LayerNorm):
        return Norm(
            "layer", *(one if norm.weight is None else norm.weight, zero if norm.bias is None else norm.bias), norm.eps
        )
    if isinstance(norm, nn.RMSNorm):
        eps = torch.finfo(like.dtype).eps if norm.eps is None else norm.eps
        return Norm("rms", one if norm.weight is None else norm.weight, zero, eps)
    return Norm("none", one, zero, 0.0)


def _system(mixer: Mixer, rate: float) -> Diagonal | LowRank | Dense:
    if isinstance(mixer, S4D):
        Lambda = torch.complex(-mixer.log_damping.exp(), mixer.frequency)
        B, C = real_to_pairs(mixer.B), real_to_pairs(mixer.C)
        return Diagonal(Lambda, B, C, mixer.log_dt.exp(), mixer.discretization)
    if isinstance(mixer, S4):
        return _low_rank(mixer, rate)
    system = cast("LSSL", mixer).system()
    return Dense(*discretize(system.A, system.B, system.dt * rate, method=cast("LSSL", mixer).discretization), system.C)


def _low_rank(mixer: S4, rate: float) -> LowRank:
    """The bilinear rule for `diag(lambda) - P P^*`, multiplied out so that a step needs no solve.

    With D = 1 / (2/dt - lambda), G = P^* D P and K = (I + G)^-1, P^* running over both halves of each pair:
    A_bar = D (2/dt + lambda) - D P K P^* (4/dt) D,  B_bar = 2 D B - D P K P^* 2 D B.
    """
    double = (2 / (mixer.log_dt.double().exp() * rate))[:, None]
    Lambda = torch.complex(-mixer.damping.double().square(), mixer.frequency.double())
    P, B = real_to_pairs(mixer.P.double()), real_to_pairs(mixer.B.double())
    D = 1 / (double - Lambda)
    gram = 2 * torch.einsum("hrn,hn,hsn->hrs", P.conj(), D, P).real
    inverse = torch.linalg.inv(torch.eye(P.shape[1], dtype=gram.dtype, device=gram.device) + gram)
    driven = 2 * torch.einsum("hrn,hn->hr", P.conj(), 2 * D * B).real
    push = -D[:, None] * P
    pull = torch.einsum("hrs,hsn->hrn", inverse + 0j, P.conj()) * (2 * double * D)[:, None]
    turned = 2 * D * B + torch.einsum("hrn,hrs,hs->hn", push, inverse + 0j, driven + 0j)
    kind = torch.complex64 if mixer.B.dtype == torch.float32 else torch.complex128
    parts = (D * (double + Lambda), turned, real_to_pairs(mixer.C.double()), pull, push)
    return LowRank(*(part.to(kind) for part in parts))
