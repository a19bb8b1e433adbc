"""The training of a run as a pipeline: epochs, validation, checkpoints and best weights, on each of its ranks."""

from __future__ import annotations

import math
import shutil
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from seqkit.batch import Batch
from seqkit.datasets.module import SeriesDataModule
from seqkit.distributed import (
    Compression,
    Pipeline,
    World,
    has_checkpoint,
    join_states,
    load_checkpoint,
    make_mesh,
    save_checkpoint,
    split_model,
)
from seqkit.models import SequenceModel
from seqkit.nn import ValueHead
from seqkit.runs.config import RunConfig
from seqkit.runs.inference import Outputs, measure
from seqkit.runs.loss_share import count_targets, loss_share
from seqkit.runs.parallel_config import ParallelConfig
from seqkit.runs.pipeline_batches import PipelineBatches
from seqkit.tasks import param_groups
from seqkit.tasks.callbacks import History
from seqkit.tasks.progress import ProgressLine
from seqkit.tasks.run_folder import RunFolder
from seqkit.tasks.task import warmup_cosine

__all__ = ["PipelinedTraining"]


class PipelinedTraining:
    """One rank of a run's training as a pipeline.

    Every rank of a pipeline reads the same batches, see `PipelineBatches`; a batch that is smaller than the others is
    padded with rows that count for nothing. The steps are those of a training in one process without buckets, to the
    rounding of float32, when nothing is compressed and nothing is drawn by dropout.

    Args:
        config: The run.
        parallel: How it is spread.
        model: The fresh model, the same on all ranks.
        module: Its data.
        world: The ranks.
        folder: The run's folder.
        line: Where rank 0 shows progress.
    """

    def __init__(
        self,
        config: RunConfig,
        parallel: ParallelConfig,
        model: SequenceModel,
        module: SeriesDataModule,
        world: World,
        folder: RunFolder,
        line: ProgressLine,
    ) -> None:
        self.config, self.parallel, self.module, self.world = config, parallel, module, world
        self.folder, self.line, self.info = folder, line, module.info
        self.checkpoints = folder.checkpoint.parent
        self.history = History(config.training.patience)
        self.scale = model.head.scale.clone() if isinstance(model.head, ValueHead) else None
        self.deviation = model.input_norm.std.clone()
        mesh = make_mesh(world, parallel.ddp)
        self.replica = mesh.replica
        batch_size = config.data.batch_size // parallel.ddp
        self.batches = PipelineBatches(module, batch_size, config.seed, mesh.replica, parallel.ddp)
        split = split_model(model, parallel.n_stages, length=self.batches.length)
        compression = None if parallel.compress is None else Compression.parse(parallel.compress)
        self.pipeline = Pipeline(
            split.stages,
            split.shapes,
            world,
            batch_size=batch_size,
            micro_batches=parallel.micro_batches,
            schedule=parallel.schedule,
            compression=compression,
            group=mesh.group,
            replicas=mesh.replicas,
            seed=config.seed * parallel.ddp + mesh.replica,
            folder=str(self._buffers) if parallel.buffers == "disk" else None,
        )
        training = config.training
        groups = param_groups(
            nn.ModuleList(self.pipeline.modules),
            learning_rate=training.learning_rate,
            ssm_learning_rate=training.ssm_learning_rate,
            weight_decay=training.weight_decay,
        )
        self.optimizer = torch.optim.AdamW(groups)
        steps = training.epochs * len(self.batches)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: warmup_cosine(step, steps, training.warmup)
        )
        self.epoch, self.batch, self.losses = 0, 0, [0.0, 0.0]
        self.best: list[dict[str, Tensor]] = []
        self.cuts: list[list[dict[str, Any]]] = []
        self.said: set[tuple[int, int, int]] = set()

    def run(self) -> None:
        """Trains to the end, from the last checkpoint if there is one."""
        training = self.config.training
        if has_checkpoint(self.checkpoints):
            self._load()
        self.line.start(epochs=training.epochs, done=self.epoch)
        while self.epoch < training.epochs and not self.history.stopped:
            began = time.monotonic()
            self._train_epoch()
            row = self._row(began)
            self._note(row)
            self._review()
            self.epoch, self.batch, self.losses = self.epoch + 1, 0, [0.0, 0.0]
            self._save()
            if self.world.rank == 0:
                self.folder.write_metrics(self.history.rows)
                self.line.epoch(self.epoch - 1, row)
        self.line.stop()
        if self.parallel.buffers == "disk":  # the last checkpoint has what they held
            shutil.rmtree(self._buffers, ignore_errors=True)

    def weights(self) -> dict[str, Tensor] | None:
        """Weights that the run keeps, on rank 0; None elsewhere."""
        if self.config.training.keep == "best":
            for module, weights in zip(self.pipeline.modules, self.best, strict=True):
                module.load_state_dict(weights)
        states = self.pipeline.gather()
        return None if states is None or self.world.rank != 0 else join_states(states)

    def sent(self) -> dict[str, Any]:
        """What the messages of all ranks took, for the summary."""
        mine = {
            "bytes": self.pipeline.bytes_sent,
            "gradient_bytes": self.pipeline.gradient_bytes_sent,
            "buffer_bytes": sum(end.nbytes for end in self.pipeline.ends),
        }
        if self.parallel.buffers == "disk":
            stores = [end.store for end in self.pipeline.ends if end.store is not None]
            mine["rows_read_ahead"] = sum(store.ahead.taken for store in stores)
            mine["rows_read_late"] = sum(store.ahead.missed for store in stores)
        found: list[Any] = [None] * self.world.size
        dist.all_gather_object(found, mine)
        return {**self.parallel.to_dict(), "steps": self.pipeline.steps, "ranks": found, "cuts": self.cuts}

    def _train_epoch(self) -> None:
        self.pipeline.train()
        draws = self.batches.draws(self.epoch)
        coming = self.batches.draws(self.epoch + 1)[:1] if self.epoch + 1 < self.config.training.epochs else []
        following = [*draws[1:], *coming]
        for number in range(self.batch, len(draws)):
            if number < len(following):
                self.pipeline.prefetch(torch.tensor(following[number].places))
            self._step(self.batches[draws[number]], torch.tensor(draws[number].places))
            self.batch = number + 1
            every = self.config.training.checkpoint_steps
            if every is not None and self.pipeline.steps % every == 0 and self.batch < len(draws):
                self._save()
            self.line.move(self.epoch + self.batch / len(draws))

    def _step(self, batch: Batch, ids: Tensor) -> None:
        training = self.config.training
        # A step's dropout depends on seed, step and rank alone, so that a resumed run draws the same.
        words = (self.config.seed * 1_000_003 + self.pipeline.steps) * 1_009 + self.world.rank
        torch.default_generator.manual_seed(words % 2**63)
        values, target = self.batches.padded(batch.values), batch.target
        assert target is not None  # data to train on have targets
        if training.input_noise > 0:
            values = values + training.input_noise * self.deviation * torch.randn_like(values)
        count, lengths = count_targets(self.info, batch.lengths), batch.lengths
        device = self.world.device
        scale = None if self.scale is None else self.scale.to(device)

        def share(outputs: Tensor, rows: slice) -> Tensor:
            part = self.batches.padded(target[rows]) if self.info.task == "sequence" else target[rows]
            smoothing = training.label_smoothing
            return loss_share(
                self.info, outputs, part.to(device), lengths[rows], count=count, scale=scale, smoothing=smoothing
            )

        loss = self.pipeline.step(values, loss=share, ids=ids, **self.batches.known(batch))
        if loss is not None:
            if not math.isfinite(loss):
                raise FloatingPointError(
                    f"the training loss became NaN or infinite in epoch {self.epoch + 1}; lower learning_rate, set "
                    "gradient_clip, or check the data for extreme values"
                )
            self.losses = [self.losses[0] + loss * count, self.losses[1] + count]
        if training.gradient_clip is not None:
            self.pipeline.clip_gradients(training.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.step()

    def _validate(self) -> dict[str, float]:
        """Metrics of the validation part, on the rank with the last stage of the first pipeline; empty elsewhere."""
        if "val" not in self.module.sets or self.replica != 0:
            return {}
        self.pipeline.train(False)
        scores, targets, lengths = [], [], []
        for batch in self.batches.validation():
            values, known = self.batches.padded(batch.values), self.batches.known(batch)
            out = self.pipeline.evaluate(values, len(batch.lengths), **known)
            if out is None:
                continue
            assert batch.target is not None
            out = out.cpu()
            if self.info.task == "sequence":
                inside = torch.arange(batch.values.shape[1]) < batch.lengths[:, None]
                scores.append(out[:, : batch.values.shape[1]][inside])
                targets.append(batch.target[inside])
            else:
                scores.append(out)
                targets.append(batch.target)
            lengths.append(batch.lengths)
        if not scores:
            return {}
        found = measure(Outputs(torch.cat(scores), torch.cat(targets), torch.cat(lengths)), self.info)
        if self.scale is not None:  # as the task logs it: in units of the target's deviation
            error = (torch.cat(scores) - torch.cat(targets).reshape(torch.cat(scores).shape)) / self.scale
            found["loss"] = float(error.square().mean())
        return {f"val_{name}": value for name, value in found.items()}

    def _row(self, began: float) -> dict[str, float]:
        """The epoch's row of metrics, on all ranks, as the rank with the outputs has it."""
        with self.world.watch.during(f"epoch {self.epoch + 1}"):
            metrics = self._validate()
            share = torch.tensor(self.losses, dtype=torch.float64, device=self.world.device)
            dist.all_reduce(share)
            found: list[Any] = [None] * self.world.size
            dist.all_gather_object(found, metrics)
        metrics = {"train_loss": float(share[0] / share[1]), **next((one for one in found if one), {})}
        rates = {f"lr_{group['name'].replace(' ', '_')}": group["lr"] for group in self.optimizer.param_groups}
        return {"epoch": self.epoch, **metrics, **rates, "seconds": time.monotonic() - began}

    def _note(self, row: dict[str, float]) -> None:
        """Adds the epoch's row; keeps this rank's weights if its validation loss is the lowest."""
        history = self.history
        history.rows.append(row)
        loss = row.get("val_loss", row["train_loss"])
        if not self.best or loss < history.best_loss:
            history.best_loss, history.best_epoch = (loss if math.isfinite(loss) else math.inf), self.epoch
            self.best = [
                {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}
                for module in self.pipeline.modules
            ]
        patience = self.config.training.patience
        history.stopped = patience is not None and self.epoch - history.best_epoch >= patience

    def _review(self) -> None:
        """Keeps what the cuts of the first pipeline carried in this epoch, and says what a user should know."""
        reports = self.pipeline.review()
        if reports:
            self.cuts.append([report._asdict() for report in reports])
        for report in reports:
            key = (report.cut, report.bits, report.bits_next)
            if report.sentence is not None and key not in self.said:
                self.said.add(key)
                self.line.say(report.sentence)

    @property
    def _buffers(self) -> Path:
        """Folder for message buffers on disk, of this rank alone."""
        return self.folder.path / "buffers" / f"rank{self.world.rank}"

    def _save(self) -> None:
        state: dict[str, Any] = {
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "history": {key: value for key, value in self.history.state_dict().items() if key != "best_weights"},
            "best": self.best,
            "at": [self.epoch, self.batch],
            "losses": self.losses,
            "cuts": self.cuts,
        }
        state["schedule"].pop("lr_lambdas", None)
        save_checkpoint(self.checkpoints, self.pipeline, state)

    def _load(self) -> None:
        state = load_checkpoint(self.checkpoints, self.pipeline)
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict({**self.schedule.state_dict(), **state["schedule"]})
        self.history.load_state_dict({**state["history"], "best_weights": {}})
        self.best, self.losses, self.cuts = state["best"], state["losses"], state["cuts"]
        self.epoch, self.batch = state["at"]
