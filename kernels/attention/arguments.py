"""What `attention` may be given: checks, and the plain numbers and tables that its paths take."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from seqkit.checks import check_lengths, check_positive, check_shape, check_unit_interval
from seqkit.kernels.attention.tiles import BlockMask
from seqkit.kernels.backend import HALF, check_values

__all__ = [
    "Window",
    "alibi_slopes",
    "check_heads",
    "check_numbers",
    "default_scale",
    "limits",
    "mask_lists",
    "of_lengths",
    "of_starts",
    "seed_of",
    "slopes_of",
]

Window = int | tuple[int | None, int | None] | None
Lists = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, int, int]  # of a block mask, and tile sizes
TYPES = (torch.float32, torch.float64, *HALF)


def check_heads(q: Tensor, k: Tensor, v: Tensor) -> None:
    """Refuses dtypes, devices and shapes that do not fit together."""
    for name, value in {"q": q, "k": k, "v": v}.items():
        check_shape(name, value, ("B", "L", "H", "D"), "put heads after time")
        if value.dtype not in TYPES:
            raise TypeError(f"`{name}` must be float32, float64, bfloat16 or float16, got {value.dtype}; convert it")
        if value.dtype != q.dtype:
            raise TypeError(
                f"`{name}` must have the precision of `q` ({q.dtype}), got {value.dtype}; convert one of them"
            )
        if value.device != q.device:
            raise ValueError(f"`{name}` must be on {q.device} like `q`, got {value.device}; move one of them")
    check_shape("k", k, (q.shape[0], "T", "G", q.shape[3]), "give each row of `q` its keys, of the same size")
    if k.shape[2] < 1 or q.shape[2] % k.shape[2]:
        raise ValueError(f"heads of `k` must divide those of `q`, got {k.shape[2]} for {q.shape[2]}; repeat some")
    check_shape("v", v, (*k.shape[:3], "E"), "give each key its value")
    if q.shape[3] < 1:
        raise ValueError("`q` must have a head size of at least 1, got 0")


def limits(causal: bool, window: Window) -> tuple[int, int]:
    """Keys seen before and after a query's place, -1 for all.

    Example:
        >>> limits(True, None), limits(False, 3), limits(True, 3), limits(False, (None, 2))
        ((-1, 0), (3, 3), (3, 0), (-1, 2))
    """
    sides = (window, window) if window is None or isinstance(window, int) else window
    if not isinstance(sides, tuple) or len(sides) != 2 or not all(side is None or whole(side) for side in sides):
        raise ValueError(f"`window` must be a number of keys, 0 or above, or a pair of them or None, got {window!r}")
    left, right = (-1 if side is None else side for side in sides)
    return left, 0 if causal else right


def whole(value: object) -> bool:
    """Whether a value is a whole number, 0 or above."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def check_numbers(softcap: float | None, scale: float | None, dropout: float, seed: int | Tensor | None) -> None:
    """Refuses numbers out of range, and dropout without a seed."""
    if softcap is not None:
        check_positive("softcap", softcap)
    if scale is not None:
        check_positive("scale", scale)
    check_unit_interval("dropout", dropout)
    if dropout > 0 and seed is None:
        raise ValueError(f"`seed` must be given with dropout={dropout}; draw a new whole number for each call")


def seed_of(seed: int | Tensor | None, q: Tensor) -> Tensor:
    """The seed as a tensor beside q, 0 without one; a number is filled in, since a copy would wait for the device."""
    if isinstance(seed, Tensor):
        return seed.to(q.device, torch.int64)
    return torch.full((), seed or 0, dtype=torch.int64, device=q.device)


def slopes_of(alibi: bool | Tensor | None, q: Tensor) -> Tensor:
    """The slope of each head, float32 or float64; empty without ALiBi."""
    wide = torch.float64 if q.dtype == torch.float64 else torch.float32
    if alibi is None or alibi is False:
        return torch.zeros(0, dtype=wide, device=q.device)
    if alibi is True:
        return alibi_slopes(q.shape[2]).to(q.device, wide)
    check_shape("alibi", alibi, (q.shape[2],), "give each head its slope")
    if alibi.requires_grad:
        raise ValueError("`alibi` must not require a gradient, none is given for slopes; pass alibi.detach()")
    check_values({"alibi": alibi})
    return alibi.to(q.device, wide)


def alibi_slopes(n_heads: int) -> Tensor:
    """The slopes of ALiBi, (n_heads,): 2^(-8 h / n_heads) for h = 1 ... n_heads.

    Source:
        Press, Smith, Lewis 2022 (arXiv:2108.12409), section 3. Differs: one sequence for every number of heads, where
        the authors' code mixes two where it is no power of two.

    Example:
        >>> alibi_slopes(4)
        tensor([0.2500, 0.0625, 0.0156, 0.0039], dtype=torch.float64)
    """
    return torch.exp2(-8 * torch.arange(1, n_heads + 1, dtype=torch.float64) / n_heads)


def of_lengths(q: Tensor, k: Tensor, lengths: Tensor | None, key_lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Valid queries and keys of each row, (B,) each."""
    n_rows = q.shape[0]
    if lengths is not None and key_lengths is None and k.shape[1] != q.shape[1]:
        raise ValueError(
            f"`key_lengths` must be given beside `lengths` where `k` has another length ({k.shape[1]}) than `q` "
            f"({q.shape[1]}); pass the number of keys of each row"
        )
    found = []
    for name, given, longest in (("lengths", lengths, q.shape[1]), ("key_lengths", key_lengths, k.shape[1])):
        if given is None:
            found.append(torch.full((n_rows,), longest, dtype=torch.int64, device=q.device))
            continue
        check_shape(name, given, (n_rows,), "give each row its number of samples")
        if given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
            raise ValueError(f"`{name}` must be whole numbers, got dtype {given.dtype}")
        if looked_at(given):
            check_lengths(given, n_rows, longest)
        found.append(given.to(q.device, torch.int64))
    return found[0], found[0] if key_lengths is None and lengths is not None else found[1]


def of_starts(q: Tensor, k: Tensor, starts: Tensor, key_starts: Tensor | None) -> Tensor:
    """The table of segments (S, 5) of series packed into one row."""
    key_starts = starts if key_starts is None else key_starts
    if q.shape[0] != 1:
        raise ValueError(f"`q` must be one row of packed series with `starts`, got {q.shape[0]}; drop `starts`")
    for name, given, end in (("starts", starts, q.shape[1]), ("key_starts", key_starts, k.shape[1])):
        check_shape(name, given, (len(starts),), "give where each series begins, and the end of the last")
        if given.is_floating_point() or given.is_complex() or given.dtype == torch.bool or len(given) < 1:
            raise ValueError(f"`{name}` must be whole numbers from 0 to the row's end, got dtype {given.dtype}")
        if looked_at(given) and not (given[0] == 0 and given[-1] == end and bool((given.diff() >= 0).all())):
            raise ValueError(f"`{name}` must rise from 0 to {end}, got {given.tolist()}; count every sample once")
    starts, key_starts = (given.to(q.device, torch.int64) for given in (starts, key_starts))
    row = torch.zeros_like(starts[:-1])
    return torch.stack([row, starts[:-1], starts[1:], key_starts[:-1], key_starts[1:]], -1)


def looked_at(value: Tensor) -> bool:
    """Whether values may be looked at: on the CPU, outside traced graphs."""
    return not torch.compiler.is_compiling() and value.device.type == "cpu" and type(value) is Tensor


def mask_lists(mask: BlockMask | None, q: Tensor, k: Tensor) -> Lists:
    """Lists of a block mask by rows and by columns, and tile sizes; empty without one."""
    if mask is None:
        none = torch.zeros(0, dtype=torch.int64, device=q.device)
        return none, none, none, none.bool(), none, none, none, 0, 0
    if not isinstance(mask, BlockMask):
        raise TypeError(f"`mask` must be a BlockMask, got {type(mask).__name__}; make one with block_mask(mask)")
    if mask.shape != (q.shape[1], k.shape[1]):
        raise ValueError(f"`mask` must be for {q.shape[1]} queries and {k.shape[1]} keys, got one for {mask.shape}")
    if mask.columns.device != q.device:
        raise ValueError(f'`mask` must be on {q.device} like `q`, got {mask.columns.device}; use mask.to("{q.device}")')
    return (*mask[2:], *mask.tile)


def default_scale(head_size: int) -> float:
    """1 / sqrt(head size)."""
    return 1 / math.sqrt(head_size)
