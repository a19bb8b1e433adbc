"""Random features and their ridge model for series as they come in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqkit.datasets.rows import Array
from seqkit.estimators.engines import digest_of
from seqkit.estimators.ridge import Ridge, probabilities
from seqkit.kernels.state_features import FeatureState, carry_features, pack, start
from seqkit.streaming import Stream
from seqkit.streaming.torch_engine import TorchEngine

if TYPE_CHECKING:
    from seqkit.estimators.feature_map import FeatureMap

__all__ = ["FeatureEngine", "FeatureStream"]

LARGEST = 1e30  # of a standardised value: filters are linear


class FeatureEngine(TorchEngine):
    """Streams of a ridge model on random features; outputs are what it says of all samples so far.

    Until something is observed, that is the prediction for the mean of all features. A sample of which nothing is
    observed only lets its time pass.

    Args:
        kind: Name of the estimator.
        features: The map of the fitted estimator.
        ridge: Its model.
        classes: Labels in the order of the probabilities; None for values.
        temperature: What scores are divided by to give probabilities.

    Cost:
        About 12 m + 3 T operations a sample and filter of m stages and T thresholds, whatever has been seen.

    Example:
        >>> FeatureEngine.per_sample, FeatureEngine.takes_missing
        (False, True)
    """

    per_sample = False
    takes_missing = True

    def __init__(
        self, kind: str, features: FeatureMap, ridge: Ridge, classes: Array | None, temperature: float = 1.0
    ) -> None:
        self._map, self._ridge, self._temperature = features, ridge, temperature
        self._bank = pack(features.bank, torch.from_numpy(features.thresholds))
        self.kind = kind
        self.n_channels = len(features.mean)
        self.classes = classes
        self.output_shape = (len(ridge.intercept),) if classes is None else (len(classes),)
        self.sample_rate = features.sample_rate
        self.largest = np.minimum(LARGEST * features.scale, LARGEST)
        super().__init__(nn.Module(), dtype=torch.float32, device=torch.device("cpu"))

    def features(self, states: Any) -> Array:
        """Standardised features of what streams have seen so far, (n, P)."""
        state = self._picked(states, None)
        nothing = torch.full((len(state.clock), 1, self.n_channels), torch.nan)
        found, _ = carry_features(nothing, self._bank, state, lengths=torch.zeros(len(nothing), dtype=torch.int64))
        return self._standardised(found)

    def _description(self) -> str:
        ridge = self._ridge.coefficients, self._ridge.intercept
        return digest_of(self.kind, self._map, ridge, self._temperature)

    def _initial_state(self, n: int) -> FeatureState:
        return start(self._bank, n)

    def _step(self, x: Tensor, state: Any, steps: Tensor | None, observed: Tensor | None) -> tuple[Tensor, Any]:
        mask = None if observed is None else observed[:, None]
        return self._outputs(x[:, None], state, 1.0 if steps is None else steps[:, None], mask)

    def _scan(
        self, x: Tensor, state: Any, rate: float, times: Tensor | None, observed: Tensor | None
    ) -> tuple[Tensor, Any]:
        steps: float | Tensor = rate
        if times is not None:
            steps = F.pad(times.diff(dim=1), (1, 0), value=rate)
        return self._outputs(x, state, steps, observed)

    def _outputs(
        self, x: Tensor, state: FeatureState, steps: float | Tensor, observed: Tensor | None
    ) -> tuple[Tensor, Any]:
        values = torch.from_numpy(self._map.scaled(x.numpy()))
        if observed is not None:
            values = torch.where(observed, values, torch.nan)
        found, new = carry_features(values, self._bank, state, steps=steps)
        scores = self._ridge.scores(self._standardised(found))
        return torch.from_numpy(scores if self.classes is None else probabilities(scores, self._temperature)), new

    def _standardised(self, found: Tensor) -> Array:
        return self._map.standardised(found[..., : self._map.n_statistics].flatten(1).double().numpy())


class FeatureStream(Stream):
    """`Stream` of an estimator on random features, which also shows them.

    Example:
        >>> import numpy as np
        >>> from seqkit.estimators import HiPPOFeaturesClassifier
        >>> X, y = np.random.default_rng(0).normal(size=(6, 2, 20)), np.array(list("ababab"))
        >>> fitted = HiPPOFeaturesClassifier(n_filters=50, random_state=0).fit(X, y)
        >>> stream = fitted.stream()
        >>> shares = stream.push(X[0].T)
        >>> bool(np.allclose(shares, fitted.predict_proba(X[:1])[0], atol=1e-5)), stream.predict() in "ab", len(stream)
        (True, True, 20)
        >>> bool(np.allclose(stream.features, fitted.features(X[:1])[0], atol=1e-5))
        True
    """

    @property
    def features(self) -> Array:
        """Standardised features of the series so far, (P,), as `features` of the estimator gives them.

        Raises:
            ValueError: no sample has come yet, or there are no features, as with one class only.
        """
        if not isinstance(self.engine, FeatureEngine):
            raise ValueError("the training series have one class only, so no features were made; give two classes")
        _ = self.output  # which has its own words where there is none
        return np.asarray(self.engine.features(self._states)[0])
