"""Triton kernels of attention, in the form of FlashAttention-2: a tile of scores lives in registers alone.

A program of the forward holds a tile of queries and goes along the keys. The backward recomputes the scores twice: one
kernel holds a tile of keys and sums their gradients, another a tile of queries. No two programs add to the same number,
so gradients are the same bits in every run.
"""
