"""Models of this toolkit, and sktime's estimators, as teachers over sets of series."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seqkit.batch import DataInfo
from seqkit.datasets.batching import loader, training_loader
from seqkit.datasets.rows import Array
from seqkit.datasets.series import SeriesSet
from seqkit.datasets.statistics import statistics_of
from seqkit.datasets.targets import encode_targets
from seqkit.datasets.windows import samples_once
from seqkit.distill.estimators import described
from seqkit.models import SequenceModel, load_model
from seqkit.nn import ValueHead
from seqkit.runs.config import RunConfig
from seqkit.runs.fitting import fit_task
from seqkit.runs.inference import run_model
from seqkit.tasks.callbacks import History, SeededSteps
from seqkit.tasks.run_folder import RunFolder
from seqkit.tasks.task import SequenceTask

__all__ = ["PanelTeacher", "RunTeacher", "answers", "as_panel", "check_run", "fit_model"]


class RunTeacher:
    """A model of this toolkit that is trained as a run would be, on the series that it is given.

    Args:
        config: The run's configuration; its data section says how batches are made.
        info: What the data are.
        validation: Series to choose the best epoch by.
        trained: Folder of a finished run, whose weights are taken instead of a training.
        random_state: Seed of weights, order and dropout; the configuration's if None.

    Example:
        >>> config = RunConfig.build("japanese_vowels", "gru")
        >>> RunTeacher(config, DataInfo("toy", "classification", 1, ("a", "b")), None).classes_
        ('a', 'b')
    """

    def __init__(
        self,
        config: RunConfig,
        info: DataInfo,
        validation: SeriesSet | None,
        trained: Path | None = None,
        random_state: int | None = None,
    ) -> None:
        self.config, self.info, self.validation = config, info, validation
        self.trained, self.random_state = trained, random_state
        self.classes_ = info.classes
        self.model_: SequenceModel | None = None

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """What it was made with, as estimators say it."""
        names = ("config", "info", "validation", "trained", "random_state")
        return {name: getattr(self, name) for name in names}

    def set_params(self, **changes: Any) -> RunTeacher:
        """Changes what it was made with."""
        for name, value in changes.items():
            setattr(self, name, value)
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> RunTeacher:
        """A teacher made alike; the series are shared."""
        return RunTeacher(**self.get_params())

    def __repr__(self) -> str:
        """What determines it, to tell one teacher's targets from another's."""
        return json.dumps({**self.config.to_dict(), "trained": None if self.trained is None else str(self.trained)})

    def fit(self, X: SeriesSet, y: Any) -> RunTeacher:
        """Trains on series, which have their targets themselves."""
        if self.trained is not None:
            self.model_ = load_model(self.trained)
        else:
            seed = self.config.seed if self.random_state is None else self.random_state
            self.model_ = fit_model(self.config, X, self.info, self.validation, seed=seed)
        return self

    def predict_proba(self, X: SeriesSet) -> Array:
        """Probabilities in the order of the data's classes, (n, k)."""
        assert self.model_ is not None  # fitted before
        return answers(self.model_, X, self.info, self.config)

    def predict(self, X: SeriesSet) -> Array:
        """Values (n, k)."""
        return self.predict_proba(X)


class PanelTeacher:
    """An estimator of sktime's, or any that takes its panels, over sets of series.

    Args:
        estimator: With `fit(X, y)` and `predict_proba(X)` or `predict(X)`.

    Example:
        >>> repr(PanelTeacher("any"))
        "PanelTeacher('any')"
    """

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def __repr__(self) -> str:
        """The estimator's own words, without its place in memory."""
        return f"PanelTeacher({described(self.estimator)})"

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The estimator's `random_state`, where it has one."""
        own = self.estimator.get_params(deep=False) if hasattr(self.estimator, "get_params") else {}
        return {name: own[name] for name in ("random_state",) if name in own}

    def set_params(self, **changes: Any) -> PanelTeacher:
        """Changes the estimator's parameters."""
        self.estimator.set_params(**changes)
        return self

    def fit(self, X: SeriesSet, y: Any) -> PanelTeacher:
        """Fits the estimator."""
        self.estimator.fit(as_panel(X), np.asarray(y).reshape(len(X), -1)[:, 0] if np.ndim(y) > 1 else np.asarray(y))
        self.classes_ = [str(label) for label in getattr(self.estimator, "classes_", ())]
        return self

    def predict_proba(self, X: SeriesSet) -> Array:
        """The estimator's probabilities."""
        return np.asarray(self.estimator.predict_proba(as_panel(X)))

    def predict(self, X: SeriesSet) -> Array:
        """The estimator's values."""
        return np.asarray(self.estimator.predict(as_panel(X)))


def as_panel(series: SeriesSet) -> Any:
    """Series as sktime's panels: an array (n, C, L) where all have the same length, a list of tables otherwise.

    Example:
        >>> as_panel(SeriesSet([np.zeros((5, 2))] * 3)).shape
        (3, 2, 5)
    """
    rows = [np.asarray(one, dtype=np.float64) for one in series.values]
    if len({len(row) for row in rows}) == 1:
        return np.stack([row.T for row in rows])
    import pandas as pd  # noqa: PLC0415 - only series of unequal length need it

    return [pd.DataFrame(row) for row in rows]


def answers(model: SequenceModel, series: SeriesSet, info: DataInfo, config: RunConfig) -> Array:
    """Probabilities, or values, of series by a model, (n, k), float64; no gradient is kept."""
    batches = loader(series, info, batch_size=config.data.batch_size, with_target=False)
    scores = run_model(model, batches, device=config.training.device).scores.double()
    return (scores.softmax(dim=-1) if info.classes else scores).numpy()


def fit_model(
    config: RunConfig,
    series: SeriesSet,
    info: DataInfo,
    validation: SeriesSet | None,
    *,
    seed: int,
    goals: torch.Tensor | None = None,
    make_task: Callable[..., SequenceTask] = SequenceTask,
) -> SequenceModel:
    """Trains a model of a configuration on some series, and writes nothing.

    Args:
        config: Model, training and batches.
        series: What to train on, with targets.
        info: What the data are; classes that `series` lack are there too.
        validation: Series to choose the best epoch by; None for the training loss.
        seed: Seed of weights, order and dropout.
        goals: Targets of the training batches instead of those of `series`, (n, 3, k).
        make_task: Makes the task.

    Returns:
        The model on the CPU, in evaluation mode.

    Raises:
        FloatingPointError: the training diverged.
    """
    model = SequenceModel.from_config(config.model, info, seed=seed)
    if config.data.standardize:
        model.input_norm.set_statistics(*statistics_of(samples_once(series).values, gaps=series.has_missing))
        target = encode_targets(series, info)
        if isinstance(model.head, ValueHead) and isinstance(target, torch.Tensor):
            model.head.set_statistics(*statistics_of([target.numpy()]))
    training = config.training
    task = make_task(
        model,
        learning_rate=training.learning_rate,
        ssm_learning_rate=training.ssm_learning_rate,
        weight_decay=training.weight_decay,
        warmup=training.warmup,
        label_smoothing=training.label_smoothing,
        input_noise=training.input_noise,
    )
    data = config.data
    batches = training_loader(
        series,
        info,
        batch_size=data.batch_size,
        seed=seed,
        bucket=data.bucket,
        vary=data.variation,
        frame=data.frame,
    )
    if goals is not None:
        batches.dataset.target = goals  # type: ignore[attr-defined] # the loader's own kind of data set
    history = History(training.patience)
    fit_task(
        task,
        epochs=training.epochs,
        callbacks=[SeededSteps(seed), history],
        train=batches,
        validation=None if validation is None else loader(validation, info, batch_size=data.batch_size),
        device=training.device,
        precision=training.precision,
        gradient_clip=training.gradient_clip,
    )
    if training.keep == "best":
        model.load_state_dict(history.best_weights)
    return model.cpu().eval()


def check_run(path: str, info: DataInfo, frame: int = 1) -> None:
    """Refuses a run whose data have become others since, before it is taken for a teacher.

    Args:
        path: Folder of the run.
        info: What the student's data are.
        frame: Samples in one of its steps; a run of other frames is trained anew on these, so it is not compared.

    Raises:
        FileNotFoundError: the run is gone.
        ValueError: other channels, classes or values.
    """
    if not RunFolder(path).is_finished:
        raise FileNotFoundError(f"{path} holds no finished run any more, and it teaches here; put it back")
    if RunConfig.from_file(RunFolder(path).config).data.frame != frame:
        return
    theirs = load_model(path).info
    for what, mine, other in (
        *(("channels", info.n_channels, theirs.n_channels), ("classes", info.classes, theirs.classes)),
        ("values to predict", info.n_targets, theirs.n_targets),
    ):
        if mine != other:
            raise ValueError(
                f"{path} was trained on data with other {what} ({other}) than the student's ({mine}); train it anew"
            )
