"""Training over several processes and slow links: compressed pipelines (AC-SGD) and compressed gradients."""

from seqkit.distributed.channel import Receiver, Sender
from seqkit.distributed.codec import DeltaCodec
from seqkit.distributed.gradient_hook import EFGradHook
from seqkit.distributed.message import MessageError
from seqkit.distributed.meter import WireMeter
from seqkit.distributed.store import MessageStore

__all__ = ["DeltaCodec", "EFGradHook", "MessageError", "MessageStore", "Receiver", "Sender", "WireMeter"]
