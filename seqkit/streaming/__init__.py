"""Streaming: one sample in, one answer out, for ever, for many streams.

A `Stream` follows one series, a `StreamPool` many of one model. Both keep a state of fixed size that can be saved,
forked and moved to another machine, and take models, mixers, HiPPO memories and fitted estimators alike.
"""

from seqkit.streaming.engine import Engine
from seqkit.streaming.engines import BACKENDS, MemoryEngine, MixerEngine, ModelEngine, as_engine
from seqkit.streaming.pool import StreamPool
from seqkit.streaming.snapshot import from_bytes, read_snapshot, to_bytes, write_snapshot
from seqkit.streaming.stream import Stream

__all__ = [
    "BACKENDS",
    "Engine",
    "MemoryEngine",
    "MixerEngine",
    "ModelEngine",
    "Stream",
    "StreamPool",
    "as_engine",
    "from_bytes",
    "read_snapshot",
    "to_bytes",
    "write_snapshot",
]
