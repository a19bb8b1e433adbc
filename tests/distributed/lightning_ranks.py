"""What the ranks of the pipeline tests do in Lightning's trainer, which takes seconds to import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from lightning.pytorch.strategies import DDPStrategy
from pipeline_ranks import LENGTH, N, data, model
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from seqkit.distributed import EFGradHook
from seqkit.distributed.launch import World
from seqkit.distributed.lightning_task import CompressGradients, PipelineTask
from seqkit.distributed.pipeline import Pipeline
from seqkit.distributed.split import join_states, split_model

QUIET: dict[str, Any] = {
    **dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False),
    "accelerator": "cpu",
}


def in_lightning(world: World) -> dict[str, Any]:
    """Two epochs by Lightning's trainer."""
    x, y, _ = data()
    split = split_model(model(), 2, length=LENGTH)
    pipeline = Pipeline(split.stages, split.shapes, world, batch_size=8, micro_batches=4)

    def share(out: Tensor, target: Tensor, rows: int) -> Tensor:
        return F.cross_entropy(out, target, reduction="sum") / rows

    task = PipelineTask(pipeline, share, lambda parameters: torch.optim.SGD(parameters, lr=0.2))
    loader = DataLoader(TensorDataset(x, y, torch.arange(N)), batch_size=8)
    trainer = L.Trainer(devices=1, max_epochs=2, **QUIET)
    trainer.fit(task, loader)
    mine = [{key: value.clone() for key, value in one.state_dict().items()} for one in pipeline.modules]
    found: list[Any] = [None] * world.size
    dist.all_gather_object(found, mine)
    logged = {key: float(value) for key, value in trainer.callback_metrics.items()}
    return {"weights": join_states([state for states in found for state in states]), "logged": logged}


class Line(L.LightningModule):
    """Least squares on eight rows, of which each process has its half."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(5, 3)

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        return (self.layer(batch[0]) - batch[1]).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def copies_in_lightning(world: World, folder: str) -> dict[str, Any]:
    """Six epochs of copies whose gradients have three bits; three, and three more from a checkpoint with and without
    what coding had lost."""
    generator = torch.Generator().manual_seed(world.rank)
    rows = TensorDataset(torch.randn(8, 5, generator=generator), torch.randn(8, 3, generator=generator))

    def trained(epochs: int, path: str | None = None) -> tuple[Tensor, L.Trainer]:
        task, hook = Line(), CompressGradients(EFGradHook(3, 8))
        trainer = L.Trainer(
            strategy=DDPStrategy(process_group_backend="gloo"), devices=2, max_epochs=epochs, callbacks=[hook], **QUIET
        )
        trainer.fit(task, DataLoader(rows, batch_size=4), ckpt_path=path, weights_only=True)
        return task.layer.weight.detach().clone(), trainer

    whole, _ = trained(6)
    kept = str(Path(folder) / "copies.ckpt")
    trained(3)[1].save_checkpoint(kept)
    again, _ = trained(6, kept)
    if world.rank == 0:
        page = torch.load(kept, weights_only=True)
        for name in [name for name in page["callbacks"] if name.startswith("CompressGradients")]:
            del page["callbacks"][name]
        torch.save(page, kept + ".bare")
    dist.barrier()
    bare, _ = trained(6, kept + ".bare")
    return {"whole": whole, "again": again, "bare": bare}
