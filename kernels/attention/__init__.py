"""Exact attention without its matrix of scores, dense or block-sparse."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.checks import check_choice
from seqkit.kernels.attention.arguments import (
    Window,
    alibi_slopes,
    check_heads,
    check_numbers,
    default_scale,
    limits,
    mask_lists,
    of_lengths,
    of_starts,
    seed_of,
    slopes_of,
)
from seqkit.kernels.attention.op import attention_op
from seqkit.kernels.attention.patterns import butterfly_mask, local_mask, strided_mask
from seqkit.kernels.attention.reference import attention_reference
from seqkit.kernels.attention.sdpa import attention_sdpa, sdpa_refusal
from seqkit.kernels.attention.tiles import BlockMask, block_mask, mask_of_tiles
from seqkit.kernels.backend import HALF, check_values, choose_backend

__all__ = [
    "BlockMask",
    "alibi_slopes",
    "attention",
    "block_mask",
    "butterfly_mask",
    "local_mask",
    "mask_of_tiles",
    "strided_mask",
]

WIDEST = 256  # numbers of a head that a program of Triton's kernels holds
SDPA = {"sdpa": "torch's scaled_dot_product_attention serves the request"}


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    causal: bool = False,
    alignment: str = "end",
    lengths: Tensor | None = None,
    key_lengths: Tensor | None = None,
    starts: Tensor | None = None,
    key_starts: Tensor | None = None,
    window: Window = None,
    alibi: bool | Tensor | None = None,
    softcap: float | None = None,
    scale: float | None = None,
    mask: BlockMask | None = None,
    dropout: float = 0.0,
    seed: int | Tensor | None = None,
    return_lse: bool = False,
    backend: str = "auto",
    deterministic: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Computes softmax attention exactly, a tile of scores at a time.

        s_ij = c tanh(scale q_i . k_j / c) - slope |p_i - j|
        p_ij = exp(s_ij - lse_i),   lse_i = log sum_j exp(s_ij),   y_i = sum_j p_ij v_j

    over the keys j that query i sees; p_i = i + T - R is its place among the keys ("end"), or i ("start"). A query that
    sees no key gives 0, and lse = -inf.

    Args:
        q: Queries, (B, R, H, D); float32, float64, bfloat16 or float16.
        k: Keys, (B, T, G, D), as `q`. G divides H: heads H / G g to H / G (g + 1) - 1 share keys and values of head g.
        v: Values, (B, T, G, E), as `q`.
        causal: Whether a query sees no key after its own place.
        alignment: Where R and T differ, whether the last query stands at the last key ("end", as in decoding) or the
            first at the first ("start", torch's `is_causal`); of causality, windows and ALiBi, and of each series.
        lengths: Samples of each row that are valid, (B,) whole numbers from 1 to R; of its keys as well unless
            `key_lengths` is given. What lies past them counts as absent, NaN too, and gives 0.
        key_lengths: Keys of each row that are valid, (B,), where they differ from `lengths`.
        starts: Where each of S series packed one after the other in one row (B = 1) begins, and the end of the last,
            (S + 1,) whole numbers that rise from 0 to R. Series do not see each other.
        key_starts: The same for keys, where they differ from `starts`.
        window: Keys a query sees on each side of its place besides the one there: a number, a pair (before, after), or
            None in it for all of a side.
        alibi: True for the slopes of `alibi_slopes`, or a slope of each head, (H,), without gradient.
        softcap: Bound c of the scores; None for none.
        scale: Factor of the products; 1 / sqrt(D) if None.
        mask: Tiles of (R, T) that exist, by `block_mask` or a pattern; all other options hold within them.
        dropout: Share of the weights p that are set to 0, the rest divided by 1 - dropout; lse is that before.
        seed: Whole number that says which, needed with dropout. The choice depends on it, on row, head, query and key
            alone: on no backend and no state.
        return_lse: Whether to return lse as well; results over parts of the keys join by it, gradients too.
        backend: "auto", "reference" (the whole matrix, float64 if given it), "cpu" (tiles of products; plain torch),
            "triton" (kernels for CUDA devices: every option, D and E up to 256, no float64) or "sdpa" (torch's own,
            where it serves: no option but `causal` and `scale`). "auto" takes "sdpa", then on CUDA devices "triton",
            then "cpu".
        deterministic: Whether gradients must be the same bits in every run on a device; then "sdpa" does not serve on
            CUDA devices. The others always are.

    Returns:
        y, (B, R, H, E), in the dtype of `q`; with `return_lse` also lse, (B, R, H), float32, or float64 for float64.

    Raises:
        TypeError: a dtype is not among those above, or they differ.
        ValueError: shapes, lengths or starts do not fit together, a value that is not padding is not finite, dropout
            comes without a seed, or the backend is unknown or cannot serve.

    Source:
        Dao et al. 2022, FlashAttention (arXiv:2205.14135), algorithms 1 and 4, and block-sparse in section 3.3; the
        loops are those of FlashAttention-2 (Dao 2023, arXiv:2307.08691). Differs: powers of 2, and queries that see
        nothing.

    Cost: 2 (D + E) operations a score forward and 3.5 times that with the backward, 4.5 times by "triton", which
    computes scores once for keys and once for queries instead of adding up queries' gradients in any order; only scores
    in a tile that somebody sees count, so time goes with the tiles of a mask. Memory of inputs and outputs, and a
    million numbers; by "triton" also float32 gradients of shared keys, once for each head of `q`. "sdpa" is
    differentiable once, the others twice.

    Example:
        >>> q = torch.zeros(1, 3, 1, 2)
        >>> attention(q, q, torch.tensor([1.0, 2.0, 6.0]).view(1, 3, 1, 1), causal=True).flatten()
        tensor([1.0000, 1.5000, 3.0000])
    """
    check_heads(q, k, v)
    check_choice("alignment", alignment, ("end", "start"))
    check_numbers(softcap, scale, dropout, seed)
    left, right = limits(causal, window)
    lists = mask_lists(mask, q, k)
    slopes = slopes_of(alibi, q)
    at_end = alignment == "end"
    segments, q, k, v = parted(q, k, v, lengths, key_lengths, starts, key_starts)
    check_values({"q": q, "k": k, "v": v})
    factor = default_scale(q.shape[3]) if scale is None else float(scale)
    others = {
        "`return_lse`": return_lse,
        "`lengths` or `starts`": segments.numel() > 0,
        "`window`": left >= 0 or right > 0,
        "`alibi`": slopes.numel() > 0,
        "`softcap`": softcap is not None,
        "`mask`": mask is not None,
        "`dropout`": dropout > 0,
    }
    why = sdpa_refusal(q, k, v, causal and at_end, [name for name, given in others.items() if given], deterministic)
    reasons = {"sdpa": why, "triton": heads_refusal(q, v)}
    refused = {name: reason for name, reason in reasons.items() if reason is not None}
    like = q.new_empty(0, dtype=torch.float32) if q.dtype in HALF else q  # Triton's kernels read half precision
    path = choose_backend(backend, like, refused, first=SDPA)
    if path == "sdpa":
        return attention_sdpa(q, k, v, causal and not (at_end and q.shape[1] == 1), factor)
    number = seed_of(seed, q)
    values = (q, k, v, slopes, number, segments, *lists)
    numbers = (left, right, at_end, float(softcap or 0), factor, float(dropout))
    out, lse = attention_reference(*values, *numbers) if path == "reference" else attention_op(*values, *numbers, path)
    return (out, lse) if return_lse else out


def heads_refusal(q: Tensor, v: Tensor) -> str | None:
    """Says why Triton's kernels cannot hold a head of such sizes, or None when they can."""
    if max(q.shape[3], v.shape[3]) <= WIDEST:
        return None
    return f"its kernels hold heads of at most {WIDEST} numbers, and the sizes are {q.shape[3]} and {v.shape[3]}"


def parted(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lengths: Tensor | None,
    key_lengths: Tensor | None,
    starts: Tensor | None,
    key_starts: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The table of segments, empty where every row is one, and tensors with 0 where nothing is valid."""
    if starts is not None or key_starts is not None:
        if starts is None:
            raise ValueError("`starts` must be given with `key_starts`; pass where each series of `q` begins")
        if lengths is not None or key_lengths is not None:
            raise ValueError("`lengths` must not be given with `starts`, which has them; drop one of them")
        return of_starts(q, k, starts, key_starts), q, k, v
    if lengths is None and key_lengths is None:
        return torch.zeros(0, 5, dtype=torch.int64, device=q.device), q, k, v
    ends, key_ends = of_lengths(q, k, lengths, key_lengths)
    rows, zero = torch.arange(len(ends), device=q.device), torch.zeros_like(ends)
    table = torch.stack([rows, zero, ends, zero, key_ends], -1)
    inside = (torch.arange(q.shape[1], device=q.device) < ends.unsqueeze(1))[..., None, None]
    seen = (torch.arange(k.shape[1], device=q.device) < key_ends.unsqueeze(1))[..., None, None]
    return table, torch.where(inside, q, 0), torch.where(seen, k, 0), torch.where(seen, v, 0)
