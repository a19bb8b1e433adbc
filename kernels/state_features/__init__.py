"""Pooled outputs of a bank of leaky, turning integrators: features of series in one pass and constant memory."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.checks import check_finite, check_lengths, check_positive, check_shape
from seqkit.kernels.backend import choose_backend
from seqkit.kernels.state_features import cpu
from seqkit.kernels.state_features.bank import LANES, MOST_PARTS, MOST_STAGES, Filters, Packed, pack
from seqkit.kernels.state_features.reference import outputs_reference, state_features_reference
from seqkit.kernels.state_features.state import FeatureState, start

__all__ = [
    "LANES",
    "FeatureState",
    "Filters",
    "Packed",
    "carry_features",
    "filter_outputs",
    "pack",
    "sample_outputs",
    "start",
    "state_features",
]

NO_TRITON = {"triton": "state_features has no Triton kernels"}


def state_features(
    values: Tensor,
    filters: Filters,
    thresholds: Tensor,
    *,
    steps: float | Tensor = 1.0,
    lengths: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """Pools the outputs of F filters over series: shares of time above thresholds, maximum, mean and last output.

    A filter is a row of m equal leaky integrators that turn as they forget, driven by a mix u of the channels or of
    their slopes; v^0 = u, and with the step dt that a sample closes

        v^j_k = a (v^j_{k-1} + h v^{j-1}_{k-1}) + h v^{j-1}_k,   a = exp((i turn - decay) dt),   h = tanh(decay dt / 2)
        y_k = Re(exp(i phase) v^m_k)

    This is the trapezoidal rule for an integral over the past, of second order in dt: the same signal sampled more or
    less densely has nearly the same outputs. A step above 1 goes by a straight line from sample to sample in equal
    parts of at most 1 (at most 64 parts), so that the rule sees no coarser steps than those the filters were made for.
    Statistics are over all parts, weighted by time.

    Missing values (NaN): a sample without any observed channel is as if it were not there; its time goes to the next
    one, as where timestamps are uneven. A channel that alone is missing holds its last value, or 0 before its first.

    Args:
        values: Samples, (B, L, C), float32, NaN where a value is missing.
        filters: A bank of F filters for C channels.
        thresholds: T levels for each filter, (F, T).
        steps: Time that each sample closes, in units of the training series' step: one number, one for each series
            (B,), or one for each sample (B, L), all above 0.
        lengths: Number of samples of each series, (B,); left out, L.
        backend: "auto", "reference" (double precision, a sample at a time) or "cpu" (float32, compiled by numba where
            it is installed).

    Returns:
        Features (B, F, T + 3): T shares between 0 and 1, then maximum, mean and last output. NaN for a series in which
        nothing is observed.

    Raises:
        ValueError: shapes do not fit together, steps are not above 0, or the backend is unknown or cannot serve.

    Source:
        Leaky integrators in a row span the Laguerre functions: Gu et al. 2020, HiPPO (arXiv:2008.07669), section 2.3
        (LagT). Shares above thresholds taken from the training data: Dempster, Schmidt, Webb 2021, MiniRocket
        (arXiv:2012.08791), which has convolutions of 9 samples where this has filters of any memory.

    Cost: about 12 m + 3 T operations a sample and filter; nothing of size F L is held. No gradient is given.

    Example:
        >>> one = torch.ones(1)
        >>> bank = Filters(0.5 * one, 0.0 * one, 0.0 * one, torch.tensor([1]), torch.ones(1, 1), torch.tensor([False]))
        >>> state_features(torch.ones(1, 100, 1), bank, torch.tensor([[0.5]])).shape
        torch.Size([1, 1, 4])
    """
    check_bank(values, filters, thresholds)
    times, ends = spread(values, steps, lengths)
    path = choose_backend(backend, values, NO_TRITON)
    if path == "reference":
        return state_features_reference(values, filters, thresholds, times, ends)
    return cpu.whole(pack(filters, thresholds), values.contiguous(), times, ends)


def carry_features(
    values: Tensor,
    bank: Packed,
    state: FeatureState,
    *,
    steps: float | Tensor = 1.0,
    lengths: Tensor | None = None,
) -> tuple[Tensor, FeatureState]:
    """Takes further samples of B streams; the features are those of `state_features` on everything seen so far.

    Args:
        values: Samples, (B, L, C), float32, NaN where a value is missing.
        bank: Filters and thresholds, from `pack`.
        state: The state before, from `start(bank, B)` or an earlier call; it is left as it is.
        steps: As in `state_features`.
        lengths: New samples of each stream, (B,); left out, L.

    Returns:
        Features (B, F, T + 3) and the state after.

    Raises:
        ValueError: shapes do not fit together, or steps are not above 0.

    Example:
        >>> one = torch.ones(1)
        >>> filters = Filters(one, one, one, torch.tensor([2]), torch.ones(1, 1), torch.tensor([False]))
        >>> bank = pack(filters, torch.zeros(1, 1))
        >>> state = start(bank, 1)
        >>> for sample in (1.0, 2.0):
        ...     features, state = carry_features(torch.full((1, 1, 1), sample), bank, state)
        >>> whole = state_features(torch.tensor([[[1.0], [2.0]]]), filters, torch.zeros(1, 1))
        >>> torch.equal(features, whole)
        True
    """
    check_shape("values", values, (len(state.clock), "L", bank.mix.shape[1]), "the streams and channels of `state`")
    if not values.is_cpu:
        raise ValueError(f"`values` must be on the CPU, got {values.device}; move it with .cpu()")
    check_not_infinite(values)
    times, ends = spread(values, steps, lengths)
    new = FeatureState(*(field.clone() for field in state))
    return cpu.advance(bank, values.float().contiguous(), times, ends, new)[0], new


def filter_outputs(values: Tensor, filters: Filters, *, steps: float | Tensor = 1.0, backend: str = "auto") -> Tensor:
    """Outputs y of F filters over one series, at its observed samples and the parts between them; see `state_features`.

    Args:
        values: Samples of one series, (L, C), float32, NaN where a value is missing.
        filters: A bank of F filters for C channels.
        steps: Time that each sample closes: one number, or (L,).
        backend: "auto", "reference" or "cpu".

    Returns:
        (K, F); with steps of at most 1, K is the number of samples with an observed channel.

    Raises:
        ValueError: shapes do not fit together, or steps are not above 0.

    Example:
        >>> one = torch.ones(1)
        >>> bank = Filters(one, 0 * one, 0 * one, torch.tensor([1]), torch.ones(1, 1), torch.tensor([False]))
        >>> filter_outputs(torch.ones(3, 1), bank).shape
        torch.Size([3, 1])
    """
    series = values.unsqueeze(0)
    thresholds = torch.zeros(len(filters.decay), 0)
    check_bank(series, filters, thresholds)
    times, ends = spread(series, steps.unsqueeze(0) if isinstance(steps, Tensor) else steps, None)
    if choose_backend(backend, values, NO_TRITON) == "reference":
        return outputs_reference(values, filters, times[0])[0].to(values.dtype)
    bank = pack(filters, thresholds)
    most = int(times.ceil().clamp(1, MOST_PARTS).sum())
    trace = values.new_empty(len(bank.kind), most, LANES)
    _, count = cpu.advance(bank, series.contiguous(), times, ends, start(bank, 1), trace)
    lanes, order = trace[:, :count].movedim(0, 1).flatten(1), bank.order.flatten()
    out = lanes.new_empty(count, bank.n_filters)
    out[:, order[order >= 0]] = lanes[:, order >= 0]
    return out


def sample_outputs(
    values: Tensor,
    bank: Packed,
    chosen: Tensor,
    *,
    steps: float | Tensor = 1.0,
    lengths: Tensor | None = None,
    most: int = 256,
) -> Tensor:
    """Outputs of each filter over one of several series, such as to place thresholds among them.

    Args:
        values: Samples, (B, L, C), float32, NaN where a value is missing.
        bank: Filters, from `pack`; its K blocks have 32 lanes each.
        chosen: Number of the series for each of G equal parts of the lanes of a block, (K, G), int64.
        steps: As in `state_features`.
        lengths: Number of samples of each series, (B,); left out, L.
        most: Most outputs of a filter: where a series has more, as many at equal distances.

    Returns:
        (F, most), NaN where a series has fewer.

    Raises:
        ValueError: shapes do not fit together, or steps are not above 0.

    Example:
        >>> one = torch.ones(1)
        >>> bank = pack(Filters(one, one, one, torch.tensor([1]), torch.ones(1, 1), one > 2), torch.zeros(1, 0))
        >>> sample_outputs(torch.randn(3, 100, 1), bank, torch.tensor([[2]]), most=50).isnan().any().item()
        False
    """
    check_shape("values", values, ("B", "L", bank.mix.shape[1]), "the filters were made for these channels")
    check_shape("chosen", chosen, (len(bank.kind), "G"), "a row for each block")
    if bool((chosen < 0).any() | (chosen >= len(values)).any()):
        given = f"{int(chosen.min())} to {int(chosen.max())}"
        raise ValueError(f"`chosen` must hold numbers of series, 0 to {len(values) - 1}, got {given}")
    check_not_infinite(values)
    times, ends = spread(values, steps, lengths)
    return cpu.sampled(bank, values.contiguous(), times, ends, chosen.contiguous(), most)


def check_bank(values: Tensor, filters: Filters, thresholds: Tensor) -> None:
    """Refuses filters, thresholds or samples that do not fit together."""
    n_filters = len(filters.decay)
    if n_filters < 1:
        raise ValueError("`filters` must hold at least 1 filter, got 0")
    for name in ("turn", "phase", "stages", "sloped"):
        check_shape(f"filters.{name}", getattr(filters, name), (n_filters,), "one for each filter")
    if not bool((filters.decay > 0).all()):
        raise ValueError(f"`filters.decay` must lie above 0, got {float(filters.decay.min())}")
    if not bool(((filters.stages >= 1) & (filters.stages <= MOST_STAGES)).all()):
        bad = next(int(n) for n in filters.stages.tolist() if not 1 <= n <= MOST_STAGES)
        raise ValueError(f"`filters.stages` must lie between 1 and {MOST_STAGES}, got {bad}")
    check_shape("thresholds", thresholds, (n_filters, "T"))
    check_shape("values", values, ("B", "L", filters.mix.shape[1]), "the filters were made for these channels")
    if not values.is_cpu:
        raise ValueError(f"`values` must be on the CPU, got {values.device}; move it with .cpu()")
    if values.dtype != torch.float32:
        raise TypeError(f"`values` must be float32, got {values.dtype}; convert it with .float()")
    check_not_infinite(values)


def check_not_infinite(values: Tensor) -> None:
    """Refuses infinite samples; NaN is "not observed"."""
    if bool(values.isinf().any()):
        check_finite("values", values.nan_to_num(nan=0.0, posinf=torch.inf, neginf=-torch.inf))


def spread(values: Tensor, steps: float | Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Steps of every sample, (B, L), float64, and the number of samples of each series."""
    n_series, length = values.shape[:2]
    if not isinstance(steps, Tensor):
        times = torch.full((n_series, length), float(check_positive("steps", steps)), dtype=torch.float64)
    else:
        if steps.shape not in ((n_series,), (n_series, length)):
            allowed = f"({n_series},) or ({n_series}, {length})"
            raise ValueError(f"`steps` must be a number or have shape {allowed}, got {tuple(steps.shape)}")
        times = steps.double().view(n_series, -1).expand(n_series, length).contiguous()
    if lengths is None:
        ends = torch.full((n_series,), length)
    elif bool((lengths == 0).any()):
        ends = lengths.clamp_min(0)
    else:
        check_lengths(lengths, n_series, length)
        ends = lengths
    if isinstance(steps, Tensor):
        inside = torch.arange(length) < ends.unsqueeze(1)
        if not bool(((times > 0) & times.isfinite() | ~inside).all()):
            raise ValueError("`steps` must be finite and above 0 for every sample; times must rise")
    return times, ends
