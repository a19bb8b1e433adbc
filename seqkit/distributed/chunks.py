"""The mean over ranks of a long row in a few bits, each rank averaging a part of it."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from seqkit.distributed.codec import DeltaCodec
from seqkit.distributed.gradient_hook import code_with_feedback, sum_of_rows
from seqkit.distributed.meter import WireMeter

__all__ = ["mean_of_chunks"]


def mean_of_chunks(
    codec: DeltaCodec,
    value: Tensor,
    error: Tensor,
    chunk_error: Tensor | None,
    group: dist.ProcessGroup | None,
    meter: WireMeter,
) -> tuple[Tensor, Tensor]:
    """Averages `value` over the ranks: parts to their rank, their means to all, both coded with error feedback.

    Args:
        codec: How.
        value: Numbers (n,), float32.
        error: What this rank lost of its own value so far, (n,); changed in place.
        chunk_error: What this rank lost of its part's mean so far; None at first.
        group: The ranks; left out, all. Without torch.distributed there is one.
        meter: Counts this rank's coded bytes, of which 1 / ranks stay here.

    Returns:
        The mean, (n,), the same bits on each rank, and the new `chunk_error`.

    Example:
        >>> value, error = torch.tensor([7.0, 3.0]), torch.zeros(2)
        >>> mean_of_chunks(DeltaCodec(4, 8, scale="absmax"), value, error, None, None, WireMeter())[0]
        tensor([7., 3.])
    """
    ranks = dist.get_world_size(group) if dist.is_initialized() else 1
    length = -(-len(value) // ranks)
    padded = F.pad(value, (0, ranks * length - len(value)))
    lost = F.pad(error, (0, ranks * length - len(value)))
    parts = [
        code_with_feedback(codec, part, missing, meter)
        for part, missing in zip(padded.view(ranks, length), lost.view(ranks, length), strict=True)
    ]
    error.copy_(lost[: len(value)])
    sent = torch.cat(parts)
    mine = torch.empty_like(sent)
    if ranks > 1:
        dist.all_to_all_single(mine, sent, group=group)
    else:
        mine.copy_(sent)
    mean = sum_of_rows(codec, mine.view(ranks, -1), length).div_(ranks)
    chunk_error = torch.zeros_like(mean) if chunk_error is None else chunk_error.to(mean).clone()
    message = code_with_feedback(codec, mean, chunk_error, meter)
    gathered = torch.empty(ranks * len(message), dtype=torch.uint8, device=message.device)
    if ranks > 1:
        dist.all_gather_into_tensor(gathered, message, group=group)
    else:
        gathered.copy_(message)
    return codec.decode_rows(gathered.view(ranks, -1), length).view(-1)[: len(value)], chunk_error
