"""Attention made cheap: random features (Performer), hashing (LSH), and both at once (Scatterbrain).

Queries, keys and values are (B, L, H, D): batch, length, heads, size. Memory is linear in the length.
"""

from seqkit.attention.choosing import choose_share
from seqkit.attention.estimate import AttentionEstimate, estimate_attention, split_budget
from seqkit.attention.features import RandomFeatures, draw_features, log_features, pair_variance
from seqkit.attention.hashing import AngularHash, draw_hash, hash_support
from seqkit.attention.lsh import lsh_attention
from seqkit.attention.mixers.base import AttentionMixer
from seqkit.attention.mixers.block_sparse import BlockSparseAttention
from seqkit.attention.mixers.cached import AttentionState
from seqkit.attention.mixers.exact import Attention
from seqkit.attention.mixers.lsh import LSH, LSHState
from seqkit.attention.mixers.performer import Performer, PerformerState
from seqkit.attention.mixers.scatterbrain import Scatterbrain, ScatterbrainHashedState, ScatterbrainLocalState
from seqkit.attention.online.lsh import lsh_block, lsh_state, lsh_step
from seqkit.attention.online.performer import performer_block, performer_state, performer_step
from seqkit.attention.online.scatterbrain import scatterbrain_block, scatterbrain_state, scatterbrain_step
from seqkit.attention.performer import performer_attention
from seqkit.attention.reference import dense_attention, dense_matrix, dense_support
from seqkit.attention.replacing.recipe import Recipe
from seqkit.attention.replacing.replace import Replacement, replace, restore
from seqkit.attention.scatterbrain import scatterbrain_attention
from seqkit.attention.searching import find_keys
from seqkit.attention.sorted_chunks import distance_vectors, draw_projections, sorted_support
from seqkit.attention.strongest import strongest_keys
from seqkit.attention.support import Support, join_supports, local_support

__all__ = [
    "LSH",
    "AngularHash",
    "Attention",
    "AttentionEstimate",
    "AttentionMixer",
    "AttentionState",
    "BlockSparseAttention",
    "LSHState",
    "Performer",
    "PerformerState",
    "RandomFeatures",
    "Recipe",
    "Replacement",
    "Scatterbrain",
    "ScatterbrainHashedState",
    "ScatterbrainLocalState",
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
    "lsh_block",
    "lsh_state",
    "lsh_step",
    "pair_variance",
    "performer_attention",
    "performer_block",
    "performer_state",
    "performer_step",
    "replace",
    "restore",
    "scatterbrain_attention",
    "scatterbrain_block",
    "scatterbrain_state",
    "scatterbrain_step",
    "sorted_support",
    "split_budget",
    "strongest_keys",
]
