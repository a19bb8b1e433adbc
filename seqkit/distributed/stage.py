"""A stage of torch's pipelines whose messages pass through a codec."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage

from seqkit.distributed.channel import Receiver, Sender

__all__ = ["CompressedStage"]


class CompressedStage(PipelineStage):
    """A `torch.distributed.pipelining.PipelineStage` that sends compressed activations and gradients.

        forward:   m(id) += decode(encode(a - m(id)))   on both sides of a cut; the next stage computes on m
        backward:  g = decode(encode(dF/dm)),            and this stage goes back through its own a with g

    Any schedule of torch runs it unchanged: all of its traffic passes through the six methods that are replaced here.
    Shapes are fixed (`input_args` and `output_args` are needed), so that no module runs once for nothing on memory that
    holds anything. Before each step every stage is told which samples come, `set_batch`, since the length of a
    message depends on which of them the two sides have met before. Without a backward pass (`schedule.eval`)
    activations travel as they are and no buffer changes.

    A codec that is None leaves its messages to torch, uncompressed. Stages pass on one tensor, (rows, ...).

    Args:
        submodule: The stage's module.
        stage_index: Number of the stage.
        num_stages: Number of stages.
        device: Where it runs.
        input_args: One micro-batch of its input; a tensor on the device "meta" will do.
        output_args: One micro-batch of its output, likewise.
        group: Ranks of the pipeline; None for all.
        sender: Encodes what this stage passes on.
        receiver: Decodes what it is given; the twin of the sender on the stage before.
        gradient_sender: Encodes the gradient for the stage before.
        gradient_receiver: Decodes the gradient from the next stage.

    Raises:
        ValueError: a step without `set_batch`, or with ids that do not fit the micro-batches.

    Source:
        AC-SGD (arXiv:2206.01299), algorithm 1; the hooks are those of torch 2.11, see `PRIVATE_NAMES`.

    Cost:
        One encode and one decode of each message, on the thread that computes.

    Example:
        >>> stage = CompressedStage(module, 0, 2, device, input_args=x, output_args=y)  # doctest: +SKIP
        >>> schedule = ScheduleGPipe(stage, n_microbatches=4, loss_fn=loss)  # doctest: +SKIP
        >>> stage.set_batch(ids, n_chunks=4)  # doctest: +SKIP
        >>> schedule.step(x)  # doctest: +SKIP
    """

    PRIVATE_NAMES = (
        "args_recv_info",
        "grad_recv_info",
        "fwd_cache",
        "bwd_cache",
        "stage_index_to_group_rank",
        "_prepare_forward_infra",
        "_retrieve_recv_activations",
        "_retrieve_recv_grads",
        "get_fwd_recv_ops",
        "get_fwd_send_ops",
        "get_bwd_recv_ops",
        "get_bwd_send_ops",
    )
    """Names of torch's stage that this class relies on; a test compares them with the installed version."""

    def __init__(
        self,
        submodule: nn.Module,
        stage_index: int,
        num_stages: int,
        device: torch.device,
        *,
        input_args: Tensor,
        output_args: Tensor,
        group: dist.ProcessGroup | None = None,
        sender: Sender | None = None,
        receiver: Receiver | None = None,
        gradient_sender: Sender | None = None,
        gradient_receiver: Receiver | None = None,
    ) -> None:
        super().__init__(
            submodule,
            stage_index,
            num_stages,
            device,
            input_args=(input_args,),
            output_args=(output_args,),
            group=group,
        )
        self.sender = sender
        self.receiver = receiver
        self.gradient_sender = gradient_sender
        self.gradient_receiver = gradient_receiver
        self.bytes_sent = 0
        """Bytes of all training messages that this stage has sent."""
        self._chunks: list[Tensor] | None = None
        self._first_message = 0
        self._expected: list[int] = []
        self._expected_gradients: list[int] = []
        self._activations_in: dict[int, Tensor] = {}
        self._gradients_in: dict[int, Tensor] = {}

    def set_batch(self, ids: Tensor, n_chunks: int, *, step: int = 0) -> None:
        """Says which samples the next step trains on.

        The lengths of its messages are settled here, from what is known of the samples now: a schedule may ask for a
        message long before the one before it was decoded.

        Args:
            ids: Id of each row, (rows,), int64, each one once. With fewer ids than rows, the last rows are padding:
                they are not sent, arrive as zeros and get no gradient.
            n_chunks: Number of micro-batches.
            step: Number of the step, the same on all stages; a message of another step is refused.

        Raises:
            ValueError: more ids than rows, or an id twice.
        """
        size = self._rows_of_chunk()
        if ids.dim() != 1 or ids.dtype != torch.int64 or not 0 < len(ids) <= size * n_chunks:
            raise ValueError(
                f"`ids` must be 1 to {size * n_chunks} int64 numbers in one row, got {tuple(ids.shape)} {ids.dtype}; "
                "give the id of each sample of the batch"
            )
        if len(set(ids.tolist())) < len(ids):
            raise ValueError(
                "`ids` must hold each sample once in a step, got one of them twice; draw without replacement"
            )
        self._chunks = [ids[k * size : (k + 1) * size] for k in range(n_chunks)]
        self._first_message = step * n_chunks
        self._expected = [_wire_bytes(self.receiver, part) for part in self._chunks]
        self._expected_gradients = [_wire_bytes(self.gradient_receiver, part) for part in self._chunks]

    def clear_runtime_states(self) -> None:
        """Forgets what a step left, an interrupted one too."""
        super().clear_runtime_states()
        self._activations_in.clear()
        self._gradients_in.clear()

    def get_fwd_recv_ops(self, fwd_chunk_id: int) -> list[dist.P2POp]:
        """Operations that receive an activation."""
        if self.is_first or self.receiver is None or not self.has_backward:
            return super().get_fwd_recv_ops(fwd_chunk_id)
        self._ids(fwd_chunk_id)
        blob = self._blob(self._expected[fwd_chunk_id])
        self._activations_in[fwd_chunk_id] = blob
        return self._ops(dist.irecv, blob, self.stage_index - 1)

    def get_fwd_send_ops(self, fwd_chunk_id: int) -> list[dist.P2POp]:
        """Operations that send an activation."""
        if self.is_last or not self.has_backward:
            return super().get_fwd_send_ops(fwd_chunk_id)
        if self.sender is None:
            ops = super().get_fwd_send_ops(fwd_chunk_id)
            self._count(ops)
            return ops
        ids, output = self._ids(fwd_chunk_id), self.fwd_cache[fwd_chunk_id][0][0].detach()
        if not len(ids):
            return []
        blob = self.sender.encode(ids, output[: len(ids)], step=self._first_message + fwd_chunk_id)
        return self._counted(self._ops(dist.isend, blob, self.stage_index + 1))

    def get_bwd_recv_ops(self, bwd_chunk_id: int) -> list[dist.P2POp]:
        """Operations that receive the gradient of what this stage passed on."""
        if self.is_last or self.gradient_receiver is None or not self.has_backward:
            return super().get_bwd_recv_ops(bwd_chunk_id)
        self._ids(bwd_chunk_id)
        blob = self._blob(self._expected_gradients[bwd_chunk_id])
        self._gradients_in[bwd_chunk_id] = blob
        return self._ops(dist.irecv, blob, self.stage_index + 1)

    def get_bwd_send_ops(self, bwd_chunk_id: int) -> list[dist.P2POp]:
        """Operations that send the gradient of what this stage was given."""
        if self.is_first or not self.has_backward:
            return super().get_bwd_send_ops(bwd_chunk_id)
        if self.gradient_sender is None:
            ops = super().get_bwd_send_ops(bwd_chunk_id)
            self._count(ops)
            return ops
        ids, gradient = self._ids(bwd_chunk_id), self.bwd_cache.pop(bwd_chunk_id)[0]
        if not len(ids):
            return []
        if gradient is None:
            raise RuntimeError(f"stage {self.stage_index} has no gradient for its input; let the loss depend on it")
        blob = self.gradient_sender.encode(ids, gradient.detach()[: len(ids)], step=self._first_message + bwd_chunk_id)
        return self._counted(self._ops(dist.isend, blob, self.stage_index - 1))

    def _prepare_forward_infra(self, *args: Any, **kwargs: Any) -> Any:
        """Makes the buffers of activations, once; torch makes them for training only where that comes first."""
        with torch.inference_mode(False):
            out = super()._prepare_forward_infra(*args, **kwargs)
        for infos in self.args_recv_info.values() if not self.is_first else ():
            for info in infos:
                cast("Any", info).buffer.requires_grad_()
        return out

    def _retrieve_recv_activations(self, fwd_chunk_id: int) -> Any:
        blob = self._activations_in.pop(fwd_chunk_id, None)
        if blob is not None and self.receiver is not None:
            info = cast("Any", self.args_recv_info[fwd_chunk_id][0])
            self._read(self.receiver, fwd_chunk_id, blob, info.buffer)
        return super()._retrieve_recv_activations(fwd_chunk_id)

    def _retrieve_recv_grads(self, bwd_chunk_id: int) -> Any:
        blob = self._gradients_in.pop(bwd_chunk_id, None)
        if blob is not None and self.gradient_receiver is not None:
            self._read(self.gradient_receiver, bwd_chunk_id, blob, self.grad_recv_info[bwd_chunk_id][0].buffer)
        return super()._retrieve_recv_grads(bwd_chunk_id)

    def _read(self, receiver: Receiver, chunk: int, blob: Tensor, buffer: Tensor) -> None:
        """Decodes a message into the buffer that torch would have received it in; rows of padding become 0."""
        ids = self._ids(chunk)
        with torch.no_grad():  # the buffer is a leaf that asks for a gradient
            buffer[len(ids) :] = 0
            if len(ids):
                buffer[: len(ids)].copy_(receiver.decode(ids, blob, step=self._first_message + chunk))

    def _rows_of_chunk(self) -> int:
        return int(self.get_outputs_meta()[0].shape[0])

    def _ids(self, chunk: int) -> Tensor:
        if self._chunks is None or chunk >= len(self._chunks):
            raise ValueError(f"stage {self.stage_index} was not told its samples; call set_batch before each step")
        return self._chunks[chunk]

    def _blob(self, n_bytes: int) -> Tensor:
        return torch.empty(n_bytes, dtype=torch.uint8, device=self.device)

    def _ops(self, op: Any, blob: Tensor, stage: int) -> list[dist.P2POp]:
        if blob.numel() == 0:
            return []
        rank = self.stage_index_to_group_rank[stage]
        peer = rank if self.group is None else dist.get_global_rank(self.group, rank)
        return [dist.P2POp(op, blob, peer, self.group)]

    def _counted(self, ops: list[dist.P2POp]) -> list[dist.P2POp]:
        self._count(ops)
        return ops

    def _count(self, ops: list[dist.P2POp]) -> None:
        self.bytes_sent += sum(op.tensor.numel() * op.tensor.element_size() for op in ops)


def _wire_bytes(receiver: Receiver | None, ids: Tensor) -> int:
    return receiver.wire_bytes(ids) if receiver is not None and len(ids) else 0
