"""Pooling over time, sample by sample."""
