"""Training over several processes and slow links: compressed pipelines (AC-SGD) and compressed gradients.

What stands on torch's pipelines is imported on first use: they take seconds to import.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from seqkit.distributed.channel import Receiver, Sender
from seqkit.distributed.codec import DeltaCodec
from seqkit.distributed.compression import Compression
from seqkit.distributed.failures import PeerError
from seqkit.distributed.functions import RankError, run_ranks
from seqkit.distributed.gradient_hook import EFGradHook
from seqkit.distributed.launch import World, is_rank, join, leave, start_ranks
from seqkit.distributed.mesh import Mesh, make_mesh
from seqkit.distributed.message import MessageError
from seqkit.distributed.meter import WireMeter
from seqkit.distributed.quantised_adam import QuantizedAdam
from seqkit.distributed.store import MessageStore

if TYPE_CHECKING:
    from seqkit.distributed.checkpoint import has_checkpoint, load_checkpoint, save_checkpoint
    from seqkit.distributed.lightning_task import CompressGradients, PipelineTask
    from seqkit.distributed.pipeline import SCHEDULES, Pipeline
    from seqkit.distributed.slow_link import SlowLink
    from seqkit.distributed.split import Split, join_states, split_model
    from seqkit.distributed.stage import CompressedStage

__all__ = [
    "SCHEDULES",
    "CompressGradients",
    "CompressedStage",
    "Compression",
    "DeltaCodec",
    "EFGradHook",
    "Mesh",
    "MessageError",
    "MessageStore",
    "PeerError",
    "Pipeline",
    "PipelineTask",
    "QuantizedAdam",
    "RankError",
    "Receiver",
    "Sender",
    "SlowLink",
    "Split",
    "WireMeter",
    "World",
    "has_checkpoint",
    "is_rank",
    "join",
    "join_states",
    "leave",
    "load_checkpoint",
    "make_mesh",
    "run_ranks",
    "save_checkpoint",
    "split_model",
    "start_ranks",
]

_LATER = {
    "CompressGradients": "lightning_task",
    "CompressedStage": "stage",
    "Pipeline": "pipeline",
    "PipelineTask": "lightning_task",
    "SCHEDULES": "pipeline",
    "SlowLink": "slow_link",
    "Split": "split",
    "has_checkpoint": "checkpoint",
    "join_states": "split",
    "load_checkpoint": "checkpoint",
    "save_checkpoint": "checkpoint",
    "split_model": "split",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
