"""The mixer contract and registry, residual backbone, norms, holding, pooling, heads; LSTM, GRU, neural operators."""

from seqkit.nn.backbone import Backbone, BackboneState, ResidualBlock
from seqkit.nn.batch_norm import BatchNorm
from seqkit.nn.feed_forward import FeedForward
from seqkit.nn.fourier import SpectralConv1d, SpectralConv2d
from seqkit.nn.head import ClassHead, ValueHead
from seqkit.nn.hold import check_observed, hold, hold_step, last_of
from seqkit.nn.mixer import (
    Mixer,
    State,
    get_mixer,
    mask_past_end,
    mixer_names,
    mixer_options,
    register_mixer,
    sample_steps,
    scan_by_step,
)
from seqkit.nn.norm import InputNorm, build_norm, norm_names
from seqkit.nn.once import kernels_once
from seqkit.nn.operator import NeuralOperator, relative_l2
from seqkit.nn.perceptron import Perceptron, perceptron_norms
from seqkit.nn.pool import (
    LastPool,
    MaxPool,
    MeanPool,
    Pool,
    PoolState,
    build_pool,
    get_pool,
    pool_names,
    pool_options,
    register_pool,
)
from seqkit.nn.recurrent import GRU, LSTM
from seqkit.nn.share_pool import SharePool
from seqkit.nn.tcn import TCN

__all__ = [
    "GRU",
    "LSTM",
    "TCN",
    "Backbone",
    "BackboneState",
    "BatchNorm",
    "ClassHead",
    "FeedForward",
    "InputNorm",
    "LastPool",
    "MaxPool",
    "MeanPool",
    "Mixer",
    "NeuralOperator",
    "Perceptron",
    "Pool",
    "PoolState",
    "ResidualBlock",
    "SharePool",
    "SpectralConv1d",
    "SpectralConv2d",
    "State",
    "ValueHead",
    "build_norm",
    "build_pool",
    "check_observed",
    "get_mixer",
    "get_pool",
    "hold",
    "hold_step",
    "kernels_once",
    "last_of",
    "mask_past_end",
    "mixer_names",
    "mixer_options",
    "norm_names",
    "perceptron_norms",
    "pool_names",
    "pool_options",
    "register_mixer",
    "register_pool",
    "relative_l2",
    "sample_steps",
    "scan_by_step",
]
