"""The regressor over any model of the toolkit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from sktime.regression.base import BaseRegressor

from seqkit.datasets.rows import Array
from seqkit.estimators.learner import ModelEstimator
from seqkit.estimators.panel import PANEL_MTYPES
from seqkit.estimators.sizes import AUTO

__all__ = ["LSSLRegressor"]


class LSSLRegressor(ModelEstimator, BaseRegressor):  # type: ignore[misc] # sktime has no types
    """Predicts a number for each series with a linear state-space layer, or any other mixer of the toolkit.

        series -> standardise -> linear encoder -> residual blocks -> pooling over time -> value

    Takes every panel of sktime's: series of unequal length, missing values (NaN is "not observed"), and times from the
    index, even at another rate than in training, or uneven. The loss is the mean squared error. Sizes that are "auto"
    are chosen from length, channels and number of the series; `sizes_` shows them.

    Args:
        mixer: Name of a preset of `seqkit.models`: "lssl", "s4", "s4d", "gru", "lstm", "hippo_legs" and so on, as
            `seqkit models` lists them.
        d_model: Width of the model.
        n_layers: Number of blocks.
        order: Size of the state of each channel, for mixers that have one.
        dropout: Share of values dropped in each block.
        epochs: Passes over the training series at most.
        batch_size: Series in a batch.
        learning_rate: Peak learning rate.
        weight_decay: Decay of matrices outside the state-space parameters.
        input_noise: Deviation of Gaussian noise added to training samples, in units of each channel's own.
        validation: Share of the series held out to choose the best epoch; 0 for none.
        patience: Epochs without a better validation loss after which training stops; None for never.
        mixer_options: Further options of the mixer, such as `measure` or `dt_min`, and of the model, such as `pool`.
        time_limit: Seconds that `fit` may take; None for no limit. The learning rate comes down in time.
        sample_rate: Samples per second of the training series where their index does not say it (Hz).
        warm_start: Whether a further `fit` goes on from the weights of the one before.
        callbacks: Callbacks of Lightning, or functions that take each epoch's metrics as a dictionary; one that returns
            True ends the training.
        device: "auto", "cpu" or "cuda". The fitted model is kept on the CPU.
        n_jobs: Threads; -1 for all cores, None for one.
        random_state: Seed of weights, cuts, order and dropout: a whole number, a generator of numpy's, or None for a
            new one each time. Global generators are left alone.
        verbose: Whether to show what was chosen, and progress with the time left, on standard error.

    Attributes:
        model_: The fitted `SequenceModel`; `seqkit.models.save_model` writes it.
        sizes_: What was chosen and given, by name.
        history_: Metrics of each epoch.
        stopped_by_: "epochs", "patience", "time_limit" or "callback".

    Raises:
        ValueError: at `fit`, an unknown name, a value out of range, or series that cannot be used.

    Source:
        Gu et al. 2021, LSSL (arXiv:2110.13985), for the layer.

    Example:
        >>> import numpy as np
        >>> from seqkit.estimators import LSSLRegressor
        >>> X = np.random.default_rng(0).normal(size=(40, 1, 30)).cumsum(axis=-1)
        >>> y = X[:, 0].max(axis=-1)
        >>> model = LSSLRegressor("s4d", d_model=16, n_layers=1, epochs=30, random_state=0).fit(X, y)
        >>> model.score(X, y) > 0.5
        True
    """

    _tags: ClassVar[dict[str, Any]] = {
        "authors": "seqkit",
        "maintainers": "seqkit",
        "python_dependencies": ["torch", "lightning"],
        "X_inner_mtype": PANEL_MTYPES,
        "y_inner_mtype": "numpy1D",
        "capability:multivariate": True,
        "capability:unequal_length": True,
        "capability:missing_values": True,
        "capability:random_state": True,
        "capability:contractable": True,
        "capability:multithreading": True,
        "capability:categorical_in_X": False,
        "property:randomness": "derandomized",
    }

    def __init__(
        self,
        mixer: str = "lssl",
        *,
        d_model: int | str = AUTO,
        n_layers: int | str = AUTO,
        order: int | str = AUTO,
        dropout: float | str = AUTO,
        epochs: int | str = AUTO,
        batch_size: int | str = AUTO,
        learning_rate: float | str = AUTO,
        weight_decay: float | str = AUTO,
        input_noise: float | str = AUTO,
        validation: float | str = AUTO,
        patience: int | str | None = AUTO,
        mixer_options: dict[str, Any] | None = None,
        time_limit: float | None = None,
        sample_rate: float | None = None,
        warm_start: bool = False,
        callbacks: Sequence[Any] | None = None,
        device: str = "auto",
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.mixer = mixer
        self.d_model = d_model
        self.n_layers = n_layers
        self.order = order
        self.dropout = dropout
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.input_noise = input_noise
        self.validation = validation
        self.patience = patience
        self.mixer_options = mixer_options
        self.time_limit = time_limit
        self.sample_rate = sample_rate
        self.warm_start = warm_start
        self.callbacks = callbacks
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose
        super().__init__()

    def _fit(self, X: Any, y: Array) -> LSSLRegressor:
        self._train(X, np.asarray(y, dtype=np.float64), (), None)
        return self

    def _predict(self, X: Any) -> Array:
        return self._outputs(X)[:, 0]

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Small settings for sktime's tests."""
        tiny = {"d_model": 4, "n_layers": 1, "epochs": 1, "n_jobs": 1, "random_state": 0}
        return [
            {**tiny, "mixer": "lssl", "order": 4},
            {**tiny, "mixer": "gru", "validation": 0.3, "patience": 1},
        ]
