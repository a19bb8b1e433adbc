"""Ridge regression in closed form, with the score of each series by the model fitted without it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from seqkit.datasets.rows import Array

__all__ = ["Ridge", "fit_ridge", "probabilities", "temperature_of"]


class Ridge(NamedTuple):
    """A linear model.

    Args:
        coefficients: (P, K).
        intercept: (K,).
        alpha: The penalty that was chosen.
        held_out: Score of each training series by the model fitted without it, (n, K).
    """

    coefficients: Array
    intercept: Array
    alpha: float
    held_out: Array

    def scores(self, X: Array) -> Array:
        """Scores (n, K) of features (n, P).

        Example:
            >>> Ridge(np.ones((2, 1)), np.zeros(1), 1.0, np.zeros((0, 1))).scores(np.ones((3, 2))).ravel().tolist()
            [2.0, 2.0, 2.0]
        """
        return np.asarray(X @ self.coefficients + self.intercept)


def fit_ridge(X: Array, Y: Array, alphas: Sequence[float], weight: Array | None = None) -> Ridge:
    """Fits a ridge model with an intercept; the penalty is the one of the least squared error on held-out series.

        w = argmin_w sum_i v_i |y_i - b - x_i w|^2 + alpha |w|^2

    With the singular vectors u of the weighted, centred features, the share of y_i in its own fit is
    h_i = v_i / sum(v) + sum_k u_ik^2 s_k^2 / (s_k^2 + alpha), and leaving i out turns its residual r into r / (1 - h).
    One decomposition serves all penalties.

    Args:
        X: Features, (n, P).
        Y: Targets, (n, K).
        alphas: Penalties to choose from.
        weight: Weight of each series, (n,), or None for equal ones.

    Source:
        Golub, Heath and Wahba 1979, Generalized cross-validation, section 2, for the residual of what is left out.

    Example:
        >>> x = np.arange(6.0)[:, None]
        >>> fit_ridge(x, 2 * x + 1, [1e-6]).coefficients.round(3).item()
        2.0
    """
    n = len(X)
    weight = np.ones(n) if weight is None else np.asarray(weight, dtype=np.float64)
    total = weight.sum()
    root = np.sqrt(weight)[:, None]
    x_mean, y_mean = weight @ X / total, weight @ Y / total
    B = (Y - y_mean) * root
    squares, U = _decomposed(X, x_mean, root)
    used = (weight > 0)[:, None]
    projected = U.T @ B
    penalties = np.asarray(alphas, dtype=np.float64)
    shrunk = squares[:, None] / (squares[:, None] + penalties)
    fitted = (U @ (shrunk[:, :, None] * projected[:, None, :]).reshape(len(squares), -1)).reshape(n, len(penalties), -1)
    kept = np.maximum(1 - (weight / total)[:, None] - (U**2) @ shrunk, 1e-10)
    every = (B[:, None, :] - fitted) / kept[:, :, None]
    best = int(np.argmin(np.square(every).sum(axis=(0, 2))))
    alpha, left_out = float(penalties[best]), every[:, best]
    dual = root * (U @ (projected / (squares + alpha)[:, None]))
    coefficients = X.T @ dual - np.outer(x_mean, dual.sum(axis=0))
    held_out = Y - np.divide(left_out, root, out=np.zeros_like(left_out), where=used)
    return Ridge(coefficients, y_mean - x_mean @ coefficients, alpha, held_out)


def _decomposed(X: Array, x_mean: Array, root: Array) -> tuple[Array, Array]:
    """Squared singular values (r,) and left singular vectors (n, r) of root (X - x_mean), by the smaller Gram matrix.

    With fewer series than features the products of series are centred instead of the features: in float64 features of
    about unit size lose nothing by it, and no copy of them is made.
    """
    n, p = X.shape
    if n > p:
        A = (X - x_mean) * root
        values, vectors = eigh(A.T @ A, driver="evd", overwrite_a=True, check_finite=False)
    else:
        cross = X @ x_mean
        gram = X @ X.T
        gram -= cross
        gram -= (cross - x_mean @ x_mean)[:, None]
        gram *= root
        gram *= root.T
        values, vectors = eigh(gram, driver="evd", overwrite_a=True, check_finite=False)
    large = values > max(values[-1], 0.0) * 1e-12 if len(values) else values > 0
    values, vectors = values[large], vectors[:, large]
    return values, vectors if n <= p else A @ vectors / np.sqrt(values)


def temperature_of(scores: Array, labels: Array, weight: Array | None = None) -> float:
    """The number that scores are divided by to give the likeliest probabilities.

    Each label counts as 1 - 1/(n+1) of certainty, so that n scores without an error do not make certain.

    Args:
        scores: Held-out scores, (n, K).
        labels: Class numbers, (n,).
        weight: Weight of each series, or None.

    Source:
        Guo et al. 2017, On calibration of modern neural networks; Platt 1999 for the certainty of labels.

    Example:
        >>> right = np.array([[1.0, -1.0], [-1.0, 1.0]] * 20)
        >>> temperature_of(right, np.array([0, 1] * 20)) < temperature_of(right, np.array([0, 1] * 10 + [1, 0] * 10))
        True
    """
    n, n_classes = scores.shape
    unsure = 1 / (n + 1)
    target = np.full((n, n_classes), unsure / n_classes)
    target[np.arange(n), labels] += 1 - unsure
    target *= 1.0 if weight is None else weight[:, None]

    def loss(log_t: float) -> float:
        z = scores / np.exp(log_t)
        z -= z.max(axis=1, keepdims=True)
        z -= np.log(np.exp(z).sum(axis=1, keepdims=True))
        return -float((target * z).sum())

    return float(np.exp(minimize_scalar(loss, bounds=(-5.0, 5.0), method="bounded").x))


def probabilities(scores: Array, temperature: float, axis: int = 1) -> Array:
    """Probabilities (n, K) of scores.

    Example:
        >>> probabilities(np.zeros((1, 2)), 1.0).tolist()
        [[0.5, 0.5]]
    """
    return np.asarray(softmax(scores / temperature, axis=axis))
