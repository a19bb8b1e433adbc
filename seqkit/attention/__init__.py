"""Attention made cheap: random features (Performer), hashing (LSH), and both at once (Scatterbrain).

Queries, keys and values are (B, L, H, D): batch, length, heads, size. Memory is linear in the length.
"""

from seqkit.attention.block_sparse import BlockSparseAttention, BlockSparseState
from seqkit.attention.choosing import choose_share
from seqkit.attention.drop_in import Replacement, replace, restore
from seqkit.attention.estimate import AttentionEstimate, estimate_attention, split_budget
from seqkit.attention.exact import Attention, AttentionState
from seqkit.attention.features import RandomFeatures, draw_features, log_features, pair_variance
from seqkit.attention.hashing import AngularHash, draw_hash, hash_support
from seqkit.attention.lsh import lsh_attention
from seqkit.attention.mixer import AttentionMixer
from seqkit.attention.performer import performer_attention
from seqkit.attention.recipe import Recipe
from seqkit.attention.reference import dense_attention, dense_matrix, dense_support
from seqkit.attention.scatterbrain import scatterbrain_attention
from seqkit.attention.searching import find_keys
from seqkit.attention.sorted_chunks import distance_vectors, draw_projections, sorted_support
from seqkit.attention.strongest import strongest_keys
from seqkit.attention.support import Support, join_supports, local_support

__all__ = [
    "AngularHash",
    "Attention",
    "AttentionEstimate",
    "AttentionMixer",
    "AttentionState",
    "BlockSparseAttention",
    "BlockSparseState",
    "RandomFeatures",
    "Recipe",
    "Replacement",
    "Support",
    "choose_share",
    "dense_attention",
    "dense_matrix",
    "dense_support",
    "distance_vectors",
    "draw_features",
    "draw_hash",
    "draw_projections",
    "estimate_attention",
    "find_keys",
    "hash_support",
    "join_supports",
    "local_support",
    "log_features",
    "lsh_attention",
    "pair_variance",
    "performer_attention",
    "replace",
    "restore",
    "scatterbrain_attention",
    "sorted_support",
    "split_budget",
    "strongest_keys",
]
