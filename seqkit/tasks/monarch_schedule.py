"""A Lightning callback that makes dense layers structured, or structured ones dense, once within a training."""

from __future__ import annotations

import math
import warnings
import weakref
from collections.abc import Iterable
from typing import Any

import lightning as L
from lightning.pytorch.strategies import ParallelStrategy
from torch import nn

from seqkit.checks import check_choice
from seqkit.structured import StructuredLinear, densify, input_moments, replace_linear
from seqkit.structured.replace import Select
from seqkit.tasks.callbacks import History
from seqkit.tasks.optimizer_swap import adopt_parameters, optimizers_of
from seqkit.tasks.swap_checks import CheckpointFollower, check_averaging

__all__ = ["MonarchSchedule"]


class MonarchSchedule(L.Callback):
    """Replaces layers once in a training: dense ones by structured ones, or the other way round.

    `to="structured"` takes the nearest structured weights of trained dense layers and goes on training them:
    fine-tuning from dense to sparse. `to="dense"` begins with structured layers, newly drawn, and multiplies them out
    for the last steps: reverse sparsification. A model that already holds structured layers begins with those.

    At the replacement the optimizers get the new parameters in the groups where `configure_optimizers`, called again,
    puts them; learning rates and schedules go on. Moments of the replaced weights are dropped and those of the new ones
    begin at zero with their own count of steps: a second moment cannot be carried over, because that of a product of
    factors does not follow from those of its entries. Parameters that stay, biases among them, keep their moments.

    A resumed or tested checkpoint finds the layers that it was written with. `History` starts its choice of the best
    epoch anew at the replacement, since weights from before it have no place in the model. A schedule that meets
    another model, as in the next fold of a cross-validation, begins anew. A training that ends before the replacement
    warns.

    Args:
        to: "structured" or "dense", what the layers become.
        at: When: a share of the training's optimizer steps, 0 <= at < 1, before the last at the latest, or a whole
            number of steps. 0, which only `to="structured"` may have, replaces before the optimizers are made.
        structure: Name of a registered family.
        select: Which layers, by name and layer; None for those that the structure makes smaller (to structured, or at
            the start) and for all structured ones (to dense).
        data: Batches that the task's forward takes, such as a few of a training loader, on which the model runs once
            before dense layers become structured: new weights are then nearest where inputs are, see `replace_linear`.
        **options: Options of the family and of its fit.

    Raises:
        ValueError: a direction or time that cannot be, or data for one that has no use for them; when training starts,
            a strategy of several processes with a replacement after the start, a callback that averages weights over
            the replacement, a share of a training without end, or no layer to replace.

    Source:
        Dao et al. 2022, Monarch (arXiv:2204.00595), section 3.3 (reverse sparsification in the last tenth of the steps
        for GPT-2, in the last 30 % for BERT; dense to sparse by projection).

    Example:
        >>> callbacks = [MonarchSchedule("structured")]  # project, then fine-tune
        >>> callbacks = [MonarchSchedule("dense", at=0.9, n_blocks=4, slice_rank=2)]
    """

    def __init__(
        self,
        to: str = "structured",
        at: float = 0.0,
        structure: str = "monarch",
        *,
        select: Select | None = None,
        data: Iterable[Any] | None = None,
        **options: Any,
    ) -> None:
        self.to = check_choice("to", to, ("structured", "dense"))
        whole = isinstance(at, int) and not isinstance(at, bool)
        if not (whole and at >= 0) and not (isinstance(at, float) and 0 <= at < 1):
            raise ValueError(f"`at` must be a share from 0 to below 1 or a whole number of steps, got {at!r}")
        if to == "dense" and at == 0:
            raise ValueError(
                '`at` must be above 0 with to="dense", got 0; a training that is dense throughout needs none'
            )
        if to == "dense" and data is not None:
            raise ValueError('`data` must be None with to="dense", whose layers are drawn newly and multiplied out')
        self.at = at
        self.structure = structure
        self.data = data
        self.select = select
        self.options = options
        self.replaced: list[str] = []
        self._step: float = math.inf
        self._module: weakref.ref[nn.Module] | None = None

    @property
    def state_key(self) -> str:
        """Tells several schedules of one training apart."""
        return f"{type(self).__name__}(to={self.to}, at={self.at}, structure={self.structure})"

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the module out of copies and files."""
        return {**self.__dict__, "_module": None}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Makes the layers what training begins with, and what a checkpoint has before it is loaded."""
        self._meet(pl_module)
        if stage == "fit" and not self.replaced:
            early = self.to == "structured" and self.at == 0
            begins = self.to == "dense" and not holds_structured(pl_module)
            check_averaging(trainer, self, at_start=early, in_setup=early or begins)
            if early:
                self.replaced = self._make_structured(pl_module, fresh=False)
            elif begins:
                self._make_structured(pl_module, fresh=True)
        CheckpointFollower.attach(pl_module, self.follow)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Takes the hook away where no checkpoint was loaded."""
        CheckpointFollower.detach(pl_module)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """The same where training breaks off, which Lightning ends without `teardown`."""
        CheckpointFollower.detach(pl_module)

    def follow(self, module: nn.Module, checkpoint: dict[str, Any]) -> None:
        """Gives the layers the form that they have in a checkpoint; one without this schedule changes nothing.

        Lightning's trainer does this on loading. Others call it before `load_state_dict`.
        """
        state = checkpoint.get("callbacks", {}).get(self.state_key)
        if state is None:
            return
        self._meet(module)
        before, self.replaced = self.replaced, list(state["replaced"])
        if self.to == "dense":
            if self.replaced:
                densify(module, select=self.select)
            elif not holds_structured(module):
                self._make_structured(module, fresh=True)
        elif self.replaced and not before:
            self._make_structured(module, fresh=True)
        elif before and not self.replaced:
            densify(module, select=lambda name, layer: name in before)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Turns a share into a number of steps."""
        if self.replaced:
            return
        if trainer.world_size > 1 or isinstance(trainer.strategy, ParallelStrategy):
            raise ValueError(
                f"`at` must be 0 under {type(trainer.strategy).__name__}, got {self.at!r}; the gradients of several "
                "processes, or of one that is run as such, are tied to the parameters at the start"
            )
        if isinstance(self.at, int):
            self._step = self.at
            return
        total = trainer.estimated_stepping_batches
        if math.isinf(total):
            raise ValueError(f"`at` must be a number of steps where training has no end, got {self.at!r}")
        self._step = min(round(self.at * total), max(int(total) - 1, 0))

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Replaces the layers when their step has come; a step of accumulated gradients is never cut in two."""
        if self.replaced or trainer.global_step < self._step:
            return
        if self.to == "dense":
            self.replaced = densify(pl_module, select=self.select)
        else:
            self.replaced = self._make_structured(pl_module, fresh=False)
        adopt_parameters(trainer.optimizers, optimizers_of(pl_module.configure_optimizers()))
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, History):
                callback.forget_best()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Says so where the time of the replacement never came."""
        if not self.replaced:
            warnings.warn(
                f"training ended at step {trainer.global_step}, and no layer has become {self.to}, which was to be at "
                f"step {self._step:.0f}; give a smaller `at`, or train on",
                stacklevel=2,
            )

    def state_dict(self) -> dict[str, Any]:
        """The layers replaced so far."""
        return {"replaced": self.replaced}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes what `state_dict` gave."""
        self.replaced = list(state_dict["replaced"])

    def _meet(self, module: nn.Module) -> None:
        """Forgets what was replaced in another model."""
        if self._module is not None and self._module() is not module:
            self.replaced = []
        self._module = weakref.ref(module)

    def _make_structured(self, module: nn.Module, *, fresh: bool) -> list[str]:
        moments = None
        if self.data is not None and not fresh:
            moments = input_moments(module, self.data, forward=run_task)
        return replace_linear(module, self.structure, select=self.select, fresh=fresh, data=moments, **self.options)


def run_task(module: nn.Module, batch: Any) -> Any:
    """Runs a Lightning module on a batch, on the module's device."""
    if isinstance(module, L.LightningModule):
        batch = module.transfer_batch_to_device(batch, module.device, 0)
    return module(batch)


def holds_structured(module: nn.Module) -> bool:
    """Whether any layer inside is structured."""
    return any(isinstance(child, StructuredLinear) for child in module.modules())
