"""A pipeline of stages that trains: torch's schedules, compressed messages, padding rows, checks and checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.pipelining import Schedule1F1B, ScheduleGPipe, ScheduleInterleaved1F1B
from torch.nn.parallel import DistributedDataParallel

from seqkit.checks import check_positive_int
from seqkit.distributed.agreement import agree_on, agree_on_batch
from seqkit.distributed.compression import Compression
from seqkit.distributed.cut import CutEnd
from seqkit.distributed.gradient_hook import EFGradHook
from seqkit.distributed.launch import World
from seqkit.distributed.pipeline_sizes import SCHEDULES, check_sizes
from seqkit.distributed.review import CutReport, review_cuts
from seqkit.distributed.stage import CompressedStage
from seqkit.nn.once import kernels_once

__all__ = ["SCHEDULES", "Pipeline"]

Loss = Callable[[Tensor, slice], Tensor]


class Pipeline:
    """One rank's part of a model that is trained as a pipeline.

    Each rank is given the whole batch's ids and what all stages know of it; the first stage alone needs the inputs, the
    last alone the targets. With an interleaved schedule rank r holds the stages r, r + ranks, and so on.

    Args:
        stages: A module for each stage; those of other ranks are let go.
        shapes: Shape of one sample before, between and after the stages, as `split_model` gives them.
        world: The ranks, from `join`.
        micro_batches: Parts that a batch is cut into.
        batch_size: Rows of a batch; smaller batches are padded. `micro_batches` must divide it.
        schedule: "1f1b", "gpipe", or "interleaved" where there are more stages than ranks.
        compression: How messages are compressed; None sends everything as it is.
        input_dtype: Type of the inputs, as torch.int64 for tokens.
        group: Ranks of this pipeline; None for all ranks.
        replicas: Ranks with the same stages on other parts of the batch; None for a single pipeline.
        seed: Seed of what senders draw when they round stochastically.
        folder: Folder for the message buffers, for sets that are larger than memory; None keeps them in memory.

    Raises:
        ValueError: sizes that do not fit, or ranks that were given different ones.
        PeerError: another rank failed or is too slow.

    Example:
        >>> world = join(timeout=60)  # doctest: +SKIP
        >>> split = split_model(model, world.size, length=128)  # doctest: +SKIP
        >>> pipeline = Pipeline(split.stages, split.shapes, world, batch_size=32)  # doctest: +SKIP
        >>> loss = pipeline.step(x, loss=lambda out, rows: mse(out, y[rows]), ids=ids)  # doctest: +SKIP
    """

    def __init__(
        self,
        stages: Sequence[nn.Module],
        shapes: Sequence[tuple[int, ...]],
        world: World,
        *,
        batch_size: int,
        micro_batches: int = 4,
        schedule: str = "1f1b",
        compression: Compression | None = None,
        input_dtype: torch.dtype = torch.float32,
        group: dist.ProcessGroup | None = None,
        replicas: dist.ProcessGroup | None = None,
        seed: int = 0,
        folder: str | None = None,
    ) -> None:
        self.world = world
        self.group = group
        self.replicas = replicas
        self.batch_size = check_positive_int("batch_size", batch_size)
        self.micro_batches = check_positive_int("micro_batches", micro_batches)
        self.compression = compression
        self.shapes = list(shapes)
        self.steps = 0
        self.position, self.size = dist.get_rank(group), dist.get_world_size(group)
        self.n_stages = len(stages)
        check_sizes(schedule, batch_size, self.micro_batches, self.n_stages, self.size)
        with world.watch.during("comparing settings"):
            agree_on(self._settings(schedule), group)
        self._loss: Loss | None = None
        self._rows = 0
        self._input_dtype = input_dtype
        self.ends: list[CutEnd] = []
        """This rank's ends of the cuts, with their buffers."""
        self._hooks: list[EFGradHook] = []
        mine = range(self.position, self.n_stages, self.size)
        self.stages = [self._stage(k, stages[k], seed, folder) for k in mine]
        kinds: dict[str, Any] = {"gpipe": ScheduleGPipe, "1f1b": Schedule1F1B, "interleaved": ScheduleInterleaved1F1B}
        ours = self.stages if schedule == "interleaved" else self.stages[0]
        # Each micro-batch's loss is its share of the batch's, so that uneven ones count by what they hold.
        self.schedule = kinds[schedule](ours, micro_batches, loss_fn=self._share_of_loss, scale_grads=False)

    @property
    def modules(self) -> list[nn.Module]:
        """This rank's stages, without what wraps them for replicas."""
        return [_unwrapped(stage.submod) for stage in self.stages]

    @property
    def is_first(self) -> bool:
        """Whether this rank holds the first stage, which reads the inputs."""
        return self.position == 0

    @property
    def is_last(self) -> bool:
        """Whether this rank holds the last stage, which knows outputs and loss."""
        return (self.n_stages - 1) % self.size == self.position

    @property
    def bytes_sent(self) -> int:
        """Bytes of all activations and gradients of activations that this rank has sent in training."""
        return sum(stage.bytes_sent for stage in self.stages)

    @property
    def gradient_bytes_sent(self) -> int:
        """Bytes of all coded gradients of weights that this rank has made for each of its replicas."""
        return sum(hook.meter.bytes for hook in self._hooks)

    def parameters(self) -> list[nn.Parameter]:
        """Parameters of this rank's stages."""
        return [parameter for module in self.modules for parameter in module.parameters()]

    def step(self, inputs: Tensor | None, *, loss: Loss, ids: Tensor, **known: Tensor) -> float | None:
        """Forward and backward of one batch; gradients are added to the parameters', the optimiser is the caller's.

        Args:
            inputs: Inputs of the first stage, (n, ...), n up to `batch_size`; other ranks may give None.
            loss: Called on the last stage with outputs of some rows and their slice in the batch; gives these rows'
                share of the batch's loss, such as `mse(out, y[rows], reduction="sum") / y.numel()`.
            ids: Id of each sample, (n,), int64, the same on all ranks of this pipeline.
            known: What every stage is given by name, (n, ...) each, such as `lengths`.

        Returns:
            The batch's loss on the last stage, None elsewhere.

        Raises:
            ValueError: sizes that do not fit, ids twice in a batch, ids or buffers that differ between ranks.
            PeerError: another rank failed or is too slow.
        """
        with self.world.watch.during(f"step {self.steps + 1}"):
            for stage in self.stages:
                stage.set_batch(ids, self.micro_batches, step=self.steps)
            self._compare(ids)
            self._loss, self._rows = loss, len(ids)
            losses: list[Tensor] = []
            try:
                # Replicas exchange gradients with the last backward pass, before a block of passes ends.
                with kernels_once() if self.replicas is None else nullcontext():
                    self._run(self.schedule.step, inputs, known, losses)
            finally:
                self._loss = None
            self.steps += 1
            return float(torch.stack(losses).detach().sum()) if self.is_last else None

    @torch.no_grad()
    def evaluate(self, inputs: Tensor | None, n: int, **known: Tensor) -> Tensor | None:
        """Outputs of one batch in the stages' present mode; messages in full precision, buffers as they were.

        Args:
            inputs: As in `step`.
            n: Rows of the batch.
            known: As in `step`.

        Returns:
            Outputs, (n, ...), on the last stage; None elsewhere.

        Raises:
            ValueError: sizes that do not fit.
            PeerError: another rank failed or is too slow.
        """
        with self.world.watch.during("an evaluation"):
            self._loss, self._rows = None, n
            out = self._run(self.schedule.eval, inputs, known, None)
            return None if out is None else cast("Tensor", out)[:n]

    def prefetch(self, ids: Tensor) -> None:
        """Begins to read from disk what this rank's buffers have of a coming batch, while others are trained on.

        Best called with the next batch's ids before the step of the present one. In memory there is nothing to do.
        """
        for end in self.ends:
            end.prefetch(ids)

    def review(self) -> list[CutReport]:
        """What each cut carried since the last call, on all ranks; best called after each epoch.

        With `max_error` in the compression, cuts whose code lost more get one bit more, at both ends at once.

        Raises:
            PeerError: another rank failed or is too slow.
        """
        if self.compression is None:
            return []
        with self.world.watch.during("comparing what the cuts lost"):
            return review_cuts(self.ends, self.compression.max_error, self.group)

    def train(self, mode: bool = True) -> None:
        """Sets this rank's stages to training or evaluation mode."""
        for stage in self.stages:
            stage.submod.train(mode)

    def clip_gradients(self, most: float) -> float:
        """Scales the gradients of the whole model so that their norm is at most `most`; returns the norm before."""
        with self.world.watch.during(f"step {self.steps}"):
            gradients = [p.grad for p in self.parameters() if p.grad is not None]
            square = torch.zeros(1, dtype=torch.float64, device=self.world.device)
            for gradient in gradients:
                square += gradient.double().square().sum()
            dist.all_reduce(square, group=self.group)
            norm = float(square.sqrt())
            if norm > most:
                torch._foreach_mul_(gradients, most / (norm + 1e-6))
            return norm

    def gather(self) -> list[dict[str, Tensor]] | None:
        """Weights of all stages on the pipeline's rank 0, in the order of the ranks; None elsewhere."""
        with self.world.watch.during("gathering the weights"):
            mine = [{key: value.cpu() for key, value in module.state_dict().items()} for module in self.modules]
            found: list[Any] | None = [None] * self.size if self.position == 0 else None
            root = 0 if self.group is None else dist.get_global_rank(self.group, 0)
            dist.gather_object(mine, found, dst=root, group=self.group)
            return None if found is None else [state for states in found for state in states]

    def hook_states(self) -> list[dict[str, Any]]:
        """States of what compresses gradients between replicas, for a checkpoint."""
        return [hook.state_dict() for hook in self._hooks]

    def load_hook_states(self, states: list[dict[str, Any]]) -> None:
        """Takes what `hook_states` gave."""
        for hook, state in zip(self._hooks, states, strict=True):
            hook.load_state_dict(state)

    def _run(self, call: Callable[..., Any], inputs: Tensor | None, known: dict[str, Tensor], losses: Any) -> Any:
        """A schedule's step on rows padded to a whole batch."""
        padded = {name: self._padded(name, value) for name, value in known.items()}
        args = (self._padded("inputs", inputs),) if self.is_first else ()
        # The target tells the loss which rows it is given; what they are, its caller knows.
        rows = torch.arange(self.batch_size) if self.is_last else None
        return call(*args, target=rows, losses=losses, **padded)

    def _padded(self, name: str, value: Tensor | None) -> Tensor:
        if value is None or len(value) != self._rows:
            got = "None" if value is None else str(tuple(value.shape))
            raise ValueError(f"`{name}` must have {self._rows} rows, one for each sample of the batch, got {got}")
        missing = self.batch_size - len(value)
        value = value.to(self.world.device)
        # Padding repeats the last row: a row that some module refuses, of length 0 say, would not do.
        return value if not missing else torch.cat([value, value[-1:].expand(missing, *value.shape[1:])])

    def _share_of_loss(self, output: Tensor, rows: Tensor) -> Tensor:
        first, end = int(rows[0]), min(int(rows[-1]) + 1, self._rows)
        if self._loss is None or first >= end:
            return output.sum() * 0  # evaluation, or a micro-batch of padding alone
        share = self._loss(output[: end - first], slice(first, end))
        if not isinstance(share, Tensor) or share.numel() != 1:
            got = tuple(share.shape) if isinstance(share, Tensor) else type(share).__name__
            raise ValueError(f"`loss` must give a tensor of one number, got {got}; sum it over the rows it is given")
        return share

    def _stage(self, number: int, module: nn.Module, seed: int, folder: str | None) -> CompressedStage:
        rows = self.batch_size // self.micro_batches
        device = self.world.device
        module = module.to(device)
        if self.replicas is not None:
            module = DistributedDataParallel(module, process_group=self.replicas)
            if self.compression is not None and self.compression.gradients < 32:
                hook = EFGradHook(self.compression.gradients, self.compression.group, self.replicas)
                hook.register(module)
                self._hooks.append(hook)
        dtypes = [self._input_dtype] + [torch.float32] * self.n_stages
        before, after = (
            torch.empty(rows, *self.shapes[k], dtype=dtypes[k], device="meta") for k in (number, number + 1)
        )
        up = down = None
        if self.compression is not None:
            if number > 0:
                up = CutEnd(self.compression, number - 1, self.shapes[number], sends=False, seed=seed, folder=folder)
            if number < self.n_stages - 1:
                shape = self.shapes[number + 1]
                down = CutEnd(self.compression, number, shape, sends=True, seed=seed, folder=folder)
        self.ends += [end for end in (up, down) if end is not None]
        return CompressedStage(
            module,
            number,
            self.n_stages,
            device,
            input_args=before,
            output_args=after,
            group=self.group,
            sender=down.sender if down else None,
            receiver=up.receiver if up else None,
            gradient_sender=up.sender_of_gradients if up else None,
            gradient_receiver=down.receiver_of_gradients if down else None,
        )

    def _compare(self, ids: Tensor) -> None:
        """Finds out before any message whether the ranks mean the same samples and know the same of them."""
        sides = [(end.number, 0 if end.sends else 1, end.known(ids)) for end in self.ends]
        agree_on_batch(ids, sides, self.n_stages - 1, self.group, self.world.device)

    def _settings(self, schedule: str) -> dict[str, Any]:
        return {
            "stages": self.n_stages,
            "shapes": self.shapes,
            "batch_size": self.batch_size,
            "micro_batches": self.micro_batches,
            "schedule": schedule,
            "compression": None if self.compression is None else self.compression.to_dict(),
        }


def _unwrapped(module: nn.Module) -> nn.Module:
    return cast("nn.Module", module.module) if isinstance(module, DistributedDataParallel) else module
