"""Searching over operations K diag(L w) M: plain training, weights and operations on the same loss."""

from seqkit.search.config import SearchConfig
from seqkit.search.loop import SearchEpoch, search_operations

__all__ = ["SearchConfig", "SearchEpoch", "search_operations"]
