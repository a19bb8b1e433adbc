"""A state-space layer that starts as a drawn bank of filters: steps from their memories, C and D by least squares."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from seqkit.kernels.state_features import Filters
from seqkit.kernels.state_features.reference import outputs_reference
from seqkit.ssm.base import StateSpaceMixer

__all__ = ["level_skip", "responses", "start_as"]

PACES = (0.5, 1.0, 2.0)
"""Steps that are tried for a filter, in units of one over its memory."""
DENSE = 512
"""Samples of a response that are all looked at; of later ones as many again, evenly."""
AT_ONCE = 2**24
"""Numbers of responses that are held at once."""
RIDGE = 1e-5
"""Penalty of the least squares, in units of the mean square of what is fitted."""


@torch.no_grad()
def start_as(mixer: StateSpaceMixer, filters: Filters, length: int) -> Tensor:
    """Sets steps, C and D of a layer so that it answers as filters do, the sum of the layer and its input.

        h_l = delta_l (1 + D) + C A_bar^l B_bar        nearest to the filter's response, over l < length

    The step is the best of three by the memory. Filters of the slope answer to a constant with exactly 0. Answers are
    as large as those of a C of independent numbers of mean square 1 would be, so that steps of training change them no
    faster, however far the parts of C cancel; what reads them must not depend on their size.

    Args:
        mixer: A layer of H heads with one output each.
        filters: H filters; how they mix channels is left to what comes before the layer.
        length: Samples of the responses.

    Returns:
        (H,), relative error of each response.

    Example:
        >>> from seqkit.estimators.filters import draw_filters
        >>> from seqkit.ssm import LSSL
        >>> bank = draw_filters(8, 1, (2.0, 20.0), np.random.default_rng(0))
        >>> bool(start_as(LSSL(8, order=16), bank, 100).median() < 0.05)
        True
    """
    places, weight = _places(length)
    wanted = responses(filters, length)[:, places] * weight
    tau = filters.stages.double().sqrt() / filters.decay.double()
    best: list[Tensor] = []
    for pace in PACES:
        log_dt = (pace / tau).log()
        mixer.log_dt.copy_(log_dt)
        parts = _own_responses(mixer, length, places) * weight
        found = [*_fitted(parts, wanted), log_dt, parts[:, :-1].square().sum(dim=(1, 2)).sqrt()]
        if best:
            nearer = found[0] < best[0]
            found = [
                torch.where(nearer if new.dim() == 1 else nearer[:, None], new, old)
                for new, old in zip(found, best, strict=True)
            ]
        best = found
    error, weights, log_dt, size = best
    weights = weights * (size / wanted.norm(dim=1).clamp_min(1e-30))[:, None]
    mixer.log_dt.copy_(log_dt)
    mixer.C.copy_(weights[:, None, :-1])
    mixer.D.copy_(torch.where(filters.sloped[:, None].bool(), level_skip(mixer), weights[:, -1:] - 1.0))
    return error


def responses(filters: Filters, length: int) -> Tensor:
    """Answers of filters to a single 1, (F, length), float64.

    Example:
        >>> from seqkit.estimators.filters import draw_filters
        >>> responses(draw_filters(3, 1, (2.0, 20.0), np.random.default_rng(0)), 50).shape
        torch.Size([3, 50])
    """
    impulse = torch.zeros(length + 1, 1, dtype=torch.float64)
    impulse[1] = 1.0  # after a sample at rest, as a first sample has no slope
    alone = filters._replace(mix=torch.ones(len(filters.decay), 1))
    return outputs_reference(impulse, alone, torch.ones(length + 1))[0][1:].T.contiguous()


def level_skip(mixer: StateSpaceMixer) -> Tensor:
    """The skip D (H, M) with which a layer and its input together answer to a constant with 0.

        D = -1 - C (-A)^{-1} B

    Example:
        >>> from seqkit.ssm import S4D
        >>> level_skip(S4D(4, order=8)).shape
        torch.Size([4, 1])
    """
    system = mixer.system()
    A, B, C = (part.double() for part in (system.A, system.B, system.C))
    answer: Tensor = C @ torch.linalg.solve(-A, B[:, :, None])
    return -1.0 - answer[:, :, 0]


def _places(length: int) -> tuple[Tensor, Tensor]:
    """Samples of a response to look at, and the square root of how many each stands for."""
    late = np.linspace(DENSE, max(length - 1, DENSE), DENSE).round() if length > DENSE else np.zeros(0)
    places = np.unique(np.concatenate([np.arange(min(length, DENSE)), late])).astype(int)
    return torch.from_numpy(places), torch.from_numpy(np.sqrt(np.gradient(places)) if len(places) > 1 else np.ones(1))


def _own_responses(mixer: StateSpaceMixer, length: int, places: Tensor) -> Tensor:
    """What each number of C alone answers to a single 1, and the skip, (H, N + 1, P), float64."""
    kept, order = mixer.C.data, mixer.C.shape[-1]
    units = torch.eye(order, dtype=kept.dtype).expand(mixer.d_model, -1, -1)
    count = max(1, AT_ONCE // (mixer.d_model * length))
    parts = []
    try:
        for some in torch.split(units, count, dim=1):
            mixer.C.data = some.contiguous()
            parts.append(mixer._kernel(length, mixer._dt(1.0))[:, :, places].double())
    finally:
        mixer.C.data = kept
    skip = (places == 0).double().expand(1, mixer.d_model, -1)
    return torch.cat([*parts, skip]).transpose(0, 1)


def _fitted(parts: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Relative errors (H,) and weights (H, N + 1) of the least squares of `wanted` (H, P) by `parts` (H, N + 1, P)."""
    square = parts @ parts.mT
    size = square.diagonal(dim1=1, dim2=2).mean(dim=1)
    square = square + RIDGE * size[:, None, None] * torch.eye(square.shape[1], dtype=square.dtype)
    weights = torch.linalg.solve(square, (parts @ wanted[:, :, None])[:, :, 0])
    missed = (weights[:, None] @ parts)[:, 0] - wanted
    return missed.norm(dim=1) / wanted.norm(dim=1).clamp_min(1e-30), weights
