"""Scatterbrain a sample or a block at a time: a window and hashed keys exactly, all before them as features."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from seqkit.attention.band import band_rows, remainder
from seqkit.attention.dropping import drop_of
from seqkit.attention.features import RandomFeatures, check_features, log_features
from seqkit.attention.hashing import AngularHash
from seqkit.attention.inputs import Heads, finish, prepare, rows_at_once, shared
from seqkit.attention.online.buckets import Buckets, Known, known_keys, read_buckets
from seqkit.attention.online.cache import KeyCache, empty_cache, held_samples, one_more, some_more
from seqkit.attention.online.lsh import joined, lsh_state, read_part, written
from seqkit.attention.parts import FeatureState, add_keys, divide, no_keys, state_part
from seqkit.attention.performer import all_keys
from seqkit.checks import check_positive_int
from seqkit.kernels.backend import without_autocast

__all__ = ["ScatterbrainState", "scatterbrain_block", "scatterbrain_state", "scatterbrain_step"]


class ScatterbrainState(NamedTuple):
    """What a stream of Scatterbrain remembers.

    Args:
        last: The keys of the window.
        rest: All keys before it, as features.
        found: The last keys of each bucket, or None without a hash.
    """

    last: KeyCache
    rest: FeatureState
    found: Buckets | None


def scatterbrain_state(
    like: Tensor,
    batch_size: int,
    n_heads: int,
    features: RandomFeatures,
    window: int,
    size: int,
    *,
    hashed: AngularHash | None = None,
    width: int = 16,
) -> ScatterbrainState:
    """The state before the first sample.

    Args:
        like: A tensor of the dtype and device of the series; half precision is kept in float32.
        batch_size: Series B.
        n_heads: Heads G of keys and values.
        features: Random features M of vectors of size D.
        window: Last samples that are read exactly.
        size: Size V of values.
        hashed: Hash by which further keys are read exactly, or None.
        width: Keys of each of its buckets.

    Returns:
        G (window (D + V) + M (V + 2)) numbers a series, and those of `lsh_state` with a hash.

    Raises:
        ValueError: a size is no whole number of at least 1.

    Example:
        >>> from seqkit.attention import draw_features
        >>> features = draw_features(16, 8, generator=torch.Generator().manual_seed(0))
        >>> scatterbrain_state(torch.zeros(1), 2, 4, features, 10, 8).last.keys.shape
        torch.Size([2, 4, 10, 8])
    """
    wide = like.new_zeros((), dtype=torch.promote_types(like.dtype, torch.float32))
    slots = check_positive_int("window", window)
    return ScatterbrainState(
        empty_cache(wide, batch_size, n_heads, slots, features.head_dim, size),
        no_keys(batch_size, n_heads, features.n_features, size, wide),
        None if hashed is None else lsh_state(wide, batch_size, n_heads, hashed, width, size),
    )


@without_autocast
def scatterbrain_step(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    features: RandomFeatures,
    state: ScatterbrainState,
    *,
    hashed: AngularHash | None = None,
    scale: float | None = None,
    dropout: float = 0.0,
    seed: int | Tensor | None = None,
) -> tuple[Tensor, ScatterbrainState]:
    """One sample of causal Scatterbrain: the window exactly, and by features what has left it.

    A key that leaves the window joins the features' sums, so without a hash nothing is ever taken away. With one, the
    last keys of the query's buckets are read exactly too, and the features' part of them is taken away. That is the row
    of `scatterbrain_attention` with causal=True, the window, and the support `hash_support(..., causal=True)`.

    Args:
        q: Queries (B, H, D).
        k: Keys (B, G, D).
        v: Values (B, G, V).
        features: Random features.
        state: As `scatterbrain_state` or the previous step gave it.
        hashed: The hash that the state was made for, or None.
        scale: Factor of q . k; 1 / sqrt(D) if None.
        dropout: Share of the exact weights above the fraction bar that are set to 0, the rest divided by 1 - dropout.
        seed: Whole number that says which, needed with dropout.

    Returns:
        (B, H, V) and the new state.

    Raises:
        ValueError: shapes or dtypes do not fit, or dropout comes without a seed.

    Cost: O(H (window + M) (D + V)) time, and a copy of the state; with a hash that of `lsh_step` too.

    Example:
        >>> from seqkit.attention import draw_features
        >>> features = draw_features(16, 8, generator=torch.Generator().manual_seed(0))
        >>> q, k, v = torch.randn(3, 2, 4, 8)
        >>> y, state = scatterbrain_step(q, k, v, features, scatterbrain_state(q, 2, 4, features, 10, 8))
        >>> torch.allclose(y, v)  # there is one key
        True
    """
    heads, drop = prepare(q[:, None], k[:, None], v[:, None], scale, None), drop_of(dropout, seed, q)
    check_features(features, q.shape[2])
    n_heads, (last, rest, found) = q.shape[1], state
    rest = add_keys(rest, *_leaving(last, features))
    last = one_more(last, heads.k[:, :, 0], heads.v[:, :, 0])
    held = held_samples(last.n_seen, last.keys.shape[2]).to(last.n_seen)[:, None].expand(-1, n_heads, -1)
    near = Known(shared(last.keys, n_heads), shared(last.values, n_heads), held)
    parts, log_queries = [read_part(heads.q, near, drop)], log_features(heads.q, features)
    if hashed is None or found is None:
        parts.append(state_part(rest, log_queries)[0])
    else:
        found, of_queries = written(heads, hashed, found)
        far = read_buckets(found, of_queries, last.keys.shape[2])
        logs, values, held = (x[:, :, None] for x in (log_features(far.keys, features), far.values, far.ages >= 0))
        parts += [read_part(heads.q, far, drop), remainder(rest, log_queries, logs, values, held)]
    return finish(divide(*parts), q, None)[:, 0], ScatterbrainState(last, rest, found)


@without_autocast
def scatterbrain_block(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    features: RandomFeatures,
    state: ScatterbrainState,
    *,
    hashed: AngularHash | None = None,
    scale: float | None = None,
    lengths: Tensor | None = None,
    dropout: float = 0.0,
    seed: int | Tensor | None = None,
) -> tuple[Tensor, ScatterbrainState]:
    """A block of samples of causal Scatterbrain, after those of a state; see `scatterbrain_step`.

    Args:
        q: Queries (B, L, H, D).
        k: Keys (B, L, G, D).
        v: Values (B, L, G, V).
        features: Random features.
        state: As `scatterbrain_state`, a step or a block gave it.
        hashed: The hash that the state was made for, or None.
        scale: Factor of q . k; 1 / sqrt(D) if None.
        lengths: Samples of each series (B,); the state of each is that after its own last sample.
        dropout: Share of the exact weights above the fraction bar that are set to 0, the rest divided by 1 - dropout.
        seed: Whole number that says which, needed with dropout.

    Returns:
        (B, L, H, V) and the new state.

    Raises:
        ValueError: shapes, dtypes or lengths do not fit, or dropout comes without a seed.

    Cost: as `scatterbrain_attention`, for L samples and those of the state.

    Example:
        >>> from seqkit.attention import draw_features
        >>> features = draw_features(16, 8, generator=torch.Generator().manual_seed(0))
        >>> q, k, v = torch.randn(3, 2, 50, 4, 8)
        >>> scatterbrain_block(q, k, v, features, scatterbrain_state(q, 2, 4, features, 10, 8))[0].shape
        torch.Size([2, 50, 4, 8])
    """
    heads, drop = prepare(q, k, v, scale, lengths, causal=True), drop_of(dropout, seed, q)
    check_features(features, q.shape[3])
    last, rest, found = state
    window, support, known = last.keys.shape[2], None, 0
    before = _in_time(last)
    if hashed is not None and found is not None:
        far = known_keys(found, window)
        known, before = far.ages.shape[2], Known(*(torch.cat(x, 2) for x in zip(far, before, strict=True)))
        whole, support, found = joined(heads, hashed, found, before, known + window, lengths)
    else:
        keys, values = torch.cat((before.keys, heads.k), 2), torch.cat((before.values, heads.v), 2)
        whole = heads._replace(k=keys, v=values)
    logs, log_queries = _logarithms(whole, before, features, heads.key_live), log_features(heads.q, features)
    width = window + (0 if support is None else support.width)
    rows = rows_at_once(None, q.shape[1], len(q) * q.shape[2] * width * (q.shape[3] + v.shape[3] + features.n_features))
    place = known + window
    out = band_rows(whole, log_queries, logs, window, support, rest, rows, drop=drop, offset=place, known=known)
    # What has left the window of each series' last sample is as many keys as it has samples.
    length = q.shape[1]
    ends = torch.full((len(q),), length, device=q.device) if lengths is None else lengths.to(q.device)
    stays = torch.arange(length, device=q.device) >= ends[:, None]
    left = logs[:, :, known : known + length].masked_fill(stays[:, None, :, None], -torch.inf)
    rest = all_keys(rest, left, whole.v[:, :, known : known + length], rows)
    last = some_more(last, heads.k.transpose(1, 2), heads.v.transpose(1, 2), lengths)
    return finish(out, q, heads.live), ScatterbrainState(last, rest, found)


def _leaving(last: KeyCache, features: RandomFeatures) -> tuple[Tensor, Tensor]:
    """Logarithms of the features of the key that the next one will push out of the window, if any, and its value."""
    slot = (last.n_seen % last.keys.shape[2]).long().view(-1, 1, 1, 1)
    key, value = (x.gather(2, slot.expand(-1, x.shape[1], -1, x.shape[3])) for x in last[:2])
    none = (last.n_seen < last.keys.shape[2]).view(-1, 1, 1, 1)
    return log_features(key, features).masked_fill(none, -torch.inf), value


def _in_time(last: KeyCache) -> Known:
    """The window's keys in the order of time, places that are empty first."""
    width = last.keys.shape[2]
    number = last.n_seen.long()[:, None] - width + torch.arange(width, device=last.keys.device)
    index = (number % width)[:, None, :, None]
    keys, values = (x.gather(2, index.expand(-1, x.shape[1], -1, x.shape[3])) for x in last[:2])
    ages = torch.arange(width - 1, -1, -1, device=number.device).to(last.n_seen).expand(len(number), -1)
    return Known(keys, values, ages.masked_fill(number < 0, -1)[:, None].expand(-1, keys.shape[1], -1))


def _logarithms(whole: Heads, before: Known, features: RandomFeatures, live: Tensor | None) -> Tensor:
    """Logarithms of the features of the keys before a block and of its own, minus infinity where there is no key."""
    logs = log_features(whole.k, features)
    counts = before.ages >= 0
    own = logs.shape[2] - counts.shape[2]
    after = counts.new_ones(len(logs), 1, own) if live is None else live
    return logs.masked_fill(~torch.cat((counts, after.expand(-1, counts.shape[1], -1)), -1)[..., None], -torch.inf)
